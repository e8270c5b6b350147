"""Observations between steps: what lanes show at rows that their steps do not end at.

Where a schedule observes often, steps that end at every row are cut short most of the time, and all
lanes of a chunk wait at every row for the slowest. Here both happen at events alone. Between two
events each lane goes on by itself: it holds the number of the row that it observes next, and what
a step passes over is read off its interpolant and put down in the lane's own column.

One row of each lane is read in every turn of the loop. A lane whose step covers more of them stays
where it is and takes the very same step again in the next turn, which costs nothing where others
are on their way, and needs no memory of steps. Only where many lanes have more to read, they all
read on at once.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from insilico.solve import fields, walks
from insilico.solve.adaptive import (
    Limits,
    Moving,
    Tried,
    any_of,
    count_of,
    follow,
    judge,
    look,
    start,
)
from insilico.solve.courses import Condition, Course
from insilico.solve.events import Events
from insilico.solve.fields import Components
from insilico.solve.methods import Method, interpolated
from insilico.solve.status import Status
from insilico.solve.tolerances import TolerancesAsNumbers
from insilico.solve.walks import Row, Seen, Walk

WAITING_SHARE = 0.25
"""The share of a chunk's lanes that may have more rows to read before all read on. A row costs a
seventh of a step of thirteen states (measured); with a half, a schedule of four rows a step took
5 % longer, and with none, one of a row a step 17 %."""

CLOSER = 0.5
"""The share of the tolerances that steps keep to here: interpolants err, too, and at the whole of
them the median error of patients was twice that of steps that end at every row (measured)."""


class Stretch(NamedTuple):
    """The rows from one event to the next: the event and whether lanes may have jumped before, the
    number of the first row in between, and that of the event's own."""

    event: Row
    fresh: Array
    first: Array
    last: Array

    @classmethod
    def of(cls, rows: Row, between: tuple[bool, ...]) -> Stretch:
        """All of a schedule, one after the other on the first axis."""
        last = np.flatnonzero(~np.asarray(between))
        first = np.concatenate([[0], last[:-1] + 1])
        at_events = jax.tree.map(lambda leaf: leaf[last], rows)
        numbers = (jnp.asarray(first, jnp.int32), jnp.asarray(last, jnp.int32))
        return cls(at_events, rows.fresh[first], *numbers)


class Shown(NamedTuple):
    """What lanes have shown: of each row and lane, in one axis, the components that outputs depend
    on, and a row more for what is put nowhere; NaN where nothing was shown."""

    values: Array

    @classmethod
    def nothing(cls, course: Course, components: int) -> Shown:
        places = (course.pattern.rows + 1) * course.lanes[0]
        return cls(jnp.full((places, components), jnp.nan, course.dtype))

    def put(self, row: Array, values: Components) -> Shown:
        """The same with the values of each lane at its row."""
        lanes = row.shape[0]
        values_of_lane = jnp.stack(values, axis=-1)
        places = row * lanes + jnp.arange(lanes, dtype=row.dtype)

        def put_one(lane: Array, shown: Array) -> Array:
            own = lax.dynamic_slice_in_dim(values_of_lane, lane, 1)
            return lax.dynamic_update_slice_in_dim(shown, own, places[lane], 0)

        # Not a scatter: XLA would no longer compile the loop around it as one function.
        return Shown(lax.fori_loop(0, lanes, put_one, self.values, unroll=4))

    def rows(self, lanes: int) -> Array:
        """(rows, components, lanes)."""
        return jnp.moveaxis(self.values.reshape(-1, lanes, self.values.shape[1]), -1, 1)[:-1]


def shown_by(course: Course) -> tuple[int, ...]:
    """The components of the state that the outputs depend on."""
    now = course.start()
    position = now.position

    def outputs(time: Array, *state: Array) -> list[Array]:
        at = position._replace(time=time, state=state)
        return jax.tree.leaves(course.outputs(at, now.inputs))

    found = fields.traced(outputs, position.time, *position.state).dependencies()
    return tuple(sorted({index - 1 for each in found for index in each if index}))


def walk_ahead(
    course: Course, events: Events, tolerances: TolerancesAsNumbers, method: Method
) -> tuple[Walk, Array]:
    """As `insilico.solve.walks.walk_course`, for a pattern whose `between` has rows.

    There may be no rule: what it decides on is where steps end. Returns also how often the loop of
    steps has turned.
    """
    negligible = course.model.negligible()
    equations = course.prepare()
    beginning = course.start()
    closer = tolerances._replace(
        relative=CLOSER * tolerances.relative, absolute=CLOSER * tolerances.absolute
    )
    components = shown_by(course) or (0,)
    rows = walks.rows_of(events.in_precision(course.dtype), course.pattern)
    times = jnp.asarray(rows.event.time)
    (lanes,), nowhere = course.lanes, course.pattern.rows

    def time_of(row: Array) -> Array:
        return times[row] if times.ndim == 1 else times[row, jnp.arange(lanes)]

    def of_state(state: Components) -> Components:
        return tuple(state[index] for index in components)

    def pass_stretch(
        carry: tuple[Condition, Shown, Array], this: Stretch
    ) -> tuple[tuple[Condition, Shown, Array], None]:
        now, shown, turns = carry
        target = course.target(now, this.event.event, this.event.slot)
        limits = Limits.of(target, closer, negligible)
        position = now.position
        stepper = method.prepare(course.field(equations, now), position.time, position.state)

        def due_at(row: Array) -> Array:
            return jnp.where(row < this.last, time_of(row), jnp.inf)

        def read(
            moving: Moving, tried: Tried, row: Array, shown: Shown
        ) -> tuple[Array, Shown, Array]:
            """The number of each lane's next row, what is shown then, and which lanes have more
            rows on the step that they have tried."""
            length = tried.length
            end = jnp.where(length == target - moving.time, target, moving.time + length)
            covered = jnp.where(tried.taken, end, -jnp.inf)
            inverse = 1.0 / length

            def read_one(carry: tuple[Array, Shown, Array]) -> tuple[Array, Shown, Array]:
                row, shown, due = carry
                here = due <= covered
                share = (due - moving.time) * inverse
                values = interpolated(share, of_state(moving.state), tried.trial.between)
                shown = shown.put(jnp.where(here, row, nowhere), values)
                row = row + here.astype(row.dtype)
                return row, shown, due_at(row)

            row, shown, due = lax.while_loop(
                lambda carry: count_of(carry[2] <= covered) > WAITING_SHARE * lanes,
                read_one,
                read_one((row, shown, due_at(row))),
            )
            return row, shown, due <= covered

        def turn(carry: tuple[Moving, Array, Shown, Array]) -> tuple[Moving, Array, Shown, Array]:
            moving, row, shown, turns = carry
            tried = look(method, stepper, moving, target, limits, between=components)
            row, shown, held = read(moving, tried, row, shown)
            return follow(method, moving, tried, target, held=held), row, shown, turns + 1

        def show_arrived(carry: tuple[Array, Shown]) -> tuple[Array, Shown]:
            row, shown = carry
            here = arrived & (row <= this.last)
            shown = shown.put(jnp.where(here, row, nowhere), of_state(now.position.state))
            return row + 1, shown

        moving, row, shown, turns = lax.while_loop(
            lambda carry: any_of(limits.allow(carry[0], target)),
            turn,
            (
                start(method, stepper, position, this.fresh, limits),
                jnp.broadcast_to(this.first, (lanes,)),
                shown,
                turns,
            ),
        )
        now = course.arrive(now, tolerances, *judge(method, stepper, moving, target, limits))
        arrived = now.status == Status.OK
        # The event's own row, and before it those of lanes that had no step to take.
        _, shown = lax.while_loop(
            lambda carry: any_of(arrived & (carry[0] <= this.last)), show_arrived, (row, shown)
        )
        return (course.act(now, this.event.event)[0], shown, turns), None

    (end, shown, turns), _ = lax.scan(
        pass_stretch,
        (beginning, Shown.nothing(course, len(components)), jnp.int32(0)),
        Stretch.of(rows, course.pattern.between),
    )

    def outputs(time: Array, values: Array) -> list[Array]:
        state = list(beginning.position.state)
        for index, value in zip(components, values, strict=True):
            state[index] = value
        at = beginning.position._replace(time=time, state=tuple(state))
        return [
            jnp.where(jnp.isnan(values[0]), jnp.nan, leaf)
            for leaf in jax.tree.leaves(course.outputs(at, beginning.inputs))
        ]

    times = times if times.ndim == 2 else jnp.broadcast_to(times[:, None], (*times.shape, lanes))
    seen = jax.vmap(outputs)(times, shown.rows(lanes))
    return walks.result(course, events, end, Seen(seen, (), (), ())), turns
