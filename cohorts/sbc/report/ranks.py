"""Ranks of what made the data: their ECDF beside that of uniform ones, histograms, tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from scipy import special

from cohorts.fits.report.view import INDIVIDUAL, PRIOR, WRONG
from cohorts.inference.settings import BINS
from cohorts.sbc.report.labels import label_of
from insilico.pages import plotting
from insilico.pages.blocks import Column, Details, Figure, Row, Section, Table
from insilico.pages.numbers import fixed
from insilico.pages.panels import Panels, curve, ribbon

SPREAD = 0.99
"""Probability of the range in which a bin of a histogram lies."""


def section(tree: xr.DataTree) -> Section:
    """Figures and the tests' table."""
    return Section(
        "ranks",
        "Ranks of what made the data",
        [_differences(tree), _table(tree), Details("Histograms of ranks", [_histograms(tree)])],
    )


def _failed(tests: xr.Dataset) -> np.ndarray:
    level = float(tests.attrs["level"]) / 2
    return ((tests["chi_square_holm"] < level) | (tests["ecdf_holm"] < level)).values


def _differences(tree: xr.DataTree) -> Figure:
    tests = tree["uniformity"].to_dataset()
    names = [label_of(name) for name in tests["parameter"].values]
    panels = Panels(names, across=3, height=150)
    points, failed = tests["point"].values, _failed(tests)
    shown = f"{100 * float(tests.attrs['shown']):g} %, one parameter"
    traces: list[dict[str, Any]] = []
    for number in range(len(names)):
        on = {"showlegend": number == 0, **panels.on(number)}
        colour = WRONG if failed[number] else INDIVIDUAL
        traces += [
            ribbon(points, tests["low_of_all"], tests["high_of_all"], PRIOR, 0.14,
                   name="all parameters (the verdict's)", **on),
            ribbon(points, tests["low"], tests["high"], PRIOR, 0.3, name=shown, **on),
            curve(points, tests["difference"][:, number], colour, width=1.6, name="ranks",
                  line={"shape": "hv"}, hoverinfo="skip", **on),
        ]  # fmt: skip
    ends = [tests["low_of_all"].values, tests["high_of_all"].values, tests["difference"].values]
    most = 1.08 * max(float(np.abs(each).max()) for each in ends)
    layout = panels.layout(
        "Rank (share)",
        "ECDF − uniform",
        of_y={"range": [-most, most]},
        of_x={"range": [0, 1], "tickvals": [0, 0.5, 1]},
        gap=0.05,
        showlegend=True,
    )
    return Figure(
        "ecdf",
        "How ranks of what made the data differ from uniform ones",
        "By parameter the empirical distribution of ranks less the uniform one, with bands that "
        "uniform ranks stay in. "
        + (f"{int(failed.sum())} fail." if failed.any() else "None fails."),
        "A line that leaves the outer band fails the fit. It rises above 0 at the left and falls "
        "below at the right where posteriors are too narrow, the other way where they are too "
        "wide; it stays above where posteriors lie too high, below where too low.",
        "/uniformity",
        {"data": traces, "layout": layout},
        panels.total_height,
    )


def _table(tree: xr.DataTree) -> Table:
    tests = tree["uniformity"].to_dataset()
    effective = tree["ranks"].to_dataset()["effective"]
    failed = _failed(tests)
    rows = []
    for number, name in enumerate(tests["parameter"].values):
        at = tests.isel(parameter=number)
        own = effective.isel(parameter=number).values
        rows.append(
            Row(
                (
                    label_of(name),
                    *(
                        fixed(float(at[test]), 3)
                        for test in ("chi_square", "chi_square_holm", "ecdf", "ecdf_holm")
                    ),
                    fixed(float(np.median(own)), 0),
                    "no" if failed[number] else "yes",
                )
            )
        )
    return Table(
        "Tests of uniform ranks",
        (
            Column("Parameter"),
            Column("p", number=True, group="Chi-square"),
            Column("p of all", number=True, group="Chi-square"),
            Column("p", number=True, group="ECDF"),
            Column("p of all", number=True, group="ECDF"),
            Column("Effective draws", number=True),
            Column("Uniform"),
        ),
        rows,
        "/uniformity, /ranks",
        "p of all: for all parameters together, by Holm. Effective draws: of the middle data set, "
        f"of {int(tree['ranks'].attrs['draws'])} kept.",
    )


def _histograms(tree: xr.DataTree) -> Figure:
    group, tests = tree["ranks"].to_dataset(), tree["uniformity"].to_dataset()
    failed, draws = _failed(tests), int(group.attrs["draws"])
    names = [label_of(name) for name in group["parameter"].values]
    panels = Panels(names, across=3, height=120)
    datasets = group.sizes["dataset"]
    tails = np.array([1 - SPREAD, 1 + SPREAD]) / 2
    low, high = np.ceil(special.bdtrik(tails, datasets, 1 / BINS))
    traces: list[dict[str, Any]] = []
    highest = float(high)
    edges = (np.arange(BINS) + 0.5) / BINS
    for number in range(len(names)):
        bins = group["rank"].values[:, number] * BINS // (draws + 1)
        counts = np.bincount(bins, minlength=BINS)
        highest = max(highest, float(counts.max()))
        traces += [
            ribbon(
                [0, 1], [low, low], [high, high], PRIOR, 0.25, showlegend=False, **panels.on(number)
            ),
            {
                "type": "bar",
                "x": plotting.plain_list(edges),
                "y": counts.tolist(),
                "width": 0.9 / BINS,
                "hoverinfo": "y",
                "showlegend": False,
                "marker": {"color": WRONG if failed[number] else INDIVIDUAL},
                **panels.on(number),
            },
        ]
    layout = panels.layout(
        "Rank (share)",
        "Data sets",
        of_y={"range": [0, 1.08 * highest]},
        of_x={"range": [0, 1], "tickvals": [0, 0.5, 1]},
        gap=0.05,
    )
    return Figure(
        "histograms",
        "Ranks of what made the data",
        f"Histograms of ranks in {BINS} bins by parameter.",
        f"Grey: where {100 * SPREAD:g} % of the bins of uniform ranks lie. A ∪ is of posteriors "
        "that are too narrow, a ∩ of those too wide, a slope of those that lie too high or low.",
        "/ranks",
        {"data": traces, "layout": layout},
        panels.total_height,
    )
