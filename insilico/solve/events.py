"""What happens to a patient from outside, as a table of rows in order of time.

A dose, the start or end of an infusion, a change of an input, an observation and a free slot for a
visit are rows. A step never crosses a row. Times and amounts are numbers that a compiled program
takes as arguments; only the pattern of rows (how many, which observe, which are slots) is fixed.
"""

from __future__ import annotations

import collections
import dataclasses
import enum
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from insilico.model import Model

if TYPE_CHECKING:
    from jax import Array


class Kind(enum.IntEnum):
    """What a row does once its observation, if any, is made."""

    NONE = 0
    DOSE = 1
    """Adds `amount` to compartment `target`."""
    RATE = 2
    """Adds `amount` to the rate at which compartment `target` is infused."""
    INPUT = 3
    """Sets input number `target` to `amount`."""
    SET = 4
    """Sets compartment `target` to `amount`."""
    RESET = 5
    """Back to the initial state, infusions off; the clock is set to the row's time.

    Nothing is integrated up to such a row, since nothing of it would be left.
    """
    RAMP = 6
    """From now on input number `target` changes by `amount` a unit of time."""
    PAUSE = 7
    """Nothing: a free slot for an event that the state sets off before the row's time."""


SCHEDULED = (Kind.DOSE, Kind.RATE, Kind.INPUT)
"""The kinds of rows that `schedule` makes."""


ROWS_TOGETHER = 4
"""Rows of an event table that are gone through, or left out, together."""

FEW_ROWS = 16
"""Rows up to which a table is gone through whole: filling it up would cost what could be gained."""


def filled_rows(rows: int) -> int:
    """How many rows a table of so many is filled up to: whole blocks, unless it has few."""
    return rows if rows <= FEW_ROWS else -(-rows // ROWS_TOGETHER) * ROWS_TOGETHER


MANY_STATES = 8
"""Components from which on a step costs so much that reading a row off it costs little: with 4 or 5
of them, ending steps at up to 50 rows an event was as fast (measured)."""

OFTEN = 6
"""Rows an event from which on such models gain: with 13 components 13 % at 4, 29 % at 8 and half at
20 (measured)."""


class Events(NamedTuple):
    """Rows of one schedule, shared by all patients, (rows,), or of each patient, (rows, patients).

    `order` is -1, or the number of the rule's order that multiplies `amount`. The time of a slot
    row is the latest at which its visit may take place. Times do not fall; rows that a patient has
    no use for are of kind `NONE`, at the time of the row before.
    """

    time: Array | np.ndarray
    kind: Array | np.ndarray
    target: Array | np.ndarray
    amount: Array | np.ndarray
    order: Array | np.ndarray

    def in_precision(self, dtype: Any) -> Events:
        """The same as JAX's arrays, times and amounts in the precision of the patients' numbers."""
        import jax.numpy as jnp  # not on top: making a schedule should not wait for JAX

        return Events(
            *(
                jnp.asarray(column, dtype if column.dtype.kind == "f" else column.dtype)
                for column in self
            )
        )


@dataclasses.dataclass(frozen=True)
class Pattern:
    """The part of a schedule that a compiled program is made for.

    - `observed`: indices of the rows that observe, one an output time, in order.
    - `slots`: for each row, whether it is a free slot for a visit.
    - `infused`: the compartments that are ever infused.
    - `ordered`: indices of the rows that ask a rule for an order.
    - `start`: the time of the initial state.
    - `kinds`: the kinds of rows that may occur, beside `NONE`; others do nothing.
    - `between`: for each row, whether steps pass over it and what it observes is interpolated;
      empty where they end at every row.
    """

    rows: int
    observed: tuple[int, ...]
    slots: tuple[bool, ...]
    infused: tuple[int, ...]
    start: float = 0.0
    kinds: tuple[Kind, ...] = SCHEDULED
    between: tuple[bool, ...] = ()
    ordered: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Dose:
    """A bolus of `amount` into `compartment` at `time`; times the rule's order of that number."""

    time: float
    compartment: str
    amount: float
    order: int = -1


@dataclasses.dataclass(frozen=True)
class Infusion:
    """`amount` into `compartment` at a constant rate from `time` over `duration`."""

    time: float
    compartment: str
    amount: float
    duration: float


@dataclasses.dataclass(frozen=True)
class Input:
    """Input `name` takes `value` from `time` on."""

    time: float
    name: str
    value: float


def schedule(
    model: Model,
    actions: Iterable[Dose | Infusion | Input] | Dose | Infusion | Input = (),
    *,
    observe: Sequence[float] | np.ndarray | float = (),
    visits_until: float | None = None,
    shortest_recheck: float | None = None,
    visits_at: Sequence[float] = (),
    start: float = 0.0,
    interpolate: bool | None = None,
    triggered: int | None = None,
) -> tuple[Events, Pattern]:
    """The rows of one schedule for `model`, in its time unit.

    **Arguments:**

    - `actions`: doses, infusions and inputs; those of one instant act in the order given. One
      needs no list, nor does one output time. An input is 0 until it is given.
    - `observe`: output times, increasing. An observation at the time of a dose sees the state
      before it.
    - `visits_until`: the last time at which a rule may hold a visit, itself included; a visit at
      the time of a dose comes before it.
    - `shortest_recheck`: the shortest time a rule may leave between two visits; the number of slots
      follows from it.
    - `visits_at`: in place of these two, the only times at which a rule may hold a visit,
      increasing.
    - `start`: the time of the model's initial state.
    - `interpolate`: whether what is observed between events is read off the steps there by their
      own interpolant, instead of steps ending at every output time. An interpolant's error is about
      that of a step, for which steps keep to half the tolerances; results differ by a part of them.
      Default: where it is faster, in models of at least `MANY_STATES` components with `OFTEN` rows
      or more from one event to the next. Solves that are differentiated, follow a rule, run on a
      GPU or are of a model with triggers end their steps at every row all the same: state False
      where other results should be exactly theirs.
    - `triggered`: for a model with triggers, how many of their events there may be between two
      rows; a patient with more of them fails. Default: as many as the model has triggers. Change it
      for events that come again soon, like rescue doses between visits that are weeks apart.

    Raises `ValueError` for what is no action, for times, amounts and values that are not finite,
    times before `start`, a duration that is not positive or too short for the clock to tell,
    unsorted output times or times of visits, `triggered` below 1 or for a model without triggers,
    and `KeyError` for an unknown compartment or input.
    """
    acts: list[tuple[float, _Act]] = []
    for action in [actions] if isinstance(actions, Dose | Infusion | Input) else actions:
        if not isinstance(action, Dose | Infusion | Input):
            raise ValueError(f"{action!r} is no action: a Dose, an Infusion or an Input is")
        if not start <= action.time < math.inf:
            raise ValueError(f"{action}: its time must be finite and not before {start}")
        if not math.isfinite(action.value if isinstance(action, Input) else action.amount):
            raise ValueError(f"{action}: its amount or value must be finite")
        match action:
            case Dose(time, compartment, amount, order):
                acts.append((time, _Act(Kind.DOSE, model.compartment(compartment), amount, order)))
            case Infusion(time, compartment, amount, duration):
                if not 0 < duration < math.inf:
                    raise ValueError(f"{action}: an infusion's duration must be above 0")
                index, end = model.compartment(compartment), time + duration
                if end == time:
                    raise ValueError(
                        f"{action}: the clock cannot tell so short a duration at that time; "
                        f"give a Dose, or let time begin later"
                    )
                # What the clock makes of the duration: all of the amount is given.
                rate = amount / (end - time)
                acts.append((time, _Act(Kind.RATE, index, rate)))
                acts.append((end, _Act(Kind.RATE, index, -rate)))
            case Input(time, name, value):
                fields = list(model.Inputs._fields)
                if name not in fields:
                    raise KeyError(f"model {model.name} has no input {name!r}; it has {fields}")
                acts.append((time, _Act(Kind.INPUT, fields.index(name), value)))
    acts.sort(key=lambda timed: timed[0])
    times = np.atleast_1d(np.asarray(observe, float)).tolist()
    in_range = np.ndim(observe) < 2 and all(start <= time < math.inf for time in times)
    if not in_range or times != sorted(times):
        raise ValueError(f"output times must be finite, increasing and not before {start}")
    rows = _merge(acts, times)
    if visits_until is not None:
        if shortest_recheck is None or not shortest_recheck > 0:
            raise ValueError("shortest_recheck must be above 0 where a rule holds visits")
        rows = _with_slots(rows, start, visits_until, shortest_recheck)
    if not all(start <= time < math.inf for time in visits_at) or any(
        later <= earlier for earlier, later in itertools.pairwise(visits_at)
    ):
        raise ValueError(f"times of visits must be finite, increasing and not before {start}")
    rows = _with_slots_at(rows, visits_at)
    triggers = len(model.Triggers._fields)
    if triggered is not None and (not triggers or triggered < 1):
        raise ValueError(
            f"triggered must be at least 1, and only for a model with triggers, of which model "
            f"{model.name} has {triggers}; found {triggered}"
        )
    if triggers:
        rows = _with_pauses(rows, start, triggered or triggers)
    pattern = Pattern(
        rows=len(rows),
        observed=tuple(index for index, row in enumerate(rows) if row.observes),
        slots=tuple(row.slot for row in rows),
        infused=tuple(sorted({act.target for _, act in acts if act.kind == Kind.RATE})),
        start=float(start),
        between=_between(rows, _pays(model, rows) if interpolate is None else interpolate),
        kinds=(*SCHEDULED, Kind.PAUSE) if triggers else SCHEDULED,
        ordered=tuple(index for index, row in enumerate(rows) if row.act.order >= 0),
    )
    events = Events(
        time=np.array([row.time for row in rows], float),
        kind=np.array([row.act.kind for row in rows], np.int32),
        target=np.array([row.act.target for row in rows], np.int32),
        amount=np.array([row.act.amount for row in rows], float),
        order=np.array([row.act.order for row in rows], np.int32),
    )
    return events, pattern


def check_events(model: Model, events: Events, pattern: Pattern) -> None:
    """Raise `ValueError` for rows that are none of the pattern, fall in time or name no place.

    A compiled program would not notice: it would pass over them, or take the nearest place.
    """
    if not isinstance(events, Events) or not isinstance(pattern, Pattern):
        raise ValueError("events and pattern must be those of `schedule`, in this order")
    for name, column in zip(Events._fields, events, strict=True):
        shape = np.shape(column)
        if len(shape) not in (1, 2) or shape[0] != pattern.rows:
            raise ValueError(
                f"events.{name} must be of the pattern's {pattern.rows} rows, (rows,) or (rows, "
                f"patients); found shape {shape}. Both come from one call of `schedule`"
            )
    time = np.asarray(events.time, float)
    if not np.all(np.isfinite(time)) or np.any(np.diff(time, axis=0, prepend=pattern.start) < 0):
        raise ValueError(f"times of events must be finite and not fall, from {pattern.start} on")
    kind, target = np.asarray(events.kind), np.asarray(events.target)
    kind = kind if kind.ndim == target.ndim else kind.reshape(pattern.rows, -1)
    target = target if kind.ndim == target.ndim else target.reshape(pattern.rows, -1)
    compartments, inputs = range(len(model.components())), range(len(model.Inputs._fields))
    for which, places, what in (
        (Kind.DOSE, compartments, "compartment"),
        (Kind.RATE, pattern.infused, "compartment that the pattern has infused"),
        (Kind.INPUT, inputs, "input"),
    ):
        strange = (kind == which) & ~np.isin(target, list(places))
        if np.any(strange):
            found = np.broadcast_to(target, strange.shape)[strange][0]
            raise ValueError(
                f"an event of kind {which.name} has the target {found}, which is no {what} of "
                f"model {model.name}; allowed: {', '.join(map(str, places)) or 'none'}"
            )


def _pays(model: Model, rows: list[_Row]) -> bool:
    """Whether reading rows off steps is faster than ending steps at them."""
    events = sum(row.act.kind != Kind.NONE for row in rows)
    observes_only = not any(row.slot for row in rows)
    many = len(model.components()) >= MANY_STATES
    return observes_only and many and len(rows) >= OFTEN * (events + 1)


def _between(rows: list[_Row], interpolate: bool) -> tuple[bool, ...]:
    """For each row whether steps pass over it; empty where none is."""
    found = [row.act.kind == Kind.NONE and not row.slot for row in rows[:-1]]
    return (*found, False) if interpolate and any(found) else ()


class _Act(NamedTuple):
    """What a row does, as in `Events`."""

    kind: Kind = Kind.NONE
    target: int = 0
    amount: float = 0.0
    order: int = -1


class _Row(NamedTuple):
    time: float
    act: _Act = _Act()
    observes: bool = False
    slot: bool = False


def _merge(acts: list[tuple[float, _Act]], observe: list[float]) -> list[_Row]:
    """One row for an observation and the first act of the same instant."""
    rows: list[_Row] = []
    left = collections.deque(acts)
    for time in observe:
        while left and left[0][0] < time:
            rows.append(_Row(*left.popleft()))
        if left and left[0][0] == time:
            rows.append(_Row(*left.popleft(), observes=True))
        else:
            rows.append(_Row(time, observes=True))
    return rows + [_Row(*act) for act in left]


def _with_slots(rows: list[_Row], start: float, until: float, shortest: float) -> list[_Row]:
    """Between two rows, as many slots as visits fit there at their shortest distance."""

    def slots(previous: float | None, limit: float) -> list[_Row]:
        gap = limit - (start if previous is None else previous)
        count = math.ceil(gap / shortest - 1e-9) + (previous is None)
        return [_Row(limit, slot=True)] * max(count, 0)

    result: list[_Row] = []
    previous: float | None = None
    for row in rows:
        limit = min(row.time, until)
        result += [*slots(previous, limit), row]
        previous = limit
    return result + slots(previous, until)


def _with_slots_at(rows: list[_Row], times: Sequence[float]) -> list[_Row]:
    """A slot at each of these times, before what else there is at that time."""
    slots = [_Row(time, slot=True) for time in times]
    return sorted([*slots, *rows], key=lambda row: row.time)


def _with_pauses(rows: list[_Row], start: float, count: int) -> list[_Row]:
    """Before each row that time passes up to, free slots for what the state sets off.

    Those for visits serve it too, and there are more of them then. After a last row that does
    something there are some for what that sets off at once.
    """
    pause = _Act(Kind.PAUSE)
    result: list[_Row] = []
    previous = _Row(start)
    for row in rows:
        if row.slot:
            more = 0 if previous.slot else count
            result += [row._replace(act=pause)] * (1 + more)
        else:
            passes = not result or row.time > previous.time
            result += [_Row(row.time, pause)] * (count if passes else 0)
            result.append(row)
        previous = row
    if rows and rows[-1].act.kind != Kind.NONE:
        result += [_Row(rows[-1].time, pause)] * count
    return result
