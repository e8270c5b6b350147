"""Observations between steps: what lanes show at rows that their steps do not end at.

Where a schedule observes often, steps that end at every row are cut short most of the time. Here
they end at events alone, and what is observed between is read off the interpolant of the step that
covers it. A lane that has covered a row that others have not may go one step further meanwhile:
the last two steps are kept, so that a row is always found on one of them. (Putting all steps on a
record that is read afterwards, so that lanes wait at events alone, was no faster: what lanes wait
for each other is less than what the record costs.)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from insilico.solve import fields, walks
from insilico.solve.adaptive import Limits, Moving, Position, any_of, attempt, start
from insilico.solve.courses import Course
from insilico.solve.events import Events
from insilico.solve.fields import Components
from insilico.solve.methods import Method
from insilico.solve.status import Status
from insilico.solve.tolerances import TolerancesAsNumbers
from insilico.solve.walks import Row, Seen, Walk

KEPT = 2
"""Steps of a lane on which rows are looked up. With one, lanes wait for each other at every row."""


class Span(NamedTuple):
    """A step that was taken: when it began, how long it was, the components that outputs depend
    on when it began, and their interpolant (`insilico.solve.methods.Trial.between`)."""

    begin: Array
    length: Array
    state: Components
    between: tuple[Components, ...]

    @classmethod
    def none(cls, position: Position, shown: tuple[int, ...], powers: int) -> Span:
        """One that no row lies on."""
        zero = jnp.zeros_like(position.time)
        state = tuple(position.state[index] for index in shown)
        return cls(position.time, zero, state, tuple((zero,) * powers for _ in shown))

    def at(self, time: Array) -> Components:
        """The components at a time within."""
        share = jnp.where(self.length > 0.0, (time - self.begin) / self.length, 0.0)

        def value(start: Array, curve: Components) -> Array:
            total = curve[-1]
            for coefficient in curve[-2::-1]:
                total = coefficient + share * total
            return start + share * total

        return tuple(value(a, curve) for a, curve in zip(self.state, self.between, strict=True))


def shown_by(course: Course) -> tuple[int, ...]:
    """The components of the state that the outputs depend on."""
    position = course.start().position

    def outputs(time: Array, *state: Array) -> list[Array]:
        return jax.tree.leaves(course.outputs(position._replace(time=time, state=state)))

    found = fields.traced(outputs, position.time, *position.state).dependencies()
    return tuple(sorted({index - 1 for each in found for index in each if index}))


def powers_of(method: Method, course: Course) -> int:
    """The degree of a method's interpolant."""

    def tried(time: Array, state: Components) -> Any:
        stepper = method.prepare(lambda t, y: y, time, state)
        rates = state if method.reuses_rates else ()
        return stepper.step(time, time, state, rates, (0,)).between

    position = course.start().position
    return len(jax.eval_shape(tried, position.time, position.state)[0])


def ends_of(between: tuple[bool, ...]) -> np.ndarray:
    """For each row the next one that steps end at, itself if it is one."""
    ends, following = [], len(between) - 1
    for index in reversed(range(len(between))):
        following = following if between[index] else index
        ends.append(following)
    return np.array(ends[::-1], int)


def walk_ahead(
    course: Course, events: Events, tolerances: TolerancesAsNumbers, method: Method
) -> Walk:
    """As `insilico.solve.walks.walk_course`, for a pattern whose `between` has rows.

    There may be no rule: what it decides on is where steps end.
    """
    negligible = course.model.negligible()
    equations = course.prepare()
    beginning = course.start()
    shown = shown_by(course)
    nothing = Span.none(beginning.position, shown, powers_of(method, course))
    rows = walks.rows_of(events.in_precision(course.dtype), course.pattern)
    between = jnp.asarray(course.pattern.between)
    limit = rows.event._replace(time=rows.event.time[ends_of(course.pattern.between)])

    def pass_row(carry: tuple, at: tuple[Row, Events, Array]) -> tuple[tuple, Seen]:
        now, moving, kept = carry
        this, limit, is_between = at
        target = course.target(now, limit, this.slot)
        here = course.target(now, this.event, this.slot)
        limits = Limits.of(target, tolerances, negligible)
        stepper = method.prepare(course.field(equations, now), moving.time, moving.state)

        def afresh() -> tuple[Moving, tuple[Span, ...]]:
            begun = start(method, stepper, now.position, this.fresh, limits)
            return begun, (nothing._replace(begin=now.position.time),) * KEPT

        fresh = jnp.any(this.fresh)
        moving, kept = lax.cond(fresh, afresh, lambda: (moving, kept))

        def ahead(kept: tuple[Span, ...]) -> Array:
            """Lanes whose oldest step will still be looked up."""
            return kept[0].begin + kept[0].length >= here

        def unfinished(carry: tuple[Moving, tuple[Span, ...]]) -> Array:
            return any_of(limits.allow(carry[0], target) & (carry[0].time < here))

        def further(carry: tuple[Moving, tuple[Span, ...]]) -> tuple[Moving, tuple[Span, ...]]:
            moving, kept = carry
            after, tried = attempt(
                method, stepper, moving, target, limits, between=shown, waiting=ahead(kept)
            )
            last = Span(
                moving.time, tried.length, tuple(moving.state[i] for i in shown), tried.between
            )

            def pushed(older: Span, newer: Span) -> Span:
                return jax.tree.map(lambda a, b: jnp.where(tried.taken, b, a), older, newer)

            following = (*kept[1:], last)
            return after, tuple(pushed(a, b) for a, b in zip(kept, following, strict=True))

        moving, kept = lax.while_loop(unfinished, further, (moving, kept))
        position, status = limits.judge(moving, here)
        now = now._replace(position=position, status=jnp.maximum(now.status, status))
        span = kept[-1]
        for older in kept[-2::-1]:
            covers = older.begin + older.length >= here
            span = jax.tree.map(lambda a, b, covers=covers: jnp.where(covers, a, b), older, span)
        state = list(moving.state)
        for index, value in zip(shown, span.at(here), strict=True):
            state[index] = jnp.where(is_between, value, state[index])
        outputs = course.outputs(position._replace(time=here, state=tuple(state)))
        solved = now.status == Status.OK
        seen = [jnp.where(solved, leaf, jnp.nan) for leaf in jax.tree.leaves(outputs)]
        acted = course.act(now, this.event)
        # Rows between events do nothing, and leave lanes on their way.
        now = jax.tree.map(lambda a, b: jnp.where(is_between, b, a), acted, now)
        return (now, moving, kept), Seen(seen, (), ())

    zero = beginning.position.time
    rates = beginning.position.state if method.reuses_rates else ()
    position = beginning.position
    moving = Moving(zero, position.size, position.state, rates, position.steps)
    (end, *_), seen = lax.scan(
        pass_row, (beginning, moving, (nothing,) * KEPT), (rows, limit, between)
    )
    return walks.result(course, events, end, seen)
