"""Patients walked through their events: doses, infusions, observations, visits and decisions.

A scan over event rows; between two rows a solver advances every lane to its own time. What happens
to a lane depends on that lane alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from insilico.model import Model
from insilico.solve.adaptive import Position
from insilico.solve.events import Events, Kind, Pattern
from insilico.solve.fields import on_lanes
from insilico.solve.noise import chosen, structure_of
from insilico.solve.status import Status
from insilico.solve.tolerances import TolerancesAsNumbers

Advance = Callable[..., tuple[Position, Array]]
"""A solver between two rows: `insilico.solve.adaptive.advance` with its method, or alike."""


class Plan(NamedTuple):
    """What a rule has decided for each lane so far.

    - `next_visit`: time of the next visit; infinite where none is due.
    - `memory`: the rule's own NamedTuple of lanes.
    """

    next_visit: Array
    memory: Any


class Visit(NamedTuple):
    """What a rule sees: the time of each lane's visit and the model's true outputs then."""

    time: Array
    outputs: Any


class Rule(Protocol):
    """Decisions at visits: pure, elementwise over patients, with a memory.

    `subject` is any pytree whose leaves end in the lanes' axis: covariates, predicted doses, tables
    of random draws by nominal day (days, lanes).
    """

    def start(self, subject: Any) -> Plan:
        """The plan before anything has happened."""
        ...

    def visit(self, visit: Visit, plan: Plan, subject: Any) -> tuple[Any, Plan]:
        """What the visit puts on record (a pytree of lanes), and the plan after it."""
        ...

    def administer(self, time: Array, plan: Plan, subject: Any) -> tuple[tuple[Array, ...], Plan]:
        """The rule's orders at a row that asks for one, and the plan once they are given.

        A row's amount is multiplied by the order whose number it names.
        """
        ...


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


class _Carry(NamedTuple):
    position: Position
    status: Array
    infusion: tuple[Array, ...]
    inputs: tuple[Array, ...]
    plan: Plan | None


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
    initial = model.initial(parameters)
    leaves, structure = jax.tree.flatten(initial)
    example = jax.tree.leaves(parameters)[0]
    lanes, dtype = example.shape, example.dtype
    negligible = model.negligible()

    def named(components: tuple[Array, ...]) -> Any:
        return jax.tree.unflatten(structure, components)

    def outputs_of(position: Position) -> Any:
        return model.outputs(position.time, named(position.state), parameters)

    def field_of(
        time: Array,
        components: tuple[Array, ...],
        infusion: tuple[Array, ...],
        inputs: tuple[Array, ...],
    ) -> tuple[Array, ...]:
        named_inputs = model.Inputs(*inputs)
        rates = jax.tree.leaves(model.derivative(time, named(components), parameters, named_inputs))
        for compartment, rate in zip(pattern.infused, infusion, strict=True):
            rates[compartment] = rates[compartment] + rate
        # A rate that is the same for all patients may be a plain number.
        return tuple(
            rate if jnp.shape(rate) == lanes else jnp.broadcast_to(rate, lanes).astype(dtype)
            for rate in rates
        )

    def coefficients_of(
        time: Array, components: tuple[Array, ...], inputs: tuple[Array, ...]
    ) -> tuple[Array, ...]:
        assert model.diffusion is not None
        noise = model.diffusion(time, named(components), parameters, model.Inputs(*inputs))
        return tuple(
            jnp.broadcast_to(leaf, lanes).astype(dtype)
            for leaf in chosen(structure_of(model), noise)
        )

    def advance_to(carry: _Carry, target: Array, fresh: Array) -> _Carry:
        def field(time: Array, components: tuple[Array, ...]) -> tuple[Array, ...]:
            return prepared(time, components, carry.infusion, carry.inputs)

        target = jnp.where(carry.status == Status.OK, target, carry.position.time)
        noise = {}
        if model.diffusion is not None:
            noise["diffusion"] = lambda time, components: coefficients_of(
                time, components, carry.inputs
            )
        position, status = advance(
            field, carry.position, target, fresh, tolerances, negligible, **noise
        )
        return carry._replace(position=position, status=jnp.maximum(carry.status, status))

    def target_of(carry: _Carry, row: Events, slot: Array) -> Array:
        limit = jnp.broadcast_to(row.time, lanes).astype(dtype)
        if carry.plan is None:
            return limit
        now = carry.position.time
        visit = jnp.where(carry.plan.next_visit <= limit, carry.plan.next_visit, now)
        return jnp.where(slot, jnp.maximum(visit, now), limit)

    def hold_visit(carry: _Carry, row: Events) -> tuple[_Carry, Array, Any]:
        assert rule is not None and carry.plan is not None
        now, planned = carry.position.time, carry.plan.next_visit
        due = (carry.status == Status.OK) & (planned <= row.time)
        late = due & (planned < now)
        record, after = rule.visit(Visit(now, outputs_of(carry.position)), carry.plan, subject)
        plan = jax.tree.map(lambda new, old: jnp.where(due, new, old), after, carry.plan)
        status = jnp.where(late, Status.LATE_VISIT, carry.status).astype(jnp.int32)
        return carry._replace(plan=plan, status=status), due & ~late, record

    def ordered(carry: _Carry, row: Events) -> tuple[_Carry, Array]:
        amount = jnp.broadcast_to(row.amount, lanes).astype(dtype)
        # An order that nobody gives is no dose that anybody knows: the lane fails, and says so.
        given = jnp.where(row.order < 0, amount, jnp.nan)
        if rule is None or carry.plan is None:
            return carry, given
        orders, after = rule.administer(carry.position.time, carry.plan, subject)
        for number, order in enumerate(orders):
            given = jnp.where(row.order == number, amount * order, given)
        asked = (row.order >= 0) & (carry.status == Status.OK)
        plan = jax.tree.map(lambda new, old: jnp.where(asked, new, old), after, carry.plan)
        return carry._replace(plan=plan), given

    def act(carry: _Carry, row: Events) -> _Carry:
        carry, amount = ordered(carry, row)

        def hits(kind: Kind, index: int) -> Array:
            return (row.kind == kind) & (row.target == index)

        def added(kind: Kind, index: int, value: Array) -> Array:
            return value + jnp.where(hits(kind, index), amount, 0.0)

        state = tuple(added(Kind.DOSE, i, value) for i, value in enumerate(carry.position.state))
        return carry._replace(
            position=carry.position._replace(state=state),
            infusion=tuple(
                added(Kind.RATE, compartment, rate)
                for compartment, rate in zip(pattern.infused, carry.infusion, strict=True)
            ),
            inputs=tuple(
                jnp.where(hits(Kind.INPUT, i), amount, value)
                for i, value in enumerate(carry.inputs)
            ),
        )

    def pass_row(carry: _Carry, row_slot_fresh: tuple[Events, Array, Array]) -> tuple[_Carry, Any]:
        row, slot, fresh = row_slot_fresh
        carry = advance_to(carry, target_of(carry, row, slot), fresh)
        solved = carry.status == Status.OK
        observed = [
            jnp.where(solved, leaf, jnp.nan) for leaf in jax.tree.leaves(outputs_of(carry.position))
        ]
        if rule is None:
            return act(carry, row), (observed, (), ())
        no_record = jax.tree.map(
            lambda leaf: jnp.zeros(leaf.shape, leaf.dtype),
            jax.eval_shape(hold_visit, carry, row)[2],
        )
        carry, held, record = lax.cond(
            slot,
            lambda carry: hold_visit(carry, row),
            lambda carry: (carry, jnp.zeros(lanes, bool), no_record),
            carry,
        )
        record = jax.tree.map(
            lambda leaf: (
                jnp.where(held, leaf, jnp.nan) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
            ),
            record,
        )
        return act(carry, row), (observed, jnp.where(held, carry.position.time, jnp.nan), record)

    zero = jnp.zeros(lanes, dtype)
    state = tuple(jnp.broadcast_to(leaf, lanes).astype(dtype) for leaf in leaves)
    finite = jnp.all(jnp.stack([jnp.isfinite(leaf) for leaf in state]), axis=0)
    carry = _Carry(
        position=Position(
            time=zero + pattern.start, size=jnp.full(lanes, jnp.inf, dtype), state=state, steps=zero
        ),
        status=jnp.where(finite, Status.OK, Status.NOT_FINITE).astype(jnp.int32),
        infusion=tuple(zero for _ in pattern.infused),
        inputs=tuple(zero for _ in model.Inputs._fields),
        plan=None if rule is None else rule.start(subject),
    )
    start = carry.position
    # What depends on the parameters alone is computed here, once for all rows.
    prepared = on_lanes(field_of, start.time, start.state, carry.infusion, carry.inputs)
    rows = jax.tree.map(jnp.asarray, events)
    jumped = jnp.concatenate([jnp.ones_like(rows.kind[:1]), rows.kind[:-1]]) != Kind.NONE
    carry, (observed, visit_time, records) = lax.scan(
        pass_row, carry, (rows, jnp.asarray(pattern.slots), jumped)
    )
    observing = np.asarray(pattern.observed, dtype=int)
    slots = np.flatnonzero(pattern.slots)
    status = carry.status
    if carry.plan is not None and len(slots):
        # No later slot is left to find out that a visit had none.
        unheld = (status == Status.OK) & (carry.plan.next_visit <= rows.time[slots[-1]])
        status = jnp.where(unheld, Status.LATE_VISIT, status).astype(jnp.int32)
    output_structure = jax.tree.structure(outputs_of(carry.position))
    return Walk(
        outputs=jax.tree.unflatten(output_structure, [leaf[observing] for leaf in observed]),
        visit_time=jnp.zeros((0, *lanes), dtype) if rule is None else visit_time[slots],
        records=jax.tree.map(lambda leaf: leaf[slots], records),
        status=status,
        stopped=carry.position.time,
        steps=carry.position.steps,
        state=named(carry.position.state),
    )
