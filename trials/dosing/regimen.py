"""What an arm prescribes, as data: when visits may be, which doses exist, what comes next."""

from __future__ import annotations

import dataclasses
import math

from insilico.vocabulary import Value, maximum, minimum, nearest, where
from trials.dosing.formulas import Formula
from trials.dosing.titration import Titration

HOURS_A_DAY = 24.0

LAGS = 4
"""Doses of this many days back are at a revision formula's hand, as `dose_1` to `dose_4`."""


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The days on which visits may be; day 1 starts at time 0.

    `doses_end` is the day of the last dose, where dosing ends before the trial does.
    """

    days: tuple[int, ...]
    hour: float
    retry_after: int
    last_day: int
    doses_end: float = math.inf

    def time(self, day: Value) -> Value:
        """Hours since the start of day 1 of a visit on `day`."""
        return (day - 1.0) * HOURS_A_DAY + self.hour

    def next_scheduled(self, day: Value) -> Value:
        """The next scheduled day after `day`; infinite after the last."""
        following: Value = math.inf
        for scheduled in reversed(self.days):
            following = where(day < scheduled, float(scheduled), following)
        return following


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
        """The nearest dose that exists, 0 at the least."""
        lowest, highest = self.limits
        step = self.step
        if step is not None:
            dose = nearest(dose / step) * step
        dose = maximum(dose, lowest)
        return dose if highest is None else minimum(dose, highest)

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
