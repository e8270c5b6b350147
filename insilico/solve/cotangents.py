"""Cotangents of trees: how they are had and added, those not there, and those of failed lanes.

Those of a tree are kept as a tree of the same kind, in which only floating-point arrays mean
something.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from insilico.solve.status import Status
from insilico.solve.walks import Walk


def is_floating(leaf: Any) -> bool:
    """Whether it is a floating-point array or number, which can be differentiated."""
    return jnp.issubdtype(getattr(leaf, "dtype", None) or jnp.result_type(leaf), jnp.floating)


def floating(tree: Any) -> list[Any]:
    """The floating-point leaves of a tree."""
    return [leaf for leaf in jax.tree.leaves(tree) if is_floating(leaf)]


def replaced(tree: Any, leaves: list[Any]) -> Any:
    """The tree with its floating-point leaves replaced."""
    given = iter(leaves)
    return jax.tree.map(lambda leaf: next(given) if is_floating(leaf) else leaf, tree)


def plus(left: Any, right: Any) -> Any:
    """Leaf by leaf."""
    return jax.tree.map(jnp.add, left, right)


def pullback(function: Callable[..., Any], *arguments: Any) -> Callable[[list[Any]], tuple]:
    """From cotangents of the floating-point leaves of `function(*arguments)` to its arguments'.

    These are trees like the arguments, in which other leaves are the arguments' own.
    """

    def of(leaves: list[Any]) -> list[Any]:
        return floating(function(*replaced(arguments, leaves)))

    _, pull = jax.vjp(of, floating(arguments))
    return lambda cotangents: replaced(arguments, pull(cotangents)[0])


def without_failed(walk: Walk, cotangents: Any) -> Any:
    """Cotangents that are zero for the lanes of the walk that failed."""
    failed = walk.status != Status.OK

    def kept(leaf: Any) -> Any:
        of_lanes = is_floating(leaf) and leaf.shape[-1:] == failed.shape
        return jnp.where(failed, 0.0, leaf) if of_lanes else leaf

    return jax.tree.map(kept, cotangents)


def with_failed_still(walk: Walk) -> Walk:
    """The walk, whose numbers do not change with anything for the lanes that failed."""
    failed = walk.status != Status.OK

    def still(leaf: Any) -> Any:
        of_lanes = is_floating(leaf) and leaf.shape[-1:] == failed.shape
        return jnp.where(failed, lax.stop_gradient(leaf), leaf) if of_lanes else leaf

    return jax.tree.map(still, walk)


def instantiated(cotangents: Any, values: Any) -> Any:
    """Cotangents of these values, in which zeros that were only spoken of are there."""

    def leaf(cotangent: Any, value: Array) -> Any:
        return instantiated_leaf(cotangent) if is_floating(value) else jnp.zeros_like(value)

    return jax.tree.map(leaf, cotangents, values, is_leaf=_spoken_of)


def instantiated_leaf(cotangent: Any) -> Array:
    """The same for one floating-point array."""
    if _spoken_of(cotangent):
        return jnp.zeros(cotangent.shape, cotangent.dtype)
    return cotangent


def _spoken_of(cotangent: Any) -> bool:
    return isinstance(cotangent, jax.custom_derivatives.SymbolicZero)
