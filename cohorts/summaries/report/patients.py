"""Reweighted patients: their parameters before and after, and how the weights are spread."""

from __future__ import annotations

import numpy as np

from cohorts.fits.report.parameters import density_figure
from cohorts.fits.report.view import INDIVIDUAL, PRIOR, Parameter
from cohorts.summaries.learning import systematic
from cohorts.summaries.report.view import View
from insilico.pages.blocks import Column, Figure, Row, Section, Table, facts
from insilico.pages.numbers import decimals_for, fixed, interval, significant, whole
from insilico.pages.panels import Panels, curve
from insilico.pages.plotting import with_unit
from insilico.pages.words import readable

MOST_POINTS = 400


def population(view: View) -> Section:
    """Parameters of the patients, plausible and reweighted."""
    parameters = _parameters(view)
    figure = density_figure(
        parameters,
        "Parameters of the patients: reweighted beside plausible",
        "Where both curves agree the targets said nothing.",
        ("plausible", "reweighted"),
        "/virtual_patients",
    )
    return Section("parameters", "The population", [_table(view, parameters), figure])


def weights(view: View) -> Section:
    """How evenly the patients are weighted."""
    own = np.sort(view.weights)[::-1]
    count = len(own)
    effective = 1.0 / np.sum(np.square(own))
    half = int(np.searchsorted(np.cumsum(own), 0.5)) + 1
    rows = [
        ("Plausible patients", f"{count:,}"),
        ("Effective number", f"{effective:,.0f} ({effective / count:.1%})"),
        ("Largest weight", f"{significant(count * float(own[0]), 3)} times an equal one"),
        ("Patients that have half of all weight", f"{half:,} ({half / count:.1%})"),
        ("Patients whose solve failed", whole(float(np.sum(own == 0.0)))),
    ]
    return Section(
        "weights",
        "The weights",
        [
            facts(
                "Effective number of patients",
                rows,
                "/virtual_patients",
                "Effective number: 1 over the sum of squared weights.",
            ),
            _figure(own),
        ],
    )


def _parameters(view: View) -> list[Parameter]:
    patients, own = view.group("virtual_patients"), view.weights
    chosen = systematic(own, len(own))
    found = []
    for name, quantity in view.calibration.model.quantities("Parameters").items():
        values = patients[f"parameter_{name}"].to_numpy()
        usable = values[own > 0]
        if np.ptp(usable) == 0:
            continue
        unit = "" if quantity.unit == "1" else quantity.unit
        found.append(Parameter(name, readable(name), unit, values[chosen][None], usable))
    return found


def _table(view: View, parameters: list[Parameter]) -> Table:
    own = view.weights
    patients = view.group("virtual_patients")
    tails = (0.5 - view.interval / 2, 0.5 + view.interval / 2)
    rows = []
    for parameter in parameters:
        values = patients[f"parameter_{parameter.name}"].to_numpy()
        mean = float(own @ np.where(own > 0, values, 0.0))
        sd = float(np.sqrt(own @ np.square(np.where(own > 0, values - mean, 0.0))))
        digits = decimals_for(sd / 4) + 1
        rows.append(
            Row(
                (
                    with_unit(parameter.label, parameter.unit),
                    fixed(mean, digits),
                    fixed(sd, digits),
                    interval(*np.quantile(parameter.draws, tails)),
                    significant(float(np.median(parameter.prior)), 3),
                    interval(*np.quantile(parameter.prior, tails)),
                )
            )
        )
    return Table(
        "Parameters of the patients",
        (
            Column("Parameter"),
            Column("Mean", number=True, group="Reweighted"),
            Column("sd", number=True, group="Reweighted"),
            Column(f"{view.percent} of patients", number=True, group="Reweighted"),
            Column("Median", number=True, group="Plausible"),
            Column(f"{view.percent} of patients", number=True, group="Plausible"),
        ),
        rows,
        "/virtual_patients",
    )


def _figure(own: np.ndarray) -> Figure:
    panels = Panels(("Weight, over an equal one", "Share of all weight"), across=2, height=240)
    count = len(own)
    place = np.unique(np.linspace(0, count - 1, min(count, MOST_POINTS)).astype(int))
    share = 100.0 * (place + 1) / count
    ones, straight = np.ones_like(share), share
    traces = [
        curve(share, ones, PRIOR, width=1.2, hoverinfo="skip", **panels.on(0)),
        curve(share, count * own[place], INDIVIDUAL, hoverinfo="skip", **panels.on(0)),
        curve(share, straight, PRIOR, width=1.2, hoverinfo="skip", **panels.on(1)),
        curve(share, 100.0 * np.cumsum(own)[place], INDIVIDUAL, hoverinfo="skip", **panels.on(1)),
    ]
    return Figure(
        "weights",
        "Weights of the patients, from the largest to the smallest",
        "Weights and their sums over the patients in the order of their weights.",
        "Grey: if all had the same.",
        "/virtual_patients",
        {
            "data": traces,
            "layout": panels.layout(
                "Patients in order of weight (%)",
                ("", "%"),
                gap=0.08,
                of_y=({"rangemode": "tozero"}, {"range": [0, 101]}),
                showlegend=False,
            ),
        },
        panels.total_height,
    )
