"""Importance sampling of each subject's effects: the check of every approximation.

Effects are drawn from a multivariate t distribution about the individual mode and weighted by the
joint density. How far the weights can be trusted, the shape k of the generalised Pareto
distribution of the largest ones says (Vehtari et al., J Mach Learn Res 2024; 25:72).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from cohorts.inference.expansions import JointDensity, cholesky, log_density, spread_by
from cohorts.inference.marginal_likelihood import Method, marginal
from cohorts.inference.modes import ROUGH, Search
from cohorts.inference.subject_blocks import for_block, in_blocks
from insilico.randomness import address

DEGREES_OF_FREEDOM = 5.0
"""Of the proposals: tails that are heavier than those of most posteriors, at little cost."""
RELIABLE = 0.7
"""The largest k at which estimates of some thousand draws can be trusted (Vehtari et al. 2024)."""


class Importance(NamedTuple):
    """What importance sampling says of each subject.

    - `log_marginal`: (subjects,), log of the marginal likelihood of its data; -inf where no place
      of finite density was found. `standard_error`: (subjects,), its Monte Carlo error.
    - `pareto_k`: (subjects,); above `RELIABLE` neither can be trusted.
    - `mode`: (K, subjects), about which proposals lie.
    - `x`: (draws, K, subjects), the proposals, and `log_weights`: (draws, subjects), theirs,
      smoothed and normalised: together they stand for the posterior of the subject's effects.
    - `status`: (subjects,), of the search for the mode, a `ModeStatus`.
    """

    log_marginal: Float[np.ndarray, " subjects"]
    standard_error: Float[np.ndarray, " subjects"]
    pareto_k: Float[np.ndarray, " subjects"]
    mode: Float[np.ndarray, "K subjects"]
    x: Float[np.ndarray, "draws K subjects"]
    log_weights: Float[np.ndarray, "draws subjects"]
    status: Int[np.ndarray, " subjects"]


def importance(
    joint: JointDensity,
    theta: Float[Array, " P"] | np.ndarray,
    data: Any,
    *,
    key: Key[Array, ""],
    draws: int = 1000,
    method: Method = "laplace",
    search: Search = ROUGH,
) -> Importance:
    """Sample every subject's effects at the population parameters `theta`.

    `method` says which information the proposals have: the exact one, or for `focei` the expected.
    A subject's draws depend on `key` and on its number alone.
    """
    program = _program(joint, draws, method, search)
    numbers = np.arange(joint.subjects)
    mode, x, log_weights, status = program((jnp.asarray(theta, float), key), (data, numbers))
    possible = np.any(np.isfinite(log_weights), axis=0)
    usable = np.where(possible, log_weights, 0.0)
    largest = np.max(usable, axis=0)
    weights = np.exp(usable - largest)
    mean = np.mean(weights, axis=0)
    error = np.std(weights, axis=0, ddof=1) / (mean * math.sqrt(draws))
    smoothed, k = _smoothed(usable)
    return Importance(
        log_marginal=np.where(possible, largest + np.log(mean), -np.inf),
        standard_error=np.where(possible, error, np.inf),
        pareto_k=np.where(possible, k, np.inf),
        mode=mode,
        x=x,
        log_weights=smoothed,
        status=status,
    )


def _smoothed(log_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log weights (draws, subjects), smoothed by Pareto's distribution and normalised, and its k.

    Of weights that are all the same there is nothing to smooth: k is then minus infinity.
    """
    # It brings pandas and xarray along, for which nothing else here waits.
    from arviz_stats.base.array import BaseArray

    draws, subjects = log_weights.shape
    smoothed, k = np.full((draws, subjects), -math.log(draws)), np.full(subjects, -np.inf)
    varying = np.ptp(log_weights, axis=0) > 0.0
    if np.any(varying):
        # It takes log likelihoods, and weights are their inverses.
        found, k[varying] = BaseArray().psislw(-log_weights[:, varying].T)
        smoothed[:, varying] = np.asarray(found).T
    return smoothed, k


@functools.lru_cache(maxsize=16)
def _program(joint: JointDensity, draws: int, method: Method, search: Search) -> Callable[..., Any]:
    block = for_block(joint)

    def one_block(common: Any, own: Any) -> tuple[Array, ...]:
        (theta, key), (data, numbers) = common, own
        found = marginal(block, theta, data, method=method, search=search)
        factor, _ = cholesky(found.information)
        keys = jax.vmap(address, in_axes=(None, 0))(key, numbers)
        standard = jax.vmap(lambda key: _standard_draws(key, draws, found.modes.x.shape[0]))(keys)
        x = found.modes.x + spread_by(factor, standard)
        root = jnp.sum(jnp.log(jnp.diagonal(factor, axis1=1, axis2=2)), axis=1)
        proposed = _log_density_of_t(standard).T + root
        density = jax.lax.map(lambda x: log_density(block, theta, x, data, None), x)
        density = jnp.where(jnp.isfinite(density), density, -jnp.inf)
        return found.modes.x, x, density - proposed, found.modes.status

    return in_blocks(one_block)


def _standard_draws(key: Array, draws: int, effects: int) -> Array:
    """(draws, K), of a multivariate t distribution of unit scale."""
    of_normal, of_scale = jax.random.split(key)
    normal = jax.random.normal(of_normal, (draws, effects))
    scale = jax.random.chisquare(of_scale, DEGREES_OF_FREEDOM, (draws, 1)) / DEGREES_OF_FREEDOM
    return normal / jnp.sqrt(scale)


def _log_density_of_t(standard: Array) -> Array:
    """Of draws on the last axis, of the multivariate t distribution of unit scale."""
    effects, degrees = standard.shape[-1], DEGREES_OF_FREEDOM
    constant = math.lgamma(0.5 * (degrees + effects)) - math.lgamma(0.5 * degrees)
    constant -= 0.5 * effects * math.log(degrees * math.pi)
    squares = jnp.sum(jnp.square(standard), axis=-1)
    return constant - 0.5 * (degrees + effects) * jnp.log1p(squares / degrees)
