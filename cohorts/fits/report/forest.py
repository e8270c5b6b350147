"""What covariates do to the typical values, as factors beside each other."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from cohorts.diagnosis.convergence import by_draw
from cohorts.fits.report.view import INDIVIDUAL, View, labelled, of_category
from cohorts.hierarchy.effects import Effect
from insilico.pages import plotting
from insilico.pages.blocks import Column, Figure, Row, Table
from insilico.pages.numbers import decimals_for, fixed, interval, plain

ROW_HEIGHT = 27
PANEL_GAP = 78
SMALL = (0.8, 1.25)
"""Factors that are small beside what is usual between subjects: those of bioequivalence."""
PERCENTILES = (5, 95)
"""Of the subjects, at which a covariate that is a number is shown."""


class Line(NamedTuple):
    """A factor on a typical value, (draws,), and what it is that of."""

    label: str
    factor: np.ndarray


def forest(view: View) -> list[Figure]:
    """The factors of all covariates by the parameter that they act on; nothing without any."""
    groups = {
        name: [line for effect in effects for line in _lines(view, effect)]
        for name, effects in view.population.effects.items()
    }
    groups = {labelled(name): lines for name, lines in groups.items() if lines}
    return [_figure(view, groups)] if groups else []


def _lines(view: View, effect: Effect) -> list[Line]:
    """A line for each category but the reference, or for a low and a high value of a number."""
    posterior = view.group("posterior")
    typical = {name: by_draw(posterior[name]).ravel() for name in effect.numbers}
    if effect.kind == "categorical":
        return [
            Line(of_category(effect, category), typical[name])
            for category, name in zip(effect.others, effect.numbers, strict=True)
        ]
    what = effect.covariate.replace("_", " ")
    values = np.asarray(view.fit.patients.covariates[effect.covariate], float)
    draws = types.SimpleNamespace(**typical)
    found = []
    for value in dict.fromkeys(np.nanpercentile(values, PERCENTILES).tolist()):
        factor = np.asarray(effect.factor(draws, value))
        shown = f"{what} {plain(float(f'{value:.3g}'))} {effect.unit}"
        found.append(Line(shown.strip(), factor))
    return found


def _figure(view: View, groups: Mapping[str, list[Line]]) -> Figure:
    ends = {
        name: [(float(np.median(line.factor)), *view.bounds(line.factor)) for line in lines]
        for name, lines in groups.items()
    }
    labels = [[plotting.wrapped(line.label, 40) for line in lines] for lines in groups.values()]
    heights = [max(ROW_HEIGHT, plotting.height_of(names)) * (len(names) + 0.4) for names in labels]
    high = plotting.stacked(heights, PANEL_GAP)
    traces, axes, titles, shapes = [], {}, [], []
    scale = _scale([number for found in ends.values() for each in found for number in each])
    for panel, (name, lines) in enumerate(groups.items()):
        x, y = plotting.numbered("x", panel), plotting.numbered("y", panel)
        positions = list(range(len(lines) - 1, -1, -1))
        traces.append(_dots(lines, ends[name], positions) | {"xaxis": x, "yaxis": y})
        axes[plotting.numbered("xaxis", panel)] = plotting.axis(
            plotting.safe(f"factor on {name[:1].lower()}{name[1:]}"), anchor=y, **scale
        )
        axes[plotting.numbered("yaxis", panel)] = plotting.rows_axis(
            panel, high[panel], labels[panel]
        )
        shapes += [
            _band(panel),
            plotting.line(panel, 1.0, vertical=True, colour=plotting.MUTED, dash="dot", width=1.4),
        ]
        titles.append(plotting.title(name, 0, high[panel][1]))
    height = int(sum(heights) + PANEL_GAP * (len(groups) - 1) + 110)
    layout = plotting.layout(
        height,
        **axes,
        shapes=shapes,
        annotations=titles,
        showlegend=False,
        margin={"l": 20, "r": 20, "t": 40, "b": 56},
    )
    low, top = PERCENTILES
    return Figure(
        "forest",
        "What covariates do to typical values",
        "Forest plot of the factors of covariates on typical values, told in the table.",
        f"Dot and bar: median and {view.percent} interval of the factor on the typical value, "
        "against the reference category, or the value at which the covariate is centred. "
        f"Covariates that are numbers are shown at the {low}th and {top}th percentile of the "
        f"subjects. Shaded: {plain(SMALL[0])} to {plain(SMALL[1])}.",
        "/posterior",
        {"data": traces, "layout": layout},
        height,
        _table(view, groups, ends),
    )


def _dots(lines: list[Line], ends: list[tuple], positions: list[int]) -> dict[str, Any]:
    middle, lower, upper = np.array(ends).T
    return {
        "type": "scatter",
        "mode": "markers",
        "marker": {"size": 8, "color": INDIVIDUAL},
        "x": plotting.plain_list(middle),
        "y": positions,
        "error_x": {
            "type": "data",
            "symmetric": False,
            "thickness": 2.6,
            "width": 0,
            "color": INDIVIDUAL,
            "array": plotting.plain_list(upper - middle),
            "arrayminus": plotting.plain_list(middle - lower),
        },
        "customdata": [
            [plotting.safe(line.label), interval(low, high)]
            for line, (_, low, high) in zip(lines, ends, strict=True)
        ],
        "hovertemplate": "%{customdata[0]}: %{x:.3g} (%{customdata[1]})<extra></extra>",
    }


def _band(panel: int) -> dict[str, Any]:
    low, high = SMALL
    return {
        "type": "rect",
        "x0": low,
        "x1": high,
        "y0": 0,
        "y1": 1,
        "layer": "below",
        "xref": plotting.numbered("x", panel),
        "yref": f"{plotting.numbered('y', panel)} domain",
        "line": {"width": 0},
        "fillcolor": plotting.translucent(plotting.MUTED, 0.13),
    }


def _scale(factors: list[float]) -> dict[str, Any]:
    """A logarithmic axis over all factors, or a plain one if a linear effect has any below 0."""
    low, high = min([*factors, SMALL[0]]), max([*factors, SMALL[1]])
    if low <= 0.0:
        margin = 0.05 * (high - low)
        return {"range": [low - margin, high + margin]}
    return plotting.logarithmic(low / 1.05, high * 1.05, 8)


def _table(view: View, groups: Mapping[str, list[Line]], ends: Mapping[str, list[tuple]]) -> Table:
    rows = []
    for name, lines in groups.items():
        rows.append(Row([name], span=True))
        for line, (middle, low, high) in zip(lines, ends[name], strict=True):
            shown = fixed(middle, decimals_for((high - low) / 4) + 1)
            rows.append(Row((line.label, shown, interval(low, high)), indent=True))
    columns = (
        Column("Covariate"),
        Column("Factor", number=True),
        Column(f"{view.percent} interval", number=True),
    )
    return Table("What covariates do to typical values", columns, rows, "/posterior")
