"""Whether an approximation can stand for the posterior: numbers and a verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from jaxtyping import Float

from cohorts.diagnosis.convergence import Verdict, by_draw, varying
from cohorts.inference.components import worst
from cohorts.inference.pareto_smoothing import RELIABLE, Weights

if TYPE_CHECKING:
    from cohorts.inference.normal_approximations import NormalApproximation
    from cohorts.inference.variational_inference import VariationalApproximation


MOST_SHIFT = 1.0
"""Largest distance of the draws' mean from the weighted one, in weighted standard deviations."""

MOST_WIDENING = 2.0
"""Largest ratio of the draws' standard deviation to the weighted one."""


def judge_approximation(
    posterior: xr.Dataset,
    weights: Weights,
    reasons: Sequence[str] = (),
    estimates: Mapping[str, np.ndarray] | None = None,
    standard_errors: Mapping[str, np.ndarray] | None = None,
) -> Verdict:
    """The verdict on draws that were not sampled from the posterior they stand for.

    **Arguments:**

    - `posterior`: the population's parameters, dims (chain, draw, …).
    - `weights`: of the draws, chain after chain.
    - `reasons`: what is wrong with the search that they come of, in words.
    - `estimates`, `standard_errors`: by variable, its shape without chain and draw; default: the
      draws' medians and standard deviations.

    The table has along `parameter` `estimate`, `standard_error`, `relative_standard_error` (a
    share), `mean` and `sd` of the draws, `weighted_mean` and `weighted_sd` by their weights; and
    `pareto_k` and `effective_sample_size`, of the weights.
    """
    stated, errors = estimates or {}, standard_errors or {}
    columns: dict[str, list[float]] = {name: [] for name in _COLUMNS}
    labels = []
    for label, name, index in varying(posterior):
        draws = by_draw(posterior[name])[:, :, *index].ravel()
        mean, sd = float(np.mean(draws)), float(np.std(draws, ddof=1))
        weighted = float(weights.mean(draws))
        estimate = float(stated[name][index]) if name in stated else float(np.median(draws))
        error = float(errors[name][index]) if name in errors else sd
        row = (
            estimate,
            error,
            error / abs(estimate) if estimate else np.nan,
            mean,
            sd,
            weighted,
            float(np.sqrt(weights.mean(np.square(draws - weighted)))),
        )
        labels.append(label)
        for column, number in zip(columns.values(), row, strict=True):
            column.append(number)
    table = xr.Dataset(
        {
            **{name: ("parameter", np.array(column)) for name, column in columns.items()},
            "pareto_k": weights.pareto_k,
            "effective_sample_size": weights.effective,
        },
        coords={"parameter": labels},
    )
    every = (*reasons, *_of_weights(weights), *_of_draws(table))
    return Verdict(not every, every, table)


_COLUMNS = (
    "estimate",
    "standard_error",
    "relative_standard_error",
    "mean",
    "sd",
    "weighted_mean",
    "weighted_sd",
)


def _of_weights(weights: Weights) -> Iterator[str]:
    # One that cannot be computed is no reason for trust.
    if not weights.pareto_k <= RELIABLE:
        yield (
            f"Pareto k is {weights.pareto_k:.2f} (at most {RELIABLE}): the draws do not stand for "
            "the posterior, nor do weights mend that; sample it, by `method: nuts`"
        )


def _of_draws(table: xr.Dataset) -> Iterator[str]:
    """Where weights can be trusted, and say that the draws cannot: Pareto k tells of tails that are
    too short, and not of those that are too long."""
    if not table["pareto_k"].item() <= RELIABLE:
        return
    shift = np.abs(table["mean"] - table["weighted_mean"]) > MOST_SHIFT * table["weighted_sd"]
    wide = table["sd"] > MOST_WIDENING * table["weighted_sd"]
    wrong = table.isel(parameter=np.flatnonzero(shift | wide))
    told = ", ".join(
        "{} {:.3g} ± {:.3g} (by weights {:.3g} ± {:.3g})".format(label, *map(float, numbers))
        for label, *numbers in zip(
            wrong["parameter"].to_numpy(),
            *(wrong[name].to_numpy() for name in ("mean", "sd", "weighted_mean", "weighted_sd")),
            strict=True,
        )
    )
    if told:
        yield (
            "by their weights the draws lie elsewhere than the posterior, or more widely: "
            f"{told}; sample it, by `method: nuts`"
        )


def wrong_with_normal(found: NormalApproximation, coordinates: Sequence[str]) -> list[str]:
    """What is wrong with a normal approximation, in words, but for its weights.

    `coordinates`: names of the population's, (P,).
    """
    reasons = []
    if not found.converged:
        reasons.append(
            f"the search for the maximum did not come to rest in {found.maximum.iterations} "
            "iterations: raise approximation.iterations, or look for what the data do not determine"
        )
    for number in found.free:
        reasons.append(
            f"{coordinates[number]} has run to its bound: nothing keeps it from there; take it for "
            "known, or leave it out"
        )
    if found.indefinite is not None:
        reasons.append(f"the estimates have no covariance: {found.indefinite}")
    at = found.maximum.marginal
    lost = int(np.sum(worst(np.asarray(at.modes.status), at.of_components) > 0))
    if lost:
        reasons.append(f"the individual modes of {lost} subjects were not found at the maximum")
    return reasons


def wrong_with_variational(found: VariationalApproximation) -> list[str]:
    """What is wrong with a variational approximation, in words, but for its weights."""
    if found.converged:
        return []
    return [
        f"the variational search did not come to rest in {found.steps} steps: raise "
        "approximation.steps"
    ]


def condition_number(covariance: Float[np.ndarray, "P P"]) -> float:
    """Of the correlation matrix of estimates: its largest eigenvalue over its smallest, as NONMEM
    reports it. Some thousands say that parameters cannot be told apart."""
    errors = np.sqrt(np.diag(covariance))
    sizes = np.linalg.eigvalsh(covariance / np.outer(errors, errors))
    return float(sizes[-1] / sizes[0])
