"""Every analysis at a glance: what trials find, what is true, and what was published."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from insilico.pages import plotting
from insilico.pages.blocks import Cell, Column, Figure, Row, Section, Table, absent
from insilico.pages.numbers import Measured, share
from trials.report.analysis_view import AnalysisView, lines_in_words
from trials.report.arms import under_headings
from trials.report.view import View

ROW_HEIGHT = 42
PANEL_GAP = 92
PUBLISHED_BELOW = 0.28

GEOMETRIC = "Means of ratios, and of their limits, are geometric. "

AT_THE_MARGIN = (
    "Type I error: share of trials that would show it if a margin stood at the true effect, with "
    "everything else as it is. "
)


def section(view: View) -> Section:
    """The forest of all effects and its numbers."""
    title = "Effects"
    shown = [a for a in view.analyses if a.available or np.isfinite(a.truth)]
    if not shown:
        return Section("effects", title, [absent("No analysis has an estimate in any trial.")])
    return Section("effects", title, [_figure(view, shown), _table(view)])


def panels(analyses: list[AnalysisView]) -> list[tuple[str, list[AnalysisView]]]:
    """Analyses that share an endpoint and a scale, each group with its title."""
    found = under_headings(analyses, lambda a: a.effect_unit)
    return [(group[0].endpoint_label, group) for _, group in found]


def _figure(view: View, shown: list[AnalysisView]) -> Figure:
    published = any(analysis.published for analysis in shown)
    spec, height = _spec(panels(shown))
    diamonds = " Open diamond and thin bar: as published, with its interval." if published else ""
    alt = "; ".join(
        f"{a.endpoint_label}, {a.label}: simulated {effect(a)} {a.effect_unit}, "
        f"true {a.scale.effect(a.truth, a.truth_mcse).value}"
        + (f", published {published_effect(a)}" if a.published else "")
        for a in shown
    )
    return Figure(
        key="effects",
        caption="Effects of every analysis: simulated trials, truth"
        + (" and published trial" if published else ""),
        alt=f"Forest plot. {alt}.",
        note=(
            "Dot: mean estimate over the simulated trials. Thick bar: a typical trial's confidence "
            "interval (mean of the lower and of the upper limits, at each analysis' own level). "
            f"Black tick: true value.{diamonds} {lines_in_words(shown)}."
        ),
        source="/estimates, /truth, /published" if published else "/estimates, /truth",
        spec=spec,
        height=height,
    )


def effect(analysis: AnalysisView) -> str:
    """The mean estimate over trials with its typical interval, as text."""
    found = analysis.characteristics
    shown = analysis.scale.effect(
        found.get("mean_estimate", np.nan), found.get("mean_estimate_mcse", np.nan)
    )
    return f"{shown.value} ({analysis.scale.interval(*analysis.typical_interval())})"


def published_effect(analysis: AnalysisView) -> str:
    """The published effect with its interval, as text."""
    entry = analysis.published
    if entry is None:
        return "–"
    value = float(analysis.scale.shown(entry.value))
    text = f"{value:.3g}".replace("-", "\N{MINUS SIGN}")
    if not np.isfinite(entry.lower):
        return text
    return f"{text} ({analysis.scale.interval(entry.lower, entry.upper)})"


def _spec(groups: list[tuple[str, list[AnalysisView]]]) -> tuple[dict[str, Any], int]:
    labels = [_labels(analyses) for _, analyses in groups]
    heights = [max(ROW_HEIGHT, plotting.height_of(names)) * (len(names) + 0.4) for names in labels]
    high = plotting.stacked(heights, PANEL_GAP)
    everything = [analysis for _, analyses in groups for analysis in analyses]
    published = any(analysis.published for analysis in everything)
    traces = _legend(["simulated", "true", *(["published"] if published else [])])
    axes, titles, shapes = {}, [], []
    for panel, (endpoint, analyses) in enumerate(groups):
        x, y = plotting.numbered("x", panel), plotting.numbered("y", panel)
        rows = [(len(analyses) - 1 - row, analysis) for row, analysis in enumerate(analyses)]
        traces += _panel(rows, x, y)
        same = _one_contrast(analyses)
        unit = analyses[0].effect_unit
        what = analyses[0].contrast if same else "first arm minus second"
        axes[plotting.numbered("xaxis", panel)] = plotting.axis(
            plotting.safe(plotting.with_unit(what, unit)),
            anchor=y,
            **_scale_axis(analyses),
        )
        axes[plotting.numbered("yaxis", panel)] = plotting.rows_axis(
            panel, high[panel], labels[panel]
        )
        shapes += [
            plotting.line(panel, value, vertical=True, colour=plotting.MUTED, dash=dash, width=1.4)
            for value, dash in sorted({each for a in analyses for each in a.seen_against})
        ]
        titles.append(plotting.title(endpoint, 0, high[panel][1]))
    height = int(sum(heights) + PANEL_GAP * (len(groups) - 1) + 140)
    look = plotting.layout(
        height,
        **axes,
        shapes=shapes,
        annotations=titles,
        showlegend=True,
        margin={"l": 20, "r": 20, "t": 76, "b": 56},
    )
    return {"data": traces, "layout": look}, height


def _one_contrast(analyses: list[AnalysisView]) -> bool:
    return len({analysis.contrast for analysis in analyses}) == 1


def _labels(analyses: list[AnalysisView]) -> list[str]:
    """What stands beside each row of a panel."""
    same = _one_contrast(analyses)
    return [plotting.wrapped(a.label if same else f"{a.label} ({a.contrast})") for a in analyses]


def _scale_axis(analyses: list[AnalysisView]) -> dict[str, Any]:
    """Range and round ticks over all that is shown; logarithmic for ratios."""
    stored: list[float] = []
    for analysis in analyses:
        stored += [analysis.scale.stored(value) for value, _ in analysis.seen_against]
        stored += [*analysis.typical_interval(), analysis.truth, *(analysis.published or ())]
    finite = [value for value in stored if np.isfinite(value)]
    margin = 0.05 * ((max(finite) - min(finite)) or 1.0)
    scale = analyses[0].scale
    low, high = (float(scale.shown(end)) for end in (min(finite) - margin, max(finite) + margin))
    if scale.ratio:
        return plotting.logarithmic(low, high, 7)
    return {"range": [low, high], "tickvals": plotting.round_values(low, high, 7)}


class _Point(NamedTuple):
    """A number with its interval, as stored, at a height of a panel."""

    at: float
    analysis: AnalysisView
    value: float
    lower: float = math.nan
    upper: float = math.nan


def _panel(rows: list[tuple[int, AnalysisView]], x: str, y: str) -> list[dict[str, Any]]:
    simulated = [
        _Point(at, a, a.characteristics.get("mean_estimate", math.nan), *a.typical_interval())
        for at, a in rows
        if a.available
    ]
    true = [_Point(at, a, a.truth) for at, a in rows if np.isfinite(a.truth)]
    reported = [
        _Point(at - PUBLISHED_BELOW, a, a.published.value, a.published.lower, a.published.upper)
        for at, a in rows
        if a.published is not None
    ]
    return [
        {
            **_look(kind),
            **_points(points, {"color": colour, **error}),
            "xaxis": x,
            "yaxis": y,
            "showlegend": False,
        }
        for kind, points, error, colour in (
            ("simulated", simulated, {"thickness": 4, "width": 0}, plotting.SIMULATED),
            ("true", true, {"visible": False}, plotting.TRUTH),
            ("published", reported, {"thickness": 1.6, "width": 4}, plotting.PUBLISHED),
        )
        if points
    ]


def _look(kind: str) -> dict[str, Any]:
    """Name and marker of a kind of number, as the legend shows it."""
    names = {
        "simulated": "simulated trials, typical interval",
        "true": "true value",
        "published": "published",
    }
    markers = {
        "simulated": {"size": 10, "color": plotting.SIMULATED},
        "true": {
            "symbol": "line-ns-open",
            "size": 20,
            "color": plotting.TRUTH,
            "line": {"width": 2.6},
        },
        "published": {
            "symbol": "diamond-open",
            "size": 11,
            "color": plotting.PUBLISHED,
            "line": {"width": 2},
        },
    }
    return {"type": "scatter", "mode": "markers", "name": names[kind], "marker": markers[kind]}


def _legend(kinds: list[str]) -> list[dict[str, Any]]:
    """Traces without points that only stand in the legend."""
    return [{**_look(kind), "x": [None], "y": [None], "showlegend": True} for kind in kinds]


def _points(points: list[_Point], error: dict[str, Any]) -> dict[str, Any]:
    """Points and their bars as they are shown; `error` is the look of the bars."""
    value, lower, upper = (
        np.array([float(point.analysis.scale.shown(number)) for point, number in column])
        for column in (
            [(point, point.value) for point in points],
            [(point, point.lower) for point in points],
            [(point, point.upper) for point in points],
        )
    )
    return {
        "x": plotting.plain_list(value),
        "y": [point.at for point in points],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": plotting.plain_list(upper - value),
            "arrayminus": plotting.plain_list(value - lower),
            **error,
        },
        "customdata": [
            [
                plotting.safe(point.analysis.label),
                f"({point.analysis.scale.interval(point.lower, point.upper)})"
                if np.isfinite(point.lower)
                else "",
            ]
            for point in points
        ],
        "hovertemplate": "%{customdata[0]}: %{x:.3g} %{customdata[1]}"
        "<extra>%{fullData.name}</extra>",
    }


def _against_margins(analysis: AnalysisView) -> list[Cell]:
    """The margins of an analysis that has them, how many trials show what they ask, and how many
    would with a margin at the truth."""
    if not analysis.one_sided:
        return ["–", "–", "–"]
    found, nan = analysis.characteristics, math.nan
    power, error = (
        share(*(found.get(name, nan) for name in (field, f"{field}_mcse", "trials")))
        for field in ("power", "type_i_error")
    )
    return [analysis.asked, f"{power} {analysis.found}", error]


def _table(view: View) -> Table:
    published = any(analysis.published for analysis in view.analyses)
    columns = [
        Column("Endpoint and patients"),
        Column("True value", number=True),
        Column("Mean estimate", number=True),
        Column("Typical interval", number=True),
        Column("Level", number=True),
    ]
    margins = any(analysis.one_sided for analysis in view.analyses)
    if margins:
        columns.append(Column("Interval asked for", number=True))
        columns.append(Column("Shown", "% of trials", number=True))
        columns.append(Column("Type I error", "%", number=True))
    if published:
        columns.append(Column("Published (interval)", number=True))
    rows = []
    for heading, analyses in under_headings(view.analyses, lambda a: a.effect_unit):
        rows.append(Row([heading], span=True))
        for analysis in analyses:
            found = analysis.characteristics
            mean: Cell = Measured("n/a")
            if analysis.available:
                mean = analysis.scale.effect(found["mean_estimate"], found["mean_estimate_mcse"])
            cells: list[Cell] = [
                analysis.label if len(view.arms) <= 2 else f"{analysis.label}: {analysis.contrast}",
                analysis.scale.effect(analysis.truth, analysis.truth_mcse),
                mean,
                analysis.scale.interval(*analysis.typical_interval()),
                analysis.percent,
            ]
            if margins:
                cells += _against_margins(analysis)
            if published:
                cells.append(published_effect(analysis))
            rows.append(Row(cells, indent=True))
    ratios = any(analysis.scale.ratio for analysis in view.analyses)
    pairs = {f"{a.treatment.label} against {a.reference.label}" for a in view.analyses}
    return Table(
        f"Effects: {pairs.pop()}" if len(pairs) == 1 else "Effects",
        columns,
        rows,
        "/estimates, /truth, /published" if published else "/estimates, /truth",
        "True value: from subjects that are each treated under both arms. Typical interval: mean "
        f"limits over the trials. {GEOMETRIC if ratios else ''}{AT_THE_MARGIN if margins else ''}"
        "±: Monte-Carlo standard error.",
    )
