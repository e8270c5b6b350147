"""Compiled programs, shared by all functions that come to the same operations.

JAX compiles a function for what it is, so that two functions made for two scenarios of a trial are
compiled twice, though numbers are arguments and both are the same program. Here what a function
comes to is looked up before it is compiled.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from insilico.devices import QUICKLY, usable_cores

KEPT = 64
"""Programs that are kept for others; those that were not asked for longest go first."""

_compiled: OrderedDict[Hashable, Any] = OrderedDict()


class Shared:
    """A function under `jax.jit` as one that compiles nothing that another has compiled before.

    It is traced as ever, once for each set of shapes, types and placements of its arguments, all
    of which are arrays or pytrees of them.
    """

    def __init__(self, jitted: Any, options: dict[str, str] | None = None):
        self._jitted, self._options = jitted, options
        self._own: dict[Hashable, Any] = {}

    def __call__(self, *arguments: Any) -> Any:
        key = _key(arguments)
        if key not in self._own:
            self._own[key] = _program(*self._lowered(arguments, key))
        found = self._own[key]
        if isinstance(found, Future):
            found = self._own[key] = found.result()
        return found(*arguments)

    def ahead(self, *arguments: Any) -> None:
        """Begin to compile it for arguments like these; who calls it so then waits for the rest.

        It is traced before this returns, and compiled beside whatever the process goes on to do.
        """
        key = _key(arguments)
        if key not in self._own:
            self._own[key] = _begun(*self._lowered(arguments, key))

    def _lowered(self, arguments: tuple[Any, ...], key: Hashable) -> tuple[Any, Hashable]:
        lowered = self._jitted.lower(*arguments)
        digest = hashlib.sha256(lowered.as_text().encode()).hexdigest()
        # The text does not tell the names of what goes in and comes out.
        options = tuple(sorted((self._options or {}).items()))
        return lowered, (digest, key, lowered.out_tree, options)


@contextlib.contextmanager
def unshared() -> Iterator[None]:
    """Within it a program is compiled though another function has compiled the same, and none of
    those that are compiled there is found later: to see how long that takes."""
    others = OrderedDict(_compiled)
    _compiled.clear()
    try:
        yield
    finally:
        _compiled.clear()
        _compiled.update(others)


def shared(jitted: Any, options: dict[str, str] | None = None) -> Shared:
    """`Shared`; `options` are the compiler options that the function was given."""
    return Shared(jitted, options)


def quickly(function: Callable[..., Any]) -> Shared:
    """A function to be run a few times, compiled for that; likewise."""
    return Shared(jax.jit(function, compiler_options=QUICKLY), QUICKLY)


def _program(lowered: Any, whole: Hashable) -> Any:
    if whole not in _compiled:
        _keep(whole, lowered.compile())
    return _found(whole)


def _begun(lowered: Any, whole: Hashable) -> Any:
    if whole not in _compiled:
        _keep(whole, _workers().submit(lowered.compile))
    return _found(whole)


def _keep(whole: Hashable, compiled: Any) -> None:
    _compiled[whole] = compiled
    while len(_compiled) > KEPT:
        _compiled.popitem(last=False)


def _found(whole: Hashable) -> Any:
    _compiled.move_to_end(whole)
    return _compiled[whole]


@functools.cache
def _workers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(usable_cores(), thread_name_prefix="compiling")


def _key(arguments: tuple[Any, ...]) -> Hashable:
    leaves, structure = jax.tree.flatten(arguments)
    return structure, tuple(map(_placed, leaves))


def _placed(leaf: Any) -> Hashable:
    """Shape and type of an argument, and the devices that it lies on."""
    placed = (leaf.sharding, leaf.committed) if isinstance(leaf, jax.Array) else None
    return np.shape(leaf), jax.dtypes.result_type(leaf), jax.typeof(leaf).weak_type, placed
