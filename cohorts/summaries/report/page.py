"""The page of a calibration: the verdict first, then the targets, then the population."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from cohorts.fits.report import chains, parameters
from cohorts.summaries.calibration import Calibration
from cohorts.summaries.report import courses, described, patients, targets
from cohorts.summaries.report.view import View
from insilico import pages
from insilico.pages.blocks import Block, Section, Tile, facts
from insilico.pages.numbers import Measured, fixed, whole
from insilico.pages.provenance import flat, told

TEMPLATE = Path(__file__).with_name("templates") / "calibration.html"


def render(
    tree: xr.DataTree, calibration: Calibration, manifest: Mapping[str, Any] | None = None
) -> str:
    """A calibration's report as one HTML page that needs nothing else.

    **Arguments:**

    - `tree`: the results (see `cohorts.summaries.results`).
    - `calibration`: the calibration that gave them.
    - `manifest`: what is known of the run, nested as it comes.
    """
    view = View(tree, calibration)
    if view.sampled:
        population = [
            Section(
                "parameters",
                "The population",
                [parameters.table(view), *parameters.densities(view)],
            )
        ]
        how = [chains.section(view, manifest)]
    else:
        population = [patients.population(view)]
        how = [patients.weights(view)]
    sections = [
        targets.section(view),
        targets.conflicts(view),
        courses.section(view),
        *population,
        *how,
        described.arms(view),
        described.model(view),
        _provenance(view, manifest),
    ]
    return pages.render(
        TEMPLATE,
        sections,
        title=calibration.config.title,
        view=view,
        lead=_lead(view),
        answer=calibration.config.description,
        tiles=_tiles(view, manifest),
        failures=[] if view.passed else view.reasons,
        warnings=[],
    )


def _lead(view: View) -> str:
    most = view.config.checks.largest_mismatch
    if view.passed:
        return (
            f"The population gives what was published: every target is met within {most:g} "
            "standard errors."
        )
    return "The calibration failed its diagnostics: do not use it before you know why."


def _tiles(view: View, manifest: Mapping[str, Any] | None) -> list[Tile]:
    group = view.targets
    mismatch = group["mismatch"].to_numpy()
    worst = view.worst
    root = float(np.sqrt(np.nanmean(np.square(mismatch))))
    found = [
        Tile(
            "Largest mismatch",
            Measured(fixed(float(mismatch[worst]), 2)),
            "SE",
            str(group["target"].values[worst]),
        ),
        Tile("Root mean square mismatch", Measured(fixed(root, 2)), "SE", "over all targets"),
    ]
    pairs = len(np.atleast_1d(view.group("conflicts").attrs.get("pairs", []))) // 2
    found.append(Tile("Pairs in conflict", Measured(whole(pairs)), "", "cannot be met together"))
    if view.sampled:
        least = float(view.group("diagnostics")["ess_bulk"].min())
        found.append(Tile("Effective draws, least", Measured(whole(least)), "", "in the bulk"))
    else:
        own = view.weights
        effective = 1.0 / float(np.sum(np.square(own)))
        share = f"{effective / len(own):.1%} of {len(own):,} patients"
        found.append(Tile("Effective patients", Measured(whole(effective)), "", share))
    return found


def _provenance(view: View, manifest: Mapping[str, Any] | None) -> Section:
    document = view.calibration.document
    blocks: list[Block] = [
        facts(
            "The calibration",
            [
                ("Config", document.file),
                ("Config digest (SHA-256)", document.digest()),
                ("Seed", str(view.config.seed)),
            ],
            "the config",
        )
    ]
    if manifest:
        blocks.append(facts("The run", flat(told(manifest)), "manifest"))
    return Section("provenance", "Provenance", blocks)
