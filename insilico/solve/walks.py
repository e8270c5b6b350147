"""Patients walked through their events: doses, infusions, observations, visits and decisions.

A scan over event rows; between two rows a solver advances every lane to its own time. What happens
to a lane depends on that lane alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from insilico.model import Model
from insilico.solve import reactions
from insilico.solve.adaptive import any_of
from insilico.solve.courses import Condition, Course, Rule
from insilico.solve.events import FEW_ROWS, ROWS_TOGETHER, Events, Kind, Pattern
from insilico.solve.status import Status
from insilico.solve.tolerances import TolerancesAsNumbers

Advance = Callable[..., tuple]
"""A solver between two rows: `insilico.solve.adaptive.advance` with its method, or alike. One that
takes `watching` returns what is remembered of triggers too (`insilico.solve.crossings.advance`)."""


class Walk(NamedTuple):
    """What came of a chunk of lanes.

    - `outputs`: the model's, at the observing rows: (observations, lanes); NaN once a lane failed.
    - `visit_time`: (slots, lanes), NaN where a slot went unused; `records`, the rule's, alike,
      where they are floating-point numbers (others mean nothing there).
    - `administered`: at the rows that ask for an order, the amount times the rule's order, (orders,
      lanes); NaN once a lane failed, `()` without a rule.
    - `status`: (lanes,), a `Status`; `stopped`: the time reached; `steps`: trial steps taken.
    - `state`: the state after the last row; of a lane that failed, the one at which it stopped, if
      it was the state that failed and not an output.
    - `triggered`: the model's `Triggers` of an `insilico.solve.triggers.Occurrence` each, (lanes,);
      `()` where the model has none. A lane that an event has ended is `OK`; `stopped` and `state`
      are those of that event.
    """

    outputs: Any
    visit_time: Array
    records: Any
    administered: Any
    status: Array
    stopped: Array
    steps: Array
    state: Any
    triggered: Any = ()


class Prior(NamedTuple):
    """What is so of each lane before its walk, where lanes observe at rows of their own.

    - `observing`: (observations, lanes), the rows that observe; negative where a lane has no more.
      `measured`: at which of them something is, so that outputs have to be finite.
    - `status`, `steps`: (lanes,), how it fared so far, and trial steps already taken.
    - `inputs`: (lanes,) each, the model's at the start.
    """

    observing: Array
    measured: Array
    status: Array
    steps: Array
    inputs: tuple[Array, ...]


def walk(
    model: Model,
    parameters: Any,
    events: Events,
    pattern: Pattern,
    tolerances: TolerancesAsNumbers,
    *,
    rule: Rule | None = None,
    subject: Any = None,
    advance: Advance,
    prior: Prior | None = None,
) -> Walk:
    """Solve one chunk of lanes through all rows of its schedule.

    `parameters` is the model's NamedTuple of arrays (lanes,), or of scalars for one patient;
    `events` has rows (rows,), or (rows, lanes) where patients differ. With `prior`, which rows
    observe is its business instead of the pattern's.
    """
    course = Course(model, parameters, pattern, rule, subject)
    return walk_course(course, events, tolerances, advance, prior)


def walk_course(
    course: Course,
    events: Events,
    tolerances: TolerancesAsNumbers,
    advance: Advance,
    prior: Prior | None = None,
) -> Walk:
    """`walk` for a course."""
    events = events.in_precision(course.dtype)
    tolerances = jax.tree.map(lambda number: jnp.asarray(number, course.dtype), tolerances)
    negligible = course.model.negligible()
    equations = course.prepare()

    def pass_row(now: Condition, this: Row) -> tuple[Condition, Seen]:
        arrived = advance(
            course.field(equations, now),
            now.position,
            course.target(now, this.event, this.slot),
            this.fresh,
            tolerances,
            negligible,
            **course.diffusion(now),
            **reactions.watching(course, now, this.pause),
        )
        return leave(course, course.arrive(now, tolerances, *arrived), this)

    rows = rows_of(events, course.pattern)
    end, seen = over_rows(pass_row, started(course, prior), rows, events, prior)
    return result(course, events, end, seen, prior)


def started(course: Course, prior: Prior | None) -> Condition:
    """The condition before the first row."""
    start = course.start()
    if prior is None:
        return start
    return start._replace(
        status=jnp.maximum(start.status, prior.status),
        position=start.position._replace(steps=prior.steps.astype(course.dtype)),
        inputs=prior.inputs,
    )


class Row(NamedTuple):
    """A row of a schedule, or all of them.

    - `slot`, `pause`: whether it is a free slot for a visit, and for an event that the state sets
      off, None where it sets off none. `fresh`: whether the row before may have made a lane jump.
    """

    event: Events
    slot: Array
    fresh: Array
    pause: Array | None = None


class Seen(NamedTuple):
    """What is seen of each lane at a row: outputs, the time of a visit, its record, and what a dose
    amounts to."""

    outputs: list[Array]
    visit_time: Any
    record: Any
    amount: Any


def rows_of(events: Events, pattern: Pattern) -> Row:
    """The rows of a schedule."""
    rows = jax.tree.map(jnp.asarray, events)
    before = jnp.concatenate([jnp.ones_like(rows.kind[:1]), rows.kind[:-1]])
    slots, jumped = jnp.asarray(pattern.slots), before != Kind.NONE
    if Kind.PAUSE not in pattern.kinds:
        return Row(rows, slots, jumped)
    return Row(rows, slots, jumped & (before != Kind.PAUSE), rows.kind == Kind.PAUSE)


def passed(events: Events, observing: Array) -> Array:
    """How many rows are worth passing, (lanes,): up to the first one after the last that acts,
    observes or has a time of its own. Those that fill up the table only take time."""
    rows = events.kind.shape[0]
    numbers = jnp.arange(1, rows + 1)[:, None]
    before = jnp.concatenate([events.time[:1], events.time[:-1]])
    acting = (events.kind != Kind.NONE) | (events.time != before)
    last = jnp.max(jnp.where(acting, numbers, 1), axis=0)
    last = jnp.maximum(last, jnp.max(observing, axis=0, initial=-1) + 1)
    return jnp.minimum(last + 1, rows).astype(jnp.int32)


def over_rows(
    pass_row: Callable[[Any, Any], tuple[Any, Any]],
    start: Any,
    rows: Any,
    events: Events,
    prior: Prior | None,
    *,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """`lax.scan` over rows, without those behind the last one that any lane has to pass.

    Where lanes observe at rows of their own, their rows are gone through in blocks, and a block
    that only fills up the table is left out: its lanes stay as they are, and show zeros.
    """
    count = events.kind.shape[0]
    if prior is None or count <= FEW_ROWS or count % ROWS_TOGETHER:
        return lax.scan(pass_row, start, rows, reverse=reverse)
    blocks = jax.tree.map(lambda leaf: leaf.reshape(-1, ROWS_TOGETHER, *leaf.shape[1:]), rows)
    begins = jnp.arange(0, count, ROWS_TOGETHER)
    needed = begins < lax.stop_gradient(jnp.max(passed(events, prior.observing)))

    def through(carry: Any, block: Any) -> tuple[Any, Any]:
        return lax.scan(pass_row, carry, block, reverse=reverse)

    def past(carry: Any, block: Any) -> tuple[Any, Any]:
        seen = jax.eval_shape(through, carry, block)[1]
        return carry, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), seen)

    def pass_block(carry: Any, at: tuple[Array, Any]) -> tuple[Any, Any]:
        # A derivative goes through a block again: less than to keep what it would need of each row.
        return lax.cond(at[0], jax.checkpoint(through), past, carry, at[1])

    end, seen = lax.scan(pass_block, start, (needed, blocks), reverse=reverse)
    return end, jax.tree.map(lambda leaf: lax.collapse(leaf, 0, 2), seen)


def leave(course: Course, now: Condition, this: Row) -> tuple[Condition, Seen]:
    """What lanes that have arrived at a row show, and how they leave it."""
    row = this.event
    now = reactions.notice(course, now, this.pause)
    solved = now.status == Status.OK
    outputs = [
        jnp.where(solved, leaf, jnp.nan)
        for leaf in jax.tree.leaves(course.outputs(now.position, now.inputs))
    ]
    if course.rule is None:
        return course.act(_reacted(course, now, row), row)[0], Seen(outputs, (), (), ())
    no_record = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype),
        jax.eval_shape(course.hold_visit, now, row)[2],
    )
    now, held, record = lax.cond(
        this.slot,
        lambda now: course.hold_visit(now, row),
        lambda now: (now, jnp.zeros(course.lanes, bool), no_record),
        now,
    )
    record = jax.tree.map(
        lambda leaf: (
            jnp.where(held, leaf, jnp.nan) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
        ),
        record,
    )
    visit_time = jnp.where(held, now.position.time, jnp.nan)
    now = _reacted(course, now, row)
    after, amount = course.act(now, row)
    amount = jnp.where(now.status == Status.OK, amount, jnp.nan)
    return after, Seen(outputs, visit_time, record, amount)


def _reacted(course: Course, now: Condition, row: Events) -> Condition:
    if now.watch is None:
        return now
    happens = any_of(now.watch.stopped & (now.status == Status.OK))
    return lax.cond(happens, lambda now: reactions.react(course, now, row), lambda now: now, now)


def result(
    course: Course, events: Events, end: Condition, seen: Seen, prior: Prior | None = None
) -> Walk:
    """A walk of what was seen at its rows, one after the other on the first axis."""
    pattern = course.pattern

    def at_observations(leaf: Array) -> Array:
        if prior is None:
            return leaf[np.asarray(pattern.observed, dtype=int)]
        own = jnp.take_along_axis(leaf, jnp.maximum(prior.observing, 0), axis=0)
        return jnp.where(prior.observing < 0, jnp.nan, own)

    slots = np.flatnonzero(pattern.slots)
    if len(slots):
        end = course.finish(end, jnp.asarray(events.time)[slots[-1]])
    structure = jax.tree.structure(course.outputs(end.position, end.inputs))
    walk = Walk(
        outputs=jax.tree.unflatten(structure, [at_observations(leaf) for leaf in seen.outputs]),
        visit_time=(
            jnp.zeros((0, *course.lanes), course.dtype)
            if course.rule is None
            else seen.visit_time[slots]
        ),
        records=jax.tree.map(lambda leaf: leaf[slots], seen.record),
        administered=jax.tree.map(
            lambda leaf: leaf[np.asarray(pattern.ordered, dtype=int)], seen.amount
        ),
        status=reactions.ended_well(course, end.status),
        stopped=end.position.time,
        steps=end.position.steps,
        state=course.named(end.position.state),
        triggered=reactions.triggered(course, end),
    )
    times = at_observations(times_of_rows(events, course.lanes))
    return judged(course.model, walk, times, prior)


def times_of_rows(events: Events, lanes: tuple[int, ...]) -> Array:
    """The times of all rows, (rows, *lanes)."""
    times = jnp.asarray(events.time)
    own = times.reshape(-1, *(1 for _ in lanes)) if times.ndim == 1 else times
    return jnp.broadcast_to(own, (times.shape[0], *lanes))


def judged(model: Model, walk: Walk, times: Array, prior: Prior | None) -> Walk:
    """The walk, in which lanes that showed what is no finite number, though their state was finite,
    have failed: `NOT_FINITE`, stopped at the first of the `times`, (observations, lanes), of it.

    Where the state sets off events nothing is judged: those whom one has ended show nothing more.
    """
    leaves = jax.tree.leaves(walk.outputs)
    if model.triggers is not None or not leaves or not leaves[0].shape[0]:
        return walk
    finite = functools.reduce(jnp.logical_and, map(jnp.isfinite, leaves))
    wrong = ~finite & (walk.status == Status.OK)
    if prior is not None:
        wrong &= prior.measured
    first = jnp.min(jnp.where(wrong, times, jnp.inf), axis=0)
    failed = first < jnp.inf
    return walk._replace(
        outputs=jax.tree.map(lambda leaf: jnp.where(times >= first, jnp.nan, leaf), walk.outputs),
        status=jnp.where(failed, Status.NOT_FINITE, walk.status).astype(walk.status.dtype),
        stopped=jnp.where(failed, first, walk.stopped),
    )
