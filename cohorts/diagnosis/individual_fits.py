"""How well subjects are told apart, and how their measurements lie about what is fitted to them.

Functions of arrays alone. Records are on the scale on which the residual error is normal; where
`measured` is false there is no residual, which is then NaN.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from insilico import devices as _devices  # noqa: F401  (float64 before anything is computed)


class Shrinkage(NamedTuple):
    """How much closer to each other individual estimates are than the subjects: 0 not at all, 1 as
    if their data said nothing. Each (K,).

    - `of_sd`: 1 - sd(eta) / omega, as NONMEM reports it; `of_variance`: 1 - var(eta) / omega².
    """

    of_sd: Float[Array, " K"]
    of_variance: Float[Array, " K"]


def shrinkage(eta: Float[Array, "K subjects"], omega: Float[Array, " K"]) -> Shrinkage:
    """Shrinkage of the individual estimates of each random effect.

    `eta`: each subject's, less the centre of the population; `omega`: their standard deviations in
    the population. Below 0 where the estimates vary by more. Of a single subject it is NaN.
    (Savic and Karlsson, AAPS J 2009; 11:558-569.)
    """
    share = jnp.std(eta, axis=1, ddof=1) / omega
    return Shrinkage(1.0 - share, 1.0 - jnp.square(share))


def individual_weighted_residuals(
    value: Float[Array, "records subjects"],
    mean: Float[Array, "records subjects"],
    sd: Float[Array, "records subjects"],
    measured: Bool[Array, "records subjects"],
) -> Float[Array, "records subjects"]:
    """IWRES: (value - individual prediction) / standard deviation of its residual error."""
    return jnp.where(measured, (value - mean) / jnp.where(measured, sd, 1.0), jnp.nan)


def conditional_weighted_residuals(
    value: Float[Array, "records subjects"],
    mean: Float[Array, "records subjects"],
    sd: Float[Array, "records subjects"],
    slopes: Float[Array, "K records subjects"],
    eta: Float[Array, "K subjects"],
    covariance: Float[Array, "K K subjects"],
    measured: Bool[Array, "records subjects"],
) -> Float[Array, "records subjects"]:
    """CWRES: residuals about the population, linearised at the individual estimates.

    With slopes J of the individual predictions f by the random effects eta, whose covariance in the
    population is Omega: C^(-1/2) (value - f + J eta), C = J Omega Jᵀ + diag(sd²). The square root
    is the symmetric one, so that no record is the first. If the model is right they are independent
    and standard normal, as far as it is linear. (Hooker et al., Pharm Res 2007; 24:2187-2197.)
    """
    slopes = jnp.where(measured, slopes, 0.0)
    away = jnp.where(measured, value - mean, 0.0) + jnp.einsum("krs,ks->rs", slopes, eta)
    own = jnp.where(measured, jnp.square(sd), 1.0)
    spread = jnp.einsum("krs,kls,lqs->srq", slopes, covariance, slopes)
    spread += own.T[:, :, None] * jnp.eye(value.shape[0])
    sizes, axes = jnp.linalg.eigh(spread)
    along = jnp.einsum("srq,rs->sq", axes, away) / jnp.sqrt(sizes)
    return jnp.where(measured, jnp.einsum("srq,sq->rs", axes, along), jnp.nan)
