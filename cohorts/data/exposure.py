"""Exposure to a drug from its course: AUC, highest and lowest values, time after dose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    import pandas as pd

Method = Literal["linear_up_log_down", "linear"]
METHODS: tuple[Method, ...] = ("linear_up_log_down", "linear")

NAMES = {
    "subject": "ID",
    "time": "TIME",
    "event": "EVID",
    "amount": "AMT",
    "additional": "ADDL",
    "interval": "II",
}
"""What a column means, and NONMEM's name for it."""


def exposures(
    frame: pd.DataFrame,
    value: str = "DV",
    *,
    method: Method = "linear_up_log_down",
    columns: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Exposure in each dosing interval, from one dose to the next.

    **Arguments:**

    - `frame`: records of one output in the order of subjects and times, as of `Records.frame` or
      `to_nonmem`. A record above a dose of its time belongs to the interval before; one of the time
      of an additional dose (ADDL) to that dose's own. `ADDL` and `II` may be missing.
    - `value`: the column of concentrations; records in which it is missing say nothing.
    - `method`: of the area between two values. `"linear_up_log_down"`: logarithmic where values
      fall and both are above 0, exact for first-order elimination; `"linear"`: a straight line.
      Change it to what a reference was computed by.
    - `columns`: other names than NONMEM's, by meaning; see `NAMES`.

    **Returns** a row for each interval: `subject`, `dose` (its number from 1), `amount`, `start`,
    `end` (the next dose; of the last interval the last record), `samples`, `first` and `last` (of
    them, times after the dose), `auc` between these two, `cmax`, `tmax` (its time after the dose,
    the first of several), `cmin`, and `cavg`, the AUC over its time. NaN where samples are too few.

    Raises `ValueError` for an unknown method, a missing column, and times that go back.
    """
    import pandas as pd

    if method not in METHODS:
        raise ValueError(f"method: found {method!r}; there are {', '.join(METHODS)}")
    course = _course(frame, {**NAMES, **(columns or {})}, value)
    start, subject = course.time[course.given], course.subject[course.given]
    count = len(start)
    last_record = np.zeros(len(course.labels))
    last_record[course.subject] = course.time
    next_start = np.append(start[1:], np.nan)
    followed = np.append(subject[1:] == subject[:-1], False)
    sampled = (course.dose > 0) & ~np.isnan(course.value)
    of, values = course.interval[sampled], course.value[sampled]
    after = course.time[sampled] - start[of]
    samples = np.bincount(of, minlength=count)
    together = of[1:] == of[:-1]
    areas = _areas(np.diff(after), values[:-1], values[1:], method)[together]
    auc = np.where(samples > 1, np.bincount(of[1:][together], areas, minlength=count), np.nan)
    first, last, tmax = (np.full(count, np.nan) for _ in range(3))
    first[of[::-1]], last[of] = after[::-1], after
    cmax, cmin = np.full(count, -np.inf), np.full(count, np.inf)
    np.maximum.at(cmax, of, values)
    np.minimum.at(cmin, of, values)
    highest = np.flatnonzero(values == cmax[of])[::-1]
    tmax[of[highest]] = after[highest]
    length = np.where(last > first, last - first, np.nan)
    return pd.DataFrame(
        {
            "subject": course.labels[subject],
            "dose": course.dose[course.given],
            "amount": course.amount[course.given],
            "start": start,
            "end": np.where(followed, next_start, last_record[subject]),
            "samples": samples,
            "first": first,
            "last": last,
            "auc": auc,
            "cmax": np.where(samples > 0, cmax, np.nan),
            "tmax": tmax,
            "cmin": np.where(samples > 0, cmin, np.nan),
            "cavg": auc / length,
        }
    )


def time_after_dose(
    frame: pd.DataFrame, *, columns: Mapping[str, str] | None = None
) -> Float[np.ndarray, " records"]:
    """Time since the last dose at each record, NaN before the first; arguments as `exposures`."""
    course = _course(frame, {**NAMES, **(columns or {})}, None)
    start = np.append(course.time[course.given], np.nan)
    since = np.where(course.dose > 0, course.time - start[course.interval], np.nan)
    own = course.row >= 0
    result = np.full(len(frame), np.nan)
    result[course.row[own]] = since[own]
    return result


class _Course(NamedTuple):
    """Records and additional doses, (rows,), subject after subject in the order of time."""

    subject: np.ndarray
    """Index into `labels`."""
    time: np.ndarray
    value: np.ndarray
    amount: np.ndarray
    given: np.ndarray
    """Whether a dose is given."""
    row: np.ndarray
    """Of the frame; -1 for additional doses."""
    dose: np.ndarray
    """How many doses the subject has had."""
    interval: np.ndarray
    """Number of the dosing interval among those of all subjects; before the first, any."""
    labels: np.ndarray


def _course(frame: pd.DataFrame, names: Mapping[str, str], value: str | None) -> _Course:
    import pandas as pd

    needed = [names[meaning] for meaning in ("subject", "time", "event", "amount")]
    lacking = [name for name in [*needed, *([value] if value else [])] if name not in frame]
    if lacking:
        raise ValueError(f"there is no column {', '.join(lacking)}")

    def numbers(name: str | None) -> np.ndarray:
        if name is None or name not in frame:
            return np.zeros(len(frame))
        return np.asarray(pd.to_numeric(frame[name]), float)

    subject, labels = pd.factorize(np.asarray(frame[names["subject"]]))
    time, further, every = (numbers(names[each]) for each in ("time", "additional", "interval"))
    given = np.isin(numbers(names["event"]), (1, 4))
    last = np.full(len(labels), -np.inf)
    for at, moment in zip(subject.tolist(), time.tolist(), strict=True):
        if moment < last[at]:
            raise ValueError("times go back within a subject; give its parts as subjects")
        last[at] = moment
    often = np.where(given, np.nan_to_num(further), 0).astype(int)
    of = np.repeat(np.arange(len(frame)), often)
    number = np.arange(len(of)) - np.repeat(np.cumsum(often) - often, often) + 1
    moment = time[of] + number * every[of]
    reached = moment <= last[subject[of]]
    of, moment = of[reached], moment[reached]
    nothing = np.full(len(of), np.nan)
    columns = [
        np.concatenate(pair)
        for pair in (
            (subject[of], subject),
            (moment, time),
            (nothing, numbers(value)),
            (numbers(names["amount"])[of], numbers(names["amount"])),
            (np.ones(len(of), bool), given),
            (np.full(len(of), -1), np.arange(len(frame))),
        )
    ]
    # By subject and time; an additional dose comes before the records of its time.
    order = np.lexsort((columns[5], columns[1], columns[0]))
    subject, moment, values, amount, given, row = (column[order] for column in columns)
    doses = np.cumsum(given)
    before = (doses - given)[np.searchsorted(subject, subject)]
    return _Course(
        subject, moment, values, amount, given, row, doses - before, doses - 1, np.asarray(labels)
    )


def _areas(
    length: np.ndarray, value: np.ndarray, following: np.ndarray, method: Method
) -> np.ndarray:
    linear = length * (value + following) / 2.0
    if method == "linear":
        return linear
    falls = (following < value) & (following > 0)
    logarithm = np.log(np.where(falls, value, np.e) / np.where(falls, following, 1.0))
    return np.where(falls, length * (value - following) / logarithm, linear)
