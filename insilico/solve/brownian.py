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
from jaxtyping import UInt32

from insilico.hashing import name_hash

DEPTH = 24
"""Halvings of a cell: a tick is 6e-8 of it."""


class Place(NamedTuple):
    """A point on each lane's paths.

    - `tick`: its time, counted in ticks, (lanes,).
    - `inside`: how far each process has come since its cell's start, in units of the square root of
      a cell, (processes, lanes).
    """

    tick: Array
    inside: Array


class Paths(NamedTuple):
    """The Wiener processes of each lane.

    - `keys`: the two words of each one's key, (processes, lanes).
    - `cell`: the length of a cell.
    """

    keys: tuple[Array, Array]
    cell: float

    @classmethod
    def of(cls, subjects: UInt32[Array, "2 ..."], names: tuple[str, ...], cell: float) -> Paths:
        """The processes of those names; `subjects` are the words of a key a lane."""
        high, low = (jnp.stack([words] * len(names)) for words in subjects)
        hashes = jnp.asarray([name_hash(name) for name in names], jnp.uint32)
        names_of_all = hashes.reshape(-1, *[1] * (high.ndim - 1))
        return cls(_threefry((high, low), jnp.zeros_like(high), names_of_all), cell)

    def at(self, time: Array) -> Place:
        """The place of a time."""
        tick = jnp.rint(time * (2.0**DEPTH / self.cell)).astype(jnp.int64)
        return Place(tick, self._inside(tick))

    def go(self, place: Place, time: Array) -> tuple[tuple[Array, ...], Place]:
        """Each process's increment from a place to a later time, and the place there."""
        after = self.at(time)
        whole = self._whole(place.tick >> DEPTH, after.tick >> DEPTH)
        increments = float(np.sqrt(self.cell)) * (whole + (after.inside - place.inside))
        return tuple(lax.optimization_barrier(increments)), after

    def _whole(self, cell: Array, last: Array) -> Array:
        """The increments over the cells from one, included, to another one, not included."""

        def body(carry: tuple[Array, Array]) -> tuple[Array, Array]:
            cell, total = carry
            left = cell < last
            draw = _normal(self.keys, cell, jnp.zeros_like(cell))
            return jnp.where(left, cell + 1, cell), jnp.where(left, total + draw, total)

        nothing = jnp.zeros(self.keys[0].shape)
        return lax.while_loop(lambda carry: jnp.any(carry[0] < last), body, (cell, nothing))[1]

    def _inside(self, tick: Array) -> Array:
        """How far each process has come since the start of the tick's cell: by halving the cell."""
        cell = tick >> DEPTH

        def body(carry: tuple) -> tuple:
            rest, half, spread, node, left, right = carry
            # Node 0 is the cell's own end, node 1 its middle, and 2·i and 2·i + 1 those of the
            # halves of i's interval.
            middle = 0.5 * (left + right) + spread * _normal(self.keys, cell, node)
            later = rest >= half
            # A lane that is at its tick has nothing left: its left end stays where it is.
            left, right = jnp.where(later, middle, left), jnp.where(later, right, middle)
            return (
                jnp.where(later, rest - half, rest),
                half >> 1,
                jnp.where(half == 1 << DEPTH, 0.5, spread * float(np.sqrt(0.5))),
                jnp.maximum(2 * node + later, 1),
                left,
                right,
            )

        nothing = jnp.zeros(self.keys[0].shape)
        carry = (
            tick - (cell << DEPTH),
            jnp.asarray(1 << DEPTH, jnp.int64),
            jnp.asarray(1.0),
            jnp.zeros_like(tick),
            nothing,
            nothing,
        )
        return lax.while_loop(lambda carry: jnp.any(carry[0] > 0), body, carry)[4]


def words_of(keys: Array) -> UInt32[Array, "2 lanes"]:
    """The words of one key a lane, (lanes,), lanes last, as numbers that a compiled program takes.

    Keys may be traced; what is given is looked at here, since users hand it in.

    Raises `ValueError` for what are no keys of one axis, and for keys that are not Threefry's.
    """
    if not (isinstance(keys, jax.Array) and jnp.issubdtype(keys.dtype, jax.dtypes.prng_key)):
        raise ValueError(
            f"noise must be one random key a patient, as insilico.randomness.subject_keys makes "
            f"them; found {type(keys).__name__}"
        )
    words = jax.random.key_data(keys)
    if words.ndim != 2 or words.shape[1] != 2:
        raise ValueError(
            f"noise must be an array of Threefry keys, one a patient; "
            f"found keys of shape {keys.shape} with {words.shape[-1]} words each"
        )
    return words.T


def _threefry(keys: tuple[Array, Array], first: Array, second: Array) -> tuple[Array, Array]:
    """The two words that the cipher makes of two words, which stand for all processes."""
    first, second = (
        jnp.broadcast_to(words.astype(jnp.uint32), keys[0].shape) for words in (first, second)
    )
    high, low = threefry2x32_p.bind(*keys, first, second)
    return high, low


def _normal(keys: tuple[Array, Array], cell: Array, place: Array) -> Array:
    """The standard normal draw of each process at an address: the quantile of 52 random bits."""
    high, low = _threefry(keys, cell, place)
    bits = (high.astype(jnp.int64) << 20) | (low.astype(jnp.int64) >> 12)
    # Odd multiples of 2^-52: as many above as below zero, and never ±1, whose quantile is infinite.
    uniform = (2 * bits + 1).astype(float) * 2.0**-52 - 1.0
    return float(np.sqrt(2.0)) * lax.erf_inv(uniform)
