"""How well subjects are told apart, and how their measurements lie about what is fitted to them.

Functions of arrays alone, such as `cohorts.inference.linearised` gives. Records are on the scale on
which the residual error is normal; where `measured` is false there is no residual, which is then
NaN.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float


class Shrinkage(NamedTuple):
    """How much closer to each other individual estimates are than the subjects: 0 not at all, 1 as
    if their data said nothing. Each (K,).

    - `of_sd`: 1 - sd(eta) / omega, as NONMEM reports it; `of_variance`: 1 - var(eta) / omega².
    """

    of_sd: Float[np.ndarray, " K"]
    of_variance: Float[np.ndarray, " K"]


def shrinkage(eta: Float[np.ndarray, "K subjects"], omega: Float[np.ndarray, " K"]) -> Shrinkage:
    """Shrinkage of the individual estimates of each random effect.

    `eta`: each subject's, less the centre of the population; `omega`: their standard deviations in
    the population. Below 0 where the estimates vary by more. Of a single subject it is NaN.
    (Savic and Karlsson, AAPS J 2009; 11:558-569.)
    """
    alone = eta.shape[1] < 2
    share = (np.full(len(eta), np.nan) if alone else np.std(eta, axis=1, ddof=1)) / omega
    return Shrinkage(1.0 - share, 1.0 - np.square(share))


def individual_weighted_residuals(
    value: Float[np.ndarray, "records subjects"],
    mean: Float[np.ndarray, "records subjects"],
    sd: Float[np.ndarray, "records subjects"],
    measured: Bool[np.ndarray, "records subjects"],
) -> Float[np.ndarray, "records subjects"]:
    """IWRES: (value - individual prediction) / standard deviation of its residual error."""
    return np.where(measured, (value - mean) / np.where(measured, sd, 1.0), np.nan)


def conditional_weighted_residuals(
    value: Float[np.ndarray, "records subjects"],
    mean: Float[np.ndarray, "records subjects"],
    sd: Float[np.ndarray, "records subjects"],
    slopes: Float[np.ndarray, "K records subjects"],
    eta: Float[np.ndarray, "K subjects"],
    covariance: Float[np.ndarray, "K K subjects"],
    measured: Bool[np.ndarray, "records subjects"],
) -> Float[np.ndarray, "records subjects"]:
    """CWRES: residuals about the population, linearised at the individual estimates.

    With slopes J of the individual predictions f by the random effects eta, whose covariance in the
    population is Omega: C^(-1/2) (value - f + J eta), C = J Omega Jᵀ + diag(sd²). The square root
    is the symmetric one, so that no record is the first. If the model is right they are independent
    and standard normal, as far as it is linear. (Hooker et al., Pharm Res 2007; 24:2187-2197.)
    """
    slopes = np.where(measured, slopes, 0.0)
    away = np.where(measured, value - mean, 0.0) + np.einsum("krs,ks->rs", slopes, eta)
    own = np.where(measured, np.square(sd), 1.0)
    spread = np.einsum("krs,kls,lqs->srq", slopes, covariance, slopes)
    spread += own.T[:, :, None] * np.eye(value.shape[0])
    sizes, axes = np.linalg.eigh(spread)
    along = np.einsum("srq,rs->sq", axes, away) / np.sqrt(sizes)
    return np.where(measured, np.einsum("srq,sq->rs", axes, along), np.nan)
