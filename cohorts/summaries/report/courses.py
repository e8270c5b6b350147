"""How virtual patients look under each arm, with the targets on it."""

from __future__ import annotations

from typing import Any

import numpy as np

from cohorts.fits.report.view import INDIVIDUAL, OBSERVED, PRIOR, TYPICAL
from cohorts.summaries.report.view import View
from insilico.pages import plotting
from insilico.pages.blocks import Block, Figure, Section
from insilico.pages.panels import Panels, curve, points, ribbon

SYMBOLS = {"mean": "circle", "geometric_mean": "diamond", "quantile": "square"}
WORDS = {
    "mean": "published mean",
    "geometric_mean": "published geometric mean",
    "quantile": "published quantile",
}


def section(view: View) -> Section:
    """A figure for each output."""
    blocks: list[Block] = [
        _figure(view, str(output)) for output in view.group("curves")["output"].values
    ]
    return Section("courses", "Virtual patients under each arm", blocks)


def _figure(view: View, output: str) -> Figure:
    curves = view.group("curves").sel(output=output)
    arms = view.calibration.arms
    panels = Panels([arm.label for arm in arms], across=3, height=260)
    times = curves["curve_time"].values
    traces: list[dict[str, Any]] = []
    shown: set[str] = set()
    highest = 0.0
    for number in range(len(arms)):
        on = panels.on(number)
        first = {"showlegend": number == 0}
        before = curves["plausible"].values[number]
        after = curves["calibrated"].values[number]
        traces += [
            ribbon(times, before[0], before[2], PRIOR, 0.16, name="plausible, 90 %", **first, **on),
            ribbon(times, after[0], after[2], INDIVIDUAL, 0.28, name="calibrated, 90 %",
                   **first, **on),
            curve(times, after[1], INDIVIDUAL, name="median", hoverinfo="skip", **first, **on),
            curve(times, after[3], TYPICAL, width=1.4, line={"dash": "dot"}, name="mean",
                  hoverinfo="skip", **first, **on),
        ]  # fmt: skip
        highest = max(highest, float(np.nanmax(after[2])))
        found = _published(view, output, number, shown)
        traces += [{**trace, **on} for trace in found]
        highest = max([highest, *(max(trace["y"]) for trace in found)])
    lowest = min(0.0, float(np.nanmin(curves["calibrated"].values)))
    layout = panels.layout(
        view.time_label,
        view.output_label(output),
        gap=0.05,
        of_y={"range": [1.05 * lowest, 1.08 * highest]},
        showlegend=True,
    )
    return Figure(
        f"courses-{output}",
        f"{view.output_label(output)} of virtual patients",
        "Median, mean and 90 % of the virtual patients over time, with the published values.",
        "True values, without residual error. Grey: the plausible range before the calibration, "
        "cut off where it is wider than the figure. Bars: standard errors of what was published.",
        "/curves, /targets",
        {"data": traces, "layout": layout},
        panels.total_height,
    )


def _published(view: View, output: str, arm: int, shown: set[str]) -> list[dict[str, Any]]:
    """The targets that are values at a time on the output's own scale."""
    found: dict[str, list[tuple[float, float, float, str]]] = {}
    errors = view.targets["standard_error"].to_numpy()
    for number, target in enumerate(view.calibration.targets):
        quantity = target.quantity
        fits = quantity.output == output and quantity.kind == "value" and quantity.change is None
        if fits and target.arm == arm and target.statistic in SYMBOLS:
            error = 0.0 if target.of_probability else float(errors[number])
            entry = (quantity.times[0], target.value, error, target.name)
            found.setdefault(target.statistic, []).append(entry)
    traces = []
    for statistic, entries in found.items():
        times, values, bars, names = zip(*entries, strict=True)
        traces.append(
            points(times, values, OBSERVED, size=7, name=WORDS[statistic],
                   marker={"symbol": SYMBOLS[statistic]}, showlegend=statistic not in shown,
                   error_y={"type": "data", "array": plotting.plain_list(bars), "color": OBSERVED,
                            "thickness": 1.2, "width": 3},
                   text=[plotting.safe(name) for name in names],
                   hovertemplate="%{text}<br>%{y:.4g}<extra></extra>")
        )  # fmt: skip
        shown.add(statistic)
    return traces
