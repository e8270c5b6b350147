"""How much of a posterior is the prior's: overlap of the two, and sensitivity to power-scaling.

Kallioinen N, Paananen T, Bürkner PC, Vehtari A. Detecting and diagnosing prior and likelihood
sensitivity with power-scaling. Stat Comput 2024; 34:57.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import xarray as xr
from arviz_stats.base.array import BaseArray
from arviz_stats.psense import psense
from jaxtyping import Float

SENSITIVE = 0.05
"""Least sensitivity that counts, as Kallioinen et al. propose it and ArviZ's `psense` says."""

GRID = 2048
"""Points at which densities are compared."""

Finding = Literal["", "conflict", "strong_prior"]


class Sensitivity(NamedTuple):
    """How fast a parameter's posterior changes as the prior, or the likelihood, counts more."""

    prior: float
    likelihood: float

    @property
    def finding(self) -> Finding:
        """`conflict`: prior and data both count, and may pull apart; `strong_prior`: the prior
        counts, and the data hardly do."""
        if not self.prior >= SENSITIVE:
            return ""
        return "conflict" if self.likelihood >= SENSITIVE else "strong_prior"


def overlap(prior: Float[np.ndarray, " draws"], posterior: Float[np.ndarray, " draws"]) -> float:
    """The share of prior and posterior that they have in common: 0 nothing, 1 all.

    The integral of the smaller of their densities, estimated from kernel density estimates (the
    bandwidth that ArviZ calls experimental, with reflection at the ends) on a common grid; of
    draws that are all above 0, on their logarithms, which leaves the overlap as it is.
    """
    prior, posterior = (of[np.isfinite(of)] for of in (np.ravel(prior), np.ravel(posterior)))
    if min(prior.min(), posterior.min()) > 0.0:
        prior, posterior = np.log(prior), np.log(posterior)
    low, high = min(prior.min(), posterior.min()), max(prior.max(), posterior.max())
    if not high > low:
        return 1.0
    # Fine where the posterior is narrow, wide as the prior.
    quantiles = np.linspace(0.0, 1.0, GRID)
    grid = np.unique(
        np.concatenate([np.linspace(low, high, GRID), np.quantile(posterior, quantiles)])
    )
    least = np.minimum(_density(prior, grid), _density(posterior, grid))
    return float(np.clip(np.trapezoid(least, grid), 0.0, 1.0))


def _density(draws: np.ndarray, grid: np.ndarray) -> np.ndarray:
    if np.ptp(draws) == 0.0:
        return np.zeros_like(grid)
    places, density, _ = BaseArray().kde(draws)
    return np.interp(grid, places, density, left=0.0, right=0.0)


def power_scaling(
    draws: Mapping[str, Float[np.ndarray, " draws"]],
    log_prior: Float[np.ndarray, " draws"],
    log_likelihood: Float[np.ndarray, "draws subjects"],
) -> dict[str, Sensitivity]:
    """Sensitivity of each parameter's posterior to the power of prior and likelihood.

    - `draws`: of the posterior, by name.
    - `log_prior`: log density of all parameters at each of them.
    - `log_likelihood`: marginal, of each subject, as from `cohorts.inference.marginal_of_draws`:
      with random effects integrated out, their distribution is part of the likelihood.
    """
    usable = np.isfinite(log_prior) & np.all(np.isfinite(log_likelihood), axis=1)

    def group(**variables: np.ndarray) -> xr.Dataset:
        dims = ("chain", "draw", "subject")
        return xr.Dataset(
            {name: (dims[: of.ndim + 1], of[usable][None]) for name, of in variables.items()}
        )

    tree = xr.DataTree.from_dict(
        {
            "posterior": group(**draws),
            "log_prior": group(population=log_prior),
            "log_likelihood": group(subjects=log_likelihood),
        }
    )
    prior, likelihood = (
        psense(tree, group=which, sample_dims=("chain", "draw"))
        for which in ("prior", "likelihood")
    )
    return {name: Sensitivity(float(prior[name]), float(likelihood[name])) for name in draws}


def warnings_of(found: Mapping[str, Sensitivity]) -> tuple[str, ...]:
    """What a verdict is to say of it: where prior and data conflict, or data hardly count."""
    words: dict[Finding, str] = {
        "conflict": f"prior and data both move these parameters (sensitivities of {SENSITIVE} or "
        "more), as where they conflict, or where a prior is meant to count",
        "strong_prior": "the prior decides these parameters, and the data hardly count (likelihood "
        f"sensitivity below {SENSITIVE})",
    }
    result = []
    for finding, text in words.items():
        if names := [name for name, each in found.items() if each.finding == finding]:
            result.append(f"{text}: {', '.join(names)}")
    return tuple(result)
