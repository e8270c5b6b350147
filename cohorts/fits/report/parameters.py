"""What was learned of the population: its parameters, beside what was assumed before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cohorts.diagnosis import shrinkage
from cohorts.fits.report.view import INDIVIDUAL, PRIOR, Parameter, PosteriorView, View
from insilico.pages.blocks import Block, Column, Figure, Row, Section, Table
from insilico.pages.numbers import decimals_for, fixed, interval, significant, whole
from insilico.pages.panels import Panels, curve
from insilico.pages.plotting import with_unit

GRID = 160
"""Points of a density."""


def section(view: View) -> Section:
    """Table and densities."""
    return Section("parameters", "The population", [table(view), _effects(view), densities(view)])


def table(view: PosteriorView) -> Table:
    """Medians and intervals after and before, and how well they are known."""
    summary = view.group("diagnostics")
    rows = []
    for parameter in view.parameters:
        low, high = np.quantile(parameter.draws, _tails(view.interval))
        prior = np.quantile(parameter.prior, _tails(view.interval))
        at = summary.sel(parameter=parameter.name)
        rows.append(
            Row(
                (
                    with_unit(parameter.label, parameter.unit),
                    _rounded(np.median(parameter.draws), low, high),
                    interval(low, high),
                    interval(*prior),
                    fixed(100 * _spread(parameter), 1),
                    fixed(float(at["r_hat"]), 3),
                    whole(float(at["ess_bulk"])),
                    whole(float(at["ess_tail"])),
                )
            )
        )
    return Table(
        "Parameters of the population",
        (
            Column("Parameter"),
            Column("Median", number=True, group="Posterior"),
            Column(f"{view.percent} interval", number=True, group="Posterior"),
            Column(f"{view.percent} interval", number=True, group="Prior"),
            Column("Relative sd", "%", number=True, group="Posterior"),
            Column("R-hat", number=True, group="Convergence"),
            Column("ESS bulk", number=True, group="Convergence"),
            Column("ESS tail", number=True, group="Convergence"),
        ),
        rows,
        "/posterior, /prior, /diagnostics",
        "Intervals are equal-tailed. ESS: effective sample size; R-hat: rank-normalised and split.",
    )


def _effects(view: View) -> Block:
    """Spread of the random effects, and how much of them the data show."""
    posterior = view.group("posterior")
    rows = []
    for name in view.effects:
        eta = posterior[f"eta_{name}"]
        sd = float(np.median(posterior[f"sd_{name}"]))
        means = eta.mean(("chain", "draw")).values
        (shrunk,) = shrinkage(means[None], np.array([sd])).of_variance
        rows.append(
            Row(
                (
                    name.replace("_", " "),
                    significant(sd, 3),
                    fixed(100 * np.sqrt(np.expm1(sd**2)), 1),
                    fixed(100 * shrunk, 1),
                )
            )
        )
    return Table(
        "Variability between subjects",
        (
            Column("Parameter"),
            Column("sd of the random effect", number=True),
            Column("as CV", "%", number=True),
            Column("Shrinkage", "%", number=True),
        ),
        rows,
        "/posterior",
        "CV: of a log-normal parameter with that sd. Shrinkage: 1 less the variance of the "
        "subjects' posterior means over the population's variance; near 100 % the data say little "
        "of the subjects themselves.",
    )


def densities(view: PosteriorView) -> Figure:
    """Densities of all parameters, after and before."""
    return density_figure(
        view.parameters,
        "What the data have added: posterior beside prior",
        "Where both curves agree the data said nothing.",
        ("prior", "posterior"),
        "/posterior, /prior",
    )


def density_figure(
    parameters: Sequence[Parameter], caption: str, note: str, names: tuple[str, str], source: str
) -> Figure:
    """Densities of parameters; `names` of those before and after."""
    panels = Panels([parameter.label for parameter in parameters], across=3, height=150)
    traces = []
    for number, parameter in enumerate(parameters):
        low, high = np.quantile(parameter.draws, [0.0005, 0.9995])
        grid = np.linspace(low - 0.15 * (high - low), high + 0.15 * (high - low), GRID)
        for draws, colour, name in (
            (parameter.prior, PRIOR, names[0]),
            (parameter.draws.ravel(), INDIVIDUAL, names[1]),
        ):
            look: dict[str, Any] = {"fill": "tozeroy"} if name == names[1] else {}
            look |= {"showlegend": number == 0, "hoverinfo": "skip", **panels.on(number)}
            traces.append(curve(grid, _density(draws, grid), colour, name=name, **look))
    labels = [parameter.unit or " " for parameter in parameters]
    bare = {"showticklabels": False, "showgrid": False, "ticks": "", "rangemode": "tozero"}
    layout = panels.layout(labels, "", of_y=bare, showlegend=True)
    return Figure(
        "densities",
        caption,
        f"Densities of parameters, {names[0]} and {names[1]}.",
        note,
        source,
        {"data": traces, "layout": layout},
        panels.total_height,
    )


def _density(draws: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """A kernel density estimate; draws that lie far outside the grid count as well."""
    from scipy.stats import gaussian_kde

    near = draws[(draws > 2 * grid[0] - grid[-1]) & (draws < 2 * grid[-1] - grid[0])]
    if len(near) < 2 or np.ptp(near) == 0:
        return np.zeros_like(grid)
    return gaussian_kde(near)(grid) * len(near) / len(draws)


def _spread(parameter: Parameter) -> float:
    mean = float(np.mean(parameter.draws))
    return float(np.std(parameter.draws)) / abs(mean) if mean else float("nan")


def _tails(probability: float) -> tuple[float, float]:
    return 0.5 - probability / 2, 0.5 + probability / 2


def _rounded(value: float, low: float, high: float) -> str:
    """A median with the decimals that the width of its interval deserves."""
    return fixed(float(value), decimals_for(float(high - low) / 4) + 1)
