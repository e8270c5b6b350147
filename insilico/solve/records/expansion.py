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
from insilico.solve.records.table import MOVED, Layout, RecordTable, Role
from insilico.solve.status import Status
from insilico.solve.tolerances import LARGEST_SHIFT, TolerancesAsNumbers
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
    # An infusion that begins and ends at once would be lost.
    start = lax.stop_gradient(time + lag)
    told = lax.optimization_barrier(start + lax.stop_gradient(duration)) - start
    wrong |= infused & (jnp.abs(told - duration) > LARGEST_SHIFT * duration)
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
    orders: int = 1,
    direct: bool = False,
    settle: Advance | None = None,
) -> Expanded:
    """The events of one chunk of lanes, whose steady states `advance` finds.

    `settle` finds those of a table with constant infusions, if it is given: a stiff method, whose
    steps grow without bounds as a state comes to rest, where an explicit one's do not.

    `parameters` is the model's NamedTuple of arrays (lanes,), `table` has arrays (…, lanes). Steady
    states have the derivatives of `differentiable`, another solver that does as `advance` does, up
    to so many `orders`. `direct` is as for `steady_states`.
    """
    doses = given(model, parameters, table)
    if differentiable is not None and model.dosing is not None:
        # What made a dose impossible, such as NaN, spoils even a derivative of zero.
        possible = doses.possible
        own = jax.tree.map(lambda leaf: jnp.where(possible, leaf, 1.0), parameters)
        doses = given(model, own, table)._replace(possible=possible)
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
            course,
            cycles,
            status,
            tolerances,
            advance=finding,
            differentiable=differentiable,
            orders=orders,
            direct=direct,
        )
        status, steps = found.status, found.steps
        states = found.states.reshape(-1, *steps.shape)
    rows = _rows(model, table, layout, doses, phase, states)
    if not layout.ordered:
        rows = rows.late_left_out(table)
    unused = table.row.role == Role.UNUSED
    # Nothing is to be integrated for unused rows, which are the last ones.
    rows = rows._replace(time=jnp.where(unused, table.time[-1], rows.time))
    observing = jnp.asarray(table.observing)
    if not layout.ordered:
        order = rows.order(table)
        rows = jax.tree.map(_taken(order), rows)
        places = jnp.argsort(order, axis=0)
        found_at = _taken(jnp.maximum(observing, 0))(places)
        observing = jnp.where(observing < 0, -1, found_at)
    events = Events(
        time=rows.time,
        kind=rows.kind.astype(jnp.int32),
        target=rows.target.astype(jnp.int32),
        amount=rows.amount,
        order=jnp.full(rows.kind.shape, -1, jnp.int32),
    )
    inputs = tuple(jnp.asarray(values)[0] for values in table.values)
    expanded = Expanded(
        events, pattern, Prior(observing, jnp.asarray(table.measured), status, steps, inputs)
    )
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


class _Rows(NamedTuple):
    """What rows do, (rows, lanes), and whether each acts in its record's own place."""

    kind: Array
    target: Array
    time: Array
    amount: Array
    own: Array

    def late_left_out(self, table: RecordTable) -> _Rows:
        """Without those that would act after the record by which they are called off."""
        until = _of_records(table, table.until)
        late = ~self._at_record(table) & (self.time > until)
        return self._replace(
            kind=jnp.where(late, Kind.NONE, self.kind), time=jnp.where(late, until, self.time)
        )

    def order(self, table: RecordTable) -> Array:
        """The numbers of the rows in the order in which they act, unused ones last.

        What happens at a time of no record comes before the records of that time.
        """
        count = self.kind.shape[0]
        unused = table.row.role == Role.UNUSED
        epoch = jnp.where(unused, jnp.iinfo(jnp.int32).max, _of_records(table, table.epoch))
        sequence = jnp.arange(count, dtype=jnp.int32)[:, None]
        last = jnp.where(self._at_record(table), count, 0) + sequence
        *_, last = lax.sort((epoch, lax.stop_gradient(self.time), last), dimension=0, num_keys=3)
        return last % count

    def _at_record(self, table: RecordTable) -> Array:
        return self.own | (self.time == _of_records(table, table.time))


def _of_records(table: RecordTable, values: Any) -> Array:
    """Of each row, what `values`, (records, lanes), say of its record."""
    return _taken(jnp.asarray(table.row.record))(values)


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
            jnp.asarray(values),
            index,
            dimensions,
            (1, 1),
            mode=lax.GatherScatterMode.PROMISE_IN_BOUNDS,
        )

    return take


def _rows(
    model: Model,
    table: RecordTable,
    layout: Layout,
    doses: Given,
    phase: _Phase,
    states: Array,
) -> _Rows:
    """What every row does, and when. Of roles that no row has nothing is computed."""
    role, _, repeat = (jnp.asarray(column) for column in table.row)
    of_record = _taken(jnp.asarray(table.row.record))

    def are(*roles: Role) -> Array:
        return functools.reduce(jnp.logical_or, [role == each for each in roles])

    def put(value: Array, roles: tuple[Role, ...], new: Callable[[], Array | int]) -> Array:
        """The value, but a new one for rows of these roles."""
        found = [each for each in roles if each in layout.roles]
        return jnp.where(are(*found), new(), value) if found else value

    number = repeat.astype(doses.amount.dtype)
    at = of_record(table.time)

    kind = jnp.zeros_like(role)
    for each in layout.roles:
        does = KINDS[each]
        kind = put(kind, (each,), lambda does=does: int(Kind.DOSE if does is None else does))
    kind = put(
        kind, (Role.STATE,), lambda: jnp.where(of_record(table.steady) == 2, Kind.DOSE, kind)
    )
    kind = put(
        kind, (Role.PENDING,), lambda: jnp.where(of_record(table.rate) != 0, Kind.RATE, kind)
    )

    def arrival(sign: float = 1.0) -> Array:
        return at + of_record(doses.lag) + sign * number * of_record(table.interval)

    def ended(sign: float = 1.0) -> Array:
        return arrival(sign) + of_record(doses.duration)

    def cut_short() -> Array:
        left = of_record(doses.duration) - of_record(phase.since)
        return at + (left - number * of_record(table.interval))

    time = at
    if not layout.ordered:
        time = put(time, (Role.DOSE, Role.INFUSION), arrival)
        time = put(time, (Role.PENDING,), lambda: arrival(-1.0))
        time = put(time, (Role.INFUSION_END,), ended)
        time = put(time, (Role.PENDING_END,), lambda: ended(-1.0))
        time = put(time, (Role.ENDING,), cut_short)

    def given() -> Array:
        rate = of_record(doses.rate)
        return jnp.where(rate != 0, rate, of_record(doses.amount))

    ends = (Role.PENDING_END, Role.INFUSION_END, Role.ENDING)
    value = jnp.zeros_like(at)
    value = put(value, (Role.PENDING, Role.DOSE, Role.INFUSION), given)
    value = put(value, ends, lambda: -of_record(doses.rate))
    value = put(
        value, (Role.UNDER_WAY,), lambda: of_record(phase.under_way) * of_record(doses.rate)
    )
    value = put(value, (Role.REPLACEMENT,), lambda: of_record(table.amount))

    def of_state() -> Array:
        place = of_record(table.steady_number) * len(model.components()) + repeat
        return _taken(jnp.clip(place, 0, states.shape[0] - 1))(states)

    value = put(value, (Role.STATE,), of_state)
    for roles, columns in (
        ((Role.OCCASION, Role.INPUT), table.after),
        ((Role.RAMP,), table.slopes),
    ):
        for index, column in enumerate(columns):
            value = put(
                value,
                roles,
                lambda index=index, column=column, old=value: jnp.where(
                    repeat == index, of_record(column), old
                ),
            )

    absent = jnp.zeros(role.shape, bool)
    if {Role.PENDING, Role.PENDING_END} & {*layout.roles}:
        absent |= are(Role.PENDING, Role.PENDING_END) & (number > of_record(phase.pending))
    if Role.ENDING in layout.roles:
        absent |= are(Role.ENDING) & (number >= of_record(phase.under_way))
    numbered = (Role.OCCASION, Role.STATE, Role.INPUT, Role.RAMP)
    return _Rows(
        kind=jnp.where(absent, Kind.NONE, kind),
        target=put(of_record(table.compartment), numbered, lambda: repeat),
        time=jnp.where(absent, at, time),
        amount=value,
        own=~are(*MOVED) | absent,
    )
