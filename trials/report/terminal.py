"""A run's result in a few rows, for a terminal."""

from __future__ import annotations

from typing import NamedTuple

from insilico.pages.numbers import share, whole
from trials.report.effects import published_effect
from trials.report.view import View


class SummaryRow(NamedTuple):
    """One analysis as text; every number is rounded to its Monte-Carlo error.

    - `estimate`: mean over the trials; `interval`: the typical confidence interval.
    - `published`: empty where nothing is.
    - `power`: in percent; `failed`: trials without an estimate.
    """

    analysis: str
    unit: str
    estimate: str
    interval: str
    published: str
    power: str
    failed: str


def summary(view: View) -> list[SummaryRow]:
    """One row for each analysis, in the config's order."""
    return [
        SummaryRow(
            analysis.label,
            analysis.effect_unit,
            str(analysis.scale.effect(found["mean_estimate"], found["mean_estimate_mcse"])),
            analysis.scale.interval(*analysis.typical_interval()),
            published_effect(analysis) if analysis.published else "",
            str(share(found["power"], found["power_mcse"], view.trials)),
            whole(found["failures"]),
        )
        for analysis in view.analyses
        for found in (analysis.characteristics,)
    ]
