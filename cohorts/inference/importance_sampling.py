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
from cohorts.inference.pareto_smoothing import smoothed
from cohorts.inference.subject_blocks import for_block, in_blocks
from insilico.arrays import library_of
from insilico.randomness import address

DEGREES_OF_FREEDOM = 5.0
"""Of the proposals: tails that are heavier than those of most posteriors, at little cost."""


class Importance(NamedTuple):
    """What importance sampling says of each subject.

    - `log_marginal`: (subjects,), log of the marginal likelihood of its data; -inf where no place
      of finite density was found. `standard_error`: (subjects,), its Monte Carlo error.
    - `pareto_k`: (subjects,); above `pareto_smoothing.RELIABLE` neither can be trusted.
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
    log_marginal, error = log_mean(log_weights)
    possible = np.isfinite(log_marginal)
    log_weights, k = smoothed(np.where(possible, log_weights, 0.0))
    return Importance(
        log_marginal=log_marginal,
        standard_error=error,
        pareto_k=np.where(possible, k, np.inf),
        mode=mode,
        x=x,
        log_weights=log_weights,
        status=status,
    )


@functools.lru_cache(maxsize=16)
def _program(joint: JointDensity, draws: int, method: Method, search: Search) -> Callable[..., Any]:
    block = for_block(joint)

    def one_block(common: Any, own: Any) -> tuple[Array, ...]:
        (theta, key), (data, numbers) = common, own
        found = marginal(block, theta, data, method=method, search=search)
        keys = jax.vmap(address, in_axes=(None, 0))(key, numbers)
        standard = jax.vmap(lambda key: standard_draws(key, draws, len(block.effects)))(keys)
        factor, _ = cholesky(found.information)
        x, log_weights = weighed(block, theta, data, found.modes.x, factor, standard)
        return found.modes.x, x, log_weights, found.modes.status

    return in_blocks(one_block)


def weighed(
    joint: JointDensity,
    theta: Float[Array, " P"],
    data: Any,
    modes: Float[Array, "K subjects"],
    factor: Float[Array, "subjects K K"],
    standard: Float[Array, "subjects draws K"],
) -> tuple[Float[Array, "draws K subjects"], Float[Array, "draws subjects"]]:
    """Proposals about the modes by `standard_draws`, and the logarithms of their weights.

    `factor`: of the information there, by `cholesky`.
    """
    x = modes + spread_by(factor, standard)
    root = jnp.sum(jnp.log(jnp.diagonal(factor, axis1=1, axis2=2)), axis=1)
    proposed = _log_density_of_t(standard).T + root
    density = jax.lax.map(lambda x: log_density(joint, theta, x, data, None), x)
    return x, jnp.where(jnp.isfinite(density), density, -jnp.inf) - proposed


def log_mean(
    log_weights: Float[Array, "draws ..."] | np.ndarray,
) -> tuple[Any, Any]:
    """The logarithm of the weights' mean, and its Monte Carlo error; -inf and infinite without any.

    Works on NumPy's arrays and on JAX's.
    """
    numbers = library_of(log_weights)
    draws = log_weights.shape[0]
    largest = numbers.max(log_weights, axis=0)
    possible = numbers.isfinite(largest)
    largest = numbers.where(possible, largest, 0.0)
    weights = numbers.exp(log_weights - largest)
    mean = numbers.where(possible, numbers.mean(weights, axis=0), 1.0)
    error = numbers.std(weights, axis=0, ddof=1) / (mean * math.sqrt(draws))
    return (
        numbers.where(possible, largest + numbers.log(mean), -numbers.inf),
        numbers.where(possible, error, numbers.inf),
    )


def standard_draws(key: Key[Array, ""], draws: int, effects: int) -> Float[Array, "draws K"]:
    """Of a multivariate t distribution of unit scale."""
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
