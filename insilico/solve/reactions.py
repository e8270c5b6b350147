"""What happens to patients when their state sets off an event: what they look out for, where it is
exactly, and what follows.

Elementwise over lanes, like `insilico.solve.courses`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from insilico.solve.adaptive import Position
from insilico.solve.courses import Between, Condition, Course
from insilico.solve.events import Events
from insilico.solve.fields import Components, traced
from insilico.solve.status import Status
from insilico.solve.triggers import ACTED, ENDED, LOCATED, Occurrence, Signals, Watching

FARTHEST = 0.1
"""The share of a step by which a located event is moved at most: by far more than interpolants are
wrong, and less than a trigger that hardly crosses zero would ask for."""


def signals(course: Course, now: Condition) -> Signals:
    """The model's triggers on lanes, under the inputs of a condition."""
    position, own = now.position, course.in_force(now.inputs)

    def values(time: Array, state: Components) -> Components:
        assert course.model.triggers is not None
        named = course.model.triggers(time, course.named(state), own)
        course.model.check_triggers(named)
        return tuple(jnp.broadcast_to(value, course.lanes).astype(course.dtype) for value in named)

    found = traced(values, position.time, position.state).dependencies()
    depends = sorted({index - 1 for each in found for index in each if index})
    return Signals(tuple(depends), values)


def watching(course: Course, condition: Condition, pause: Array | None) -> dict[str, Watching]:
    """What a solver has to look out for on the way to the next row; or nothing.

    Raises `ValueError` for a pattern that has no slots for it.
    """
    if condition.watch is None:
        return {}
    if pause is None:
        raise ValueError(
            f"the schedule has no slots for the triggers of model {course.model.name}: make it "
            f"for this model"
        )
    able = condition.status == Status.OK
    return {"watching": Watching(condition.watch, signals(course, condition), pause, able)}


def notice(course: Course, condition: Condition, pause: Array | None) -> Condition:
    """Lanes with an event that finds no slot have failed."""
    if condition.watch is None:
        return condition
    assert pause is not None
    late = condition.watch.stopped & ~pause & (condition.status == Status.OK)
    status = jnp.where(late, Status.TOO_MANY_TRIGGERED, condition.status)
    return condition._replace(status=status.astype(jnp.int32))


def react(course: Course, condition: Condition, row: Events) -> Condition:
    """The event of lanes that have stopped for one: what it does to the state, or their end."""
    watch = condition.watch
    assert watch is not None
    happens = watch.stopped & (condition.status == Status.OK)
    located = happens & (watch.phase == LOCATED)
    position = _corrected(course, condition, located, row)
    reactions = {}
    if course.model.react is not None:
        named = course.named(position.state)
        reactions = course.model.react(position.time, named, course.in_force(condition.inputs))
        course.model.check_reactions(reactions)
    state, status = position.state, condition.status
    above, occurred = list(watch.above), list(condition.occurred)
    for index, (name, trigger) in enumerate(course.model.trigger_fields().items()):
        hit = happens & (watch.which == index)
        if name in reactions:
            state = tuple(
                jnp.where(hit, jnp.broadcast_to(new, course.lanes).astype(course.dtype), old)
                for new, old in zip(jax.tree.leaves(reactions[name]), state, strict=True)
            )
        if trigger.ends:
            status = jnp.where(hit, ENDED, status).astype(jnp.int32)
        first, count = occurred[index]
        first = jnp.where(hit & (count == 0), position.time, first)
        occurred[index] = Occurrence(first, count + hit.astype(jnp.int32))
        above[index] = jnp.where(hit, 1.0, above[index])
    phase = jnp.where(happens, ACTED, watch.phase).astype(jnp.int32)
    return condition._replace(
        position=position._replace(state=state),
        status=status,
        watch=watch._replace(above=tuple(above), phase=phase),
        occurred=tuple(occurred),
    )


def _corrected(course: Course, condition: Condition, located: Array, row: Events) -> Position:
    """Located lanes moved along the equations to where their trigger is zero.

    The last step ended where an interpolant crosses zero, and its length is a constant. From
    there Newton's method leads to where the trigger itself does, with its second order, so that
    first and second derivatives of the place are those of the implicit function.
    """
    position, watch = condition.position, condition.watch
    assert watch is not None
    field, found = Between(course, course.rates, condition), signals(course, condition)

    def own(time: Array, state: Components) -> Array:
        values = found.values(time, state)
        chosen = values[0]
        for index, value in enumerate(values[1:], start=1):
            chosen = jnp.where(watch.which == index, value, chosen)
        return chosen

    def along(time: Array, state: Components) -> tuple[Array, Components]:
        """The trigger's slope along the solution, and the rates."""
        rates = field(time, state)
        _, slope = jax.jvp(own, (time, state), (jnp.ones_like(time), rates))
        return slope, rates

    time, state = position.time, position.state
    (slope, rates), (bend, turns) = jax.jvp(
        along, (time, state), (jnp.ones_like(time), field(time, state))
    )
    # A trigger that only touches zero has no place that is a function of anything.
    crossing = located & (slope > 0.0)
    slope = jnp.where(crossing, slope, 1.0)
    linear = jnp.where(crossing, -own(time, state) / slope, 0.0)
    move = linear - 0.5 * jnp.where(crossing, bend / slope, 0.0) * linear * linear
    value = lax.stop_gradient(move)
    crossing = crossing & jnp.isfinite(value)
    most = FARTHEST * position.size
    bounded = jnp.maximum(jnp.minimum(value, jnp.minimum(most, row.time - time)), -most)
    bounded = jnp.where(crossing, lax.stop_gradient(bounded), 0.0)
    move = bounded + (move - value)
    moved = tuple(
        component + move * (rate + 0.5 * move * turn)
        for component, rate, turn in zip(state, rates, turns, strict=True)
    )
    return position._replace(
        time=jnp.where(crossing, time + move, time),
        state=tuple(jnp.where(crossing, a, b) for a, b in zip(moved, state, strict=True)),
    )


def ended_well(course: Course, status: Array) -> Array:
    """Status once the walk is over: an end that an event has made is no failure."""
    if not course.model.Triggers._fields:
        return status
    return jnp.where(status == ENDED, Status.OK, status).astype(jnp.int32)


def triggered(course: Course, condition: Condition) -> Any:
    """The events of each trigger by its name; `()` where there are none."""
    return course.model.Triggers(*condition.occurred) if condition.occurred else ()
