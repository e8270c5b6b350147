"""Endpoints of a concentration's course after a dose: area, maximum, terminal phase.

Non-compartmental analysis of single subjects, from their samples: arrays (…, visit), with `used`
and `value` as in `trials.endpoints` and `time` in hours after the dose. What cannot be computed is
NaN and not valid; so is anything of a subject with a value that is not finite at a used visit, or
without a quantified one.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from insilico import devices as _devices  # noqa: F401  (float64)
from trials.endpoints import Endpoint, blank, complete, previous_used

BelowLimit = Literal["zero_first", "zero", "half_limit"]
"""What stands for a value below the limit of quantification."""

Method = Literal["linear_up_log_down", "linear"]
"""How an area goes from one sample to the next."""

_AS_GOOD = 1e-4
"""Adjusted R² within which of the best a regression of more points is preferred."""


class Samples(NamedTuple):
    """A course as it is evaluated; arrays (…, visit)."""

    time: Float[Array, "*batch visit"]
    """Hours after the dose."""
    used: Bool[Array, "*batch visit"]
    value: Float[Array, "*batch visit"]
    """With what stands for values below the limit; 0 where not `used`."""
    quantified: Bool[Array, "*batch visit"]
    """Used, and at the limit or above it."""
    valid: Bool[Array, "*batch"]


class Terminal(NamedTuple):
    """The log-linear end of a course."""

    rate: Float[Array, "*batch"]
    """Of decline (1/h); NaN where not `valid`."""
    points: Int[Array, "*batch"]
    """Samples it is from; 0 where not `valid`."""
    adjusted_r_squared: Float[Array, "*batch"]
    valid: Bool[Array, "*batch"]


def samples(
    time: Float[Array, "*batch visit"],
    used: Bool[Array, "*batch visit"],
    value: Float[Array, "*batch visit"],
    *,
    start: float = 0.0,
    end: float = jnp.inf,
    limit: float = 0.0,
    below: BelowLimit = "zero_first",
) -> Samples:
    """The course within a window, its values below the limit of quantification replaced.

    **Arguments:**

    - `start`, `end`: the window (h).
    - `limit`: of quantification; a value that is not above 0 is below it in any case.
    - `below`: what stands for a value below: `zero_first`, 0 before the first quantified value,
      and nothing after it; `zero`; `half_limit`.
    """
    whole = complete(time, used, value)
    used = used & (time >= start) & (time <= end)
    quantified = used & (value >= limit) & (value > 0)
    instead = limit / 2 if below == "half_limit" else 0.0
    if below == "zero_first":
        seen = jax.lax.cummax(quantified.astype(int), axis=quantified.ndim - 1) > 0
        used = quantified | (used & ~seen)
    return Samples(
        time=jnp.where(used, time, 0.0),
        used=used,
        value=jnp.where(quantified, value, jnp.where(used, instead, 0.0)),
        quantified=quantified,
        valid=whole & jnp.any(quantified, axis=-1),
    )


def area_to_last(course: Samples, method: Method = "linear_up_log_down") -> Endpoint:
    """Area under the course from its first sample to the last quantified one, by trapezoids.

    `linear_up_log_down`: where the value falls between two samples, it falls exponentially.
    """
    positions = jnp.arange(course.time.shape[-1])
    last = _last(course)
    before = previous_used(course.used)
    linked = course.used & (before >= 0) & (positions <= last[..., None])
    before = jnp.maximum(before, 0)
    value0 = jnp.take_along_axis(course.value, before, axis=-1)
    length = course.time - jnp.take_along_axis(course.time, before, axis=-1)
    mean = (value0 + course.value) / 2
    if method == "linear_up_log_down":
        falls = linked & (course.value < value0) & (course.value > 0)
        fall = jnp.where(falls, value0 - course.value, 1.0)
        mean = jnp.where(falls, fall / jnp.log1p(fall / jnp.where(falls, course.value, 1.0)), mean)
    area = jnp.sum(jnp.where(linked, length * mean, 0.0), axis=-1)
    return Endpoint(blank(area, course.valid), course.valid)


def area_to_infinity(
    course: Samples, method: Method = "linear_up_log_down", fewest: int = 3
) -> Endpoint:
    """`area_to_last`, and the last quantified value over the rate of the terminal phase.

    Not valid without a `terminal_phase`, whose `fewest` this is.
    """
    so_far, terminal = area_to_last(course, method), terminal_phase(course, fewest)
    last = jnp.take_along_axis(course.value, _last(course)[..., None], axis=-1)[..., 0]
    valid = so_far.valid & terminal.valid
    rest = last / jnp.where(valid, terminal.rate, 1.0)
    return Endpoint(blank(so_far.value + rest, valid), valid)


def terminal_phase(course: Samples, fewest: int = 3) -> Terminal:
    """Rate of decline by regression of the logarithm on the last samples after the maximum.

    As many as give the largest adjusted R², or more where that is no more than 0.0001 below it; at
    least `fewest`, which are 3 or more. Not valid where there are fewer or none of the regressions
    declines.
    """
    positions = jnp.arange(course.time.shape[-1])
    peak = jnp.argmax(course.value, axis=-1)
    after = course.quantified & (positions > peak[..., None])
    # About the last sample, so that sums lose no digits.
    last = _last(course)[..., None]
    logarithm = jnp.log(jnp.where(after, course.value, 1.0))
    x = jnp.where(after, course.time - jnp.take_along_axis(course.time, last, axis=-1), 0.0)
    y = jnp.where(after, logarithm - jnp.take_along_axis(logarithm, last, axis=-1), 0.0)

    def from_here(column: Float[Array, "*batch visit"]) -> Float[Array, "*batch visit"]:
        """Sum from each position to the end."""
        return jnp.flip(jnp.cumsum(jnp.flip(column, axis=-1), axis=-1), axis=-1)

    n = from_here(after.astype(float))
    several = jnp.maximum(n, 1.0)
    sum_x, sum_y = from_here(x), from_here(y)
    xx = from_here(x * x) - sum_x**2 / several
    xy = from_here(x * y) - sum_x * sum_y / several
    yy = from_here(y * y) - sum_y**2 / several
    possible = after & (n >= fewest) & (xx > 0) & (yy > 0)
    slope = xy / jnp.where(possible, xx, 1.0)
    explained = slope * xy / jnp.where(possible, yy, 1.0)
    adjusted = 1 - (1 - explained) * (n - 1) / jnp.maximum(n - 2, 1.0)
    possible = possible & (slope < 0)
    best = jnp.max(jnp.where(possible, adjusted, -jnp.inf), axis=-1, keepdims=True)
    # The first of them has the most points.
    chosen = jnp.argmax(possible & (adjusted >= best - _AS_GOOD), axis=-1, keepdims=True)
    valid = course.valid & jnp.any(possible, axis=-1)

    def at_chosen(column: Float[Array, "*batch visit"]) -> Float[Array, "*batch"]:
        return jnp.take_along_axis(column, chosen, axis=-1)[..., 0]

    return Terminal(
        rate=blank(-at_chosen(slope), valid),
        points=jnp.where(valid, at_chosen(n), 0).astype(int),
        adjusted_r_squared=blank(at_chosen(adjusted), valid),
        valid=valid,
    )


def maximum(course: Samples) -> Endpoint:
    """The largest value."""
    return Endpoint(blank(jnp.max(course.value, axis=-1), course.valid), course.valid)


def time_of_maximum(course: Samples) -> Endpoint:
    """Hours after the dose to the largest value; to the first of several."""
    at = jnp.argmax(course.value, axis=-1, keepdims=True)
    time = jnp.take_along_axis(course.time, at, axis=-1)[..., 0]
    return Endpoint(blank(time, course.valid), course.valid)


def _last(course: Samples) -> Int[Array, "*batch"]:
    """Position of the last quantified sample; 0 where there is none."""
    positions = jnp.arange(course.time.shape[-1])
    return jnp.max(jnp.where(course.quantified, positions, 0), axis=-1)
