"""The marginal likelihood of each subject at many draws of the population's parameters."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cohorts.inference.expansions import JointDensity
from cohorts.inference.marginal_likelihood import Method, marginal
from cohorts.inference.modes import ROUGH, Search
from insilico.programs import shared
from insilico.solve.blocks import compiler_options

if TYPE_CHECKING:
    from cohorts.inference.joint import Joint

LANES_AT_ONCE = 512
"""Draws times subjects whose modes are looked for side by side: all wait for the last."""


def marginal_of_draws(
    joint: JointDensity,
    theta: Float[Array, "draws P"] | np.ndarray,
    data: Any,
    *,
    method: Method = "focei",
    search: Search = ROUGH,
) -> Float[np.ndarray, "draws subjects"]:
    """Marginal log likelihood of each subject's data at each draw, by Laplace's expansion.

    As `marginal` has it, whose `method` says which information is used; -inf where no place of
    finite density was found. One compiled program, whatever the number of draws.
    """
    theta = np.asarray(theta, float)
    batch = max(1, LANES_AT_ONCE // joint.subjects)
    program = _program(joint, method, search)
    # The last batch is filled up, so that one program serves them all.
    total = -(-len(theta) // batch) * batch
    padded = np.concatenate([theta, np.repeat(theta[-1:], total - len(theta), axis=0)])
    found = [program(part, data) for part in padded.reshape(-1, batch, theta.shape[1])]
    return np.concatenate([np.asarray(values) for values in found])[: len(theta)]


@functools.lru_cache(maxsize=16)
def _program(joint: JointDensity, method: Method, search: Search) -> Callable[[Any, Any], Array]:
    options = compiler_options()

    @functools.partial(shared, options=options)
    @functools.partial(jax.jit, compiler_options=options)
    @functools.partial(jax.vmap, in_axes=(0, None))
    def program(theta: Array, data: Any) -> Array:
        return marginal(joint, theta, data, method=method, search=search).value

    return program


def coordinates_of_draws(joint: Joint, draws: Mapping[str, Any]) -> Float[np.ndarray, "draws P"]:
    """The population's unconstrained coordinates at draws of its sites, each (draws, …)."""
    sites = {name: jnp.asarray(draws[name]) for name in joint.sites}
    return np.asarray(jax.jit(jax.vmap(joint.unconstrained))(sites))


def log_prior_of_draws(
    joint: Joint, theta: Float[Array, "draws P"] | np.ndarray
) -> Float[np.ndarray, " draws"]:
    """Log density of the population's parameters themselves, not of their coordinates."""
    program = jax.jit(jax.vmap(lambda each: joint.log_prior(each, of_coordinates=False)))
    return np.asarray(program(jnp.asarray(theta)))
