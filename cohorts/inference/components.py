"""Subjects of a mixture, once for each component that they may belong to.

Given its component, a subject's random effects have one mode, about which they can be expanded; and
whatever a subject's data say of its component follows by Bayes' rule. So modes, expansions and
proposals are those of *lanes*: all subjects in the first component, then all in the second, and so
on. Marginal likelihoods and their gradients are summed over a subject's lanes in one place,
`cohorts.inference.marginal_likelihood`.

Without a mixture lanes are the subjects themselves, and nothing of this is in what is compiled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from insilico.arrays import library_of

if TYPE_CHECKING:
    from jaxtyping import Array, Key

    from cohorts.inference.expansions import JointDensity

NEGLIGIBLE = 1e-6
"""Probability of a component below which it is all the same whether its mode was found."""

ALIKE = 1e-3
"""Largest difference between subjects' probabilities where components are the same."""


def lanes_of(joint: JointDensity) -> int:
    """How many lanes there are: subjects times components."""
    return joint.subjects * joint.components


def on_lanes(joint: JointDensity, data: Any) -> tuple[JointDensity, Any]:
    """The joint density of lanes, whose effects' density has the components' shares in it, and
    their data."""
    return joint.by_component(data) if joint.components > 1 else (joint, data)


def tiled(values: Any, components: int) -> Any:
    """(…, subjects) as (…, lanes): what is the same in every component."""
    if components == 1:
        return values
    return library_of(values).concatenate([values] * components, axis=-1)


def apart(values: Any, components: int) -> Any:
    """(…, lanes) as (…, components, subjects)."""
    return values.reshape(*values.shape[:-1], components, values.shape[-1] // components)


def log_sum(each: Float[Array, "*batch components subjects"] | np.ndarray) -> Any:
    """logsumexp over components, (…, subjects); minus infinity, with derivatives of zero, where all
    are."""
    numbers = library_of(each)
    some = numbers.any(each > -numbers.inf, axis=-2, keepdims=True)
    each = numbers.where(some, each, 0.0)
    highest = numbers.max(each, axis=-2, keepdims=True)
    found = highest + numbers.log(numbers.sum(numbers.exp(each - highest), axis=-2, keepdims=True))
    return numbers.where(some, found, -numbers.inf)[..., 0, :]


def probabilities(each: Float[Array, "*batch components subjects"] | np.ndarray) -> Any:
    """Of each component, likewise, by the logarithms of share times density; where a subject has a
    density of zero in all components, all are equally probable."""
    numbers = library_of(each)
    together = log_sum(each)[..., None, :]
    known = together > -numbers.inf
    away = numbers.where(known, each - numbers.where(known, together, 0.0), 0.0)
    return numbers.where(known, numbers.exp(away), 1.0 / each.shape[-2])


def chosen(
    values: Float[Array, "*batch lanes"] | np.ndarray,
    component: Int[Array, " subjects"] | np.ndarray,
) -> Any:
    """Of each subject, (…, subjects), that in the component which it is taken to belong to."""
    subjects = component.shape[-1]
    numbers = library_of(values, component)
    lane = component * subjects + numbers.arange(subjects)
    return values[..., lane]


def drawn(
    probability: Float[Array, "*batch components subjects"] | np.ndarray,
    uniform: Float[np.ndarray, "*batch subjects"],
) -> Int[np.ndarray, "*batch subjects"]:
    """A component of each subject by its probabilities, by a number between 0 and 1."""
    totals = np.cumsum(probability, axis=-2)[..., :-1, :]
    return np.sum(uniform[..., None, :] > totals, axis=-2)


def worst(
    status: Int[Array, "*batch lanes"] | np.ndarray,
    each: Float[Array, "*batch components subjects"] | np.ndarray | None,
) -> Int[np.ndarray, "*batch subjects"]:
    """A subject's largest status in the components that it may well belong to; the least is 0.

    `each`: as for `probabilities`; None without a mixture.
    """
    if each is None:
        return np.asarray(status)
    of_components = apart(status, each.shape[-2])
    return np.max(np.where(probabilities(each) > NEGLIGIBLE, of_components, 0), axis=-2)


def alike(each: Float[Array, "components subjects"] | np.ndarray) -> bool:
    """Whether the components are the same for all data: then subjects' probabilities of belonging
    to each are the shares, and do not differ."""
    probability = probabilities(each)
    return probability.shape[-1] > 1 and float(np.max(np.ptp(probability, axis=-1))) < ALIKE


def lane_keys(keys: Key[Array, " subjects"], components: int) -> Key[Array, " lanes"]:
    """Keys of lanes by those of their subjects, which without a mixture are their own."""
    import jax
    import jax.numpy as jnp

    from insilico.randomness import address

    if components == 1:
        return keys
    each = [jax.vmap(lambda key, c=c: address(key, c))(keys) for c in range(components)]
    return jnp.concatenate(each)
