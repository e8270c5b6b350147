"""Paths of Wiener processes whose every value has an address.

Time is cut into cells of the model's `step`. A path's increment over a cell is one draw, and what
it does inside is Lévy's construction: the value halfway between two known ones is their mean and a
draw of a quarter of the time between them. The draws are the cipher Threefry of (process, cell,
place in the cell) under the subject's key (J. Salmon et al., SC 2011), so a path is a function of
time alone. Steps of any length, an observation more or less, another batch, order or device: all
see the same path, and nothing of it is kept in memory.

Cells are halved `DEPTH` times. A time is taken for the nearest such tick.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.random import threefry2x32_p
from jaxtyping import Key, UInt32

from insilico.hashing import name_hash

DEPTH = 24
"""Halvings of a cell: a tick is 6e-8 of it."""

Words = tuple[Array, Array]
"""The two words of a key, each (lanes,)."""


class Place(NamedTuple):
    """A point on each lane's paths.

    - `tick`: its time, counted in ticks.
    - `inside`: for each process, how far it has come since its cell's start, in units of the square
      root of a cell.
    """

    tick: Array
    inside: tuple[Array, ...]


class Paths(NamedTuple):
    """The Wiener processes of each lane: their keys, and the length of a cell."""

    words: tuple[Words, ...]
    cell: float

    @classmethod
    def of(cls, subjects: UInt32[Array, "2 ..."], names: tuple[str, ...], cell: float) -> Paths:
        """The processes of those names; `subjects` are the words of a key a lane."""
        words = []
        for name in names:
            zero = jnp.zeros_like(subjects[0])
            words.append(_threefry((subjects[0], subjects[1]), zero, zero + name_hash(name)))
        return cls(tuple(words), cell)

    def at(self, time: Array) -> Place:
        """The place of a time."""
        tick = jnp.rint(time * (2.0**DEPTH / self.cell)).astype(jnp.int64)
        return Place(tick, self._inside(tick))

    def go(self, place: Place, time: Array) -> tuple[tuple[Array, ...], Place]:
        """Each process's increment from a place to a later time, and the place there."""
        after = self.at(time)
        whole = self._whole(place.tick >> DEPTH, after.tick >> DEPTH)
        scale = float(np.sqrt(self.cell))
        increments = tuple(
            scale * (cells + (end - start))
            for cells, end, start in zip(whole, after.inside, place.inside, strict=True)
        )
        return lax.optimization_barrier(increments), after

    def _draws(self, cell: Array, place: Array) -> tuple[Array, ...]:
        return tuple(_normal(words, cell, place) for words in self.words)

    def _whole(self, cell: Array, last: Array) -> tuple[Array, ...]:
        """The increments over the cells from one, included, to another one, not included."""

        def body(carry: tuple) -> tuple:
            cell, total = carry
            left = cell < last
            draws = self._draws(cell, jnp.zeros_like(cell))
            total = tuple(
                jnp.where(left, so_far + draw, so_far)
                for so_far, draw in zip(total, draws, strict=True)
            )
            return jnp.where(left, cell + 1, cell), total

        nothing = tuple(jnp.zeros(cell.shape) for _ in self.words)
        _, total = lax.while_loop(lambda carry: jnp.any(carry[0] < last), body, (cell, nothing))
        return total

    def _inside(self, tick: Array) -> tuple[Array, ...]:
        """How far each process has come since the start of the tick's cell: by halving the cell."""
        cell = tick >> DEPTH

        def body(carry: tuple) -> tuple:
            rest, half, node, left, right = carry
            length = half.astype(float) * 2.0 ** (1 - DEPTH)
            draws = self._draws(cell, node)
            middle = tuple(
                0.5 * (low + high) + 0.5 * jnp.sqrt(length) * draw
                for low, high, draw in zip(left, right, draws, strict=True)
            )
            later = rest >= half
            # A lane that is at its tick has nothing left: its left end stays where it is.
            left = tuple(jnp.where(later, m, low) for m, low in zip(middle, left, strict=True))
            right = tuple(jnp.where(later, high, m) for m, high in zip(middle, right, strict=True))
            rest = jnp.where(later, rest - half, rest)
            return rest, half >> 1, 2 * node + later, left, right

        zero = jnp.zeros_like(tick)
        rest = tick - (cell << DEPTH)
        carry = (
            rest,
            jnp.asarray(1 << (DEPTH - 1), jnp.int64),
            zero + 1,
            tuple(jnp.zeros(tick.shape) for _ in self.words),
            self._draws(cell, zero),
        )
        return lax.while_loop(lambda carry: jnp.any(carry[0] > 0), body, carry)[3]


def words_of(keys: Key[Array, " lanes"]) -> UInt32[np.ndarray, "2 lanes"]:
    """The words of one key a lane, lanes last, as numbers that a compiled program takes.

    Raises `ValueError` for what are no keys of one axis, and for keys that are not Threefry's.
    """
    if not (isinstance(keys, jax.Array) and jnp.issubdtype(keys.dtype, jax.dtypes.prng_key)):
        raise ValueError(
            f"noise must be one random key a patient, as insilico.randomness.subject_keys makes "
            f"them; found {type(keys).__name__}"
        )
    words = np.asarray(jax.random.key_data(keys))
    if words.ndim != 2 or words.shape[1] != 2:
        raise ValueError(
            f"noise must be an array of Threefry keys, one a patient; "
            f"found keys of shape {keys.shape} with {words.shape[-1]} words each"
        )
    return np.ascontiguousarray(words.T)


def _threefry(key: Words, first: Array, second: Array) -> Words:
    high, low = threefry2x32_p.bind(*key, first.astype(jnp.uint32), second.astype(jnp.uint32))
    return high, low


def _normal(key: Words, cell: Array, place: Array) -> Array:
    """The standard normal draw of an address: the quantile of 52 random bits."""
    high, low = _threefry(key, cell, place)
    bits = (high.astype(jnp.int64) << 20) | (low.astype(jnp.int64) >> 12)
    # Odd multiples of 2^-52: as many above as below zero, and never ±1, whose quantile is infinite.
    uniform = (2 * bits + 1).astype(float) * 2.0**-52 - 1.0
    return float(np.sqrt(2.0)) * lax.erf_inv(uniform)
