"""What is remembered of the events that a patient's own state sets off, and of what sets them off.

A trigger is a function of time, state and parameters; its event happens when it comes to lie above
zero. `insilico.solve.crossings` finds where on a step, `insilico.solve.reactions` what follows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from insilico.model import Model
from insilico.solve.fields import Components

GOING, APPROACHING, CROSSED, LOCATED, AT_ONCE, ACTED = range(6)
"""Where a lane is with an event: nowhere near; before a step that goes to a crossing; before one
that would cross, and waiting; at a crossing; where a jump has lifted a trigger above zero; just
past an event."""

ENDED = 100
"""In place of a status, of lanes that an event has ended: nothing happens to them any more. It is
above every failure, so that none takes its place, and is a success when the walk is over."""


class Watch(NamedTuple):
    """What a lane remembers of its triggers on its way, arrays (lanes,).

    - `above`: of each trigger, a number above zero if it has set off an event and was not at or
      below zero since; it sets off nothing then.
    - `phase`: one of `GOING`, …, `ACTED`; `which`: the number of the trigger that this is about;
      whole numbers. `share`: of the step that would cross, up to the crossing.
    """

    above: tuple[Array, ...]
    phase: Array
    which: Array
    share: Array

    @property
    def stopped(self) -> Array:
        """Lanes that are where an event happens."""
        return (self.phase == LOCATED) | (self.phase == AT_ONCE)


class Occurrence(NamedTuple):
    """The events of one trigger: when the first one happened, NaN if none did, and how many did."""

    first: Array
    count: Array


class Signals(NamedTuple):
    """A model's triggers on lanes: the components of the state that they depend on, and their
    values at a time and a state."""

    depends: tuple[int, ...]
    values: Callable[[Array, Components], Components]


class Watching(NamedTuple):
    """What a solver between two rows has to look out for.

    - `pause`: whether lanes may stop for an event that a jump has set off before they set out.
    - `able`: lanes that neither failed nor ended.
    """

    watch: Watch
    signals: Signals
    pause: Array
    able: Array


def nothing_yet(model: Model, zero: Array) -> tuple[Watch | None, tuple[Occurrence, ...]]:
    """What is remembered of a model's triggers before anything has happened; `zero` on lanes."""
    triggers = model.Triggers._fields
    if not triggers:
        return None, ()
    none = jnp.zeros(zero.shape, jnp.int32)
    armed, never = zero - 1.0, Occurrence(zero + jnp.nan, none)
    return Watch((armed,) * len(triggers), none, none, zero), (never,) * len(triggers)
