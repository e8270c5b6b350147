"""The page: every section in the reader's order, laid out by the templates."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from insilico import pages
from insilico.pages.blocks import Section
from trials.report import (
    answer,
    arms,
    assumptions,
    baseline,
    courses,
    design,
    effects,
    estimates,
    events,
    evidence,
    failures,
    methods,
    provenance,
    published,
    sensitivity,
)
from trials.report.view import View
from trials.study import Study

TEMPLATE = Path(__file__).with_name("templates") / "report.html"


def render(tree: xr.DataTree, study: Study, manifest: Mapping[str, Any] | None = None) -> str:
    """A run's report as one HTML page that needs nothing else, neither files nor a network.

    **Arguments:**

    - `tree`: the results (see `trials.results`); groups that the run did not keep may be missing.
    - `study`: the study that gave them.
    - `manifest`: what is known of the run (versions, device, timings), nested as it comes.
    """
    view = View(tree, study)
    return pages.render(
        TEMPLATE,
        _sections(view, manifest),
        title=study.config.title,
        view=view,
        lead=answer.lead(view),
        answer=answer.paragraph(view),
        tiles=answer.tiles(view),
        warnings=answer.warnings(view),
    )


def _sections(view: View, manifest: Mapping[str, Any] | None) -> list[Section]:
    found = [
        courses.section(view),
        arms.section(view),
        effects.section(view),
        estimates.section(view),
        events.section(view),
        published.section(view),
        sensitivity.section(view),
        design.section(view),
        baseline.section(view),
        failures.section(view),
        assumptions.section(view),
        evidence.section(view),
        methods.section(view),
        provenance.section(view, manifest),
    ]
    return [section for section in found if section is not None]
