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


def coordinates_of_draws(joint: Joint, draws: Mapping[str, Any]) -> Float[np.ndarray, "draws P"]:
    """The population's unconstrained coordinates at draws of its sites, each (draws, …)."""
    sites = {name: np.asarray(draws[name]) for name in joint.sites}
    return np.asarray(quickly(jax.vmap(joint.unconstrained))(sites))


def log_prior_of_draws(
    joint: Joint, theta: Float[Array, "draws P"] | np.ndarray
) -> Float[np.ndarray, " draws"]:
    """Log density of the population's parameters themselves, not of their coordinates."""
    program = quickly(jax.vmap(lambda each: joint.log_prior(each, of_coordinates=False)))
    return np.asarray(program(np.asarray(theta)))
