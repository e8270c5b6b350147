"""What was learned of the population: its parameters, beside what was assumed before."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from cohorts.diagnosis import shrinkage
from cohorts.fits.report import approximation
from cohorts.fits.report.forest import forest
from cohorts.fits.report.sensitivity import priors
from cohorts.fits.report.view import INDIVIDUAL, PRIOR, Parameter, PosteriorView, View
from insilico.pages.blocks import Block, Column, Details, Figure, Row, Section, Table, absent
from insilico.pages.numbers import decimals_for, fixed, interval, significant, whole
from insilico.pages.panels import Panels, curve
from insilico.pages.plotting import with_unit

FEW = 6
"""Coefficients of covariates that have their densities beside all others'."""

GRID = 160
"""Points of a density."""


def section(view: View) -> Section:
    """Table and densities."""
    of_all = approximation.estimates(view) if view.approximate else table(view)
    blocks = [
        of_all,
        *priors(view),
        *forest(view),
        _effects(view),
        *_occasions(view),
        *densities(view),
    ]
    return Section("parameters", "The population", blocks)


def table(view: PosteriorView) -> Table:
    """Medians and intervals after and before, and how well they are known."""
    summary = view.group("diagnostics")
    rows = []
    for parameter in view.parameters:
        low, high = view.bounds(parameter.draws)
        prior = view.bounds(parameter.prior)
        at = summary.sel(parameter=parameter.name)
        rows.append(
            Row(
                (
                    with_unit(parameter.label, parameter.unit),
                    _rounded(np.median(parameter.draws), low, high),
                    interval(low, high),
                    fixed(100 * _spread(parameter), 1),
                    interval(*prior),
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
            Column("Relative sd", "%", number=True, group="Posterior"),
            Column(f"{view.percent} interval", number=True, group="Prior"),
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
    found = {
        name: (posterior[f"sd_{name}"], posterior[f"eta_{name}"].mean(("chain", "draw")).values)
        for name in view.effects
    }
    return _variability(
        "Variability between subjects",
        "sd of the random effect",
        found,
        {name for name in found if f"log_{name}" in posterior},
        "CV: of a log-normal parameter with that sd; the sd of another is that of what is normal: "
        "of its logit, or of itself in its unit. Shrinkage: 1 less the variance of the "
        "subjects' posterior means over the population's variance; near 100 % the data say little "
        "of the subjects themselves.",
    )


def _occasions(view: View) -> list[Block]:
    """Spread of what differs between a subject's occasions, and how much of it the data show."""
    varying = view.fit.population.between_occasion
    if not varying:
        return []
    posterior, counts = view.group("posterior"), view.fit.patients.occasions_of_subjects
    # Of occasions that a subject does not have, nothing is there to shrink.
    there = np.arange(posterior.sizes["occasion"])[:, None] < counts
    found = {}
    for name in varying:
        means = posterior[f"kappa_{name}"].mean(("chain", "draw")).transpose("occasion", "subject")
        found[name] = posterior[f"occasion_sd_{name}"], means.values[there]
    table = _variability(
        "Variability between occasions",
        "sd between occasions",
        found,
        {name for name in varying if f"log_{name}_1" in posterior},
        f"Of {int(counts.sum()):,} occasions of {len(counts):,} subjects, who have "
        f"{_range(counts)} each. What differs between them adds to what differs between subjects. "
        "CV and shrinkage as above.",
    )
    return [table]


def _variability(
    caption: str,
    heading: str,
    found: Mapping[str, tuple[Any, np.ndarray]],
    log_normal: Collection[str],
    note: str,
) -> Table:
    """Standard deviations of random effects beside how far their posterior means have shrunk.

    `found`: by parameter the draws of its sd, and the means, (effects,); `log_normal`: those of
    these that are, whose sd is about a coefficient of variation.
    """
    rows = []
    for name, (draws, means) in found.items():
        sd = float(np.median(draws))
        (shrunk,) = shrinkage(means[None], np.array([sd])).of_variance
        rows.append(
            Row(
                (
                    name.replace("_", " "),
                    significant(sd, 3),
                    fixed(100 * np.sqrt(np.expm1(sd**2)), 1) if name in log_normal else "",
                    fixed(100 * shrunk, 1),
                )
            )
        )
    columns = (
        Column("Parameter"),
        Column(heading, number=True),
        Column("as CV", "%", number=True),
        Column("Shrinkage", "%", number=True),
    )
    return Table(caption, columns, rows, "/posterior", note)


def _range(counts: np.ndarray) -> str:
    low, high = int(counts.min()), int(counts.max())
    return f"{low}" if low == high else f"{low} to {high}"


def densities(view: PosteriorView) -> list[Block]:
    """Densities of all parameters, after the data and, if there was one, before.

    Where covariates have many coefficients, theirs are folded away.
    """
    if not view.parameters:
        return [
            absent("All numbers of the population are known: there was nothing of it to learn.")
        ]
    effects = [effect for of in view.population.effects.values() for effect in of]
    coefficients = {name for effect in effects for name in effect.numbers}
    folded = [each for each in view.parameters if each.name in coefficients]
    if len(folded) <= FEW:
        return [_densities(view, view.parameters, "densities", "")]
    others = [each for each in view.parameters if each.name not in coefficients]
    of_coefficients = _densities(view, folded, "coefficients", "coefficients of covariates: ")
    return [
        _densities(view, others, "densities", ""),
        Details(f"{len(folded)} coefficients of covariates", [of_coefficients]),
    ]


def _densities(
    view: PosteriorView, parameters: Sequence[Parameter], key: str, which: str
) -> Figure:
    shown = "approximation" if view.approximate else "posterior"

    def of(text: str) -> str:
        text = f"{which}{text}"
        return text[:1].upper() + text[1:]

    if not view.priors_count:
        return density_figure(
            parameters,
            of("what the data say, draws about the estimates"),
            "",
            (None, shown),
            "/posterior",
            key,
        )
    return density_figure(
        parameters,
        of(f"what the data have added, {shown} beside prior"),
        "Where both curves agree the data said nothing.",
        ("prior", shown),
        "/posterior, /prior",
        key,
    )


def density_figure(
    parameters: Sequence[Parameter],
    caption: str,
    note: str,
    names: tuple[str | None, str],
    source: str,
    key: str = "densities",
) -> Figure:
    """Densities of parameters; `names` of those before, None if there are none, and after."""
    before, after = names
    panels = Panels([parameter.label for parameter in parameters], height=150, own_axes=True)
    traces = []
    for number, parameter in enumerate(parameters):
        low, high = np.quantile(parameter.draws, [0.0005, 0.9995])
        grid = np.linspace(low - 0.15 * (high - low), high + 0.15 * (high - low), GRID)
        both = [(parameter.draws.ravel(), INDIVIDUAL, after)]
        if before is not None:
            both.insert(0, (parameter.prior, PRIOR, before))
        for draws, colour, name in both:
            look: dict[str, Any] = {"fill": "tozeroy"} if name == after else {}
            look |= {"showlegend": number == 0, "hoverinfo": "skip", **panels.on(number)}
            density = _density(draws, grid, parameter.bounds)
            traces.append(curve(grid, density, colour, name=name, **look))
    labels = [parameter.unit or " " for parameter in parameters]
    bare = {"showticklabels": False, "showgrid": False, "ticks": "", "rangemode": "tozero"}
    layout = panels.layout(labels, "", of_y=bare, showlegend=True)
    return Figure(
        key,
        caption,
        f"Densities of parameters, {' and '.join(filter(None, names))}.",
        note,
        source,
        {"data": traces, "layout": layout},
        panels.total_height,
    )


def _density(draws: np.ndarray, grid: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    """A kernel density estimate, reflected at the bounds beyond which there is nothing.

    Draws that lie far outside the grid count as well.
    """
    from scipy.stats import gaussian_kde

    near = draws[(draws > 2 * grid[0] - grid[-1]) & (draws < 2 * grid[-1] - grid[0])]
    if len(near) < 2 or np.ptp(near) == 0:
        return np.zeros_like(grid)
    estimate = gaussian_kde(near)
    reflected = [estimate(2 * bound - grid) for bound in bounds if np.isfinite(bound)]
    low, high = bounds
    density = np.where((grid >= low) & (grid <= high), sum(reflected, estimate(grid)), 0.0)
    return density * len(near) / len(draws)


def _spread(parameter: Parameter) -> float:
    mean = float(np.mean(parameter.draws))
    return float(np.std(parameter.draws)) / abs(mean) if mean else float("nan")


def _rounded(value: float, low: float, high: float) -> str:
    """A median with the decimals that the width of its interval deserves."""
    return fixed(float(value), decimals_for(float(high - low) / 4) + 1)
