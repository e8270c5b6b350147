"""What was measured in patients and what they were given, over time and by arm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from insilico.pages import plotting
from insilico.pages.blocks import Block, Column, Figure, Row, Section, Table, absent
from insilico.pages.numbers import plain, quartiles, significant, whole
from trials.report.analysis_view import ArmView
from trials.report.view import View

PERCENTILES = (5, 25, 50, 75, 95)

FEWEST = 5
"""Values of a visit that percentiles are taken from."""

PANELS_WIDE = 3
TITLE_LENGTH = 90
"""Characters of a title that is as wide as the figure."""
PANEL_HEIGHT = 270


class Clock(NamedTuple):
    """When visits are, as a reader is told: on days, or at times after the first dose."""

    scheduled: Sequence[float]
    title: str
    column: str
    unit: str
    word: str
    """Before a time, as in "day 3"."""

    @classmethod
    def of(cls, view: View) -> Clock:
        visits = view.config.visits
        if visits.times is not None:
            return cls(visits.times, "Time after the first dose (h)", "Time", "h", "")
        return cls(visits.days or (), "Day of treatment", "Day", "", "day ")

    def mention(self, time: float) -> str:
        """A time inside a sentence."""
        return f"{self.word}{plain(time)} {self.unit}".strip()

    def read(self, view: View, time: np.ndarray) -> np.ndarray:
        """Stored times (d since day 1 began) as this clock has them; NaN between its visits."""
        if self.unit == "h":
            hours = 24.0 * time - view.config.drug.first_dose
            nearest = np.abs(hours[..., None] - np.asarray(self.scheduled)).argmin(axis=-1)
            return np.asarray(self.scheduled)[nearest]
        # A visit's hour is on its day; the small shift is for times stored in single precision.
        return np.floor(time + 1e-4) + 1


class Course(NamedTuple):
    """Percentiles of one arm by time of its clock: (time,), (percentile, time), and how many values
    each has."""

    times: np.ndarray
    percentiles: np.ndarray
    counts: np.ndarray


def section(view: View) -> Section:
    """Measured outputs and doses over time."""
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
        if view.config.visits.times is not None:
            blocks.append(
                _figure(view, outcomes, held, f"course-{output}-log", label, output, log=True)
            )
    if "daily_dose" in outcomes and view.config.visits.times is None:
        name = f"Daily dose of {view.config.drug.name}"
        blocks.append(_figure(view, outcomes, "daily_dose", "course-dose", name, "daily_dose"))
    return blocks


def _inside(label: str) -> str:
    return label if label[:2].isupper() else label[:1].lower() + label[1:]


def courses(view: View, outcomes: xr.Dataset, name: str) -> dict[str, Course]:
    """Percentiles by scheduled visit of what each arm's patients had, by arm.

    Only scheduled ones: on days between, only patients whose last value asked for a recheck are
    seen, and their values are no picture of the arm.
    """
    values = view.observed(outcomes, name)
    time = view.observed(outcomes, "time")
    attended = view.observed(outcomes, "attended")
    if values is None or time is None or attended is None or view.assigned is None:
        return {}
    clock = Clock.of(view)
    read = clock.read(view, time)
    seen = attended.astype(bool) & np.isfinite(values)
    found = {}
    for number, arm in enumerate(view.arms):
        here = (view.assigned == number)[..., None] & seen
        times, percentiles, counts = [], [], []
        for scheduled in clock.scheduled:
            column = values[here & (read == scheduled)]
            if column.size >= FEWEST:
                times.append(scheduled)
                percentiles.append(np.percentile(column, PERCENTILES))
                counts.append(column.size)
        if times:
            found[arm.name] = Course(np.array(times), np.array(percentiles).T, np.array(counts))
    return found


def _positive(course: Course) -> Course:
    """The visits of a course at which all of it can be shown on a logarithmic scale."""
    shown = np.all(course.percentiles > 0, axis=0)
    return Course(course.times[shown], course.percentiles[:, shown], course.counts[shown])


def _figure(
    view: View,
    outcomes: xr.Dataset,
    held: str,
    key: str,
    label: str,
    output: str,
    *,
    log: bool = False,
) -> Block:
    clock, found = Clock.of(view), courses(view, outcomes, held)
    if log:
        found = {arm: _positive(course) for arm, course in found.items()}
        found = {arm: course for arm, course in found.items() if course.times.size}
    arms = [arm for arm in view.arms if arm.name in found]
    if not arms:
        scale = " above 0" if log else ""
        return absent(f"{label}: no scheduled visit has {FEWEST} values{scale} in any arm.")
    unit = view.unit(output)
    low, high, of = _band(view, output)
    axis = plotting.with_unit(label.split(" (")[0], unit)
    spec, height = _spec(arms, found, clock, axis, (low, high), log=log)
    shading = (
        f" The green band is the range that “{of}” counts ({plain(low)} to {plain(high)})."
        if of and low is not None and high is not None
        else ""
    )
    others = " Thin lines: medians of the other arms." if len(arms) > 1 else ""
    return Figure(
        key=key,
        caption=f"{label} by {'day' if clock.word else 'time'} and arm"
        + (", on a logarithmic scale" if log else ""),
        alt=_alt(arms, found, clock, label, unit),
        note=(
            "Line: median. Dark ribbon: quartiles; light ribbon: 5th to 95th percentile of "
            f"patients seen {'on the scheduled day' if clock.word else 'at the scheduled time'}."
            f"{others}{shading} From {view.pooled_words}{_each_period(view)}."
        ),
        source="/outcomes, /randomisation",
        spec=spec,
        height=height,
        table=_table(arms, found, clock, label, unit),
    )


def _each_period(view: View) -> str:
    return "" if view.config.trial.crossover is None else ", each in every period"


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
    clock: Clock,
    label: str,
    band: tuple[float | None, float | None],
    *,
    log: bool,
) -> tuple[dict[str, Any], int]:
    across = plotting.columns_of(len(arms), PANELS_WIDE)
    down = -(-len(arms) // across)
    wide = plotting.domains(across, 0.04)
    high = plotting.stacked([1.0] * down, 0.32)
    everything = np.concatenate([found[arm.name].percentiles.ravel() for arm in arms])
    vertical = _logarithmic(everything) if log else _linear(everything)
    times = [float(time) for time in found[arms[0].name].times]
    traces, shapes, axes, titles = [], [], {}, []
    for panel, arm in enumerate(arms):
        column, row = panel % across, panel // across
        x, y = plotting.numbered("x", panel), plotting.numbered("y", panel)
        for other in arms:
            if other.name != arm.name:
                traces.append(_median(found[other.name], other, clock, x, y, thin=True))
        traces += _ribbons(found[arm.name], arm, x, y)
        traces.append(_median(found[arm.name], arm, clock, x, y, thin=False))
        if band[0] is not None and band[1] is not None:
            shapes.append(_shade(panel, band[0], band[1]))
        axes[plotting.numbered("xaxis", panel)] = plotting.axis(
            clock.title,
            domain=wide[column],
            anchor=y,
            tickvals=plotting.spaced(times, 0.085 if across < 3 else 0.12),
            showgrid=False,
        )
        axes[plotting.numbered("yaxis", panel)] = plotting.axis(
            plotting.safe(label) if column == 0 else "",
            domain=high[row],
            anchor=x,
            showticklabels=column == 0,
            **vertical,
        )
        corner = wide[column][0], high[row][1]
        most = TITLE_LENGTH // across
        titles.append(plotting.title(arm.label, *corner, arm.colour, most=most))
    height = down * PANEL_HEIGHT + (down - 1) * 86 + 90
    return {
        "data": traces,
        "layout": plotting.layout(height, **axes, shapes=shapes, annotations=titles),
    }, height


def _linear(values: np.ndarray) -> dict[str, Any]:
    """A vertical axis from 0, or from the smallest value where that is far from 0."""
    low, top = float(np.min(values)), float(np.max(values)) or 1.0
    bottom = low - 0.1 * (top - low) if low > 0.35 * top else min(0.0, low)
    return {"range": [bottom, top * 1.04]}


def _logarithmic(values: np.ndarray) -> dict[str, Any]:
    """A logarithmic vertical axis with a few ticks a decade."""
    low, high = float(np.min(values)), float(np.max(values))
    decades = range(int(np.floor(np.log10(low))), int(np.log10(high)) + 1)
    ticks = [size * 10.0**power for power in decades for size in (1, 2, 5)]
    return {
        "type": "log",
        "range": [float(np.log10(low / 1.1)), float(np.log10(high * 1.1))],
        "tickvals": ticks,
        "ticktext": [f"{tick:g}" for tick in ticks],
    }


def _shade(panel: int, low: float, high: float) -> dict[str, Any]:
    x, y = plotting.numbered("x", panel), plotting.numbered("y", panel)
    return {
        "type": "rect",
        "xref": f"{x} domain",
        "yref": y,
        "x0": 0,
        "x1": 1,
        "y0": low,
        "y1": high,
        "fillcolor": plotting.BAND,
        "line": {"width": 0},
        "layer": "below",
    }


def _ribbons(course: Course, arm: ArmView, x: str, y: str) -> list[dict[str, Any]]:
    traces = []
    for low, high, opacity in ((0, 4, 0.16), (1, 3, 0.30)):
        around = np.concatenate([course.percentiles[low], course.percentiles[high][::-1]])
        traces.append(
            {
                "type": "scatter",
                "x": plotting.plain_list(np.concatenate([course.times, course.times[::-1]])),
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


def _median(
    course: Course, arm: ArmView, clock: Clock, x: str, y: str, *, thin: bool
) -> dict[str, Any]:
    unit = f" {clock.unit}" if clock.unit else ""
    name = plotting.safe(arm.label)
    return {
        "type": "scatter",
        "x": plotting.plain_list(course.times),
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
        "hovertemplate": f"{name}<br>{clock.word}%{{x}}{unit}: median %{{y:.3g}}<extra></extra>",
    }


def _alt(arms: list[ArmView], found: dict[str, Course], clock: Clock, label: str, unit: str) -> str:
    parts, at = [], "on " if clock.word else "at "
    for arm in arms:
        course = found[arm.name]
        first, last = (
            f"{significant(course.percentiles[2][end])} {unit} "
            f"{at}{clock.mention(course.times[end])}"
            for end in (0, -1)
        )
        parts.append(f"{arm.label}: median {first}, {last}")
    by = "day" if clock.word else "time"
    return f"{label} by {by}, one panel an arm. " + "; ".join(parts) + "."


def _table(
    arms: list[ArmView], found: dict[str, Course], clock: Clock, label: str, unit: str
) -> Table:
    times = sorted({float(time) for arm in arms for time in found[arm.name].times})

    def cell(arm: ArmView, time: float) -> list[str]:
        course = found[arm.name]
        at = np.flatnonzero(course.times == time)
        if at.size == 0:
            return ["–", "0"]
        _, low, middle, high, _ = course.percentiles[:, at[0]]
        return [quartiles(low, middle, high), whole(float(course.counts[at[0]]))]

    columns = [Column(clock.column, clock.unit, number=True)]
    for arm in arms:
        columns += [Column(arm.label, unit, number=True), Column("values", number=True)]
    rows = [
        Row([plain(time), *(text for arm in arms for text in cell(arm, time))]) for time in times
    ]
    by = "day" if clock.word else "time"
    return Table(f"{label}: median (quartiles) by {by}", columns, rows, "/outcomes")
