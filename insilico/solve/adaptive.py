"""The loop of adaptive steps that takes every lane from its time to its target.

It holds no scatter, carries one dtype and is small enough for XLA to compile as one function; each
of these was measured to matter on a CPU.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from insilico.solve import control
from insilico.solve.fields import Components, Field
from insilico.solve.methods import Method, Stepper
from insilico.solve.status import Status
from insilico.solve.tolerances import TolerancesAsNumbers


class Position(NamedTuple):
    """Where each lane is: its time, next step size, state's components and steps taken so far."""

    time: Array
    size: Array
    state: Components
    steps: Array


class Moving(NamedTuple):
    """Lanes on their way: as a `Position`, with the rates where the method reuses them."""

    time: Array
    size: Array
    state: Components
    rates: Components
    steps: Array


def start(
    method: Method,
    stepper: Stepper,
    position: Position,
    fresh: Array,
    relative: Array,
    floors: Components,
) -> Moving:
    """Lanes ready for their first step.

    `fresh` says that the state or the field has just jumped, so that a lane's step size must not be
    larger than its state suggests.
    """
    rates = stepper.rates(position.time, position.state)
    guess = control.first_size(position.state, rates, relative, floors)
    size = jnp.where(fresh, jnp.minimum(guess, position.size), position.size)
    kept = rates if method.reuses_rates else ()
    return Moving(position.time, size, position.state, kept, position.steps)


def attempt(
    method: Method,
    stepper: Stepper,
    moving: Moving,
    target: Array,
    active: Array,
    relative: Array,
    floors: Components,
) -> Moving:
    """One trial step of every active lane, not beyond its `target`: taken if it is exact enough.

    `floors` are the absolute tolerances of the components. Idle lanes stay as they are.
    """
    time, size, state, rates, steps = moving
    left = target - time
    length = lax.optimization_barrier(jnp.where(active & (size * 1.0001 >= left), left, size))
    trial = stepper.step(time, length, state, rates)
    squares = control.squared_error(state, trial, relative, floors)
    # Idle lanes are told by their error from here on: masks of bytes between the compiler's
    # loops cost more than comparing numbers anew.
    squares = lax.optimization_barrier(jnp.where(active, squares, jnp.inf))
    last = length == left
    proposed = length * jnp.where(squares < jnp.inf, control.factor(squares, method.order), 1.0)

    def select(new: Array, old: Array) -> Array:
        return lax.select(squares <= 1.0, new, old)

    return Moving(
        select(jnp.where(last, target, time + length), time),
        # A step cut short by its target says nothing against the size it was cut from.
        jnp.where((squares <= 1.0) & last, lax.max(proposed, size), proposed),
        jax.tree.map(select, trial.state, state),
        lax.optimization_barrier(jax.tree.map(select, trial.rates, rates)),
        steps + (squares < jnp.inf).astype(steps.dtype),
    )


def underway(moving: Moving, target: Array, smallest: Array, max_steps: Array) -> Array:
    """Which lanes have steps to take before their `target`; `smallest` as of `smallest_size`."""
    return (moving.time < target) & (moving.size > smallest) & (moving.steps < max_steps)


def outcome(moving: Moving, target: Array, max_steps: Array) -> Array:
    """The status of lanes that are no longer `underway`."""
    failure = jnp.where(moving.steps >= max_steps, Status.STEP_LIMIT, Status.NOT_FINITE)
    return jnp.where(moving.time < target, failure, Status.OK).astype(jnp.int32)


def smallest_size(target: Array) -> Array:
    """A step size below which a lane has failed."""
    return 1e-14 * jnp.maximum(jnp.abs(target), 1e-3)


def advance(
    method: Method,
    field: Field,
    position: Position,
    target: Array,
    fresh: Array,
    tolerances: TolerancesAsNumbers,
    negligible: tuple[float, ...],
) -> tuple[Position, Array]:
    """Every lane to its `target` time; lanes already there stay as they are.

    `fresh` as in `start`. Returns the new position and each lane's status.
    """
    relative, _, max_steps = tolerances
    floors = tuple(tolerances.absolute * size + 0.0 * target for size in negligible)
    stepper = method.prepare(field, position.time, position.state)
    smallest = smallest_size(target)

    def active_of(moving: Moving) -> Array:
        return underway(moving, target, smallest, max_steps)

    end = lax.while_loop(
        lambda moving: _any(active_of(moving)),
        lambda moving: attempt(
            method, stepper, moving, target, active_of(moving), relative, floors
        ),
        start(method, stepper, position, fresh, relative, floors),
    )
    return Position(end.time, end.size, end.state, end.steps), outcome(end, target, max_steps)


def _any(mask: Array) -> Array:
    """`jnp.any`, by halves: XLA would look at one lane after the other (2 % of the loop)."""
    words = mask.astype(jnp.int32)
    while words.size > 8 and words.size % 2 == 0:
        words = words[: words.size // 2] | words[words.size // 2 :]
    return jnp.max(words) > 0
