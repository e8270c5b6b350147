"""A run's result in a few rows, for a terminal."""

from __future__ import annotations

from typing import NamedTuple

import xarray as xr

from insilico.pages.numbers import share
from trials.report.effects import effect, published_effect
from trials.report.view import View
from trials.study import Study


class SummaryRow(NamedTuple):
    """One analysis as text; every number is rounded to its Monte-Carlo error."""

    analysis: str
    unit: str
    estimate: str
    """Mean over the trials, with the typical confidence interval in brackets."""
    truth: str
    power: str
    """In percent, as is coverage."""
    coverage: str
    published: str
    failed: str
    """Trials without an estimate."""


def summary(tree: xr.DataTree, study: Study) -> list[SummaryRow]:
    """One row for each analysis, in the config's order."""
    rows = []
    nan = float("nan")
    for analysis in View(tree, study).analyses:
        found = analysis.characteristics
        trials, failed = found.get("trials", nan), found.get("failures", nan)
        rows.append(
            SummaryRow(
                analysis.title,
                analysis.effect_unit,
                effect(analysis),
                str(analysis.scale.effect(analysis.truth, analysis.truth_mcse)),
                str(share(found.get("power", nan), found.get("power_mcse", nan), trials)),
                str(
                    share(
                        found.get("coverage", nan), found.get("coverage_mcse", nan), trials - failed
                    )
                ),
                published_effect(analysis),
                f"{int((~analysis.usable).sum())} of {len(analysis.usable)}",
            )
        )
    return rows
