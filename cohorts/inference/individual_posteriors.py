"""The posterior of each subject's effects, at given population parameters or averaged over draws.

`map`: the modes alone. `laplace`: normal about the mode. `full`: importance sampling, resampled,
with Pareto's k as the word of how far to trust it. Of a mixture, each component has a mode, about
which its own effects are normal; how probable each is, data and shares say by Bayes' rule.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from cohorts.inference.components import apart, chosen, drawn, lane_keys, probabilities, worst
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

    - `x`: (K, subjects), its modes; of a mixture that in the most probable component.
    - `mean`: (K, subjects), and `covariance`: (K, K, subjects). None for `map`.
    - `draws`: (draws, K, subjects); those of one draw of the population parameters stand together.
      None for `map`.
    - `pareto_k`: (subjects,), the largest over draws of the population parameters; None but for
      `full`.
    - `status`: (subjects,), of the search for the mode, the worst `ModeStatus`.
    - `probability`: of a mixture (components, subjects), that the subject belongs to each; else
      None. `component`: (subjects,), the most probable one, `component_of_draws`: (draws, subjects)
      that which each of the draws is of; 0 without a mixture, None where there are no draws.
    """

    x: Float[np.ndarray, "K subjects"]
    mean: Float[np.ndarray, "K subjects"] | None
    covariance: Float[np.ndarray, "K K subjects"] | None
    draws: Float[np.ndarray, "draws K subjects"] | None
    pareto_k: Float[np.ndarray, " subjects"] | None
    status: Int[np.ndarray, " subjects"]
    probability: Float[np.ndarray, "components subjects"] | None
    component: Int[np.ndarray, " subjects"]
    component_of_draws: Int[np.ndarray, "draws subjects"] | None


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
      those of `full` are taken, so many of each component.
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
    return _averaged(each)


class _Posterior(NamedTuple):
    """At one draw of the population's parameters, as in `Individuals`; modes of every component."""

    modes: np.ndarray
    probability: np.ndarray
    mean: np.ndarray | None
    covariance: np.ndarray | None
    draws: np.ndarray | None
    component_of_draws: np.ndarray | None
    pareto_k: np.ndarray | None
    status: np.ndarray


def _normal(
    joint: JointDensity,
    theta: np.ndarray,
    data: Any,
    key: Any,
    draws: int,
    method: Method,
    search: Search,
) -> _Posterior:
    program = _program(joint, draws, method, search)
    numbers = np.arange(joint.subjects)
    found = program((jnp.asarray(theta), key), (data, numbers))
    modes, status, of_components, covariance, of_draws, uniform = found
    if of_components is None:
        mean = spread = component = None
        if draws:
            mean, spread, of_draws = modes[:, 0], covariance[:, :, 0], of_draws[:, :, 0]
            component = np.zeros((draws, joint.subjects), int)
        sure = np.ones(status.shape)
        return _Posterior(modes, sure, mean, spread, of_draws, component, None, status[0])
    probability = probabilities(of_components)
    of_subjects = worst(status.reshape(-1), of_components)
    if not draws:
        return _Posterior(modes, probability, None, None, None, None, None, of_subjects)
    component = drawn(probability[None], uniform)
    of_draws = np.take_along_axis(of_draws, component[:, None, None], axis=-2)[..., 0, :]
    mean = np.sum(probability * modes, axis=-2)
    away = modes - mean[:, None]
    spread = np.sum(probability * (covariance + away[:, None] * away[None, :]), axis=-2)
    return _Posterior(modes, probability, mean, spread, of_draws, component, None, of_subjects)


@functools.lru_cache(maxsize=16)
def _program(joint: JointDensity, draws: int, method: Method, search: Search) -> Callable[..., Any]:
    block = for_block(joint)
    components = joint.components

    def one_block(common: Any, own: Any) -> tuple[Any, ...]:
        (theta, key), (data, numbers) = common, own
        if not draws and components == 1:
            modes = individual_modes(block, theta, data, search=search)
            return apart(modes.x, 1), apart(modes.status, 1), None, None, None, None
        found = marginal(block, theta, data, method=method, search=search)
        x, status = apart(found.modes.x, components), apart(found.modes.status, components)
        if not draws:
            return x, status, found.of_components, None, None, None
        factor, _ = cholesky(found.information)
        inverse = jnp.linalg.inv(jnp.moveaxis(found.information, -1, 0))
        keys = jax.vmap(address, in_axes=(None, 0))(key, numbers)
        uniform = None
        if components > 1:
            own_keys = jax.vmap(address, in_axes=(0, None))(keys, components)
            uniform = jax.vmap(lambda key: jax.random.uniform(key, (draws,)))(own_keys).T
        keys = lane_keys(keys, components)
        standard = jax.vmap(lambda key: jax.random.normal(key, (draws, len(x))))(keys)
        covariance = apart(jnp.moveaxis(inverse, 0, -1), components)
        of_draws = apart(found.modes.x + spread_by(factor, standard), components)
        return x, status, found.of_components, covariance, of_draws, uniform

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
) -> _Posterior:
    found = importance(joint, theta, data, key=key, draws=proposals, method=method, search=search)
    weights = np.exp(found.log_weights)
    mean = np.einsum("ds,dks->ks", weights, found.x)
    away = found.x - mean
    covariance = np.einsum("ds,dks,dls->kls", weights, away, away)
    # Systematic resampling: the proposals are in no order, so that no offset need be drawn.
    places = (np.arange(draws) + 0.5) / draws
    totals = np.cumsum(weights, axis=0)
    taken = np.stack([np.searchsorted(total, places * total[-1]) for total in totals.T], axis=-1)
    of_draws = np.take_along_axis(found.x, taken[:, None], axis=0)
    return _Posterior(
        modes=found.mode,
        probability=probabilities(found.of_components),
        mean=mean,
        covariance=covariance,
        draws=of_draws,
        component_of_draws=taken % joint.components,
        pareto_k=found.pareto_k,
        status=found.status,
    )


def _averaged(each: list[_Posterior]) -> Individuals:
    """Over draws of the population parameters."""
    together = jax.tree.map(lambda *leaves: np.stack(leaves), *each)
    mean = covariance = of_draws = components = k = None
    if together.mean is not None:
        mean = np.mean(together.mean, axis=0)
        away = together.mean - mean
        between = np.einsum("tks,tls->kls", away, away) / len(each)
        covariance = np.mean(together.covariance, axis=0) + between
        of_draws = together.draws.reshape(-1, *together.draws.shape[2:])
        components = together.component_of_draws.reshape(len(of_draws), -1)
    if together.pareto_k is not None:
        k = np.max(together.pareto_k, axis=0)
    status = np.max(together.status, axis=0)
    probability = np.mean(together.probability, axis=0)
    component = np.argmax(probability, axis=0)
    modes = np.mean(together.modes, axis=0)
    x = chosen(modes.reshape(len(modes), -1), component)
    return Individuals(
        x=x,
        mean=mean,
        covariance=covariance,
        draws=of_draws,
        pareto_k=k,
        status=status,
        probability=probability if len(probability) > 1 else None,
        component=component,
        component_of_draws=components,
    )
