"""The page: sections laid out by templates, with style, script and figures inside."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from insilico.pages.blocks import Section, figures_of, numbered
from insilico.pages.numbers import counted
from insilico.pages.plotting import to_json

TEMPLATES = Path(__file__).with_name("templates")


def render(
    template: Path, sections: Sequence[Section], *, failures: Sequence[str] = (), **context: Any
) -> str:
    """A report as one HTML page.

    **Arguments:**

    - `template`: a file that extends `page.html`; it sets `kicker` and `answer_title` and fills the
      blocks `meta`, `note` and `footer`.
    - `sections`: in the reader's order; their figures and tables are counted through.
    - `failures`: why what it reports is not to be used, told in red before anything else.
    - `context`: `title`, `lead` and `answer` (one line and one paragraph), `tiles`, `warnings`, and
      whatever else the template's own blocks need.
    """
    sections = numbered(sections)
    figures = [figure for section in sections for figure in figures_of(section.blocks)]
    return (
        _environment(template.parent)
        .get_template(template.name)
        .render(
            sections=sections,
            specs={figure.key: Markup(to_json(figure.spec)) for figure in figures},
            plotly=_plotly() if figures else "",
            failures=list(failures),
            **context,
        )
    )


@functools.cache
def _environment(folder: Path) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals["counted"] = counted
    environment.filters["with_code"] = with_code
    environment.globals["style"] = Markup((TEMPLATES / "page.css").read_text("utf-8"))
    environment.globals["script"] = Markup((TEMPLATES / "figures.js").read_text("utf-8"))
    return environment


def with_code(text: str) -> Markup:
    """A text, escaped, in which what stands between backticks is code."""
    return Markup(re.sub(r"`([^`\n]+)`", r'<span class="code">\1</span>', str(escape(text))))


@functools.cache
def _plotly() -> Markup:
    from plotly.offline import get_plotlyjs

    return Markup(get_plotlyjs())
