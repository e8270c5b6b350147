"""Whether a lane ran out of steps because it is stiff.

An explicit method cannot take a step longer than its stability allows, however smooth the solution
is. A lane that has used up its steps is therefore looked at once more where it stopped: if the
step it would take next is about as long as the fastest rate of its state lets a stable step be, and
many such steps are left before the next event, a stiff method is what it needs, and its status says
so. That costs nothing while nobody runs out of
steps, and changes nothing else of a result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from insilico.solve.fields import Components, Field
from insilico.solve.status import Status

BOUNDARIES = {"tsit5": 3.50685, "dopri8": 5.16663, "taylor": 5.06952}
"""The longest stable step of each explicit method times the decay rate of a linear equation."""

SHARE = 0.4
"""A step of this share of the boundary is limited by stability.

At tolerances of 1e-3 and less, steps chosen by their error stay below 0.3 of it; those limited by
stability swing around the boundary itself, and a rejected one falls short of it by a half.
"""

MANY = 100
"""Steps of that size left before the next event, above which stability costs too much. At the end
of a dosing day, with all absorbed, a few steps are limited by it in any model."""

ITERATIONS = 8
"""Of the power method. The fastest rate is that many times to its power above the others."""


class Search(NamedTuple):
    """The power method under way: a direction, and how much it grew the last two times."""

    number: Array
    direction: Components
    growth: Array
    before: Array


Grown = Callable[[Components], Components]
"""The Jacobian of the rates times a direction."""


def grown(rates: Field, time: Array, state: Components) -> Grown:
    """What a direction of about a tolerance's length changes of the rates at a state.

    A difference, because a kernel's compiler may lack what a derivative is made of.
    """

    def product(direction: Components) -> Components:
        moved = tuple(entry + step for entry, step in zip(state, direction, strict=True))
        pairs = zip(rates(time, moved), rates(time, state), strict=True)
        return tuple(new - old for new, old in pairs)

    return product


def in_one(grown: Grown) -> Grown:
    """The same for components that stand in one array, on its first axis."""

    def product(direction: Components) -> Components:
        (whole,) = direction
        return (jnp.stack(grown(tuple(whole))),)

    return product


def fastest(grown: Grown, units: Components, lanes: tuple[int, ...]) -> Array:
    """An estimate of each lane's largest eigenvalue in size: the rate at which it changes fastest.

    `units` are sizes in which the components count alike, such as their tolerances; arrays of shape
    `lanes`, or one array in which they stand on the first axis: less to compile.
    """
    zero = jnp.zeros_like(units[0], shape=lanes)

    def again(search: Search) -> Search:
        after = grown(search.direction)
        growth = length(after, units, lanes)
        safe = jnp.where(growth > 0.0, growth, 1.0)
        direction = tuple(entry / safe for entry in after)
        return Search(search.number + 1, direction, growth, search.growth)

    first = pattern(units, lanes)
    start = Search(jnp.int32(0), first, zero, zero)
    end = lax.while_loop(lambda search: search.number < ITERATIONS, again, start)
    # A pair of complex eigenvalues turns the direction; two growths together hardly notice.
    return jnp.sqrt(end.growth * end.before)


def length(direction: Components, units: Components, lanes: tuple[int, ...] | None = None) -> Array:
    """The length of each lane's direction in these units, which stand apart, or as in `fastest`."""
    lanes = units[0].shape if lanes is None else lanes
    total = jnp.zeros_like(units[0], shape=lanes)
    for entry, unit in zip(direction, units, strict=True):
        square = (entry / unit) * (entry / unit)
        total = total + (square if square.shape == lanes else jnp.sum(square, axis=0))
    return jnp.sqrt(total)


def pattern(units: Components, lanes: tuple[int, ...] | None = None) -> Components:
    """A direction of unequal entries and signs, so that no model's symmetry makes one eigenvector
    missing; units as in `length`."""
    lanes = units[0].shape if lanes is None else lanes

    def uneven(index: int, unit: Array) -> Array:
        if unit.shape == lanes:
            return unit * (1.0 + 0.37 * index) * (-1.0) ** index
        numbers = np.arange(unit.shape[0]).reshape(-1, *[1] * len(lanes))
        return unit * jnp.asarray((1.0 + 0.37 * numbers) * (-1.0) ** numbers, unit.dtype)

    return tuple(uneven(index, unit) for index, unit in enumerate(units))


def told(
    method: str,
    grown: Grown,
    size: Array,
    left: Array,
    state: Components,
    relative: Array,
    floors: Components,
) -> Array:
    """Lanes whose step of this size is as long as an explicit method's stability allows, and that
    have many such steps to take in the time that is `left` before the next event.

    Components stand apart, or in one array.
    """
    pairs = zip(floors, state, strict=True)
    units = tuple(floor + relative * jnp.abs(entry) for floor, entry in pairs)
    limited = fastest(grown, units, size.shape) * size > SHARE * BOUNDARIES[method]
    return limited & (left > MANY * size)


def named(status: Array, stiff: Array) -> Array:
    """The status of lanes, of which some are told to be stiff."""
    return jnp.where((status == Status.STEP_LIMIT) & stiff, Status.STIFF, status).astype(jnp.int32)
