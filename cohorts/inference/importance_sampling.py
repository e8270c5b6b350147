"""Importance sampling of each subject's effects: the check of every approximation.

Effects are drawn from a multivariate t distribution about the individual mode and weighted by the
joint density, of a mixture as many in each component. How far the weights can be trusted, the shape
k of the generalised Pareto distribution of the largest ones says (Vehtari et al., J Mach Learn Res
2024; 25:72).
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

from cohorts.inference.components import (
    apart,
    lane_keys,
    log_sum,
    on_lanes,
    probabilities,
    worst,
)
from cohorts.inference.expansions import JointDensity, cholesky, log_density, spread_by
from cohorts.inference.marginal_likelihood import Method, marginal
from cohorts.inference.modes import ROUGH, Search
from cohorts.inference.pareto_smoothing import smoothed
from cohorts.inference.subject_blocks import for_block, in_blocks
from insilico.arrays import library_of
from insilico.randomness import address
from insilico.solve import LANES

MOST_BESIDE, LANES_BESIDE = 8, 8 * LANES
"""Proposals whose solves go side by side, and about how many lanes these have."""

DEGREES_OF_FREEDOM = 5.0
"""Of the proposals: tails that are heavier than those of most posteriors, at little cost."""


class Importance(NamedTuple):
    """What importance sampling says of each subject.

    - `log_marginal`: (subjects,), log of the marginal likelihood of its data; -inf where no place
      of finite density was found. `standard_error`: (subjects,), its Monte Carlo error.
    - `pareto_k`: (subjects,); above `pareto_smoothing.RELIABLE` neither can be trusted.
    - `mode`: (K, components, subjects), about which proposals lie.
    - `x`: (draws, K, subjects), the proposals, and `log_weights`: (draws, subjects), theirs,
      smoothed and normalised: together they stand for the posterior of the subject's effects. Of a
      mixture there are `draws` of each component, in turn: first one of each, then the next of
      each.
    - `status`: (subjects,), of the search for the mode, a `ModeStatus`, the worst one of components
      that the subject may well belong to.
    - `of_components`: (components, subjects), logarithms of share times marginal likelihood; there
      is one without a mixture.
    """

    log_marginal: Float[np.ndarray, " subjects"]
    standard_error: Float[np.ndarray, " subjects"]
    pareto_k: Float[np.ndarray, " subjects"]
    mode: Float[np.ndarray, "K components subjects"]
    x: Float[np.ndarray, "draws K subjects"]
    log_weights: Float[np.ndarray, "draws subjects"]
    status: Int[np.ndarray, " subjects"]
    of_components: Float[np.ndarray, "components subjects"]


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
    log_marginal, error, of_components = sampled_marginal(log_weights)
    possible = np.isfinite(log_marginal)
    together = log_weights.reshape(-1, joint.subjects)
    log_weights, k = smoothed(np.where(possible, together, 0.0))
    status = worst(status.reshape(-1), of_components)
    return Importance(
        log_marginal=log_marginal,
        standard_error=error,
        pareto_k=np.where(possible, k, np.inf),
        mode=mode,
        x=x.reshape(len(together), -1, joint.subjects),
        log_weights=log_weights,
        status=status,
        of_components=of_components,
    )


@functools.lru_cache(maxsize=16)
def _program(joint: JointDensity, draws: int, method: Method, search: Search) -> Callable[..., Any]:
    block = for_block(joint)

    def one_block(common: Any, own: Any) -> tuple[Array, ...]:
        (theta, key), (data, numbers) = common, own
        found = marginal(block, theta, data, method=method, search=search)
        keys = lane_keys(jax.vmap(address, in_axes=(None, 0))(key, numbers), block.components)
        standard = jax.vmap(lambda key: standard_draws(key, draws, len(block.effects)))(keys)
        factor, _ = cholesky(found.information)
        x, log_weights = weighed(block, theta, data, found.modes.x, factor, standard)
        mode, x, log_weights, status = (
            apart(leaf, block.components)
            for leaf in (found.modes.x, x, log_weights, found.modes.status)
        )
        return mode, jnp.swapaxes(x, 1, 2), log_weights, status

    return in_blocks(one_block)


def weighed(
    joint: JointDensity,
    theta: Float[Array, " P"],
    data: Any,
    modes: Float[Array, "K lanes"],
    factor: Float[Array, "lanes K K"],
    standard: Float[Array, "lanes draws K"],
) -> tuple[Float[Array, "draws K lanes"], Float[Array, "draws lanes"]]:
    """Proposals about the modes by `standard_draws`, and the logarithms of their weights.

    `factor`: of the information there, by `cholesky`.
    """
    lanes, tiled = on_lanes(joint, data)
    x = modes + spread_by(factor, standard)
    root = jnp.sum(jnp.log(jnp.diagonal(factor, axis1=1, axis2=2)), axis=1)
    proposed = _log_density_of_t(standard).T + root
    # Several proposals together fill chunks of lanes that one leaves half empty.
    beside = max(1, min(MOST_BESIDE, LANES_BESIDE // x.shape[-1]))
    density = jax.lax.map(lambda x: log_density(lanes, theta, x, tiled, None), x, batch_size=beside)
    return x, jnp.where(jnp.isfinite(density), density, -jnp.inf) - proposed


def sampled_marginal(
    log_weights: Float[Array, "draws components subjects"] | np.ndarray,
) -> tuple[Any, Any, Any]:
    """Log of each subject's marginal likelihood (subjects,), its Monte Carlo error, and what it is
    the sum of, (components, subjects), by weights of proposals of each component.

    Works on NumPy's arrays and on JAX's.
    """
    each, errors = log_mean(log_weights)
    if len(each) == 1:
        return each[0], errors[0], each
    numbers = library_of(log_weights)
    value, probability = log_sum(each), probabilities(each)
    parts = numbers.where(probability > 0.0, probability * errors, 0.0)
    # Draws of one component are independent of another's.
    return value, numbers.sqrt(numbers.sum(numbers.square(parts), axis=0)), each


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
