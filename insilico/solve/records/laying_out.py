"""From the checked columns of an event table to arrays and the list of rows they are expanded to.

Which rows there are depends on the table alone; their times and amounts, which depend on each
patient's bioavailability, lag, duration and rate, are computed by `expansion`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from insilico.model import Model
from insilico.solve.events import Kind, filled_rows
from insilico.solve.records.table import MOVED, Interpolation, Layout, RecordTable, Role, Row

KINDS: dict[Role, Kind | None] = {
    Role.START: Kind.RESET,
    Role.RESET: Kind.RESET,
    Role.OCCASION: Kind.INPUT,
    Role.RESTART: Kind.RESET,
    Role.STATE: Kind.SET,
    Role.UNDER_WAY: Kind.RATE,
    Role.ENDING: Kind.RATE,
    Role.PENDING: None,
    Role.PENDING_END: Kind.RATE,
    Role.DOSE: Kind.DOSE,
    Role.INFUSION: Kind.RATE,
    Role.INFUSION_END: Kind.RATE,
    Role.REPLACEMENT: Kind.SET,
    Role.INPUT: Kind.INPUT,
    Role.RAMP: Kind.RAMP,
    Role.OBSERVATION: Kind.NONE,
    Role.UNUSED: Kind.NONE,
}
"""What rows do; a pending dose is a bolus or starts an infusion, as its record says. The steady
state of SS = 2 is added, by rows of kind `DOSE`."""


class Columns(NamedTuple):
    """The columns of a checked table, each (rows of the table,), in its order.

    - `patient`: number of the patient; `place`: of the record among the patient's.
    - `event`, `amount`, `rate`, `additional`, `interval`, `steady`: as in the table, 0 if missing.
    - `compartment`: from 0.
    - `values`: of the model's inputs, one column each; `interpolations`: theirs.
    """

    patient: np.ndarray
    place: np.ndarray
    time: np.ndarray
    event: np.ndarray
    amount: np.ndarray
    rate: np.ndarray
    additional: np.ndarray
    interval: np.ndarray
    steady: np.ndarray
    compartment: np.ndarray
    values: tuple[np.ndarray, ...]
    interpolations: tuple[Interpolation, ...]

    @classmethod
    def of(cls, *, patient: np.ndarray, **columns: Any) -> Columns:
        first = np.searchsorted(patient, patient)
        return cls(patient=patient, place=np.arange(len(patient)) - first, **columns)

    @property
    def doses(self) -> np.ndarray:
        return np.isin(self.event, (1, 4))

    @property
    def resets(self) -> np.ndarray:
        return np.isin(self.event, (3, 4))

    @property
    def wipes(self) -> np.ndarray:
        """Whether nothing of what was before a record matters after it."""
        return self.resets | (self.doses & (self.steady == 1))

    @property
    def constant(self) -> np.ndarray:
        """Whether it is a constant infusion at steady state, which ends at the record."""
        return self.doses & (self.steady > 0) & (self.amount == 0)

    @property
    def given(self) -> np.ndarray:
        """Whether it gives an amount."""
        return self.doses & (self.amount > 0)

    @property
    def infusions(self) -> np.ndarray:
        return self.doses & (self.rate != 0)


def lay_out(model: Model, columns: Columns, overlaps: int | None) -> tuple[RecordTable, Layout]:
    """Padded arrays (records, patients) with the rows to expand them to."""
    counts = np.bincount(columns.patient)
    shape = (int(counts.max()), len(counts))
    last = last_records(columns)
    until = until_when(columns, last)
    after, slopes = _inputs(columns, last)
    if overlaps is None:
        overlaps = _overlaps_shown(columns)

    def padded(flat: np.ndarray, fill: float | None = 0) -> np.ndarray:
        """The rows below a patient's last are `fill`, or repeat its last if that is None."""
        result = np.zeros(shape, flat.dtype)
        result[...] = flat[np.cumsum(counts) - 1] if fill is None else fill
        result[columns.place, columns.patient] = flat
        return result

    row, observing, infused, kinds = _rows(model, columns, until, after, slopes, overlaps)
    steady_number, steady_records = _steady(columns, shape[1])
    table = RecordTable(
        time=padded(columns.time, None),
        amount=padded(columns.amount),
        rate=padded(columns.rate),
        interval=padded(columns.interval),
        compartment=padded(columns.compartment.astype(np.int32)),
        steady=padded(np.where(columns.doses, columns.steady, 0).astype(np.int32)),
        steady_number=padded(steady_number.astype(np.int32)),
        steady_records=steady_records.astype(np.int32),
        doses=padded(columns.doses),
        epoch=padded(_within(columns, columns.resets).astype(np.int32), None),
        until=padded(until, None),
        values=tuple(padded(values, None) for values in columns.values),
        after=tuple(padded(values, None) for values in after),
        slopes=tuple(padded(values) for values in slopes),
        observing=padded(observing.astype(np.int32), -1),
        measured=padded(columns.event == 0),
        row=row,
    )
    layout = Layout(
        records=shape[0],
        rows=row.role.shape[0],
        steady=steady_records.shape[0] if np.any(steady_records >= 0) else 0,
        constant=bool(np.any(columns.constant)),
        overlaps=overlaps,
        infused=infused,
        kinds=kinds,
        roles=tuple(Role(role) for role in np.unique(row.role).tolist()),
        ordered=model.dosing is None and not np.any(_elsewhere(row)),
    )
    return table, layout


def _elsewhere(row: Row) -> np.ndarray:
    """Which rows act at another time than their record's where no dose is lagged."""
    first = np.isin(row.role, (Role.DOSE, Role.INFUSION)) & (np.asarray(row.repeat) == 0)
    return np.isin(row.role, MOVED) & ~first


def _within(columns: Columns, counted: np.ndarray) -> np.ndarray:
    """How many records of the patient up to each one, itself included, are `counted`."""
    total = np.cumsum(counted)
    before_patient = (total - counted)[np.searchsorted(columns.patient, columns.patient)]
    return total - before_patient


def last_records(columns: Columns) -> np.ndarray:
    """Where in the table each record's patient has its last one."""
    return np.cumsum(np.bincount(columns.patient))[columns.patient] - 1


def until_when(columns: Columns, last: np.ndarray) -> np.ndarray:
    """When a record's dose is called off, or the patient's records end.

    A reset or a steady-state record with SS = 1 calls off whatever earlier records have under way
    or pending. Where a reset turns the clock back, that is after the last record before it.
    """
    size = len(columns.time)
    wiping = np.where(columns.wipes, np.arange(size), size)
    following = np.concatenate([np.minimum.accumulate(wiping[::-1])[::-1][1:], [size]])
    wiped = following <= last
    at = np.where(wiped, following, last)
    before = np.maximum(at - 1, 0)
    return np.where(wiped, np.maximum(columns.time[at], columns.time[before]), columns.time[at])


def _inputs(
    columns: Columns, last: np.ndarray
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Of each input the value that holds from a record on, and its slope until the next one."""
    here = np.arange(len(columns.time))
    following = np.minimum(here + 1, last)
    length = columns.time[following] - columns.time
    after, slopes = [], []
    for values, interpolation in zip(columns.values, columns.interpolations, strict=True):
        after.append(values[following] if interpolation == "nocb" else values)
        rises = (interpolation == "linear") & (length > 0)
        change = (values[following] - values) / np.where(length > 0, length, 1.0)
        slopes.append(np.where(rises, change, 0.0))
    return tuple(after), tuple(slopes)


def _overlaps_shown(columns: Columns) -> int:
    """Infusions under way at a steady-state record where nothing is lagged or lost on the way."""
    repeated = (
        columns.infusions & (columns.steady > 0) & (columns.interval > 0) & (columns.rate > 0)
    )
    if not np.any(repeated):
        return 0
    duration = columns.amount[repeated] / columns.rate[repeated]
    return int(np.max(np.ceil(duration / columns.interval[repeated] * (1 - 1e-12)) - 1))


def times_given(columns: Columns, until: np.ndarray) -> np.ndarray:
    """How often each record's dose is given, 1 where it gives none."""
    wanted = np.where(columns.given, columns.additional, 0)
    # No more additional doses than may arrive: each lag only makes them later.
    interval = np.where(columns.interval > 0, columns.interval, 1.0)
    fitting = np.floor((until - columns.time) / interval * (1 + 1e-12))
    return 1 + np.minimum(wanted, np.maximum(fitting, 0)).astype(int)


def _steady(columns: Columns, patients: int) -> tuple[np.ndarray, np.ndarray]:
    steady = columns.doses & (columns.steady > 0)
    number = np.where(steady, _within(columns, steady) - 1, 0)
    # One row at least: arrays without any are more trouble than one that nobody reads.
    places = np.full((int(number.max()) + 1, patients), -1)
    places[number[steady], columns.patient[steady]] = columns.place[steady]
    return number, places


def _rows(
    model: Model,
    columns: Columns,
    until: np.ndarray,
    after: tuple[np.ndarray, ...],
    slopes: tuple[np.ndarray, ...],
    overlaps: int,
) -> tuple[Row, np.ndarray, tuple[int, ...], tuple[Kind, ...]]:
    """The rows, which of them each record observes at, the infused compartments, kinds of rows."""
    everything = np.arange(len(columns.time))
    doses, infusions, constant = columns.doses, columns.infusions, columns.constant
    steady = doses & (columns.steady > 0)
    first = columns.place == 0
    given = columns.given
    times = times_given(columns, until)
    lagged = overlaps if model.dosing is not None else 0

    parts: list[tuple[Role, np.ndarray, np.ndarray]] = []

    def add(role: Role, records: np.ndarray, repeats: np.ndarray | int = 1, start: int = 0) -> None:
        """`repeats` rows, numbered from `start`, for each record of the mask `records`."""
        which = everything[records]
        often = np.broadcast_to(repeats, everything.shape)[records]
        ends = np.cumsum(often)
        number = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - often, often)
        parts.append((role, np.repeat(which, often), start + number))

    repeated = steady & ~constant
    add(Role.START, first & ~columns.wipes)
    add(Role.RESET, columns.wipes)
    add(Role.STATE, steady, len(model.components()))
    add(Role.UNDER_WAY, repeated & infusions & (overlaps > 0))
    add(Role.ENDING, repeated & infusions, overlaps)
    add(Role.PENDING, repeated, lagged, start=1)
    add(Role.PENDING_END, repeated & infusions, lagged, start=1)
    add(Role.DOSE, given & ~infusions, times)
    add(Role.INFUSION, given & infusions, times)
    add(Role.INFUSION_END, given & infusions, times)
    add(Role.REPLACEMENT, columns.event == 8)
    watched = np.zeros(len(everything), bool)
    renewed = np.zeros(len(everything), bool)
    of_occasions = len(columns.values) - len(model.varying)
    for number, (at, values, slope) in enumerate(zip(columns.values, after, slopes, strict=True)):
        # A value that stays as it was needs no row; the first record's holds from the start.
        old = np.where(first, at, np.roll(values, 1))
        changes = (values != old) | (slope != 0) | (~first & (np.roll(slope, 1) != 0))
        if number >= of_occasions:
            # A record belongs to its occasion with all that happens at it, and so does its output.
            add(Role.OCCASION, changes, 1, start=number)
            renewed |= changes & columns.resets
            continue
        add(Role.INPUT, changes, 1, start=number)
        add(Role.RAMP, slope != 0, 1, start=number)
        watched |= changes
    add(Role.RESTART, renewed)
    add(Role.OBSERVATION, ~watched)

    role = np.concatenate([np.full(len(record), part) for part, record, _ in parts])
    record = np.concatenate([record for _, record, _ in parts])
    repeat = np.concatenate([number for _, _, number in parts])
    order = np.lexsort((repeat, role, record))
    role, record, repeat = role[order], record[order], repeat[order]
    patient = columns.patient[record]
    place = np.arange(len(record)) - np.searchsorted(patient, patient)
    shape = (filled_rows(int(place.max()) + 1), int(columns.patient.max()) + 1)
    filled = Row(*(np.full(shape, fill, np.int32) for fill in (Role.UNUSED, 0, 0)))
    for target, flat in zip(filled, (role, columns.place[record], repeat), strict=True):
        target[place, patient] = flat
    observing = np.zeros(len(everything), int)
    looks = np.isin(role, (Role.INPUT, Role.OBSERVATION))
    # Of several inputs that change at a record, the first one's row observes.
    observing[record[looks][::-1]] = place[looks][::-1]
    found = {Role(part) for part in np.unique(role)}
    kinds = {kind for part in found if (kind := KINDS[part])}
    if Role.PENDING in found:
        kinds.add(Kind.DOSE)
    if np.any(columns.steady[doses] == 2):
        kinds.add(Kind.DOSE)
    infused = tuple(np.unique(columns.compartment[infusions]).tolist())
    return filled, observing, infused, tuple(sorted(kinds))
