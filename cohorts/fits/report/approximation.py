"""What an approximation says of itself: how it was found, and how far its draws can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cohorts.diagnosis.approximations import RELIABLE
from cohorts.fits.report.view import INDIVIDUAL, View
from insilico.pages.blocks import Block, Bullets, Column, Figure, Row, Section, Table, facts
from insilico.pages.numbers import Measured, fixed, significant, whole
from insilico.pages.panels import Panels, curve
from insilico.pages.plotting import with_unit


def section(view: View, manifest: Mapping[str, Any] | None) -> Section:
    """Numbers of the search and of the check, and the way of the objective."""
    blocks: list[Block] = [_check(view)]
    if "objective_function_value" in view.group("diagnostics"):
        blocks.append(_fit(view))
    told = (manifest or {}).get("approximation", {}).get("told", [])
    if told:
        blocks.append(Bullets(told, "How it was found:"))
    blocks.append(_search(view))
    return Section("approximation", "The approximation", blocks)


def estimates(view: View) -> Table:
    """The population's parameters: estimates with their errors, and what weights make of them."""
    table, prior = view.group("diagnostics"), view.priors_count
    expansion = view.fit.config.method != "svi"
    rows = []
    for parameter in view.parameters:
        at = {str(n): float(v) for n, v in table.sel(parameter=parameter.name).items()}
        decimals = _decimals(at["standard_error"])
        low, high = view.bounds(parameter.draws)
        cells = [
            with_unit(parameter.label, parameter.unit),
            fixed(at["estimate"], decimals),
            fixed(at["standard_error"], decimals),
            fixed(100.0 * at["relative_standard_error"], 1),
            f"{fixed(low, decimals)} to {fixed(high, decimals)}",
            fixed(at["mean"], decimals),
            fixed(at["weighted_mean"], decimals),
        ]
        if prior:
            before = view.bounds(parameter.prior)
            cells.append(f"{significant(before[0])} to {significant(before[1])}")
        rows.append(Row(cells))
    what = ("Estimate", "Standard error") if expansion else ("Median", "Standard deviation")
    columns = [
        Column("Parameter"),
        Column(what[0], number=True, group=view.fit.label),
        Column(what[1], number=True, group=view.fit.label),
        Column("RSE" if expansion else "Relative sd", "%", number=True, group=view.fit.label),
        Column(f"{view.percent} interval", number=True, group=view.fit.label),
        Column("plain", number=True, group="Mean of draws"),
        Column("weighted", number=True, group="Mean of draws"),
    ]
    if prior:
        columns.append(Column(f"{view.percent} interval", number=True, group="Prior"))
    return Table(
        "Parameters of the population",
        columns,
        rows,
        "/diagnostics, /posterior" + (", /prior" if prior else ""),
        (
            "Standard errors are by the delta method, RSE: relative to the estimate. "
            if expansion
            else ""
        )
        + "Intervals are equal-tailed, of draws that are normal in unconstrained coordinates. "
        "Weighted means are those of the posterior as far as weights can tell; where they differ "
        "from the plain ones by much of a standard error the approximation is poor.",
    )


def _check(view: View) -> Block:
    table, draws = view.group("diagnostics"), view.group("posterior").sizes["draw"]
    found = table["pareto_k"].item()
    rows = [
        ("Method", view.fit.label),
        ("Draws", f"{draws:,}, independent"),
        ("Pareto k of their weights", f"{fixed(found, 2)} (at most {RELIABLE})"),
        ("Effective sample size of the weights", whole(table["effective_sample_size"].item())),
        ("Search came to rest", "yes" if table["converged"].item() else "no"),
        (
            "Iterations" if view.fit.config.method != "svi" else "Steps",
            whole(table["iterations"].item()),
        ),
    ]
    if "evaluations" in table:
        rows.append(("Evaluations with gradient", whole(table["evaluations"].item())))
    return facts(
        "The check",
        rows,
        "/diagnostics, /sample_stats",
        "Pareto k says how heavy the tail of the draws' weights is, the posterior's density over "
        "the approximation's: below 0.5 the approximation is good, above 0.7 neither draws nor "
        "weights can be trusted.",
    )


def _fit(view: View) -> Block:
    table = view.group("diagnostics")

    def of(name: str, digits: int = 2) -> str:
        return fixed(table[name].item(), digits)

    rows = [
        ("−2 log likelihood", of("minus_two_log_likelihood", 3)),
        ("Objective function value, without the constant", of("objective_function_value", 3)),
        ("AIC", of("aic")),
        ("BIC", of("bic")),
        ("Parameters estimated", whole(table["parameters"].item())),
        ("Condition number", significant(table["condition_number"].item(), 3)),
    ]
    error = table["importance_standard_error"].item()
    if np.isfinite(error):
        value = str(Measured(of("importance_minus_two_log_likelihood"), fixed(error, 2)))
        rows.insert(1, ("−2 log likelihood by importance sampling", value))
    note = (
        "The likelihood is marginal, random effects integrated out. The objective function value "
        "leaves out ln 2π for each measured value, as NONMEM does; AIC and BIC have it in, and BIC "
        "takes the measured values for the size of the sample. The condition number is of the "
        "correlations of the estimates."
    )
    if view.fit.config.approximation.priors:
        note += " All is at the maximum of the posterior, which is near that of the likelihood."
    return facts("How well the data are fitted", rows, "/diagnostics", note)


def _search(view: View) -> Figure:
    group = view.group("search")
    expansion = view.fit.config.method != "svi"
    label = "Objective" if expansion else "ELBO"
    panels = Panels([label], across=1, height=220)
    x, y = group["iteration"].values, group["objective"].values
    # The first steps may lie so far off that nothing else is seen.
    shown = y[np.isfinite(y)]
    late = shown[len(shown) // 4 :] if len(shown) > 8 else shown
    low, high = (float(np.min(late)), float(np.max(late))) if len(late) else (0.0, 1.0)
    room = 0.15 * (high - low) or 1.0
    trace = curve(x, y, INDIVIDUAL, mode="lines+markers", marker={"size": 4}, **panels.on(0))
    layout = panels.layout(
        "Iteration" if expansion else "Step",
        label,
        of_y={"range": [low - room, high + room]},
    )
    note = "The likelihood's and the prior's, −2 log, without the constant of the measured values. "
    if not view.fit.config.approximation.priors:
        note = "The objective function value. "
    if not expansion:
        note = "The evidence lower bound, a mean over a hundred steps each. "
    return Figure(
        "search",
        "The search by its objective",
        "The objective of the search by iteration.",
        note + "The axis leaves out where the search was in its first quarter.",
        "/search",
        {"data": [trace], "layout": layout},
        panels.total_height,
    )


def _decimals(error: float) -> int:
    if not np.isfinite(error) or error <= 0.0:
        return 3
    return min(max(2 - int(np.floor(np.log10(error))) - 1, 0), 6)
