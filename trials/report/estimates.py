"""What single trials find: the spread of their estimates and each analysis' characteristics."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from insilico.pages import plotting
from insilico.pages.blocks import Block, Cell, Column, Figure, Row, Section, Table, absent
from insilico.pages.numbers import fixed, measured, rounded, share, whole
from trials.report.analysis_view import AnalysisView, called, lines_in_words
from trials.report.arms import under_headings
from trials.report.view import View

MOST_PANELS = 6
"""Panels of one figure, so that it fits on a printed page."""

FEWEST_BINS, MOST_BINS = 8, 40
PANEL_HEIGHT = 165
PANEL_GAP = 118


def section(view: View) -> Section:
    """The distribution of estimates and the table of operating characteristics."""
    title = "What single trials find"
    if not view.analyses:
        return Section("estimates", title, [absent("The results hold no analysis.")])
    decisive = {analysis.name for analysis in view.decisive}
    shown = [analysis for analysis in view.analyses if analysis.available]
    blocks: list[Block] = [
        _figure(some, f"estimates-{key}-{number}", which)
        for key, which, members in (
            ("decisive", "what success rests on", [a for a in shown if a.name in decisive]),
            ("other", "other analyses", [a for a in shown if a.name not in decisive]),
        )
        for number, some in enumerate(itertools.batched(members, MOST_PANELS), 1)
    ]
    if not blocks:
        blocks.append(absent("No trial gave an estimate, so there is no distribution to show."))
    blocks.append(_table(view))
    return Section("estimates", title, blocks)


def directions(analysis: AnalysisView) -> tuple[float, float]:
    """Shares of trials with a significant effect, upward and downward."""
    trials = max(len(analysis.estimate), 1)
    up = (analysis.significant & (analysis.estimate > 0)).sum() / trials
    down = (analysis.significant & (analysis.estimate < 0)).sum() / trials
    return float(up), float(down)


def _figure(shown: Sequence[AnalysisView], key: str, which: str) -> Figure:
    spec, height = _spec(shown)
    published = any(analysis.published for analysis in shown)
    alt = "; ".join(f"{a.endpoint_label}, {a.label}: {_significance(a)}" for a in shown)
    return Figure(
        key=key,
        caption=f"Estimates of the simulated trials: {which}",
        alt=f"Histograms. {alt}.",
        note=(
            f"Each trial counts once. Dark: {_dark(shown)}. "
            f"Solid black line: true value. {lines_in_words(shown)}."
            + (" Dashed line: published estimate." if published else "")
        ),
        source="/estimates, /truth" + (", /published" if published else ""),
        spec=spec,
        height=height,
    )


def _dark(shown: Sequence[AnalysisView]) -> str:
    """What dark bars are."""
    words = {
        "significant": "significant at the analysis' own level (two-sided)",
        "equivalent": "equivalent, with the interval within the margins",
        "non-inferior": "non-inferior, with the interval on the better side of the margin",
        "superior": "superior, with the interval on the better side of the margin",
    }
    return " or ".join({words[analysis.found]: None for analysis in shown})


def _significance(analysis: AnalysisView) -> str:
    if analysis.one_sided:
        return f"{rounded(100 * float(analysis.significant.mean()))} % {analysis.found}"
    up, down = directions(analysis)
    words = f"{rounded(100 * (up + down))} % significant"
    parts = [(up, analysis.scale.more), (down, analysis.scale.less)]
    named = [(f"{rounded(100 * part)} %", word) for part, word in parts if part > 0]
    if len(named) == 1:
        return f"{words}, all {named[0][1]}"
    listed = ", ".join(" ".join(part) for part in named)
    return f"{words} ({listed})" if named else words


def _spec(shown: Sequence[AnalysisView]) -> tuple[dict[str, Any], int]:
    across = plotting.columns_of(len(shown), 2)
    down = -(-len(shown) // across)
    wide = plotting.domains(across, 0.07)
    high = plotting.stacked([PANEL_HEIGHT] * down, PANEL_GAP)
    traces = _legend(shown)
    axes, titles, shapes = {}, [], []
    for panel, analysis in enumerate(shown):
        column, row = panel % across, panel // across
        x, y = plotting.numbered("x", panel), plotting.numbered("y", panel)
        edges = bin_edges(analysis.scale.shown(analysis.estimate[analysis.usable]))
        traces += _bars(analysis, edges, x, y)
        marks = _marks(analysis)
        ends = [edges[0], edges[-1], *(value for value, *_ in marks)]
        margin = 0.03 * (max(ends) - min(ends))
        low, high_end = min(ends) - margin, max(ends) + margin
        # Left to itself, plotly puts the ticks of few bars at their middles: no round numbers.
        axes[plotting.numbered("xaxis", panel)] = plotting.axis(
            plotting.safe(_axis_label(analysis)),
            domain=wide[column],
            anchor=y,
            range=[low, high_end],
            tickvals=plotting.round_values(low, high_end, 6),
        )
        axes[plotting.numbered("yaxis", panel)] = plotting.axis(
            "trials" if column == 0 else "",
            domain=high[row],
            anchor=x,
            rangemode="tozero",
            dtick=max(1, plotting.step_of(_tallest(analysis, edges), 4)),
        )
        heading = _heading(analysis)
        titles.append(plotting.title(heading, wide[column][0], high[row][1], markup=True))
        shapes += [
            plotting.line(panel, value, vertical=True, colour=colour, dash=dash, width=width)
            for value, colour, dash, width in marks
        ]
    height = down * PANEL_HEIGHT + (down - 1) * PANEL_GAP + 168
    look = plotting.layout(
        height,
        **axes,
        shapes=shapes,
        annotations=titles,
        barmode="stack",
        bargap=0.04,
        showlegend=True,
        margin={"l": 60, "r": 16, "t": 112, "b": 56},
    )
    return {"data": traces, "layout": look}, height


def _marks(analysis: AnalysisView) -> list[tuple[float, str, str, float]]:
    """What estimates are to be seen against: place, colour, dash and width of each line."""
    marks = [(value, plotting.MUTED, dash, 1.4) for value, dash in analysis.seen_against]
    if analysis.published is not None:
        value = float(analysis.scale.shown(analysis.published.value))
        marks.append((value, plotting.PUBLISHED, "dash", 2.2))
    if np.isfinite(analysis.truth):
        marks.append((float(analysis.scale.shown(analysis.truth)), plotting.TRUTH, "solid", 2.2))
    return marks


def _heading(analysis: AnalysisView, most: int = 46) -> str:
    """A panel's title: the analysis, its endpoint if that has another name, and what was found.

    Labels of any length are cut; what was found is not.
    """

    def cut(text: str) -> str:
        return plotting.cut(text, most)

    same = analysis.title in (analysis.label, analysis.endpoint_label)
    names = [analysis.title] if same else [analysis.label, analysis.endpoint_label]
    rest = "<br>".join((*map(cut, names[1:]), plotting.safe(_significance(analysis))))
    return f"<b>{cut(names[0])}</b><br><span style='color:{plotting.MUTED}'>{rest}</span>"


def _axis_label(analysis: AnalysisView) -> str:
    return f"estimate ({analysis.effect_unit})" if analysis.effect_unit else "estimate"


def _bars(analysis: AnalysisView, edges: np.ndarray, x: str, y: str) -> list[dict[str, Any]]:
    values = analysis.scale.shown(analysis.estimate[analysis.usable])
    bright = analysis.significant[analysis.usable]
    width = float(edges[1] - edges[0])
    middles = (edges[:-1] + edges[1:]) / 2
    traces = []
    for which, colour, word in (
        (bright, plotting.SIMULATED, analysis.found),
        (~bright, plotting.SIMULATED_LIGHT, f"not {analysis.found}"),
    ):
        counts = np.histogram(values[which], edges)[0]
        traces.append(
            {
                "type": "bar",
                "x": plotting.plain_list(middles),
                "y": [int(count) for count in counts],
                "width": width,
                "xaxis": x,
                "yaxis": y,
                "marker": {"color": colour, "line": {"color": "#ffffff", "width": 0.6}},
                "showlegend": False,
                "hovertemplate": f"about %{{x:.3g}}: %{{y}} trials, {word}<extra></extra>",
            }
        )
    return traces


def _tallest(analysis: AnalysisView, edges: np.ndarray) -> float:
    values = analysis.scale.shown(analysis.estimate[analysis.usable])
    return float(np.histogram(values, edges)[0].max())


def bin_edges(values: np.ndarray) -> np.ndarray:
    """Round edges of equal bins: about as wide as Freedman and Diaconis' rule has them."""
    low, high = float(values.min()), float(values.max())
    if not high > low:
        low, high = low - 0.5 * abs(low or 1.0), high + 0.5 * abs(high or 1.0)
    first, third = np.percentile(values, (25, 75))
    wanted = MOST_BINS
    if third > first:
        wanted = (high - low) / (2 * (third - first) / len(values) ** (1 / 3))
    step = plotting.step_of(high - low, float(np.clip(wanted, FEWEST_BINS, MOST_BINS)))
    return step * np.arange(np.floor(low / step), np.ceil(high / step) + 1)


def _legend(shown: Sequence[AnalysisView]) -> list[dict[str, Any]]:
    """Traces without points that only stand in the legend."""
    nothing: dict[str, Any] = {"x": [None], "y": [None], "showlegend": True}
    found = " or ".join({analysis.found: None for analysis in shown})
    squares = [
        (found, plotting.SIMULATED),
        (f"not {found}", plotting.SIMULATED_LIGHT),
    ]
    lines = [("true value", plotting.TRUTH, "solid")]
    lines += [(name, plotting.MUTED, dash) for dash, name in called(shown).items()]
    if any(analysis.published for analysis in shown):
        lines.append(("published", plotting.PUBLISHED, "dash"))
    return [
        {
            **nothing,
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "marker": {"symbol": "square", "size": 12, "color": colour},
        }
        for name, colour in squares
    ] + [
        {
            **nothing,
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "line": {"color": colour, "dash": dash, "width": 2.2},
        }
        for name, colour, dash in lines
    ]


def _table(view: View) -> Table:
    columns = [
        Column("Endpoint and patients"),
        Column("α", number=True),
        Column("Power", "%", number=True),
        Column("Bias", number=True),
        Column("Empirical SD", number=True),
        Column("Mean SE", number=True),
        Column("SE off by", "%", number=True),
        Column("Coverage", "%", number=True),
        Column("Trials", number=True),
        Column("Failed", number=True),
    ]
    rows = []
    for heading, analyses in under_headings(view.analyses, lambda a: a.scale.stored_unit):
        rows.append(Row([heading], span=True))
        rows += [Row(_cells(analysis), indent=True) for analysis in analyses]
    return Table(
        "Operating characteristics by analysis",
        columns,
        rows,
        "/operating_characteristics",
        f"Power: share of trials with p < α{_one_sided(view)}. "
        "Bias: mean estimate minus truth. SE off by: mean "
        "standard error relative to the empirical standard deviation. Coverage: share of intervals "
        "that hold the truth, at each analysis' own level. Failed: trials that could not be "
        "analysed; they count against power. ±: Monte-Carlo standard error (Morris, White & "
        "Crowther 2019).",
    )


def _one_sided(view: View) -> str:
    if not any(analysis.one_sided for analysis in view.analyses):
        return ""
    return ", which is one-sided where margins are stated, the larger of two"


def _cells(analysis: AnalysisView) -> list[Cell]:
    found = analysis.characteristics
    nan = float("nan")
    trials, failed = found.get("trials", nan), found.get("failures", nan)
    factor = analysis.scale.stored_factor

    def number(name: str, by: float) -> Cell:
        return measured(by * found.get(name, nan), by * found.get(f"{name}_mcse", nan))

    return [
        analysis.label,
        f"{analysis.spec.alpha:g}",
        share(found.get("power", nan), found.get("power_mcse", nan), trials),
        number("bias", factor),
        number("empirical_sd", factor),
        number("mean_se", factor),
        number("relative_se_error", 1.0),
        share(found.get("coverage", nan), found.get("coverage_mcse", nan), trials - failed),
        whole(trials),
        fixed(failed, 0),
    ]
