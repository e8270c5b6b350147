"""The page: every section in the reader's order, laid out by the templates."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import xarray as xr
from markupsafe import Markup

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
from trials.report.blocks import Section, figures_of, numbered
from trials.report.numbers import counted
from trials.report.plotting import to_json
from trials.report.view import View
from trials.study import Study

TEMPLATES = Path(__file__).with_name("templates")


def render(tree: xr.DataTree, study: Study, manifest: Mapping[str, Any] | None = None) -> str:
    """A run's report as one HTML page that needs nothing else, neither files nor a network.

    **Arguments:**

    - `tree`: the results (see `trials.results`); groups that the run did not keep may be missing.
    - `study`: the study that gave them.
    - `manifest`: what is known of the run (versions, device, timings), nested as it comes.
    """
    view = View(tree, study)
    sections = numbered(_sections(view, manifest))
    figures = [figure for section in sections for figure in figures_of(section.blocks)]
    return _environment().get_template("report.html").render(
        title=study.config.title,
        view=view,
        lead=answer.lead(view),
        answer=answer.paragraph(view),
        tiles=answer.tiles(view),
        warnings=answer.warnings(view),
        sections=sections,
        specs={figure.key: Markup(to_json(figure.spec)) for figure in figures},
        plotly=_plotly() if figures else "",
    )  # fmt: skip


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


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals["counted"] = counted
    environment.globals["style"] = Markup((TEMPLATES / "report.css").read_text("utf-8"))
    environment.globals["script"] = Markup((TEMPLATES / "figures.js").read_text("utf-8"))
    return environment


@functools.cache
def _plotly() -> Markup:
    from plotly.offline import get_plotlyjs

    return Markup(get_plotlyjs())
