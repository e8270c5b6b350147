"""What single trials find: the spread of their estimates and each analysis' characteristics."""

from __future__ import annotations

from typing import Any

import numpy as np

from trials.report import plotting
from trials.report.arms import by_endpoint
from trials.report.blocks import Block, Cell, Column, Figure, Row, Section, Table, absent
from trials.report.numbers import fixed, measured, share, whole
from trials.report.view import AnalysisView, View

MOST_PANELS = 12
FEWEST_BINS, MOST_BINS = 8, 40
PANEL_HEIGHT = 190


def section(view: View) -> Section:
    """The distribution of estimates and the table of operating characteristics."""
    title = "What single trials find"
    if not view.analyses:
        return Section("estimates", title, [absent("The results hold no analysis.")])
    shown = [analysis for analysis in view.analyses if analysis.available]
    first = [analysis for analysis in view.decisive if analysis.available]
    shown = [*first, *(analysis for analysis in shown if analysis not in first)][:MOST_PANELS]
    blocks: list[Block] = []
    if shown:
        blocks.append(_figure(shown))
    else:
        blocks.append(absent("No trial gave an estimate, so there is no distribution to show."))
    blocks.append(_table(view))
    return Section("estimates", title, blocks)


def directions(analysis: AnalysisView) -> tuple[float, float]:
    """Shares of trials with a significant effect, upward and downward."""
    trials = max(len(analysis.estimate), 1)
    up = (analysis.significant & (analysis.estimate > 0)).sum() / trials
    down = (analysis.significant & (analysis.estimate < 0)).sum() / trials
    return float(up), float(down)


def _figure(shown: list[AnalysisView]) -> Figure:
    spec, height = _spec(shown)
    published = any(analysis.published for analysis in shown)
    alt = "; ".join(f"{a.endpoint_label}, {a.label}: {_significance(a)}" for a in shown)
    return Figure(
        key="estimates",
        caption="Estimates of the simulated trials",
        alt=f"Histograms. {alt}.",
        note=(
            "Each trial counts once. Dark: significant at the analysis' own level (two-sided). "
            "Solid black line: true value; dotted line: no effect"
            + ("; dashed line: published estimate." if published else ".")
        ),
        source="/estimates, /truth" + (", /published" if published else ""),
        spec=spec,
        height=height,
    )


def _significance(analysis: AnalysisView) -> str:
    up, down = directions(analysis)
    words = f"{100 * (up + down):.3g} % significant"
    parts = [(up, analysis.scale.more), (down, analysis.scale.less)]
    named = [f"{100 * part:.3g} % {word}" for part, word in parts if part > 0]
    return f"{words} ({', '.join(named)})" if named else words


def _spec(shown: list[AnalysisView]) -> tuple[dict[str, Any], int]:
    across = plotting.columns_of(len(shown), 2)
    down = -(-len(shown) // across)
    wide = plotting.domains(across, 0.07)
    gap = 106
    high = plotting.stacked([PANEL_HEIGHT] * down, gap)
    traces = _legend(any(analysis.published for analysis in shown))
    axes, titles, shapes = {}, [], []
    for panel, analysis in enumerate(shown):
        column, row = panel % across, panel // across
        x, y = plotting.numbered("x", panel), plotting.numbered("y", panel)
        traces += _bars(analysis, x, y)
        axes[plotting.numbered("xaxis", panel)] = plotting.axis(
            plotting.safe(_axis_label(analysis)), domain=wide[column], anchor=y, nticks=7
        )
        axes[plotting.numbered("yaxis", panel)] = plotting.axis(
            "trials" if column == 0 else "", domain=high[row], anchor=x, nticks=5, rangemode="tozero"
        )
        heading = (
            f"<b>{plotting.safe(_short(analysis))}</b><br>"
            f"<span style='color:{plotting.MUTED}'>{plotting.safe(_significance(analysis))}</span>"
        )
        titles.append(plotting.title(heading, wide[column][0], high[row][1], markup=True))
        marks = [(analysis.scale.null, plotting.MUTED, "dot", 1.4)]
        if analysis.published is not None:
            value = float(analysis.scale.shown(analysis.published.value))
            marks.append((value, plotting.PUBLISHED, "dash", 2.2))
        if np.isfinite(analysis.truth):
            marks.append((float(analysis.scale.shown(analysis.truth)), plotting.TRUTH, "solid", 2.2))
        shapes += [
            plotting.line(panel, value, vertical=True, colour=colour, dash=dash, width=width)
            for value, colour, dash, width in marks
        ]
    height = down * PANEL_HEIGHT + (down - 1) * gap + 160
    look = plotting.layout(
        height,
        **axes,
        shapes=shapes,
        annotations=titles,
        barmode="stack",
        bargap=0.04,
        showlegend=True,
        margin={"l": 60, "r": 16, "t": 96, "b": 56},
    )
    return {"data": traces, "layout": look}, height


def _short(analysis: AnalysisView, most: int = 48) -> str:
    same = analysis.label.lower() in analysis.endpoint_label.lower()
    text = analysis.endpoint_label if same else f"{analysis.endpoint_label}: {analysis.label}"
    if len(text) > most:
        text = analysis.label
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _axis_label(analysis: AnalysisView) -> str:
    return f"estimate ({analysis.effect_unit})" if analysis.effect_unit else "estimate"


def _bars(analysis: AnalysisView, x: str, y: str) -> list[dict[str, Any]]:
    values = analysis.scale.shown(analysis.estimate[analysis.usable])
    bright = analysis.significant[analysis.usable]
    edges = np.histogram_bin_edges(values, bins=_bins(values))
    width = float(edges[1] - edges[0])
    middles = (edges[:-1] + edges[1:]) / 2
    traces = []
    for which, colour, word in (
        (bright, plotting.SIMULATED, "significant"),
        (~bright, plotting.SIMULATED_LIGHT, "not significant"),
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


def _bins(values: np.ndarray) -> int:
    """Freedman and Diaconis' number of bins, within what can be read."""
    low, high = np.percentile(values, (25, 75))
    spread = float(values.max() - values.min())
    if not high > low or not spread > 0:
        return FEWEST_BINS
    wanted = spread / (2 * (high - low) / len(values) ** (1 / 3))
    return int(np.clip(np.ceil(wanted), FEWEST_BINS, MOST_BINS))


def _legend(published: bool) -> list[dict[str, Any]]:
    """Traces without points that only stand in the legend."""
    nothing: dict[str, Any] = {"x": [None], "y": [None], "showlegend": True}
    squares = [
        ("significant", plotting.SIMULATED),
        ("not significant", plotting.SIMULATED_LIGHT),
    ]
    lines = [("true value", plotting.TRUTH, "solid"), ("no effect", plotting.MUTED, "dot")]
    if published:
        lines.append(("published", plotting.PUBLISHED, "dash"))
    return [
        {
            **nothing, "type": "scatter", "mode": "markers", "name": name,
            "marker": {"symbol": "square", "size": 12, "color": colour},
        }
        for name, colour in squares
    ] + [
        {
            **nothing, "type": "scatter", "mode": "lines", "name": name,
            "line": {"color": colour, "dash": dash, "width": 2.2},
        }
        for name, colour, dash in lines
    ]  # fmt: skip


def _table(view: View) -> Table:
    columns = [
        Column("Endpoint and patients"),
        Column("Power", "%", number=True),
        Column("Unit"),
        Column("Bias", number=True),
        Column("Empirical SD", number=True),
        Column("Mean SE", number=True),
        Column("SE off by", "%", number=True),
        Column("Coverage", "%", number=True),
        Column("Trials", number=True),
        Column("Failed", number=True),
    ]
    rows = []
    for endpoint, analyses in by_endpoint(view):
        rows.append(Row([endpoint], span=True))
        rows += [Row(_cells(analysis), indent=True) for analysis in analyses]
    return Table(
        "Operating characteristics by analysis",
        columns,
        rows,
        "/operating_characteristics",
        "Power: share of trials with p < α. Bias: mean estimate minus truth. SE off by: mean "
        "standard error relative to the empirical standard deviation. Coverage: share of intervals "
        "that hold the truth, at each analysis' own level. Failed: trials that could not be "
        "analysed; they count against power. ±: Monte-Carlo standard error (Morris, White & "
        "Crowther 2019).",
    )


def _cells(analysis: AnalysisView) -> list[Cell]:
    found = analysis.characteristics
    nan = float("nan")
    trials, failed = found.get("trials", nan), found.get("failures", nan)
    factor = analysis.scale.factor

    def number(name: str, by: float) -> Cell:
        return measured(by * found.get(name, nan), by * found.get(f"{name}_mcse", nan))

    label = f"{analysis.label} (α = {analysis.spec.alpha:g})"
    return [
        label,
        share(found.get("power", nan), found.get("power_mcse", nan), trials),
        analysis.scale.stored_unit,
        number("bias", factor),
        number("empirical_sd", factor),
        number("mean_se", factor),
        number("relative_se_error", 1.0),
        share(found.get("coverage", nan), found.get("coverage_mcse", nan), trials - failed),
        whole(trials),
        fixed(failed, 0),
    ]
