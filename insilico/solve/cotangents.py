"""Cotangents of a walk: those that are not there, and those of lanes that failed."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from insilico.solve.replays import is_smooth
from insilico.solve.status import Status
from insilico.solve.walks import Walk


def without_failed(walk: Walk, cotangents: Any) -> Any:
    """Cotangents that are zero for the lanes of the walk that failed."""
    failed = walk.status != Status.OK

    def kept(leaf: Any) -> Any:
        of_lanes = is_smooth(leaf) and leaf.shape[-1:] == failed.shape
        return jnp.where(failed, 0.0, leaf) if of_lanes else leaf

    return jax.tree.map(kept, cotangents)


def instantiated(cotangents: Any, values: Any) -> Any:
    """Cotangents in which zeros that were only spoken of are there."""

    def leaf(cotangent: Any, value: Array) -> Any:
        absent = isinstance(cotangent, jax.custom_derivatives.SymbolicZero)
        return jnp.zeros_like(value) if absent or not is_smooth(value) else cotangent

    return jax.tree.map(
        leaf,
        cotangents,
        values,
        is_leaf=lambda leaf: isinstance(leaf, jax.custom_derivatives.SymbolicZero),
    )
