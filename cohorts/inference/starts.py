"""Where chains start: points of finite density, found without tuning."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Key

from cohorts.inference.density import Data, Density, ModelError, Position
from insilico.programs import shared
from insilico.solve.blocks import compiler_options

CANDIDATES = 16
"""Prior draws that are tried for each chain."""


class Starts(NamedTuple):
    """A start for each chain; arrays have a leading axis (chains,).

    - `position`, `potential`, `gradient`: the points, minus the log density there, its derivative.
    - `gradients`: gradients that finding them took.
    """

    position: Position
    potential: Float[Array, " chains"]
    gradient: Position
    gradients: int


def find(density: Density, data: Data, chains: int, key: Key[Array, ""]) -> Starts:
    """A start for each of `chains` chains.

    Raises `ModelError` where no point of finite density is found.
    """
    position, potential, gradient = _program(density, chains)(key, data)
    if not np.all(np.isfinite(potential)):
        raise ModelError("no start")
    return Starts(position, potential, gradient, chains * CANDIDATES)


@functools.lru_cache(maxsize=32)
def _program(density: Density, chains: int) -> Callable[..., Any]:
    def of(key: Array, data: Data) -> tuple[Position, Array, Position]:
        keys = jax.random.split(key, chains * CANDIDATES)
        drawn = jax.vmap(lambda k: density.prior_draw(k, data))(keys)
        value = jax.vmap(jax.value_and_grad(lambda z: density.potential(z, data)))
        potential, gradient = value(drawn)
        best = jnp.argsort(potential)[:chains]
        return jax.tree.map(lambda leaf: leaf[best], (drawn, potential, gradient))

    options = compiler_options()
    return shared(jax.jit(of, compiler_options=options), options)
