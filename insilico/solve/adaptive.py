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
from insilico.solve.methods import Method
from insilico.solve.status import Status
from insilico.solve.tolerances import TolerancesAsNumbers


class Position(NamedTuple):
    """Where each lane is: its time, next step size, state's components and steps taken so far."""

    time: Array
    size: Array
    state: Components
    steps: Array


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

    `fresh` says that the state or the field has just jumped, so that a lane's step size must not be
    larger than its state suggests. Returns the new position and each lane's status.
    """
    relative, max_steps = tolerances.relative, tolerances.max_steps
    floors = tuple(tolerances.absolute * size + 0.0 * target for size in negligible)
    smallest = 1e-14 * jnp.maximum(jnp.abs(target), 1e-3)
    stepper = method.prepare(field, position.time, position.state)
    rates = stepper.rates(position.time, position.state)
    guess = control.first_size(position.state, rates, relative, floors)
    size = jnp.where(fresh, jnp.minimum(guess, position.size), position.size)

    def active_of(time: Array, size: Array, steps: Array) -> Array:
        return (time < target) & (size > smallest) & (steps < max_steps)

    def body(carry: tuple) -> tuple:
        time, size, state, rates, steps = carry
        active = active_of(time, size, steps)
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

        # A step cut short by its target says nothing against the size it was cut from.
        return (
            select(jnp.where(last, target, time + length), time),
            jnp.where((squares <= 1.0) & last, lax.max(proposed, size), proposed),
            jax.tree.map(select, trial.state, state),
            lax.optimization_barrier(jax.tree.map(select, trial.rates, rates)),
            steps + (squares < jnp.inf).astype(steps.dtype),
        )

    def unfinished(carry: tuple) -> Array:
        return _any(active_of(carry[0], carry[1], carry[4]))

    time, size, state, _, steps = lax.while_loop(
        unfinished,
        body,
        (position.time, size, position.state, rates if method.reuses_rates else (), position.steps),
    )
    failure = jnp.where(steps >= max_steps, Status.STEP_LIMIT, Status.NOT_FINITE)
    status = jnp.where(time < target, failure, Status.OK).astype(jnp.int32)
    return Position(time, size, state, steps), status


def _any(mask: Array) -> Array:
    """`jnp.any`, by halves: XLA would look at one lane after the other (2 % of the loop)."""
    words = mask.astype(jnp.int32)
    while words.size > 8 and words.size % 2 == 0:
        words = words[: words.size // 2] | words[words.size // 2 :]
    return jnp.max(words) > 0
