"""Importance weights smoothed by Pareto's distribution, and how far they can be trusted.

Vehtari A, Simpson D, Gelman A, Yao Y, Gabry J. Pareto smoothed importance sampling. J Mach Learn
Res 2024; 25:72.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

RELIABLE = 0.7
"""The largest k at which estimates of some thousand draws can be trusted (Vehtari et al. 2024)."""


class Weights(NamedTuple):
    """Weights that make draws of an approximation stand for its target.

    - `log`: (draws,), smoothed and normalised. `pareto_k`: above `RELIABLE` neither they nor the
      draws without them can be trusted; infinite where no draw is possible.
    """

    log: Float[np.ndarray, " draws"]
    pareto_k: float

    @classmethod
    def of(
        cls, target: Float[np.ndarray, " draws"], proposal: Float[np.ndarray, " draws"]
    ) -> Weights:
        """By the log densities of both, up to constants; draws that have none count nothing."""
        raw = np.where(np.isfinite(target), target - proposal, -np.inf)
        if not np.any(np.isfinite(raw)):
            return cls(np.full(len(raw), -math.log(len(raw))), math.inf)
        log, (k,) = smoothed(raw[:, None])
        return cls(log[:, 0], float(k))

    @property
    def effective(self) -> float:
        """How many draws of the target are worth as much: 1 / sum of squared weights."""
        return float(1.0 / np.sum(np.exp(2.0 * self.log)))

    def mean(self, values: Float[np.ndarray, "draws ..."]) -> Float[np.ndarray, ...]:
        """Of the target."""
        return np.tensordot(np.exp(self.log), values, axes=1)


def smoothed(
    log_weights: Float[np.ndarray, "draws sets"],
) -> tuple[Float[np.ndarray, "draws sets"], Float[np.ndarray, " sets"]]:
    """Log weights of each set, smoothed and normalised, and its k.

    Of weights that are all the same there is nothing to smooth: k is then minus infinity.
    """
    # It brings pandas and xarray along, for which nothing else here waits.
    from arviz_stats.base.array import BaseArray

    draws, sets = log_weights.shape
    result, k = np.full((draws, sets), -math.log(draws)), np.full(sets, -np.inf)
    varying = np.ptp(log_weights, axis=0) > 0.0
    if np.any(varying):
        # It takes log likelihoods, and weights are their inverses.
        found, k[varying] = BaseArray().psislw(-log_weights[:, varying].T)
        result[:, varying] = np.asarray(found).T
    return result, k
