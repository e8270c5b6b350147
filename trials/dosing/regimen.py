"""What an arm prescribes, as data: when visits may be, which doses exist, what comes next."""

from __future__ import annotations

import dataclasses
import math

from insilico.arrays import library_of
from insilico.vocabulary import Value, maximum, minimum, nearest, where
from trials.dosing.formulas import Formula
from trials.dosing.titration import Titration

HOURS_A_DAY = 24.0

MINUTE = 1 / 60
"""In hours. Random draws are addressed by whole minutes: no two visits are closer."""

FINENESS = 2.0**13
"""In how many parts a multiple of a dose is cut to see which one is nearest."""

LAGS = 4
"""Doses of this many days back are at a revision formula's hand, as `dose_1` to `dose_4`."""


@dataclasses.dataclass(frozen=True)
class VisitDays:
    """Visits on days, at one hour; day 1 starts at time 0.

    A visit's place, by which random tables are laid out, is its day. Those between the scheduled
    `days` are for rechecks, and for what was missed, `retry_after` days later.
    """

    days: tuple[int, ...]
    hour: float
    retry_after: int
    last_day: int

    @property
    def first(self) -> float:
        """Place of the first visit."""
        return float(self.days[0])

    @property
    def nominal(self) -> tuple[float, ...]:
        """Days since the start of day 1 of a visit at each place."""
        return tuple(day + self.hour / HOURS_A_DAY for day in range(self.last_day))

    def time(self, place: Value) -> Value:
        """Hours since the start of day 1 of a visit at a place."""
        return (place - 1.0) * HOURS_A_DAY + self.hour

    def place(self, time: Value) -> Value:
        """The place of a visit at a time (h), which is its day."""
        return day_of(time)

    def after(self, place: Value, kept: Value, recheck: Value) -> Value:
        """Place of the next visit, where this one wants another after `recheck` days at most."""
        wait = where(kept, recheck, float(self.retry_after))
        return minimum(self._next_scheduled(place), place + wait)

    def takes_place(self, place: Value, leaves: Value) -> Value:
        """Whether there is such a place, and the patient is there until then."""
        return (place <= self.last_day) & (place < leaves)

    def _next_scheduled(self, day: Value) -> Value:
        following: Value = math.inf
        for scheduled in reversed(self.days):
            following = where(day < scheduled, float(scheduled), following)
        return following


@dataclasses.dataclass(frozen=True)
class VisitTimes:
    """Visits at stated `times` (h) after a first dose, which is `first_dose` (h) after day 1 began.

    A visit's place, by which random tables are laid out, is its number, from 1. There are no
    others: none is made up, and none is held earlier.
    """

    times: tuple[float, ...]
    first_dose: float

    @property
    def first(self) -> float:
        """Place of the first visit."""
        return 1.0

    @property
    def nominal(self) -> tuple[float, ...]:
        """Days since the start of day 1 of each visit."""
        return tuple(time / HOURS_A_DAY for time in self.clock)

    @property
    def clock(self) -> tuple[float, ...]:
        """Hours since the start of day 1 of each visit."""
        return tuple(self.first_dose + time for time in self.times)

    def time(self, place: Value) -> Value:
        """Hours since the start of day 1 of a visit at a place; infinite after the last."""
        time: Value = math.inf
        for number in range(len(self.times), 0, -1):
            time = where(place <= number, self.clock[number - 1], time)
        return time

    def place(self, time: Value) -> Value:
        """The place of a visit at a time (h)."""
        place = 0.0 * time
        for other in self.clock:
            place = place + where(time >= other - MINUTE / 2, 1.0, 0.0)
        return place

    def after(self, place: Value, kept: Value, recheck: Value) -> Value:
        """Place of the next visit, whatever came of this one."""
        return place + 1.0 + 0.0 * kept

    def takes_place(self, place: Value, leaves: Value) -> Value:
        """Whether there is such a place, and the patient is there until then."""
        day = (self.time(place) - self.first_dose) / HOURS_A_DAY + 1.0
        return (place <= len(self.times)) & (day < leaves)


Schedule = VisitDays | VisitTimes
"""When visits may be."""


def day_of(time: Value) -> Value:
    """The day, from 1, that a time in hours falls on."""
    return library_of(time).floor(time / HOURS_A_DAY + 1e-9) + 1.0


@dataclasses.dataclass(frozen=True)
class DoseSizes:
    """Which doses exist: multiples a dose or a week, and limits of a dose (mg)."""

    rounding: float | None
    weekly_rounding: float | None
    lowest: float | None
    highest: float | None
    every: float = 1.0
    """Days from one dose to the next."""

    def fit(self, dose: Value) -> Value:
        """The nearest dose that exists, 0 at the least; halfway between two, the even multiple.

        A dose of 0 stays 0, whatever the lowest is: it is none, as of a placebo.
        """
        lowest, highest = self.limits
        step = self.step
        fitted = dose
        if step is not None:
            # Halfway is halfway whatever floating point made of it: 1.5 times 23 mg a week.
            multiples = nearest(dose / step * FINENESS) / FINENESS
            fitted = nearest(multiples) * step
        fitted = maximum(fitted, lowest)
        if highest is not None:
            fitted = minimum(fitted, highest)
        return where(dose == 0.0, 0.0, fitted)

    @property
    def step(self) -> float | None:
        """What a dose is a multiple of (mg); none where every dose exists."""
        if self.weekly_rounding is not None:
            return self.weekly_rounding * self.every / 7.0
        return self.rounding

    @property
    def limits(self) -> tuple[float, float | None]:
        """The smallest and the largest dose that exist within the limits (mg)."""
        lowest, highest, step = self.lowest or 0.0, self.highest, self.step
        if step is None:
            return lowest, highest
        # Limits that are multiples already stay so in floating point.
        up = math.ceil(lowest / step - 1e-9) * step
        return up, None if highest is None else math.floor(highest / step + 1e-9) * step


@dataclasses.dataclass(frozen=True)
class ArmRule:
    """One arm's dosing after the start: revisions by formula on their days, then titration."""

    revision_days: tuple[int, ...] = ()
    revision: tuple[Formula, ...] = ()
    titration: Titration | None = None
    titration_from: int = 2
