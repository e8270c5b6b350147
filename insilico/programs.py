"""Compiled programs, shared by all functions that come to the same operations.

JAX compiles a function for what it is, so that two functions made for two scenarios of a trial are
compiled twice, though numbers are arguments and both are the same program. Here what a function
comes to is looked up before it is compiled.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import jax
import numpy as np

KEPT = 64
"""Programs that are kept for others; those that were not asked for longest go first."""

_compiled: OrderedDict[Hashable, Any] = OrderedDict()


def shared(jitted: Any, options: dict[str, str] | None = None) -> Callable[..., Any]:
    """A function under `jax.jit` as one that compiles nothing that another has compiled before.

    It is traced as ever, once for each set of shapes, types and placements of its arguments, all
    of which are arrays or pytrees of them. `options` are the compiler options it was given.
    """
    own: dict[Hashable, Any] = {}

    def call(*arguments: Any) -> Any:
        leaves, structure = jax.tree.flatten(arguments)
        key = (structure, tuple(map(_placed, leaves)))
        if key not in own:
            own[key] = _program(jitted.lower(*arguments), key, options)
        return own[key](*arguments)

    return call


def _program(lowered: Any, key: Hashable, options: dict[str, str] | None) -> Any:
    digest = hashlib.sha256(lowered.as_text().encode()).hexdigest()
    # The text does not tell the names of what goes in and comes out.
    whole = (digest, key, lowered.out_tree, tuple(sorted((options or {}).items())))
    if whole not in _compiled:
        _compiled[whole] = lowered.compile()
    _compiled.move_to_end(whole)
    while len(_compiled) > KEPT:
        _compiled.popitem(last=False)
    return _compiled[whole]


def _placed(leaf: Any) -> Hashable:
    """Shape and type of an argument, and the devices that it lies on."""
    placed = (leaf.sharding, leaf.committed) if isinstance(leaf, jax.Array) else None
    return np.shape(leaf), jax.dtypes.result_type(leaf), jax.typeof(leaf).weak_type, placed
