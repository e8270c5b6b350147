"""What is recorded of the steps of a chunk of lanes, to be replayed: the steps, and marks on a way.

A record has room for a fixed number of steps and keeps the last ones. Marks are left where steps
that are no more on it are taken again.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

RECORD_BYTES = 2**23
"""Size of a chunk's record, which should stay in a cache until it is read."""

WHOLE = 4
"""A record that has to hold all steps is so many times as large: 4,000 of thirteen states."""

STEPS_A_ROW = 8
SMALL_RECORD = 2**17
"""A record that is made for one chunk alone has room for so many steps for each row, or is of this
size: filling all of `RECORD_BYTES` with zeros takes longer than many a chunk."""

MARKS = 64
"""Marks left on a way that is taken again."""


class Marks(NamedTuple):
    """Moments of one way, lanes and the probe before a step, from which it can be taken again.

    The first is that before step `begin`; from each to the next there are `spacing` steps.
    """

    moments: Any
    begin: Array
    spacing: Array

    @staticmethod
    def blank(moment: Any) -> Any:
        """Room for the moments of one way after another, all of the shapes of `moment`."""
        return jax.tree.map(lambda leaf: jnp.zeros((MARKS + 1, *leaf.shape), leaf.dtype), moment)

    def passing(self, number: Array, moment: Any) -> Marks:
        """With that before step `number` as the next mark, until the way comes to it."""
        place = (number - self.begin + self.spacing - 1) // self.spacing
        moments = jax.tree.map(
            lambda all_, now: lax.dynamic_update_index_in_dim(all_, now, place, 0),
            self.moments,
            moment,
        )
        return self._replace(moments=moments)

    def before(self, number: Array) -> tuple[Array, Any]:
        """The last mark before step `number`: the step that comes next there, and the moment."""
        place = (number - 1 - self.begin) // self.spacing
        moment = jax.tree.map(
            lambda all_: lax.dynamic_index_in_dim(all_, place, keepdims=False), self.moments
        )
        return self.begin + place * self.spacing, moment


class Kept(NamedTuple):
    """What a replay reads, and writes over: the record, and room for the moments of `Marks`.

    Without that room no steps are taken again, and whoever asks for the replay sees to it that all
    are on record: a program of that kind is compiled in three quarters of the time.
    """

    record: Array
    moments: Any = None


def blank_record(
    width: int,
    lanes: tuple[int, ...],
    dtype: Any,
    rows: int | None = None,
    *,
    again: bool = True,
) -> Array:
    """A record without steps, of `width` numbers each; one that was used before will do as well.

    With `rows` it is for one walk over so many rows, and may be smaller; it is larger where no
    steps are to be taken `again`.
    """
    step = width * math.prod(lanes) * jnp.dtype(dtype).itemsize
    room = (1 if again else WHOLE) * RECORD_BYTES // step
    if rows is not None:
        room = min(room, max(STEPS_A_ROW * rows, SMALL_RECORD // step))
    return jnp.zeros((max(room, 16), width, *lanes), dtype)
