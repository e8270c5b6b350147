"""Each subject's data beside what its own and the typical parameters say."""

from __future__ import annotations

from typing import Any

import numpy as np

from cohorts.fits.report.view import INDIVIDUAL, OBSERVED, TYPICAL, View
from insilico.pages.blocks import Block, Details, Figure, Section, absent
from insilico.pages.panels import Panels, curve, points, ribbon

SHOWN = 12
"""Subjects that are seen at once; the others are folded away."""

FOLDED = 48
"""Subjects in the folded part at the most: a page can only hold so much."""


def section(view: View) -> Section:
    """Small multiples by output."""
    curves = view.group("curves")
    if not curves.data_vars:
        text = "Curves of single subjects are not shown: resets turn their clocks back."
        return Section("individuals", "Individual fits", [absent(text)])
    blocks: list[Block] = []
    for output in view.outputs:
        count = len(view.subjects)
        blocks.append(_figure(view, output, range(min(SHOWN, count)), "first"))
        if count > SHOWN:
            others = range(SHOWN, min(count, SHOWN + FOLDED))
            blocks.append(
                Details(
                    f"{len(others)} more subjects of {count}",
                    [_figure(view, output, others, "more")],
                )
            )
    return Section("individuals", "Individual fits", blocks)


def _figure(view: View, output: str, subjects: range, key: str) -> Figure:
    curves = view.group("curves").sel(output=output)
    data = view.of_output(output)
    panels = Panels([_title(view, s) for s in subjects], across=4, height=150)
    traces: list[dict[str, Any]] = []
    for number, subject in enumerate(subjects):
        of = {name: curves[name].values[subject] for name in curves.data_vars}
        times = curves["time"].values[subject]
        on = {**panels.on(number), "showlegend": number == 0}
        traces += [
            ribbon(times, of["lower"], of["upper"], INDIVIDUAL, 0.2, **on | {"showlegend": False}),
            curve(
                times,
                of["typical"],
                TYPICAL,
                width=1.4,
                line={"dash": "dot"},
                name="typical subject",
                hoverinfo="skip",
                **on,
            ),
            curve(times, of["individual"], INDIVIDUAL, name="this subject", hoverinfo="skip", **on),
        ]
        own = data["subject"] == subject
        seen = own & ~data["censored"]
        traces.append(
            points(data["time"][seen], data["value"][seen], OBSERVED, name="measured", **on)
        )
        if (own & data["censored"]).any():
            below = own & data["censored"]
            traces.append(
                points(
                    data["time"][below],
                    data["limit"][below],
                    OBSERVED,
                    name="below the limit",
                    marker={"symbol": "triangle-down-open"},
                    **on,
                )
            )
    # What is below its limit has no value, but the limit, and its curve may be all there is.
    shown = np.concatenate([data["value"], data["limit"]])
    shown = shown[np.isfinite(shown)]
    top = np.max([np.nanmax(curves["upper"].values), *shown])
    layout = panels.layout(
        view.time_label,
        view.output_label(output),
        gap=0.04,
        of_y={"range": [min([0.0, *shown.tolist()]), 1.05 * float(top)]},
        showlegend=True,
    )
    return Figure(
        f"individual-{output}-{key}",
        f"{view.output_label(output)} of single subjects",
        "Measured values of single subjects with the curves that were fitted to them.",
        f"Line and ribbon: mean and {view.percent} interval of the subject's own curve; dotted: a "
        "subject with the same covariates and doses"
        + (" in the most probable subpopulation" if view.mixtures else "")
        + " and no random effects. Measured values scatter about the curve by the residual error, "
        "which the ribbon does not hold.",
        "/curves, /observed_data",
        {"data": traces, "layout": layout},
        panels.total_height,
    )


def _title(view: View, subject: int) -> str:
    """Who it is, and of a mixture to which subpopulation it most probably belongs."""
    names = [str(of["most_probable"].values[subject]) for of in view.mixtures.values()]
    return f"Subject {', '.join([view.subjects[subject], *names])}"
