"""The marginal likelihood of each subject at many draws of the population's parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jaxtyping import Array, Float

from cohorts.inference.expansions import JointDensity
from cohorts.inference.marginal_likelihood import Method
from cohorts.inference.modes import ROUGH, Search
from cohorts.inference.side_by_side import marginals_at
from insilico.programs import quickly

if TYPE_CHECKING:
    from cohorts.inference.joint import Joint
    from cohorts.inference.patients import Data


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
    return np.asarray(marginals_at(joint, theta, data, method=method, search=search).value)


def coordinates_of_draws(
    joint: Joint, draws: Mapping[str, Any], data: Data
) -> Float[np.ndarray, "draws P"]:
    """The population's unconstrained coordinates at draws of its sites, each (draws, …)."""
    sites = {name: np.asarray(draws[name]) for name in joint.sites}
    program = quickly(jax.vmap(joint.unconstrained, in_axes=(0, None)))
    return np.asarray(program(sites, data))


def log_prior_of_draws(
    joint: Joint, theta: Float[Array, "draws P"] | np.ndarray, data: Data
) -> Float[np.ndarray, " draws"]:
    """Log density of the population's parameters themselves, not of their coordinates."""

    def of_draw(theta: Array, data: Data) -> Array:
        return joint.log_prior(theta, data, of_coordinates=False)

    program = quickly(jax.vmap(of_draw, in_axes=(0, None)))
    return np.asarray(program(np.asarray(theta), data))
