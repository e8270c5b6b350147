"""Targets beside what the population gives: how far off each is, and what it was before."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cohorts.fits.report.view import INDIVIDUAL, OBSERVED, WRONG
from cohorts.summaries.conflicts import LEAST
from cohorts.summaries.report.view import View
from insilico.pages import plotting
from insilico.pages.blocks import Block, Bullets, Column, Figure, Row, Section, Table, Text
from insilico.pages.numbers import counted, decimals_for, fixed, plain, significant
from insilico.pages.panels import Panels, points

ROW = 24
"""Height of a target in the figure (pixels)."""


def section(view: View) -> Section:
    """Figure and table."""
    return Section("targets", "Targets", [_figure(view), _table(view)])


def conflicts(view: View) -> Section:
    """Which targets cannot be met together."""
    group = view.group("conflicts")
    words = group.attrs.get("in_words", [])
    words = [words] if isinstance(words, str) else list(words)
    blocks: list[Block] = []
    if words:
        blocks.append(Bullets(words, "These cannot be met together:"))
    else:
        most = float(np.max(group["distance"].to_numpy()))
        blocks.append(
            Text(
                "None: no target lies more than "
                f"{LEAST:g} standard errors from what the others lead to; the farthest lies "
                f"{most:.1f}."
            )
        )
    blocks.append(_left_out(view))
    return Section("conflicts", "Conflicts", blocks)


def _figure(view: View) -> Figure:
    targets = view.targets
    names = [str(name) for name in targets["target"].values]
    mismatch = targets["mismatch"].to_numpy()
    most = view.config.checks.largest_mismatch
    edge = max(most + 1.0, 1.1 * float(np.nanmax(np.abs(mismatch))))
    panel = Panels(("",), across=1, height=ROW * len(names) + 40)
    places = np.arange(len(names))[::-1]
    traces: list[dict[str, Any]] = []
    missed = ~(np.abs(mismatch) <= most)
    for which, colour, name in (
        (~missed, INDIVIDUAL, f"within {most:g} standard errors"),
        (missed, WRONG, "missed by more"),
    ):
        if not which.any():
            continue
        at = np.flatnonzero(which)
        error = targets["monte_carlo_error"].to_numpy()[at]
        traces.append(
            points(mismatch[at], places[at], colour, size=9, name=name,
                   error_x={"type": "data", "array": plotting.plain_list(error),
                            "color": colour, "thickness": 1.2, "width": 3},
                   text=[plotting.safe(names[n]) for n in at],
                   hovertemplate="%{text}<br>%{x:.2f} standard errors<extra></extra>",
                   **panel.on(0))
        )  # fmt: skip
    shapes = [
        plotting.line(0, 0.0, vertical=True, colour=OBSERVED, width=1.2),
        *(
            plotting.line(0, side * most, vertical=True, colour=WRONG, dash="dot", width=1.0)
            for side in (-1, 1)
        ),
        {
            "type": "rect",
            "xref": "x",
            "yref": "y domain",
            "x0": -1,
            "x1": 1,
            "y0": 0,
            "y1": 1,
            "fillcolor": plotting.BAND,
            "line": {"width": 0},
            "layer": "below",
        },
    ]
    of_y = {
        "tickmode": "array",
        "tickvals": places.tolist(),
        "ticktext": [plotting.wrapped(name, 60) for name in names],
        "range": [-0.7, len(names) - 0.3],
        "showgrid": False,
    }
    layout = panel.layout(
        "Population less published, in standard errors of what was published",
        "",
        of_x={"range": [-edge, edge]},
        of_y=of_y,
        shapes=shapes,
        showlegend=True,
    )
    return Figure(
        "targets",
        "How far the population is from each target",
        "Deviation of each target's statistic in the calibrated population, in standard errors.",
        "Green: within one standard error of what was published. Bars: Monte-Carlo error of the "
        "virtual patients. Dotted: the most that is tolerated.",
        "/targets",
        {"data": traces, "layout": layout},
        panel.total_height,
    )


def _table(view: View) -> Table:
    targets = view.targets
    rows: list[Row] = []
    arm = None
    labels = {each.name: each.label for each in view.calibration.arms}
    for number, name in enumerate(targets["target"].values):
        at = targets.isel(target=number)
        if len(labels) > 1 and at["arm"].item() != arm:
            arm = at["arm"].item()
            rows.append(Row((f"Arm: {labels[arm]}",), span=True))
        share = bool(at["compared_as_share"])
        error = float(at["standard_error"])
        subjects = float(at["subjects"])
        digits = decimals_for(abs(float(at["published"])) / 50 if share else error) + 1
        given = fixed(float(at["value"]), digits)
        if view.sampled:
            low, high = (fixed(float(at[end]), digits) for end in ("lower", "upper"))
            given += f" ({low} to {high})"
        before = significant(float(at["prior_value"]), 3)
        unit = at["unit"].item()
        cells = [
            str(name) + (f", {unit}" if unit else ""),
            plain(float(at["published"])),
            (f"{100 * error:.1f} % of subjects" if share else significant(error, 2))
            + ("" if math.isnan(subjects) else f" ({subjects:.0f})"),
            given,
            before,
            fixed(float(at["mismatch"]), 2),
            fixed(float(at["monte_carlo_error"]), 2),
        ]
        if view.sampled:
            cells.append(fixed(float(at["repeated"]), 2))
        rows.append(Row(tuple(cells), indent=len(labels) > 1))
    columns = [
        Column("Target"),
        Column("Value", number=True, group="Published"),
        Column("SE (subjects)", number=True, group="Published"),
        Column(
            f"Calibrated ({view.percent})" if view.sampled else "Calibrated",
            number=True,
            group="Population",
        ),
        Column("Plausible", number=True, group="Population"),
        Column("Mismatch", "SE", number=True, group="Population less published"),
        Column("Monte-Carlo error", "SE", number=True, group="Population less published"),
    ]
    if view.sampled:
        columns.append(Column("repeated", "SE", number=True, group="Population less published"))
    note = (
        "SE: standard errors of what was published. Where a number of subjects is given, the "
        "standard error is the large-sample one of so many subjects of this population. A quantile "
        "of so many subjects is compared by the share of patients below it. Monte-Carlo error: of "
        f"the statistics, because there are {counted(view.config.virtual_patients, 'patient')}"
    )
    note += (
        ", which is part of each target's variance; repeated: as other random numbers show it."
        if view.sampled
        else "."
    )
    return Table("Targets and what the population gives", columns, rows, "/targets", note)


def _left_out(view: View) -> Table:
    group = view.group("conflicts")
    names = [str(name) for name in group["target"].values]
    mismatch, without = group["mismatch"].to_numpy(), group["without"].to_numpy()
    distance = group["distance"].to_numpy()
    rows = []
    for number in np.argsort(-distance):
        others = np.square(mismatch) - np.square(without[number])
        others[number] = 0.0
        total = float(others.sum())
        moved = int(np.argmax(others))
        partner = (
            f"{names[moved]}: {fixed(mismatch[moved], 2)} to {fixed(without[number, moved], 2)}"
            if len(names) > 1 and others[moved] > 0.1
            else "–"
        )
        rows.append(
            Row(
                (
                    names[number],
                    fixed(float(distance[number]), 2),
                    fixed(float(mismatch[number]), 2),
                    fixed(float(without[number, number]), 2),
                    fixed(total, 2),
                    partner,
                )
            )
        )
    return Table(
        "Each target left out in turn",
        (
            Column("Target left out"),
            Column("Distance", "SE", number=True),
            Column("with it", "SE", number=True, group="Its mismatch"),
            Column("without it", "SE", number=True, group="Its mismatch"),
            Column("Others fall by", number=True),
            Column("Most improved"),
        ),
        rows,
        "/conflicts",
        "Distance: of the target from what the others and the plausible range lead to, in standard "
        "errors of both together: the root of twice the fall of the objective. About 1 is to be "
        "expected. Others fall by: the sum of their squared mismatches. The "
        + (
            "objective is taken where it is least, so that mismatches differ a little from those "
            "of the whole posterior above."
            if view.sampled
            else "errors of the targets are held as they are with all of them."
        ),
    )
