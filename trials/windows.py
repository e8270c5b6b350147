"""From when to when an endpoint looks at visits, and whether there are any then."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from trials.config import EndpointSpec, TimeInRangeSpec, TrialConfig
from trials.dosing import HOURS_A_DAY, MINUTE, VisitDays
from trials.protocol import Protocol

TOLERANCE = 0.5 * MINUTE / HOURS_A_DAY
"""In days: half of what visits are apart at least."""


def window(config: TrialConfig, spec: EndpointSpec) -> tuple[float, float]:
    """A window that is stated in days: when it opens and closes, at the hour of the visits.

    In days since day 1 began. Where visits are at times, it opens with its first day after the
    first dose and closes with its last.
    """
    first, last = getattr(spec, "from_day", 1), getattr(spec, "to_day", None)
    opens = closes = config.visits.time_of_day / HOURS_A_DAY - 1.0
    if config.visits.times is not None:
        closes = config.drug.first_dose / HOURS_A_DAY
        opens = closes - 1.0
    return first + opens, math.inf if last is None else last + closes


def unseen(config: TrialConfig, spec: EndpointSpec, days: Sequence[float]) -> str:
    """What an endpoint of visits lacks where they are on those days (since day 1 began).

    Empty where everybody who is seen then has a value.
    """
    start, end = window(config, spec)
    if isinstance(spec, TimeInRangeSpec):
        spans = (
            min(after, end) - max(before, start)
            for before, after in itertools.pairwise(days)
            if after - before <= spec.longest_gap
        )
        if any(span > TOLERANCE for span in spans):
            return ""
        return f"no time in its window is between visits at most {spec.longest_gap:g} days apart"
    if any(start - TOLERANCE <= day <= end + TOLERANCE for day in days):
        return ""
    return "no visit is in its window"


def window_notes(config: TrialConfig, protocol: Protocol) -> list[str]:
    """Which endpoints have a value only for patients whom rechecks bring beside the schedule."""
    visits = protocol.visits
    if not isinstance(visits, VisitDays):
        return []
    days = [float(visits.time(float(day))) / HOURS_A_DAY for day in visits.days]
    lacks = {name: unseen(config, spec, days) for name, spec in config.endpoints.items()}
    return [
        f"endpoints.{name}: {lack} of those scheduled, so that only those have a value whom a "
        "missed visit or a recheck brings there"
        for name, lack in lacks.items()
        if lack
    ]
