"""One way between two times, differentiated backwards on its own: outside of a walk over rows."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from insilico.solve import stability
from insilico.solve.adaptive import Limits, Position, start
from insilico.solve.cotangents import is_floating
from insilico.solve.fields import Field
from insilico.solve.methods import Method
from insilico.solve.recordings import Kept, Marks, blank_record
from insilico.solve.replays import Constants, Journey, Opened, Sums
from insilico.solve.status import Status
from insilico.solve.tolerances import TolerancesAsNumbers


def advance(
    method: Method,
    field: Field,
    position: Position,
    target: Array,
    fresh: Array,
    tolerances: TolerancesAsNumbers,
    negligible: tuple[float, ...],
) -> tuple[Position, Array]:
    """As `insilico.solve.adaptive.advance`, one way of its own, to be differentiated backwards.

    Derivatives are with respect to the position's time and state, the target and whatever the field
    has in it. The steps are taken again, and recorded, when they are replayed.
    """
    opened, constants = Opened.of(method, field, position.time, position.state)
    limits = Limits.of(target, tolerances, negligible)
    frozen = lax.stop_gradient((position.size, position.steps, fresh, limits))
    ends = (position.time, position.state, target)

    def journey(constants: Constants, ends: Any, frozen: Any) -> Journey:
        (time, state, target), (size, steps, fresh, limits) = ends, frozen
        here = Position(time, size, state, steps)
        stepper = opened.stepper(constants)
        first = start(method, stepper, here, fresh, limits)
        probe = stability.begin(method, state)
        return Journey(method, opened, constants, limits, target, first, probe)

    def plain(constants: Constants, ends: Any, frozen: Any) -> tuple[Position, Array]:
        way = journey(constants, ends, frozen)
        return way.judge(way.taken()[0])

    def forth(constants: Constants, ends: Any, frozen: Any) -> tuple[tuple[Position, Array], Any]:
        return plain(constants, ends, frozen), (constants, ends, frozen)

    def back(residuals: Any, cotangents: tuple[Position, Any]) -> tuple[Any, Any, None]:
        constants, ends, frozen = residuals
        way = journey(constants, ends, frozen)
        record = blank_record(2 + len(position.state), position.time.shape, position.time.dtype)
        _, count, record, _ = way.recorded(way.moment, jnp.int32(0), record)
        begin = jnp.maximum(count - record.shape[0], 0)
        sums = Sums.of(cotangents[0].state, constants, timed=True)
        kept = Kept(record, Marks.blank(way.moment))
        sums, _ = way.replayed(sums, jnp.int32(0), count, kept, begin)
        found = iter(sums.constants)
        of_flow = [next(found) if is_floating(leaf) else None for leaf in constants.flow]
        return Constants(None, None, of_flow), (sums.time, sums.state, sums.target), None

    travel = jax.custom_vjp(plain)
    travel.defvjp(forth, back)
    end, status = travel(constants, ends, frozen)
    ahead = target > position.time
    reached = jnp.where(status == Status.OK, target, lax.stop_gradient(end.time))
    size, steps = lax.stop_gradient((end.size, end.steps))
    return Position(jnp.where(ahead, reached, position.time), size, end.state, steps), status
