"""Doses that were given, from records of a start, an end and a frequency."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cohorts.data.clock import HOUR, instants, interval_of
from cohorts.data.config import DataSpec, DoseColumnsSpec, DosesSpec
from cohorts.data.mistakes import Findings
from cohorts.data.table import Table, read_numbers
from insilico.config import conversion_factor

MOST = 10_000
"""Doses of one record: more are a date that is wrong."""

LATE = 0.25
"""Part of an interval by which a last dose may come before the end of its record: clock times
wander."""


class Given(NamedTuple):
    """Every dose that was given; arrays (doses,)."""

    record: np.ndarray
    """Row of the companion."""
    seconds: np.ndarray
    """When it began, since 1960."""
    amount: np.ndarray
    hours: np.ndarray
    """Of an infusion; 0 for all at once."""


def given_doses(
    whole: DataSpec, columns: DoseColumnsSpec, table: Table, doses: Table, told: Findings
) -> Given:
    """Every dose of every record; those whose start or amount is wrong are left out."""
    spec, start, amount = whole.doses, columns.start or "", columns.amount or ""
    assert spec is not None
    cells = read_numbers(doses, amount, told)
    told.wrong(cells.missing, amount, "is missing")
    told.wrong(cells.values < 0, amount, "is {}; a dose is above 0", cells.values)
    begun = _clock(spec, doses, start, told)
    told.wrong(doses.texts(start) == "", start, "is missing")
    interval = _intervals(spec, columns, doses, told)
    last = _last_records(whole, columns, table, doses, begun) if spec.ongoing else None
    number, hours = _lasting(columns, doses, begun, interval, last, told)
    number = np.where(np.isnan(begun) | ~(cells.values > 0), 0, number)
    record = np.repeat(np.arange(len(doses)), number)
    before = np.cumsum(number) - number
    place = np.arange(len(record)) - np.repeat(before, number)
    seconds = begun[record] + place * interval[record] * HOUR
    return Given(record, seconds, cells.values[record], hours[record])


def _clock(spec: DosesSpec, doses: Table, column: str, told: Findings) -> np.ndarray:
    """When doses begin, in seconds since 1960; NaN where that is wrong or missing."""
    texts = doses.texts(column)
    found = instants(texts)
    told.wrong(
        found.wrong,
        column,
        "is {}, which is no date and time",
        texts,
        hint="write 2024-01-05T08:30",
    )
    if spec.time_of_day is not None:
        return np.where(found.dates, found.seconds + spec.time_of_day * HOUR, found.seconds)
    told.wrong(
        found.dates,
        column,
        "is a date without a clock time",
        hint="write it, or say for all of them `doses: {time_of_day: 8 h}`",
    )
    return np.where(found.dates, np.nan, found.seconds)


def _intervals(
    spec: DosesSpec, columns: DoseColumnsSpec, doses: Table, told: Findings
) -> np.ndarray:
    """Hours between doses of each record; 0 where it is one dose."""
    if columns.frequency is None:
        return np.zeros(len(doses))
    texts = doses.texts(columns.frequency)
    known = {text: spec.frequencies.get(text, interval_of(text)) for text in set(texts.tolist())}
    strange = np.array([known[text] is None for text in texts.tolist()], bool)
    told.wrong(
        strange,
        columns.frequency,
        "is {}, of which the time between doses is not known",
        texts,
        hint="state it by `doses: {frequencies: {…: 12 h}}`, or write a record for each dose",
    )
    return np.array([known[text] or 0.0 for text in texts.tolist()], float)


def _lasting(
    columns: DoseColumnsSpec,
    doses: Table,
    begun: np.ndarray,
    interval: np.ndarray,
    last: np.ndarray | None,
    told: Findings,
) -> tuple[np.ndarray, np.ndarray]:
    """How many doses each record is, and the hours of an infusion.

    `last`: until when a record without an end goes on, in seconds since 1960.
    """
    number, hours = np.ones(len(doses), int), np.zeros(len(doses))
    repeated = interval > 0
    if columns.end is None:
        message = "is more than one dose, and no column says until when"
        told.wrong(repeated, columns.frequency or "", message, hint="name it: `columns: {end: …}`")
        return number, hours
    texts = doses.texts(columns.end)
    found = instants(texts)
    told.wrong(
        found.wrong,
        columns.end,
        "is {}, which is no date and time",
        texts,
        hint="write 2024-01-05T08:30",
    )
    # A date alone lasts until its midnight.
    until = np.where(found.dates, found.seconds + 24 * HOUR - 1, found.seconds)
    if last is None:
        told.wrong(
            repeated & (texts == ""),
            columns.end,
            "is missing, and the record is more than one dose",
            hint="write the date of the last one, or `doses: {ongoing: yes}`",
        )
    else:
        until = np.where(repeated & (texts == ""), np.fmax(last, begun), until)
    lasts = (until - begun) / HOUR
    told.wrong(lasts < 0, columns.end, "is {}, before the start", texts)
    steps = lasts / np.where(repeated, interval, 1.0) + np.where(found.dates, 0.0, LATE)
    times = np.where(repeated & (lasts >= 0), np.floor(np.nan_to_num(steps)) + 1, 1).astype(int)
    told.wrong(
        times > MOST,
        columns.end,
        "is {}, which makes {} doses of the record",
        texts,
        times.astype(float),
        hint=f"{MOST:,} at most",
    )
    number = np.where(times > MOST, 1, times)
    routes = np.array(["" for _ in texts]) if columns.route is None else doses.texts(columns.route)
    routes = np.array([str(route).upper() for route in routes], dtype=object)
    vein = np.array(
        [route.startswith("INTRAVENOUS") and "BOLUS" not in route for route in routes], bool
    )
    once = ~repeated & (lasts > 0)
    infused = once & vein & ~found.dates
    hours = np.where(infused, lasts, 0.0)
    day = np.where(np.isnan(begun), 0.0, begun) // (24 * HOUR) * 24 * HOUR
    longer = once & ~infused & (until >= day + 48 * HOUR - 1)
    told.wrong(
        longer,
        columns.end,
        "is {}, another day than the start, and no frequency says how often the dose was given",
        texts,
        hint="name its column, or write a record for each dose",
    )
    told.warn(
        once & ~infused & ~longer & ~found.dates,
        columns.end,
        "is {}, later than the start; it counts as a dose at the start",
        texts,
    )
    told.warn(
        repeated & vein,
        columns.route or "",
        "is {}, more than once in a record; each counts as given at once",
        routes,
    )
    return number, hours


def _last_records(
    spec: DataSpec, columns: DoseColumnsSpec, table: Table, doses: Table, begun: np.ndarray
) -> np.ndarray:
    """When the last record in the table of each dose's subject was, in seconds since 1960; NaN
    where there is none."""
    import pandas as pd

    if spec.columns.subject is None or spec.columns.time is None:
        return begun
    whose = doses.texts(columns.subject or "")
    first = pd.Series(begun).groupby(whose).transform("min").to_numpy(dtype=float)
    times, ids = table.numbers(spec.columns.time).values, table.texts(spec.columns.subject)
    latest: dict[str, float] = {}
    for each, time in zip(ids.tolist(), times.tolist(), strict=True):
        latest[each] = float(np.fmax(latest.get(each, np.nan), time))
    after = np.array([latest.get(each, np.nan) for each in whose.tolist()], float)
    return first + after / per_second(spec)


def per_second(spec: DataSpec) -> float:
    """What seconds are multiplied by to be in the unit of times."""
    try:
        return conversion_factor("s", spec.units.time)
    except ValueError:
        return conversion_factor("s", "h")  # the unit is told elsewhere
