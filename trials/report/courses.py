"""What was measured in patients and what they were given, over time and by arm."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from insilico.pages import plotting
from insilico.pages.blocks import Block, Column, Figure, Row, Section, Table, absent
from insilico.pages.numbers import plain, quartiles, significant, whole
from trials.report.view import ArmView, View

PERCENTILES = (5, 25, 50, 75, 95)

FEWEST = 5
"""Values of a day that percentiles are taken from."""

PANELS_WIDE = 3
PANEL_HEIGHT = 270


class Course(NamedTuple):
    """Percentiles of one arm by day: (day,), (percentile, day), and how many values each has."""

    days: np.ndarray
    percentiles: np.ndarray
    counts: np.ndarray


def section(view: View) -> Section:
    """Measured outputs and doses by day."""
    return Section("course", "Patients over time", list(_blocks(view)))


def _blocks(view: View) -> list[Block]:
    outcomes = view.group("outcomes")
    if outcomes is None or view.assigned is None:
        return [
            absent(
                f"Values at visits are not shown: the run kept only {view.config.keep} "
                f"(keep: {view.config.keep})."
            )
        ]
    blocks: list[Block] = []
    for output in view.config.visits.measure:
        held = f"{output}_measured" if f"{output}_measured" in outcomes else output
        label = f"Measured {_inside(view.output_label(output))}"
        blocks.append(_figure(view, outcomes, held, f"course-{output}", label, output))
    if "daily_dose" in outcomes:
        name = f"Daily dose of {view.config.drug.name}"
        blocks.append(_figure(view, outcomes, "daily_dose", "course-dose", name, "daily_dose"))
    return blocks


def _inside(label: str) -> str:
    return label if label[:2].isupper() else label[:1].lower() + label[1:]


def courses(view: View, outcomes: xr.Dataset, name: str) -> dict[str, Course]:
    """Percentiles by scheduled day of what each arm's patients had, by arm.

    Only scheduled days: on days between, only patients whose last value asked for a recheck are
    seen, and their values are no picture of the arm.
    """
    values = view.observed(outcomes, name)
    time = view.observed(outcomes, "time")
    attended = view.observed(outcomes, "attended")
    if values is None or time is None or attended is None or view.assigned is None:
        return {}
    # A visit's hour is on its day; the small shift is for times stored in single precision.
    day = np.floor(time + 1e-4) + 1
    seen = attended.astype(bool) & np.isfinite(values)
    found = {}
    for number, arm in enumerate(view.arms):
        here = (view.assigned == number)[..., None] & seen
        days, percentiles, counts = [], [], []
        for scheduled in view.config.visits.days:
            column = values[here & (day == scheduled)]
            if column.size >= FEWEST:
                days.append(scheduled)
                percentiles.append(np.percentile(column, PERCENTILES))
                counts.append(column.size)
        if days:
            found[arm.name] = Course(np.array(days), np.array(percentiles).T, np.array(counts))
    return found


def _figure(
    view: View, outcomes: xr.Dataset, held: str, key: str, label: str, output: str
) -> Block:
    found = courses(view, outcomes, held)
    arms = [arm for arm in view.arms if arm.name in found]
    if not arms:
        return absent(f"{label}: no scheduled day has {FEWEST} values or more in any arm.")
    unit = view.unit(output)
    low, high, of = _band(view, output)
    spec, height = _spec(arms, found, plotting.with_unit(label.split(" (")[0], unit), (low, high))
    shading = (
        f" The green band is the range that “{of}” counts ({plain(low)} to {plain(high)})."
        if of and low is not None and high is not None
        else ""
    )
    others = " Thin lines: medians of the other arms." if len(arms) > 1 else ""
    return Figure(
        key=key,
        caption=f"{label} by day and arm",
        alt=_alt(arms, found, label, unit),
        note=(
            "Line: median. Dark ribbon: quartiles; light ribbon: 5th to 95th percentile of "
            f"patients seen on the scheduled day.{others}{shading} From {view.pooled_words}."
        ),
        source="/outcomes, /randomisation",
        spec=spec,
        height=height,
        table=_table(arms, found, label, unit),
    )


def _band(view: View, output: str) -> tuple[float | None, float | None, str]:
    """The range of the first analysed endpoint of this output that has one."""
    for analysis in view.analyses:
        low, high = (
            getattr(analysis.endpoint, "low", None),
            getattr(analysis.endpoint, "high", None),
        )
        if analysis.endpoint.of == output and low is not None and high is not None:
            return low, high, analysis.endpoint_label
    return None, None, ""


def _spec(
    arms: list[ArmView],
    found: dict[str, Course],
    label: str,
    band: tuple[float | None, float | None],
) -> tuple[dict[str, Any], int]:
    across = plotting.columns_of(len(arms), PANELS_WIDE)
    down = -(-len(arms) // across)
    wide = plotting.domains(across, 0.04)
    high = plotting.stacked([1.0] * down, 0.32)
    everything = np.concatenate([found[arm.name].percentiles.ravel() for arm in arms])
    top = float(np.max(everything)) or 1.0
    bottom = min(0.0, float(np.min(everything)))
    if float(np.min(everything)) > 0.35 * top:
        bottom = float(np.min(everything)) - 0.1 * (top - float(np.min(everything)))
    days = [float(day) for day in found[arms[0].name].days]
    traces, shapes, axes, titles = [], [], {}, []
    for panel, arm in enumerate(arms):
        column, row = panel % across, panel // across
        x, y = plotting.numbered("x", panel), plotting.numbered("y", panel)
        for other in arms:
            if other.name != arm.name:
                traces.append(_median(found[other.name], other, x, y, thin=True))
        traces += _ribbons(found[arm.name], arm, x, y)
        traces.append(_median(found[arm.name], arm, x, y, thin=False))
        if band[0] is not None and band[1] is not None:
            shapes.append(_shade(panel, band[0], band[1]))
        axes[plotting.numbered("xaxis", panel)] = plotting.axis(
            "Day of treatment",
            domain=wide[column],
            anchor=y,
            tickvals=plotting.spaced(days, 0.085 if across < 3 else 0.12),
            showgrid=False,
        )
        axes[plotting.numbered("yaxis", panel)] = plotting.axis(
            plotting.safe(label) if column == 0 else "",
            domain=high[row],
            anchor=x,
            range=[bottom, top * 1.04],
            showticklabels=column == 0,
        )
        titles.append(plotting.title(arm.label, wide[column][0], high[row][1], arm.colour))
    height = down * PANEL_HEIGHT + (down - 1) * 86 + 90
    return {
        "data": traces,
        "layout": plotting.layout(height, **axes, shapes=shapes, annotations=titles),
    }, height


def _shade(panel: int, low: float, high: float) -> dict[str, Any]:
    x, y = plotting.numbered("x", panel), plotting.numbered("y", panel)
    return {
        "type": "rect", "xref": f"{x} domain", "yref": y, "x0": 0, "x1": 1, "y0": low, "y1": high,
        "fillcolor": plotting.BAND, "line": {"width": 0}, "layer": "below",
    }  # fmt: skip


def _ribbons(course: Course, arm: ArmView, x: str, y: str) -> list[dict[str, Any]]:
    traces = []
    for low, high, opacity in ((0, 4, 0.16), (1, 3, 0.30)):
        around = np.concatenate([course.percentiles[low], course.percentiles[high][::-1]])
        traces.append(
            {
                "type": "scatter",
                "x": plotting.plain_list(np.concatenate([course.days, course.days[::-1]])),
                "y": plotting.plain_list(around),
                "xaxis": x,
                "yaxis": y,
                "mode": "lines",
                "fill": "toself",
                "fillcolor": plotting.translucent(arm.colour, opacity),
                "line": {"width": 0, "color": arm.colour},
                "hoverinfo": "skip",
            }
        )
    return traces


def _median(course: Course, arm: ArmView, x: str, y: str, *, thin: bool) -> dict[str, Any]:
    name = plotting.safe(arm.label)
    return {
        "type": "scatter",
        "x": plotting.plain_list(course.days),
        "y": plotting.plain_list(course.percentiles[2]),
        "xaxis": x,
        "yaxis": y,
        "mode": "lines" if thin else "lines+markers",
        "line": {
            "color": arm.colour,
            "width": 1.3 if thin else 2.6,
            "dash": "dot" if thin else "solid",
        },
        "marker": {"size": 6, "color": arm.colour},
        "hovertemplate": f"{name}<br>day %{{x}}: median %{{y:.3g}}<extra></extra>",
    }


def _alt(arms: list[ArmView], found: dict[str, Course], label: str, unit: str) -> str:
    parts = []
    for arm in arms:
        course = found[arm.name]
        first, last = course.percentiles[2][0], course.percentiles[2][-1]
        parts.append(
            f"{arm.label}: median {significant(first)} {unit} on day {course.days[0]}, "
            f"{significant(last)} {unit} on day {course.days[-1]}"
        )
    return f"{label} by day, one panel an arm. " + "; ".join(parts) + "."


def _table(arms: list[ArmView], found: dict[str, Course], label: str, unit: str) -> Table:
    days = sorted({int(day) for arm in arms for day in found[arm.name].days})

    def cell(arm: ArmView, day: int) -> list[str]:
        course = found[arm.name]
        at = np.flatnonzero(course.days == day)
        if at.size == 0:
            return ["–", "0"]
        _, low, middle, high, _ = course.percentiles[:, at[0]]
        return [quartiles(low, middle, high), whole(float(course.counts[at[0]]))]

    columns = [Column("Day", number=True)]
    for arm in arms:
        columns += [Column(arm.label, unit, number=True), Column("values", number=True)]
    rows = [Row([str(day), *(text for arm in arms for text in cell(arm, day))]) for day in days]
    return Table(f"{label}: median (quartiles) by day", columns, rows, "/outcomes")
