"""Times to an event: the share of patients in whom it was seen, by arm and day."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from insilico.pages import plotting
from insilico.pages.blocks import Block, Column, Figure, Row, Section, Table, absent
from insilico.pages.numbers import fixed, interval
from insilico.pages.words import inline, readable
from trials.analyses import kaplan_meier
from trials.config import TimeToRangeSpec
from trials.report.analysis_view import ArmView
from trials.report.view import View

MOST_TIMES = 120
"""Steps that a curve is drawn with."""

TABLE_TIMES = 8
HEIGHT = 400


class Curves(NamedTuple):
    """Cumulative shares (%) at times: over all trials, and the range of 95 % of single trials."""

    times: np.ndarray
    pooled: np.ndarray
    low: np.ndarray
    high: np.ndarray


def section(view: View) -> Section | None:
    """One figure for each endpoint that is a time to an event; nothing without any."""
    kinds = {
        name: spec
        for name, spec in view.config.endpoints.items()
        if isinstance(spec, TimeToRangeSpec)
    }
    if not kinds:
        return None
    endpoints = view.group("endpoints")
    title = "Time to event"
    if endpoints is None or view.assigned is None:
        why = f"Curves are not shown: the run kept only {view.config.keep}."
        return Section("events", title, [absent(why)])
    blocks: list[Block] = [
        _figure(view, endpoints, name, spec.label or readable(name)) for name, spec in kinds.items()
    ]
    return Section("events", title, blocks)


def curves(view: View, endpoints: xr.Dataset, name: str) -> dict[str, Curves]:
    """The share of each arm's patients with the event, by arm."""
    time, event = view.observed(endpoints, name), view.observed(endpoints, f"{name}_event")
    valid, solved = view.observed(endpoints, f"{name}_valid"), view.observed(endpoints, "solved")
    if time is None or event is None or valid is None or view.assigned is None:
        return {}
    used = valid.astype(bool) & np.isfinite(time)
    if solved is not None:
        used &= solved.astype(bool)
    subjects = time.shape[-1]
    time, event, used = (
        np.asarray(column).reshape(-1, subjects) for column in (time, event.astype(bool), used)
    )
    arm_of = view.assigned.reshape(-1, subjects)
    time = np.where(used, time, 0.0)
    if not (used & event).any():
        return {}
    at = _times(time[used & event], float(time[used].max()))
    found = {}
    for number, arm in enumerate(view.arms):
        here = used & (arm_of == number)
        if not here.any():
            continue
        each = 100 * (1 - np.asarray(kaplan_meier(time, event, here, at).survival))
        together = kaplan_meier(
            time.reshape(1, -1), event.reshape(1, -1), here.reshape(1, -1), at
        ).survival
        followed = np.isfinite(each).any(axis=0)
        low, high = np.full(at.shape, np.nan), np.full(at.shape, np.nan)
        low[followed], high[followed] = np.nanpercentile(each[:, followed], (2.5, 97.5), axis=0)
        found[arm.name] = Curves(at, 100 * (1 - np.asarray(together)[0]), low, high)
    return found


def _times(events: np.ndarray, last: float) -> np.ndarray:
    """Every time of an event where they are few, as with scheduled visits; else an even grid."""
    distinct = np.unique(np.round(events, 4))
    if distinct.size > MOST_TIMES:
        distinct = np.linspace(0, last, MOST_TIMES)
    return np.unique([0.0, *distinct, last])


def _figure(view: View, endpoints: xr.Dataset, name: str, label: str) -> Block:
    found = curves(view, endpoints, name)
    if not found:
        return absent(f"{label}: the event was never seen, so there is no curve.")
    arms = [arm for arm in view.arms if arm.name in found]
    alt = "; ".join(
        f"{arm.label}: {fixed(_last(found[arm.name].pooled), 0)} % by the end" for arm in arms
    )
    return Figure(
        key=f"events-{name}",
        caption=f"{label}: share of patients in whom it was reached",
        alt=f"Step curves of the cumulative share by arm. {alt}.",
        note=(
            f"One minus the Kaplan-Meier estimate over {view.pooled_words}; ribbon: range of the "
            "curve in 95 % of single trials. An event is seen at a visit, so that curves rise on "
            "visit days."
        ),
        source="/endpoints, /randomisation",
        spec=_spec(arms, found),
        height=HEIGHT,
        table=_table(arms, found, label),
    )


def _last(column: np.ndarray) -> float:
    finite = column[np.isfinite(column)]
    return float(finite[-1]) if finite.size else float("nan")


def _spec(arms: list[ArmView], found: dict[str, Curves]) -> dict[str, Any]:
    traces: list[dict[str, Any]] = []
    for arm in arms:
        curve = found[arm.name]
        known = np.isfinite(curve.low) & np.isfinite(curve.high)
        for edge, fill in ((curve.low, None), (curve.high, "tonexty")):
            traces.append(
                {
                    "type": "scatter",
                    "x": plotting.plain_list(curve.times[known]),
                    "y": plotting.plain_list(edge[known]),
                    "mode": "lines",
                    "line": {"width": 0, "shape": "hv", "color": arm.colour},
                    "fillcolor": plotting.translucent(arm.colour, 0.15),
                    "hoverinfo": "skip",
                    "showlegend": False,
                    **({"fill": fill} if fill else {}),
                }
            )
    for arm in arms:
        curve = found[arm.name]
        traces.append(
            {
                "type": "scatter",
                "name": plotting.safe(arm.label),
                "x": plotting.plain_list(curve.times),
                "y": plotting.plain_list(curve.pooled),
                "mode": "lines",
                "line": {"width": 2.6, "shape": "hv", "color": arm.colour},
                "hovertemplate": "after %{x:.3g} d: %{y:.3g} %<extra>%{fullData.name}</extra>",
            }
        )
    last = float(found[arms[0].name].times[-1])
    top = max(float(np.nanmax(found[arm.name].high)) for arm in arms)
    return {
        "data": traces,
        "layout": plotting.layout(
            HEIGHT,
            xaxis=plotting.axis("days since the first day", range=[0, 1.03 * last]),
            yaxis=plotting.axis(
                "patients with the event (%)", range=[0, 100] if top > 40 else [0, 1.1 * top]
            ),
            showlegend=True,
            margin={"l": 60, "r": 16, "t": 46, "b": 50},
        ),
    }


def _table(arms: list[ArmView], found: dict[str, Curves], label: str) -> Table:
    columns = [Column("Day", "d", number=True)]
    for arm in arms:
        columns += [
            Column("Reached", "%", number=True, group=arm.label),
            Column("95 % of trials", "%", number=True, group=arm.label),
        ]
    times = found[arms[0].name].times
    picks = np.unique(np.linspace(0, times.size - 1, min(TABLE_TIMES, times.size)).round()).astype(
        int
    )
    rows = [
        Row(
            [
                fixed(float(times[pick]), 1),
                *(
                    text
                    for arm in arms
                    for text in (
                        fixed(float(found[arm.name].pooled[pick]), 1),
                        interval(
                            float(found[arm.name].low[pick]), float(found[arm.name].high[pick])
                        ),
                    )
                ),
            ]
        )
        for pick in picks
    ]
    return Table(f"Share of patients with {inline(label)}", columns, rows, "/endpoints")
