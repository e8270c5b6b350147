"""Whether data sets simulated from the fit look like the one it was fitted to."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from cohorts.diagnosis import INTERVAL, normality
from cohorts.fits.report.view import INDIVIDUAL, OBSERVED, TYPICAL, View
from insilico.pages import plotting
from insilico.pages.blocks import Block, Column, Figure, Row, Section, Table, absent
from insilico.pages.numbers import counted, fixed, significant
from insilico.pages.panels import Panels, curve, points, ribbon
from insilico.pages.words import readable

FAINT = {"opacity": 0.6}
"""Points that lie on each other are seen to."""


def section(view: View) -> Section:
    """Predictive checks, observed against predicted, and prediction errors, by output."""
    blocks: list[Block] = []
    for output in view.outputs:
        check = view.group(f"predictive_check/{output}")
        blocks.append(_check(view, output, check))
        blocks += _stratified(view, output)
        if np.nansum(check["censored"].values) > 0:
            blocks.append(_censored(view, output, check))
        blocks.append(_against(view, output))
        blocks.append(_errors(view, output))
    blocks.append(_tests(view))
    return Section("predictive", "Predictive checks", blocks)


def _check(view: View, output: str, check: xr.Dataset) -> Figure:
    panels = Panels(("As measured", "Corrected for predictions"), across=2, height=300)
    data = view.of_output(output)
    traces: list[dict[str, Any]] = []
    for number in (0, 1):
        traces += _percentiles(check.isel(corrected=number), panels.on(number), legend=number == 0)
    seen = ~data["censored"]
    traces.append(points(data[view.check_time[0]][seen], data["value"][seen], OBSERVED, size=3,
                         marker={"opacity": 0.35}, name="measured", hoverinfo="skip",
                         **panels.on(0)))  # fmt: skip
    shares = " and ".join(f"{100 * s:.0f} %" if np.isfinite(s) else "None" for s in _covered(check))
    return Figure(
        f"vpc-{output}",
        f"{view.output_label(output)}: percentiles of the data and of simulated data sets",
        "Percentiles of the measured values over time, with the intervals of simulated ones.",
        f"Lines: percentiles of the data; ribbons: {100 * INTERVAL:.0f} % intervals of the same in "
        f"{check.attrs.get('replicates', 0):,} data sets of the same design, each from a draw of "
        f"the posterior. {shares} of the observed percentiles lie in their ribbon (left, right). "
        "Right: each value scaled by the typical prediction of its bin.",
        f"/predictive_check/{output}",
        {
            "data": traces,
            "layout": panels.layout(
                view.check_time[1], view.output_label(output), gap=0.08, showlegend=True
            ),
        },
        panels.total_height,
    )


def _percentiles(of: xr.Dataset, on: dict[str, str], *, legend: bool) -> list[dict[str, Any]]:
    """Ribbons and lines of a check, on axes of a panel."""
    traces = []
    for place, colour in enumerate((INDIVIDUAL, TYPICAL, INDIVIDUAL)):
        one = of.isel(percentile=place)
        traces.append(
            ribbon(of["time"], one["lower"], one["upper"], colour, 0.25, showlegend=False, **on)
        )
        traces.append(
            curve(
                of["time"],
                one["observed"],
                OBSERVED,
                width=1.8,
                line={"dash": "solid" if place == 1 else "dash"},
                name="median" if place == 1 else "5th and 95th percentile",
                showlegend=legend and place < 2,
                hoverinfo="skip",
                **on,
            )
        )
    return traces


def _stratified(view: View, output: str) -> list[Figure]:
    """The check of each group of subjects, if the config asks for groups."""
    checks = view.strata(output)
    if not checks:
        return []
    titles = [
        f"{readable(each.attrs['stratum'])} ({counted(int(each.attrs['subjects']), 'subject')})"
        for each in checks
    ]
    panels = Panels(titles, across=2, height=260)
    traces: list[dict[str, Any]] = []
    for number, check in enumerate(checks):
        traces += _percentiles(check.isel(corrected=0), panels.on(number), legend=number == 0)
    covariate = view.config.checks.stratify or ""
    shares = "; ".join(
        f"{title}: {100 * _covered(check)[0]:.0f} %"
        for title, check in zip(titles, checks, strict=True)
    )
    return [
        Figure(
            f"strata-{output}",
            f"{view.output_label(output)}: the same by {covariate.replace('_', ' ')}",
            f"Percentiles of the measured values over time by {covariate}, with the intervals of "
            "simulated ones.",
            f"As measured, with simulations of the same subjects. Percentiles in their ribbon: "
            f"{shares}.",
            f"/stratified_check/{output}",
            {
                "data": traces,
                "layout": panels.layout(
                    view.check_time[1], view.output_label(output), gap=0.08, showlegend=True
                ),
            },
            panels.total_height,
        )
    ]


def _covered(check: xr.Dataset) -> list[float]:
    found = []
    for number in (0, 1):
        of = check.isel(corrected=number)
        inside = (of["observed"] >= of["lower"]) & (of["observed"] <= of["upper"])
        known = np.isfinite(of["observed"]) & np.isfinite(of["lower"]) & np.isfinite(of["upper"])
        found.append(float(inside.where(known).mean()))
    return found


def _censored(view: View, output: str, check: xr.Dataset) -> Figure:
    panels = Panels(("Below the limit of quantification",), across=1, height=220)
    of = check.isel(corrected=0)
    traces = [
        ribbon(
            of["time"],
            100 * of["censored_lower"],
            100 * of["censored_upper"],
            INDIVIDUAL,
            0.25,
            **panels.on(0),
        ),
        curve(of["time"], 100 * of["censored"], OBSERVED, **panels.on(0)),
    ]
    return Figure(
        f"censored-{output}",
        f"{view.output_label(output)}: share below the limit of quantification",
        "Observed share of censored values with its simulated interval.",
        f"Ribbon: {100 * INTERVAL:.0f} % interval of simulated data sets.",
        f"/predictive_check/{output}",
        {"data": traces, "layout": panels.layout(view.check_time[1], "%", showlegend=False)},
        panels.total_height,
    )


def _against(view: View, output: str) -> Block:
    data = view.of_output(output)
    seen = ~data["censored"]
    if not np.any(seen):
        return absent(f"No value of {view.output_label(output)} was above its limit.")
    panels = Panels(("Typical subject", "The subject itself"), across=2, height=260)
    shown = np.concatenate([data[name][seen] for name in ("value", "typical", "individual")])
    ends = [min(float(np.nanmin(shown)), 0.0), 1.04 * float(np.nanmax(shown))]
    traces: list[dict[str, Any]] = []
    for number, name in enumerate(("typical", "individual")):
        on = panels.on(number)
        traces += [
            curve(ends, ends, TYPICAL, width=1.2, hoverinfo="skip", **on),
            points(data[name][seen], data["value"][seen], INDIVIDUAL, marker=FAINT, **on),
        ]
    label = view.output_label(output)
    return Figure(
        f"against-{output}",
        f"{label}: measured against predicted",
        "Measured values against those of the typical subject and of the subject's own curve.",
        "On the line both are the same. Predictions are means over draws.",
        "/predictions",
        {
            "data": traces,
            "layout": panels.layout(
                "Predicted", "Measured", of_x={"range": ends}, of_y={"range": ends}, gap=0.08
            ),
        },
        panels.total_height,
    )


def _errors(view: View, output: str) -> Figure:
    data = view.of_output(output)
    panels = Panels(("Over time", "Over the typical prediction"), across=2, height=240)
    traces: list[dict[str, Any]] = []
    shapes = []
    for number, name in enumerate(("time", "typical")):
        traces.append(
            points(data[name], data["npde"], INDIVIDUAL, marker=FAINT, **panels.on(number))
        )
        x, y = panels.on(number).values()
        shapes.append({
            "type": "rect", "xref": f"{x} domain", "yref": y, "x0": 0, "x1": 1, "y0": -1.96,
            "y1": 1.96, "fillcolor": plotting.BAND, "line": {"width": 0}, "layer": "below",
        })  # fmt: skip
    return Figure(
        f"errors-{output}",
        f"{view.output_label(output)}: normalised prediction distribution errors",
        "Prediction errors over time and predictions, which should scatter about 0 everywhere.",
        "Standard normal if the model is right: 95 % lie in the band, at all times alike.",
        "/predictions",
        {
            "data": traces,
            "layout": panels.layout(
                (view.time_label, view.output_label(output)), "NPDE", shapes=shapes, gap=0.08
            ),
        },
        panels.total_height,
    )


def _tests(view: View) -> Table:
    rows = []
    for output in view.outputs:
        errors = view.of_output(output)["npde"]
        tests = normality(errors)
        rows.append(
            Row(
                (
                    view.output_label(output),
                    fixed(float(np.mean(errors)), 2),
                    fixed(float(np.var(errors, ddof=1)), 2),
                    *(significant(p, 2) for p in tests),
                )
            )
        )
    return Table(
        "Prediction errors: are they standard normal?",
        (
            Column("Output"),
            Column("Mean", number=True),
            Column("Variance", number=True),
            Column("mean 0", number=True, group="p-value"),
            Column("variance 1", number=True, group="p-value"),
            Column("normal", number=True, group="p-value"),
            Column("together", number=True, group="p-value"),
        ),
        rows,
        "/predictions",
        "The data were used to fit the model, so that p-values are somewhat too large.",
    )
