"""The look that all figures share, and panels side by side. Figures are plotly's, as plain data."""

from __future__ import annotations

import html
import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

INK = "#1c2733"
MUTED = "#5b6875"
GRID = "#e6eaee"
SIMULATED = "#3f5d87"
SIMULATED_LIGHT = "#c3cedd"
PUBLISHED = "#8f1d5b"
TRUTH = "#111111"
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
"""Okabe and Ito's, distinguishable with colour-blindness."""
BAND = "rgba(0, 158, 115, 0.12)"

FONT = "'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif"

MOST_LINES = 4
"""Lines of a label beside a figure; tables hold all of it."""
LINE_HEIGHT = 16
"""Pixels of one such line."""


def safe(text: str) -> str:
    """A label for a figure: plotly would read markup in it."""
    return html.escape(text, quote=False)


def wrapped(text: str, width: int = 26) -> str:
    """A label broken into lines, of which there are `MOST_LINES`; what is longer is cut."""
    lines = textwrap.wrap(text, width, max_lines=MOST_LINES, placeholder=" …")
    return "<br>".join(safe(line) for line in lines) or safe(text)


def height_of(labels: Sequence[str]) -> int:
    """Pixels that the highest of some `wrapped` labels takes, with a little room around it."""
    return 8 + LINE_HEIGHT * max((label.count("<br>") + 1 for label in labels), default=1)


def cut(text: str, most: int) -> str:
    """A label for a figure of that many characters at most."""
    return safe(text if len(text) <= most else f"{text[: most - 1].rstrip()}…")


def translucent(colour: str, opacity: float) -> str:
    """A `#rrggbb` colour made see-through."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {opacity:g})"


def plain_list(values: Any, digits: int = 5) -> list[float | None]:
    """Numbers as JSON holds them: few digits, nothing for what is not finite."""
    return [
        float(f"{value:.{digits}g}") if math.isfinite(value) else None
        for value in np.asarray(values, float).ravel()
    ]


def to_json(spec: Mapping[str, Any]) -> str:
    """A figure as JSON that may stand inside a `<script>` element."""
    text = json.dumps(spec, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def axis(title: str = "", **changes: Any) -> dict[str, Any]:
    """An axis in the report's look."""
    look: dict[str, Any] = {
        "title": {"text": title, "font": {"size": 13, "color": MUTED}, "standoff": 10},
        "showgrid": True,
        "gridcolor": GRID,
        "zeroline": False,
        "showline": True,
        "linecolor": "#9aa5b1",
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": "#9aa5b1",
        "tickfont": {"size": 12},
        "automargin": True,
        "fixedrange": True,
    }
    return {**look, **changes}


def layout(height: int, **changes: Any) -> dict[str, Any]:
    """A figure's layout in the report's look."""
    look: dict[str, Any] = {
        "height": height,
        "autosize": True,
        "font": {"family": FONT, "size": 13, "color": INK},
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "margin": {"l": 60, "r": 16, "t": 30, "b": 50},
        "hovermode": "closest",
        "hoverlabel": {"bgcolor": "#ffffff", "bordercolor": MUTED, "font": {"color": INK}},
        "legend": legend(),
        "showlegend": False,
        "separators": ".,",
        "dragmode": False,
    }
    return {**look, **changes}


def legend(**changes: Any) -> dict[str, Any]:
    """A legend in one line above the figure."""
    look: dict[str, Any] = {
        "orientation": "h",
        "traceorder": "normal",
        "x": 0,
        "xref": "container",
        "xanchor": "left",
        "y": 1,
        "yref": "container",
        "yanchor": "top",
        "font": {"size": 12.5},
        "itemclick": False,
        "itemdoubleclick": False,
    }
    return {**look, **changes}


def numbered(name: str, index: int) -> str:
    """Name of the axis of a panel: `xaxis`, `xaxis2`, …; and `x`, `x2`, … for traces."""
    return name if index == 0 else f"{name}{index + 1}"


def title(
    text: str, x: float, y: float, colour: str = INK, *, markup: bool = False, most: int = 76
) -> dict:
    """A panel's title above its upper left corner, in shares of the plotting area.

    It is cut to `most` characters unless it is `markup`.
    """
    return {
        "text": text if markup else f"<b>{cut(text, most)}</b>",
        "x": x,
        "y": y,
        "xref": "paper",
        "yref": "paper",
        "xanchor": "left",
        "yanchor": "bottom",
        "yshift": 5,
        "align": "left",
        "showarrow": False,
        "font": {"size": 13, "color": colour},
    }


def line(
    panel: int,
    value: float,
    *,
    vertical: bool,
    colour: str,
    dash: str = "solid",
    width: float = 1.5,
) -> dict[str, Any]:
    """A straight line across a panel."""
    x, y = numbered("x", panel), numbered("y", panel)
    ends = {"x0": value, "x1": value, "y0": 0, "y1": 1, "xref": x, "yref": f"{y} domain"}
    if not vertical:
        ends = {"x0": 0, "x1": 1, "y0": value, "y1": value, "xref": f"{x} domain", "yref": y}
    style = {"color": colour, "dash": dash, "width": width}
    return {"type": "line", **ends, "line": style, "layer": "above"}


def columns_of(panels: int, most: int) -> int:
    """Panels side by side: as many as fit without a lonely last one where that can be helped."""
    return panels if panels <= most else min(most, math.ceil(panels / math.ceil(panels / most)))


def domains(count: int, gap: float) -> list[tuple[float, float]]:
    """The width (or height) of a figure shared out evenly, with gaps between."""
    size = (1 - gap * (count - 1)) / count
    return [(at * (size + gap), at * (size + gap) + size) for at in range(count)]


def stacked(heights: Sequence[float], gap: float) -> list[tuple[float, float]]:
    """Domains from top to bottom in proportion to `heights`; `gap` is in the same unit."""
    total = sum(heights) + gap * (len(heights) - 1)
    found, top = [], total
    for height in heights:
        found.append((max((top - height) / total, 0.0), min(top / total, 1.0)))
        top -= height + gap
    return found


def with_unit(label: str, unit: str) -> str:
    """A label and its unit, in brackets unless the label ends with some of its own."""
    if not unit:
        return label
    return f"{label}, {unit}" if label.endswith(")") else f"{label} ({unit})"


def step_of(width: float, pieces: float) -> float:
    """The 1, 2 or 5 times a power of ten that cuts a width into about so many pieces."""
    if not width > 0:
        return 1.0
    rough = width / pieces
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * size for size in (1, 2, 5, 10) if power * size >= 0.999 * rough)


def round_values(low: float, high: float, pieces: float) -> list[float]:
    """Round numbers between two ends, about as many as asked for."""
    step = step_of(high - low, pieces)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{step * at:.10g}") for at in range(first, last + 1)]


def logarithmic(low: float, high: float, pieces: float) -> dict[str, Any]:
    """A logarithmic axis between two numbers above 0, with round ticks: about so many pieces within
    a decade, 1, 2 and 5 beyond."""
    ticks = round_values(low, high, pieces)
    if high > 6 * low:
        decades = range(math.floor(math.log10(low)), int(math.log10(high)) + 1)
        ticks = [size * 10.0**power for power in decades for size in (1, 2, 5)]
    return {
        "type": "log",
        "range": [math.log10(low), math.log10(high)],
        "tickvals": ticks,
        "ticktext": [f"{tick:g}" for tick in ticks],
    }


def rows_axis(panel: int, domain: tuple[float, float], labels: Sequence[str]) -> dict[str, Any]:
    """The y axis of a panel with a row for each label, the first on top, at the last position."""
    return axis(
        anchor=numbered("x", panel),
        domain=domain,
        tickvals=list(range(len(labels) - 1, -1, -1)),
        ticktext=list(labels),
        range=[-0.7, len(labels) - 0.3],
        showgrid=False,
        showline=False,
        ticks="",
    )


def spaced(values: Sequence[float], share: float) -> list[float]:
    """Those of increasing values that stand at least a share of the whole range apart."""
    kept: list[float] = []
    room = share * (values[-1] - values[0]) if values else 0.0
    for value in values:
        if not kept or value - kept[-1] >= room:
            kept.append(value)
    return kept
