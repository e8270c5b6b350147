"""Divided differences of the exponential function: what chains of first-order stages hold.

T^(n−1) times the divided difference at −T·k1, …, −T·kn is what the last of n stages holds at time T
of a unit that entered the first at time 0, where each loses at its rate k and feeds the next at 1.

All are positive, and are computed without cancellation: points that are far apart go into the
recurrence, others into a series whose terms are all positive. `divided_difference` is for a few of
them, `Differences` for derivatives, which need many: there all go through the same few operations
side by side, since an operation costs as much to compile for one of them as for a hundred.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

_NEAR = 0.25
"""Points closer together than this go into a series, others into the recurrence.

Just above it the recurrence loses a factor of about 12 an order (of points, one below their number,
the first loses nothing); a larger one needs more terms, which is more to compile.
"""

_TERMS = 12
"""Of the series: the next is below 1e-16 of the first for points at most `_NEAR` apart."""


def divided_difference(*points: Array) -> Array:
    """Divided difference of the exponential function at one or more points, in any order.

    Points have one shape, are at most 0 and may be equal. The value is positive, with a relative
    error below 1e-13 in float64 for up to four points, however close or far apart.
    """
    ordered = list(points)
    for end in range(len(ordered) - 1, 0, -1):
        for i in range(end):
            a, b = ordered[i], ordered[i + 1]
            ordered[i], ordered[i + 1] = jnp.maximum(a, b), jnp.minimum(a, b)
    if len(ordered) == 1:
        return jnp.exp(ordered[0])
    table = [_of_two(high, high - low) for high, low in itertools.pairwise(ordered)]
    for order in range(2, len(ordered)):
        table = [
            _one_more(ordered[i : i + order + 1], table[i], table[i + 1])
            for i in range(len(table) - 1)
        ]
    return table[0]


def _of_two(high: Array, gap: Array) -> Array:
    slope = jnp.where(gap > 0.0, -jnp.expm1(-gap) / jnp.where(gap > 0.0, gap, 1.0), 1.0)
    return jnp.exp(high) * slope


def _one_more(points: Sequence[Array], upper: Array, lower: Array) -> Array:
    """At all `points`, highest first, from those without the last and without the first."""
    span = points[0] - points[-1]
    recurrence = (upper - lower) / jnp.where(span > _NEAR, span, 1.0)
    # From the lowest point all others lie upwards, and every term of the series is positive.
    heights = [jnp.minimum(point - points[-1], _NEAR) for point in points[:-1]]
    order = len(heights)
    series = sum(
        polynomial * (1.0 / math.factorial(order + degree))
        for degree, polynomial in enumerate(_homogeneous(heights))
    )
    return jnp.where(span > _NEAR, recurrence, jnp.exp(points[-1]) * series)


def _homogeneous(heights: Sequence[Array]) -> list[Array]:
    """Complete homogeneous symmetric polynomials, of degrees from 0 on."""
    of_first = [jnp.ones_like(heights[0])] * len(heights)
    found = [of_first[-1]]
    for _ in range(1, _TERMS):
        of_first[0] = of_first[0] * heights[0]
        for i in range(1, len(heights)):
            of_first[i] = of_first[i - 1] + heights[i] * of_first[i]
        found.append(of_first[-1])
    return found


Taken = tuple[int, ...]
"""The numbers of points, ascending, each as often as it is taken."""


class Differences(NamedTuple):
    """Divided differences at several choices of the same points.

    - `values`: of each of the `choices`.
    """

    choices: tuple[Taken, ...]
    values: tuple[Array, ...]

    @classmethod
    def of(cls, choices: Iterable[Taken], fixed: int, points: Sequence[Array]) -> Differences:
        """At each of the `choices` from `points`, which have one shape and are at most 0.

        The first `fixed` points have no derivatives. By the others, all orders are exact: the
        derivative with respect to a point is the divided difference with that point taken once
        more.
        """
        chosen = tuple(sorted(set(choices), key=lambda taken: (len(taken), taken)))
        return cls(chosen, _each(chosen, fixed, *points))

    def __call__(self, *taken: int) -> Array:
        """That at the points with these numbers, in any order."""
        return self.values[self.choices.index(tuple(sorted(taken)))]


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _each(choices: tuple[Taken, ...], fixed: int, *points: Array) -> tuple[Array, ...]:
    """One by one, which is more to compile and faster to run than side by side (measured: a
    gradient of a population's density in a quarter of the time): for a few of them."""
    return tuple(divided_difference(*(points[number] for number in taken)) for taken in choices)


@_each.defjvp
def _each_jvp(
    choices: tuple[Taken, ...], fixed: int, primals: Sequence[Array], tangents: Sequence[Array]
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    values, change = jax.jvp(
        lambda points: _values(choices, fixed, points),
        (jnp.stack(primals),),
        (jnp.stack(tangents),),
    )
    return tuple(values), tuple(change)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _values(choices: tuple[Taken, ...], fixed: int, points: Array) -> Array:
    """At each of `choices`, (choices, …), of `points`, (points, …)."""
    levels = _levels(choices)
    low, high, series = _looked_at(levels, points)
    found: dict[Taken, tuple[int, int]] = {}
    of_level: list[Array] = []
    start = 0
    for size, level in enumerate(levels, start=1):
        here = slice(start, start + len(level))
        lowest, span = low[here], high[here] - low[here]
        start = here.stop
        if size == 1:
            values = jnp.exp(lowest)
        elif size == 2:
            values = _of_two(high[here], span)
        else:
            before = of_level[-1]
            upper, lower = (
                _without(points, extreme[here], level, levels[size - 2], before)
                for extreme in (low, high)
            )
            recurrence = (upper - lower) / jnp.where(span > _NEAR, span, 1.0)
            values = jnp.where(span > _NEAR, recurrence, jnp.exp(lowest) * series[here])
        found |= {taken: (size - 1, place) for place, taken in enumerate(level)}
        of_level.append(values)
    everything = jnp.concatenate(of_level)
    starts = np.cumsum([0, *map(len, levels)])
    return _rows(everything, [starts[found[taken][0]] + found[taken][1] for taken in choices])


@_values.defjvp
def _values_jvp(
    choices: tuple[Taken, ...], fixed: int, primals: tuple[Array], tangents: tuple[Array]
) -> tuple[Array, Array]:
    (points,), (points_dot,) = primals, tangents
    moving = range(fixed, len(points))
    more = {taken: [tuple(sorted((*taken, point))) for point in moving] for taken in choices}
    every = {*choices, *itertools.chain.from_iterable(more.values())}
    wanted = tuple(sorted(every, key=lambda taken: (len(taken), taken)))
    places = {taken: place for place, taken in enumerate(wanted)}
    values = _values(wanted, fixed, points)
    change = jnp.zeros(())
    for index, point in enumerate(moving):
        times = np.array([taken.count(point) for taken in choices], float)
        times = times.reshape(-1, *[1] * (points.ndim - 1)).astype(points.dtype)
        there = _rows(values, [places[more[taken][index]] for taken in choices])
        change = change + times * there * points_dot[point]
    return _rows(values, [places[taken] for taken in choices]), change


def _levels(choices: tuple[Taken, ...]) -> list[list[Taken]]:
    """All that the choices are computed from, by the number of points taken, from one on."""
    level = set[Taken]()
    levels: list[list[Taken]] = []
    for size in range(max(map(len, choices)), 0, -1):
        level = {taken[:i] + taken[i + 1 :] for taken in level for i in range(len(taken))}
        level |= {taken for taken in choices if len(taken) == size}
        levels.append(sorted(level))
    return levels[::-1]


def _looked_at(levels: list[list[Taken]], points: Array) -> tuple[Array, Array, Array]:
    """Of every choice of all levels the lowest and the highest point, and the series."""
    every = [taken for level in levels for taken in level]
    most = len(levels)
    # Choices of fewer points take the first one again, as often as there is room.
    columns = [_rows(points, [(taken * most)[i] for taken in every]) for i in range(most)]
    low = functools.reduce(jnp.minimum, columns)
    high = functools.reduce(jnp.maximum, columns)
    sizes = np.array([len(taken) for taken in every])
    shape = (len(every), *[1] * (points.ndim - 1))
    # A height of zero adds nothing to the polynomials.
    heights = [
        jnp.where((i < sizes).reshape(shape), jnp.minimum(column - low, _NEAR), 0.0)
        for i, column in enumerate(columns)
    ]
    series = jnp.zeros_like(low)
    for degree, polynomial in enumerate(_homogeneous(heights)):
        shares = [1.0 / math.factorial(size - 1 + degree) for size in sizes]
        series = series + polynomial * np.array(shares).reshape(shape).astype(points.dtype)
    return low, high, series


def _without(
    points: Array, extreme: Array, level: list[Taken], below: list[Taken], values: Array
) -> Array:
    """Of every choice of a level that of the one below without its extreme point."""
    places = {taken: place for place, taken in enumerate(below)}
    found = jnp.zeros_like(extreme)
    for point in range(len(points)):
        has = np.array([point in taken for taken in level])
        if not np.any(has):
            continue
        rests = [
            places[taken[: (at := taken.index(point))] + taken[at + 1 :]] if there else 0
            for taken, there in zip(level, has, strict=True)
        ]
        has = has.reshape(-1, *[1] * (points.ndim - 1))
        # Where several points are the extreme one, either will do.
        found = jnp.where(has & (points[point] == extreme), _rows(values, rests), found)
    return found


def _rows(values: Array, places: Sequence[int]) -> Array:
    """The rows of these numbers, known beforehand."""
    index = np.asarray(places, np.int32)
    if np.array_equal(index, np.arange(len(values))):
        return values
    dimensions = lax.GatherDimensionNumbers(
        offset_dims=tuple(range(1, values.ndim)), collapsed_slice_dims=(0,), start_index_map=(0,)
    )
    return lax.gather(
        values,
        index[:, None],
        dimensions,
        (1, *values.shape[1:]),
        mode=lax.GatherScatterMode.PROMISE_IN_BOUNDS,
    )
