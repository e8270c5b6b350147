"""The page of a fit: the verdict first, then what was learned and whether to believe it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from cohorts.fits.fit import Fit
from cohorts.fits.report import (
    approximation,
    chains,
    described,
    individuals,
    membership,
    parameters,
    predictive,
    sensitivity,
)
from cohorts.fits.report.view import View
from insilico import pages
from insilico.pages.blocks import Block, Section, Tile, facts
from insilico.pages.numbers import Measured, decimals_for, fixed, interval
from insilico.pages.provenance import flat, told

TEMPLATE = Path(__file__).with_name("templates") / "fit.html"

MOST_TILES = 4


def render(tree: xr.DataTree, fit: Fit, manifest: Mapping[str, Any] | None = None) -> str:
    """A fit's report as one HTML page that needs nothing else.

    **Arguments:**

    - `tree`: the results (see `cohorts.fits.results`).
    - `fit`: the fit that gave them.
    - `manifest`: what is known of the run, nested as it comes.
    """
    view = View(tree, fit)
    sections = [
        parameters.section(view),
        *membership.sections(view),
        individuals.section(view),
        predictive.section(view),
        sensitivity.section(view),
        (approximation if view.approximate else chains).section(view, manifest),
        described.data(view),
        described.model(view),
        _provenance(view, manifest),
    ]
    return pages.render(
        TEMPLATE,
        sections,
        title=fit.config.title,
        view=view,
        lead=_lead(view),
        answer=fit.config.description,
        tiles=_tiles(view),
        failures=[] if view.passed else view.reasons,
        warnings=view.warnings,
    )


def _lead(view: View) -> str:
    if view.approximate:
        k = fixed(view.group("diagnostics")["pareto_k"].item(), 2)
        if view.passed:
            return (
                f"{view.label}. It passed its checks: the search came to rest, and its draws can "
                f"stand for the posterior (Pareto k {k})."
            )
        return f"{view.label}. It failed its checks: do not use it before you know why."
    if view.passed:
        return "The fit passed its diagnostics: the chains agree and explored the posterior."
    return "The fit failed its diagnostics: do not use it before you know why."


def _tiles(view: View) -> list[Tile]:
    """The typical values."""
    found = []
    for parameter in view.parameters:
        if not parameter.name.startswith("typical_") or len(found) == MOST_TILES:
            continue
        low, high = view.bounds(parameter.draws)
        value = fixed(float(np.median(parameter.draws)), decimals_for(float(high - low) / 4) + 1)
        note = f"{view.percent} interval {interval(low, high)}"
        found.append(Tile(parameter.label, Measured(value), parameter.unit, note))
    return found


def _provenance(view: View, manifest: Mapping[str, Any] | None) -> Section:
    blocks: list[Block] = [
        facts(
            "The fit",
            [
                ("Config", view.fit.document.file),
                ("Config digest (SHA-256)", view.fit.document.digest()),
                ("Seed", str(view.fit.config.seed)),
            ],
            "the config",
        )
    ]
    if manifest:
        blocks.append(facts("The run", flat(told(manifest)), "manifest"))
    return Section("provenance", "Provenance", blocks)
