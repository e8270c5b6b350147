"""Endpoints of single subjects, from their visits.

All take a subject's visits as arrays (…, visit): `time` in days since randomisation, `used` (true
for visits that took place and were measured; everything else is padding and may hold anything),
and measured values. Used visits are in order of time; padding may stand anywhere among them.
Windows and ranges are numbers or arrays that broadcast against (…), so every subject can have its
own target. What cannot be computed is NaN and not `valid`; so is any endpoint of a subject with a
value that is not finite at a used visit (a failed solve must not look like a measurement).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from insilico import devices as _devices  # noqa: F401  (float64)

Number = float | Float[Array, "..."]

HALF_A_MINUTE = 0.5 / 1440
"""In days. No two visits are closer than a minute, and stored times are good to a second: what is
left of an interval where a window's edge meets a visit is no time."""


class Endpoint(NamedTuple):
    """One number a subject."""

    value: Float[Array, "*batch"]
    """NaN where not `valid`."""
    valid: Bool[Array, "*batch"]


class TimeInRange(NamedTuple):
    """Shares of the interpolated time; the three add up to 100 %."""

    within: Float[Array, "*batch"]
    """Percentage of time with low ≤ value ≤ high; NaN, like the others, where not `valid`."""
    above: Float[Array, "*batch"]
    below: Float[Array, "*batch"]
    days: Float[Array, "*batch"]
    """Time that could be interpolated (d), the denominator."""
    valid: Bool[Array, "*batch"]


class TimeToEvent(NamedTuple):
    """Time to a first event, or to where it was last known not to have happened."""

    time: Float[Array, "*batch"]
    """Days since randomisation; NaN where not `valid`."""
    event: Bool[Array, "*batch"]
    """True: the event was seen; false: censored (or not valid)."""
    valid: Bool[Array, "*batch"]


class Occurrences(NamedTuple):
    """How often something was seen at a subject's visits."""

    number: Int[Array, "*batch"]
    """Visits at which it was seen; 0 where not `valid`."""
    ever: Bool[Array, "*batch"]
    """Whether it was seen at all."""
    visits: Int[Array, "*batch"]
    """Visits at which it could have been seen."""
    valid: Bool[Array, "*batch"]
    """Whether there was any such visit."""


def time_in_range(
    time: Float[Array, "*batch visit"],
    used: Bool[Array, "*batch visit"],
    value: Float[Array, "*batch visit"],
    *,
    low: Number,
    high: Number,
    start: Number = 0.0,
    end: Number = jnp.inf,
    longest_gap: Number = 56.0,
) -> TimeInRange:
    """Percentage of time in a range, by linear interpolation between visits.

    Rosendaal et al., Thromb Haemost 1993;69:236-239. Time is counted between the first and the
    last measured value, within the window [`start`, `end`]; where a window's edge falls between
    two visits the value there is interpolated, so visits outside the window still count for it.

    **Arguments:**

    - `time`, `used`, `value`: the visits.
    - `low`, `high`: the range, both ends included; `low` ≤ `high`.
    - `start`, `end`: the window (d).
    - `longest_gap`: two visits further apart than this (d) are not interpolated between.

    Not valid with fewer than two values or no interpolated time within the window, of which half a
    minute of an interval is none.
    """
    before = previous_used(used)
    linked = used & (before >= 0)
    before = jnp.maximum(before, 0)
    time = jnp.where(used, time, 0.0)
    value = jnp.where(used, value, 0.0)
    time0 = jnp.take_along_axis(time, before, axis=-1)
    value0 = jnp.take_along_axis(value, before, axis=-1)
    gap = time - time0
    linked &= (gap > 0) & (gap <= _column(longest_gap))

    from_time = jnp.maximum(time0, _column(start))
    to_time = jnp.minimum(time, _column(end))
    linked &= to_time - from_time > HALF_A_MINUTE
    slope = (value - value0) / jnp.where(linked, gap, 1.0)
    # Each end from its nearer visit, so that an unclipped end keeps its measured value to the bit.
    at_from = value0 + slope * (from_time - time0)
    at_to = value + slope * (to_time - time)
    length = jnp.where(linked, to_time - from_time, 0.0)

    least, most = jnp.minimum(at_from, at_to), jnp.maximum(at_from, at_to)
    rise = most - least
    flat = rise == 0
    safe_rise = jnp.where(flat, 1.0, rise)
    low, high = _column(low), _column(high)
    share_below = jnp.where(flat, least < low, jnp.clip((low - least) / safe_rise, 0.0, 1.0))
    share_above = jnp.where(flat, least > high, jnp.clip((most - high) / safe_rise, 0.0, 1.0))

    days = jnp.sum(length, axis=-1)
    below = jnp.sum(length * share_below, axis=-1)
    above = jnp.sum(length * share_above, axis=-1)
    valid = (days > 0) & complete(time, used, value)
    percent = 100 / jnp.where(valid, days, 1.0)
    return TimeInRange(
        within=blank(jnp.maximum(days - below - above, 0.0) * percent, valid),
        above=blank(above * percent, valid),
        below=blank(below * percent, valid),
        days=jnp.where(valid, days, 0.0),
        valid=valid,
    )


def time_to_range(
    time: Float[Array, "*batch visit"],
    used: Bool[Array, "*batch visit"],
    value: Float[Array, "*batch visit"],
    *,
    low: Number,
    high: Number,
    start: Number = 0.0,
    end: Number = jnp.inf,
) -> TimeToEvent:
    """Time to the first visit with `low` ≤ value ≤ `high`, censored at the last visit.

    Only visits in the window [`start`, `end`] (d) count, for the event as for the censoring; not
    valid without any.
    """
    seen = _seen(time, used, start, end)
    hit = seen & (value >= _column(low)) & (value <= _column(high))
    first = jnp.min(jnp.where(hit, time, jnp.inf), axis=-1, initial=jnp.inf)
    last = jnp.max(jnp.where(seen, time, -jnp.inf), axis=-1, initial=-jnp.inf)
    valid = jnp.any(seen, axis=-1) & complete(time, used, value)
    event = jnp.any(hit, axis=-1) & valid
    return TimeToEvent(blank(jnp.where(event, first, last), valid), event, valid)


def visits_at_or_above(
    time: Float[Array, "*batch visit"],
    used: Bool[Array, "*batch visit"],
    value: Float[Array, "*batch visit"],
    *,
    threshold: Number,
    start: Number = 0.0,
    end: Number = jnp.inf,
) -> Occurrences:
    """Visits in the window [`start`, `end`] (d) with a value of `threshold` or more."""
    seen = _seen(time, used, start, end)
    valid = jnp.any(seen, axis=-1) & complete(time, used, value)
    number = jnp.sum(seen & (value >= _column(threshold)), axis=-1)
    number = jnp.where(valid, number, 0)
    return Occurrences(number, number > 0, jnp.sum(seen, axis=-1), valid)


def last_value(
    time: Float[Array, "*batch visit"],
    used: Bool[Array, "*batch visit"],
    value: Float[Array, "*batch visit"],
    *,
    start: Number = 0.0,
    end: Number = jnp.inf,
) -> Endpoint:
    """Value at the last visit in the window [`start`, `end`] (d)."""
    seen = _seen(time, used, start, end)
    positions = jnp.arange(time.shape[-1])
    last = jnp.max(jnp.where(seen, positions, 0), axis=-1, keepdims=True, initial=0)
    valid = jnp.any(seen, axis=-1) & complete(time, used, value)
    return Endpoint(blank(jnp.take_along_axis(value, last, axis=-1)[..., 0], valid), valid)


def mean_value(
    time: Float[Array, "*batch visit"],
    used: Bool[Array, "*batch visit"],
    value: Float[Array, "*batch visit"],
    *,
    start: Number = 0.0,
    end: Number = jnp.inf,
) -> Endpoint:
    """Mean over the visits in the window [`start`, `end`] (d), each counting the same."""
    seen = _seen(time, used, start, end)
    visits = jnp.sum(seen, axis=-1)
    valid = (visits > 0) & complete(time, used, value)
    total = jnp.sum(jnp.where(seen, value, 0.0), axis=-1)
    return Endpoint(blank(total / jnp.maximum(visits, 1), valid), valid)


def _column(number: Number) -> Float[Array, "*batch 1"]:
    """A number a subject, set against the visits."""
    return jnp.asarray(number, float)[..., None]


def _seen(
    time: Float[Array, "*batch visit"],
    used: Bool[Array, "*batch visit"],
    start: Number,
    end: Number,
) -> Bool[Array, "*batch visit"]:
    """Used visits in a window."""
    return used & (time >= _column(start)) & (time <= _column(end))


def complete(
    time: Float[Array, "*batch visit"],
    used: Bool[Array, "*batch visit"],
    value: Float[Array, "*batch visit"],
) -> Bool[Array, "*batch"]:
    """Whether all used visits hold finite numbers."""
    return jnp.all(~used | (jnp.isfinite(time) & jnp.isfinite(value)), axis=-1)


def previous_used(used: Bool[Array, "*batch visit"]) -> Int[Array, "*batch visit"]:
    """Position of the used visit before each position, -1 where there is none."""
    positions = jnp.where(used, jnp.arange(used.shape[-1]), -1)
    latest = jax.lax.cummax(positions, axis=positions.ndim - 1)
    none = jnp.full((*used.shape[:-1], 1), -1, latest.dtype)
    return jnp.concatenate([none, latest[..., :-1]], axis=-1)


def blank(value: Float[Array, "*batch"], valid: Bool[Array, "*batch"]) -> Float[Array, "*batch"]:
    """NaN where not valid."""
    return jnp.where(valid, value, jnp.nan)
