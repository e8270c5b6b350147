"""Records on lanes turned into rows of events, each at its own, differentiable time.

Every dose, additional dose, start and end of an infusion is a row. The order of rows is found by
comparing numbers and carries no derivative; times and amounts keep theirs with respect to
bioavailability, lag, duration and rate.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from insilico.model import Dosing, Model
from insilico.solve.courses import Course
from insilico.solve.events import Events, Kind, Pattern
from insilico.solve.records.laying_out import KINDS
from insilico.solve.records.steady_state import Cycle, steady_states
from insilico.solve.records.table import Layout, RecordTable, Role
from insilico.solve.status import Status
from insilico.solve.tolerances import TolerancesAsNumbers
from insilico.solve.walks import Advance, Prior


class Given(NamedTuple):
    """What each record gives, (records, lanes), all of it 0 at records without a dose.

    `amount` is what arrives; `rate` and `duration` are 0 for a bolus. `possible`: (lanes,).
    """

    amount: Array
    lag: Array
    rate: Array
    duration: Array
    possible: Array


class Expanded(NamedTuple):
    """Everything that a walk needs."""

    events: Events
    pattern: Pattern
    prior: Prior


def given(model: Model, parameters: Any, table: RecordTable) -> Given:
    """What the records' doses amount to for these patients.

    `parameters` are arrays (lanes,), `table` has arrays (records, lanes).
    """
    time = jnp.asarray(table.time)
    declared = {}
    if model.dosing is not None:
        declared = model.dosing(parameters, model.Inputs(*table.values))

    def of_compartment(field: str, otherwise: float) -> Array:
        """A dosing parameter of each record's compartment."""
        found = jnp.full_like(time, otherwise)
        for name, own in declared.items():
            value = getattr(own, field)
            if value is not None:
                here = table.compartment == model.compartment(name)
                found = jnp.where(here, jnp.broadcast_to(value, time.shape), found)
        return found

    unstated = Dosing()
    available = of_compartment("bioavailability", unstated.bioavailability)
    lag = of_compartment("lag", unstated.lag)
    # A constant infusion at steady state knows no lag (PREDPP III.F.6).
    lag = jnp.where(table.doses & (table.amount > 0), lag, 0.0)
    modelled_rate = table.doses & (table.rate == -1)
    modelled_duration = table.doses & (table.rate == -2)
    own_rate = jnp.where(modelled_rate, of_compartment("rate", 1.0), 1.0)
    own_duration = jnp.where(modelled_duration, of_compartment("duration", 1.0), 1.0)
    wrong = table.doses & ~((available >= 0) & (available < jnp.inf))
    wrong |= ~((lag >= 0) & (lag < jnp.inf))
    wrong |= ~((own_rate > 0) & (own_rate < jnp.inf))
    wrong |= ~((own_duration > 0) & (own_duration < jnp.inf))
    # What is wrong fails its lane; it should not spoil the order of rows, nor any derivative.
    lag = jnp.where(wrong, 0.0, lag)
    own_rate, own_duration = jnp.where(wrong, 1.0, own_rate), jnp.where(wrong, 1.0, own_duration)
    amount = jnp.where(table.doses, jnp.where(wrong, 0.0, available) * table.amount, 0.0)
    stated = jnp.where(table.rate > 0, table.rate, 1.0)
    rate = jnp.where(modelled_rate, own_rate, stated)
    duration = jnp.where(modelled_duration, own_duration, amount / rate)
    rate = jnp.where(modelled_duration, amount / own_duration, rate)
    infused = table.doses & (table.rate != 0)
    return Given(
        amount=amount,
        lag=lag,
        rate=jnp.where(infused, rate, 0.0),
        duration=jnp.where(infused, duration, 0.0),
        possible=~jnp.any(wrong, axis=0),
    )


class _Phase(NamedTuple):
    """Where in its dosing cycle a patient is at a steady-state record, (records, lanes).

    - `since`: time since the last implied dose that arrived, above 0 and up to the interval.
    - `pending`: implied doses before the record that arrive at it or later.
    - `under_way`: infusions of implied doses that go on beyond the record.
    """

    since: Array
    pending: Array
    under_way: Array


def _phase(table: RecordTable, doses: Given) -> _Phase:
    interval = jnp.where(table.interval > 0, table.interval, 1.0)
    pending = lax.stop_gradient(jnp.floor(doses.lag / interval))
    since = (pending + 1.0) * interval - doses.lag
    left = lax.stop_gradient((doses.duration - since) / interval)
    return _Phase(since, pending, jnp.maximum(jnp.ceil(left), 0.0))


def overlaps(model: Model, parameters: Any, table: RecordTable) -> Array:
    """How many implied doses are at most under way or pending at a steady-state record."""
    phase = _phase(table, given(model, parameters, table))
    repeated = (table.steady > 0) & (table.interval > 0)
    return jnp.max(jnp.where(repeated, jnp.maximum(phase.pending, phase.under_way), 0.0))


def expand(
    model: Model,
    parameters: Any,
    table: RecordTable,
    layout: Layout,
    tolerances: TolerancesAsNumbers,
    *,
    advance: Advance,
    differentiable: Advance | None = None,
    settle: Advance | None = None,
) -> Expanded:
    """The events of one chunk of lanes, whose steady states `advance` finds.

    `settle` finds those of a table with constant infusions, if it is given: a stiff method, whose
    steps grow without bounds as a state comes to rest, where an explicit one's do not.

    `parameters` is the model's NamedTuple of arrays (lanes,), `table` has arrays (…, lanes). Steady
    states have the derivatives of `differentiable`, another solver that does as `advance` does.
    """
    doses = given(model, parameters, table)
    phase = _phase(table, doses)
    pattern = Pattern(
        rows=layout.rows,
        observed=(),
        slots=(False,) * layout.rows,
        infused=layout.infused,
        kinds=layout.kinds,
    )
    status = jnp.where(doses.possible, Status.OK, Status.IMPOSSIBLE_DOSING).astype(jnp.int32)
    steps = jnp.zeros_like(table.time[0])
    states = jnp.zeros((1, *steps.shape), steps.dtype)
    if layout.steady:
        most = jnp.where(table.steady > 0, jnp.maximum(phase.pending, phase.under_way), 0.0)
        crowded = jnp.any((most > layout.overlaps) & (table.interval > 0), axis=0)
        status = jnp.maximum(status, jnp.where(crowded, Status.TOO_MANY_OVERLAPS, status))
        finding = settle if layout.constant and settle is not None else advance
        course = Course(model, parameters, pattern)
        cycles = _cycles(table, doses, phase)
        found = steady_states(
            course, cycles, status, tolerances, advance=finding, differentiable=differentiable
        )
        status, steps = found.status, found.steps
        states = found.states.reshape(-1, *steps.shape)
    of_record = _taken(jnp.asarray(table.row.record))
    kind, target, time, amount, own = _rows(model, table, layout, doses, phase, states, of_record)

    # What happens at a time of no record comes before the records of that time.
    at_record = own | (time == of_record(table.time))
    until = of_record(table.until)
    late = ~at_record & (time > until)
    kind = jnp.where(late, Kind.NONE, kind)
    time = jnp.where(late, until, time)
    unused = table.row.role == Role.UNUSED
    sequence = jnp.arange(layout.rows, dtype=jnp.int32)[:, None]
    epoch = jnp.where(unused, jnp.iinfo(jnp.int32).max, of_record(table.epoch))
    last = jnp.where(at_record, layout.rows, 0) + sequence
    *_, last = lax.sort((epoch, lax.stop_gradient(time), last), dimension=0, num_keys=3)
    order = last % layout.rows

    sorted_ = _taken(order)
    # Unused rows are the last ones; nothing is to be integrated for them.
    time = jnp.where(unused, table.time[-1], time)
    events = Events(
        time=sorted_(time),
        kind=sorted_(kind.astype(jnp.int32)),
        target=sorted_(target.astype(jnp.int32)),
        amount=sorted_(amount),
        order=jnp.full(order.shape, -1, jnp.int32),
    )
    places = jnp.argsort(order, axis=0)
    found_at = _taken(jnp.maximum(table.observing, 0))(places)
    observing = jnp.where(table.observing < 0, -1, found_at)
    inputs = tuple(jnp.asarray(values)[0] for values in table.values)
    expanded = Expanded(events, pattern, Prior(observing, status, steps, inputs))
    return (
        expanded if model.triggers is None else _with_pauses(expanded, len(model.Triggers._fields))
    )


def _with_pauses(expanded: Expanded, count: int) -> Expanded:
    """Before each row that time passes up to, free slots for what the state sets off.

    Rows of one instant are one: what they do is done before a trigger is looked at. Nothing is
    integrated up to a reset. After the last row there are slots for what it sets off at once.
    """
    events, pattern, prior = expanded
    start = jnp.full_like(events.time[:1], pattern.start)
    before = jnp.concatenate([start, events.time[:-1]])
    resets = events.kind == Kind.RESET
    first = jnp.arange(pattern.rows)[:, None] == 0
    passes = (first | (events.time > before)) & ~resets
    nothing = jnp.zeros_like(events.kind)
    pause = Events(
        time=jnp.where(resets, before, events.time),
        kind=jnp.where(passes, Kind.PAUSE, nothing).astype(events.kind.dtype),
        target=nothing,
        amount=jnp.zeros_like(events.amount),
        order=nothing - 1,
    )
    last = jax.tree.map(lambda leaf: leaf[-1:], pause)
    last = last._replace(time=events.time[-1:], kind=jnp.full_like(last.kind, Kind.PAUSE))

    def interleaved(slots: Any, rows: Any, end: Any) -> Array:
        both = jnp.stack([slots] * count + [rows], axis=1)
        return jnp.concatenate([both.reshape(-1, *rows.shape[1:]), *([end] * count)])

    rows = pattern.rows * (count + 1) + count
    observing = prior.observing
    return Expanded(
        jax.tree.map(interleaved, pause, events, last),
        dataclasses.replace(
            pattern, rows=rows, slots=(False,) * rows, kinds=(*pattern.kinds, Kind.PAUSE)
        ),
        prior._replace(observing=jnp.where(observing < 0, -1, observing * (count + 1) + count)),
    )


def _cycles(table: RecordTable, doses: Given, phase: _Phase) -> Cycle:
    """Each steady-state record's cycle, arrays (steady-state records, lanes)."""
    places = jnp.maximum(jnp.asarray(table.steady_records), 0)
    there, of = jnp.asarray(table.steady_records) >= 0, _taken(places)

    infused = of(table.rate) != 0
    return Cycle(
        wanted=there,
        constant=there & (of(table.amount) == 0),
        time=of(table.time),
        interval=of(table.interval),
        compartment=of(table.compartment),
        bolus=jnp.where(infused, 0.0, of(doses.amount)),
        rate=of(doses.rate),
        duration=of(doses.duration),
        since=of(phase.since),
        inputs=tuple(of(values) for values in table.values),
    )


def _taken(places: Array) -> Callable[[Any], Array]:
    """What takes each lane's values at these places, (rows, lanes), as `jnp.take_along_axis` does.

    The places of all lanes are worked out once for all that is taken at them, and are not looked at
    again for being there: every program that solves records has this in it a dozen times.
    """
    lanes = jnp.broadcast_to(jnp.arange(places.shape[1], dtype=places.dtype), places.shape)
    index = jnp.stack([places, lanes], axis=-1)
    dimensions = lax.GatherDimensionNumbers(
        offset_dims=(), collapsed_slice_dims=(0, 1), start_index_map=(0, 1)
    )

    def take(values: Any) -> Array:
        return lax.gather(
            jnp.asarray(values), index, dimensions, (1, 1),
            mode=lax.GatherScatterMode.PROMISE_IN_BOUNDS,
        )  # fmt: skip

    return take


def _rows(
    model: Model,
    table: RecordTable,
    layout: Layout,
    doses: Given,
    phase: _Phase,
    states: Array,
    of_record: Callable[[Any], Array],
) -> tuple[Array, Array, Array, Array, Array]:
    """Kind, target, time and amount of every row, and whether it acts in its record's own place."""
    role, _, repeat = (jnp.asarray(column) for column in table.row)

    def are(*roles: Role) -> Array:
        """Rows of these roles, of which only those are looked for that the layout may have."""
        there = [role == each for each in roles if _may_be(each, layout)]
        return functools.reduce(jnp.logical_or, there, jnp.zeros(role.shape, bool))

    number = repeat.astype(doses.amount.dtype)
    at, interval = of_record(table.time), of_record(table.interval)
    amount, lag, rate, duration = (of_record(values) for values in doses[:-1])
    since, pending, under_way = (of_record(values) for values in phase)

    kind = jnp.asarray([KINDS[each] or Kind.DOSE for each in Role], jnp.int32)[role]
    kind = jnp.where(are(Role.STATE) & (of_record(table.steady) == 2), Kind.DOSE, kind)
    kind = jnp.where(are(Role.PENDING) & (of_record(table.rate) != 0), Kind.RATE, kind)

    arrival = at + lag + jnp.where(are(Role.PENDING, Role.PENDING_END), -number, number) * interval
    time = jnp.where(are(Role.PENDING, Role.DOSE, Role.INFUSION), arrival, at)
    ends = are(Role.PENDING_END, Role.INFUSION_END)
    time = jnp.where(ends, arrival + duration, time)
    time = jnp.where(are(Role.ENDING), at + (duration - since - number * interval), time)

    given = jnp.where(rate != 0, rate, amount)
    value = jnp.where(are(Role.PENDING, Role.DOSE, Role.INFUSION), given, 0.0)
    value = jnp.where(ends | are(Role.ENDING), -rate, value)
    value = jnp.where(are(Role.UNDER_WAY), under_way * rate, value)
    value = jnp.where(are(Role.REPLACEMENT), of_record(table.amount), value)
    components = len(model.components())
    place = of_record(table.steady_number) * components + repeat
    place = jnp.clip(place, 0, states.shape[0] - 1)
    value = jnp.where(are(Role.STATE), _taken(place)(states), value)
    for index, (after, slope) in enumerate(zip(table.after, table.slopes, strict=True)):
        value = jnp.where(
            are(Role.OCCASION, Role.INPUT) & (repeat == index), of_record(after), value
        )
        value = jnp.where(are(Role.RAMP) & (repeat == index), of_record(slope), value)

    absent = are(Role.PENDING, Role.PENDING_END) & (number > pending)
    absent |= are(Role.ENDING) & (number >= under_way)
    kind = jnp.where(absent, Kind.NONE, kind)
    time = jnp.where(absent, at, time)
    numbered = are(Role.OCCASION, Role.STATE, Role.INPUT, Role.RAMP)
    target = jnp.where(numbered, repeat, of_record(table.compartment))
    moved = are(Role.ENDING, Role.PENDING, Role.PENDING_END, Role.DOSE, Role.INFUSION)
    own = ~(moved | are(Role.INFUSION_END)) | absent
    return kind, target, time, value, own


def _may_be(role: Role, layout: Layout) -> bool:
    """Whether a table of this layout may have rows of this role."""
    kind = KINDS[role]
    if role in _AT_STEADY_STATE and not layout.steady:
        return False
    return kind is None or kind == Kind.NONE or kind in layout.kinds


_AT_STEADY_STATE = (Role.STATE, Role.UNDER_WAY, Role.ENDING, Role.PENDING, Role.PENDING_END)
