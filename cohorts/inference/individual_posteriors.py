"""The posterior of each subject's effects, at given population parameters or averaged over draws.

`map`: the modes alone. `laplace`: normal about the mode. `full`: importance sampling, resampled,
with Pareto's k as the word of how far to trust it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from cohorts.inference.expansions import JointDensity, cholesky, spread_by
from cohorts.inference.importance_sampling import importance
from cohorts.inference.marginal_likelihood import Method, marginal
from cohorts.inference.modes import ROUGH, Search, individual_modes
from cohorts.inference.subject_blocks import for_block, in_blocks
from insilico.randomness import address

Kind = Literal["map", "laplace", "full"]


class Individuals(NamedTuple):
    """Posterior of each subject's effects, in the coordinates of the joint density.

    `Joint.parameters` gives the structural model's parameters that go with them. Averaged over
    draws of the population parameters where there are several.

    - `x`: (K, subjects), its modes.
    - `mean`: (K, subjects), and `covariance`: (K, K, subjects). None for `map`.
    - `draws`: (draws, K, subjects); those of one draw of the population parameters stand together.
      None for `map`.
    - `pareto_k`: (subjects,), the largest over draws of the population parameters; None but for
      `full`.
    - `status`: (subjects,), of the search for the mode, the worst `ModeStatus`.
    """

    x: Float[np.ndarray, "K subjects"]
    mean: Float[np.ndarray, "K subjects"] | None
    covariance: Float[np.ndarray, "K K subjects"] | None
    draws: Float[np.ndarray, "draws K subjects"] | None
    pareto_k: Float[np.ndarray, " subjects"] | None
    status: Int[np.ndarray, " subjects"]


def individuals(
    joint: JointDensity,
    theta: Float[Array, " P"] | Float[Array, "populations P"] | np.ndarray,
    data: Any,
    kind: Kind = "laplace",
    *,
    key: Key[Array, ""],
    draws: int = 100,
    proposals: int = 1000,
    method: Method = "laplace",
    search: Search = ROUGH,
) -> Individuals:
    """The posterior of every subject's effects.

    - `theta`: population parameters, or several draws of them, over which it is averaged.
    - `draws`: of the effects, for each draw of the population parameters; `proposals`: from which
      those of `full` are taken.
    - `method`: the information of `laplace` and of the proposals, the exact one or for `focei` the
      expected, which takes first derivatives alone.
    - A subject's draws depend on `key` and on its number alone.
    """
    populations = np.atleast_2d(np.asarray(theta, float))
    each = []
    for number, population in enumerate(populations):
        own = address(key, number)
        if kind == "full":
            each.append(_full(joint, population, data, own, draws, proposals, method, search))
        else:
            number_of_draws = draws if kind == "laplace" else 0
            each.append(_normal(joint, population, data, own, number_of_draws, method, search))
    return each[0] if len(each) == 1 else _averaged(each)


def _normal(
    joint: JointDensity,
    theta: np.ndarray,
    data: Any,
    key: Any,
    draws: int,
    method: Method,
    search: Search,
) -> Individuals:
    program = _program(joint, draws, method, search)
    numbers = np.arange(joint.subjects)
    x, status, covariance, drawn = program((jnp.asarray(theta), key), (data, numbers))
    if not draws:
        return Individuals(x, None, None, None, None, status)
    return Individuals(x, x, covariance, drawn, None, status)


@functools.lru_cache(maxsize=16)
def _program(joint: JointDensity, draws: int, method: Method, search: Search) -> Callable[..., Any]:
    block = for_block(joint)

    def one_block(common: Any, own: Any) -> tuple[Any, ...]:
        (theta, key), (data, numbers) = common, own
        if not draws:
            modes = individual_modes(block, theta, data, search=search)
            return modes.x, modes.status, None, None
        found = marginal(block, theta, data, method=method, search=search)
        factor, _ = cholesky(found.information)
        x, inverse = found.modes.x, jnp.linalg.inv(jnp.moveaxis(found.information, -1, 0))
        keys = jax.vmap(address, in_axes=(None, 0))(key, numbers)
        standard = jax.vmap(lambda key: jax.random.normal(key, (draws, x.shape[0])))(keys)
        return x, found.modes.status, jnp.moveaxis(inverse, 0, -1), x + spread_by(factor, standard)

    return in_blocks(one_block)


def _full(
    joint: JointDensity,
    theta: np.ndarray,
    data: Any,
    key: Any,
    draws: int,
    proposals: int,
    method: Method,
    search: Search,
) -> Individuals:
    found = importance(joint, theta, data, key=key, draws=proposals, method=method, search=search)
    weights = np.exp(found.log_weights)
    mean = np.einsum("ds,dks->ks", weights, found.x)
    away = found.x - mean
    covariance = np.einsum("ds,dks,dls->kls", weights, away, away)
    # Systematic resampling: the proposals are in no order, so that no offset need be drawn.
    places = (np.arange(draws) + 0.5) / draws
    totals = np.cumsum(weights, axis=0)
    taken = np.stack([np.searchsorted(total, places * total[-1]) for total in totals.T], axis=-1)
    drawn = np.take_along_axis(found.x, taken[:, None], axis=0)
    return Individuals(found.mode, mean, covariance, drawn, found.pareto_k, found.status)


def _averaged(each: list[Individuals]) -> Individuals:
    """Over draws of the population parameters."""
    together = jax.tree.map(lambda *leaves: np.stack(leaves), *each)
    mean = covariance = drawn = k = None
    if together.mean is not None:
        mean = np.mean(together.mean, axis=0)
        away = together.mean - mean
        between = np.einsum("tks,tls->kls", away, away) / len(each)
        covariance = np.mean(together.covariance, axis=0) + between
        drawn = together.draws.reshape(-1, *together.draws.shape[2:])
    if together.pareto_k is not None:
        k = np.max(together.pareto_k, axis=0)
    status = np.max(together.status, axis=0)
    return Individuals(np.mean(together.x, axis=0), mean, covariance, drawn, k, status)
