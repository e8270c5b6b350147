"""Patients walked through their events: doses, infusions, observations, visits and decisions.

A scan over event rows; between two rows a solver advances every lane to its own time. What happens
to a lane depends on that lane alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from insilico.model import Model
from insilico.solve.adaptive import Position
from insilico.solve.courses import Condition, Course, Rule
from insilico.solve.events import Events, Kind, Pattern
from insilico.solve.status import Status
from insilico.solve.tolerances import TolerancesAsNumbers

Advance = Callable[..., tuple[Position, Array]]
"""A solver between two rows: `insilico.solve.adaptive.advance` with its method, or alike."""


class Walk(NamedTuple):
    """What came of a chunk of lanes.

    - `outputs`: the model's, at the observing rows: (observations, lanes); NaN once a lane failed.
    - `visit_time`: (slots, lanes), NaN where a slot went unused; `records`, the rule's, alike,
      where they are floating-point numbers (others mean nothing there).
    - `status`: (lanes,), a `Status`; `stopped`: the time reached; `steps`: trial steps taken.
    - `state`: the state at the last row.
    """

    outputs: Any
    visit_time: Array
    records: Any
    status: Array
    stopped: Array
    steps: Array
    state: Any


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
) -> Walk:
    """Solve one chunk of lanes through all rows of its schedule.

    `parameters` is the model's NamedTuple of arrays (lanes,), or of scalars for one patient;
    `events` has rows (rows,), or (rows, lanes) where patients differ.
    """
    course = Course(model, parameters, pattern, rule, subject)
    lanes, dtype = course.lanes, course.dtype
    negligible = model.negligible()
    tolerances = jax.tree.map(lambda number: jnp.asarray(number, dtype), tolerances)
    beginning = course.start()
    equations = course.prepare(beginning)

    def pass_row(now: Condition, row_slot_fresh: tuple[Events, Array, Array]) -> tuple:
        row, slot, fresh = row_slot_fresh
        position, status = advance(
            course.field(equations, now), now.position, course.target(now, row, slot), fresh,
            tolerances, negligible,
        )  # fmt: skip
        now = now._replace(position=position, status=jnp.maximum(now.status, status))
        solved = now.status == Status.OK
        observed = [
            jnp.where(solved, leaf, jnp.nan)
            for leaf in jax.tree.leaves(course.outputs(now.position))
        ]
        if rule is None:
            return course.act(now, row), (observed, (), ())
        no_record = jax.tree.map(
            lambda leaf: jnp.zeros(leaf.shape, leaf.dtype),
            jax.eval_shape(course.hold_visit, now, row)[2],
        )
        now, held, record = lax.cond(
            slot,
            lambda now: course.hold_visit(now, row),
            lambda now: (now, jnp.zeros(lanes, bool), no_record),
            now,
        )
        record = jax.tree.map(
            lambda leaf: (
                jnp.where(held, leaf, jnp.nan) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
            ),
            record,
        )
        return course.act(now, row), (observed, jnp.where(held, now.position.time, jnp.nan), record)

    rows = events.in_precision(dtype)
    jumped = jnp.concatenate([jnp.ones_like(rows.kind[:1]), rows.kind[:-1]]) != Kind.NONE
    end, (observed, visit_time, records) = lax.scan(
        pass_row, beginning, (rows, jnp.asarray(pattern.slots), jumped)
    )
    observing = np.asarray(pattern.observed, dtype=int)
    slots = np.flatnonzero(pattern.slots)
    if len(slots):
        end = course.finish(end, rows.time[slots[-1]])
    output_structure = jax.tree.structure(course.outputs(end.position))
    return Walk(
        outputs=jax.tree.unflatten(output_structure, [leaf[observing] for leaf in observed]),
        visit_time=jnp.zeros((0, *lanes), dtype) if rule is None else visit_time[slots],
        records=jax.tree.map(lambda leaf: leaf[slots], records),
        status=end.status,
        stopped=end.position.time,
        steps=end.position.steps,
        state=course.named(end.position.state),
    )
