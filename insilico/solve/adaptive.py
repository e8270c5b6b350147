"""The loop of adaptive steps that takes every lane from its time to its target.

It holds no scatter, carries one dtype and is small enough for XLA to compile as one function; each
of these was measured to matter on a CPU.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from insilico.solve import control, stiffness
from insilico.solve.fields import Components, Field
from insilico.solve.methods import Method, Stepper, Trial
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


class Limits(NamedTuple):
    """What a lane has to keep to: relative and absolute tolerances, step size and steps in all."""

    relative: Array
    floors: Components
    smallest: Array
    max_steps: Array

    @classmethod
    def of(
        cls, target: Array, tolerances: TolerancesAsNumbers, negligible: tuple[float, ...]
    ) -> Limits:
        """Those of a way to `target`; a lane whose step size underflows has failed."""
        relative, max_steps = tolerances.relative, tolerances.max_steps
        floors = tuple(tolerances.absolute * size + 0.0 * target for size in negligible)
        # In single precision, a step that moves the time.
        digits = 1e-14 if target.dtype == jnp.float64 else jnp.finfo(target.dtype).eps
        smallest = digits * jnp.maximum(jnp.abs(target), 1e-3)
        return cls(relative, floors, lax.stop_gradient(smallest), max_steps)

    def allow(self, moving: Moving, target: Array) -> Array:
        """The lanes that are on their way and may go on."""
        time, size, steps = moving.time, moving.size, moving.steps
        return (time < target) & (size > self.smallest) & (steps < self.max_steps)

    def judge(self, moving: Moving, target: Array) -> tuple[Position, Array]:
        """Where lanes came to rest, and their status."""
        failure = jnp.where(moving.steps >= self.max_steps, Status.STEP_LIMIT, Status.NOT_FINITE)
        status = jnp.where(moving.time < target, failure, Status.OK).astype(jnp.int32)
        return Position(moving.time, moving.size, moving.state, moving.steps), status


def start(
    method: Method,
    stepper: Stepper,
    position: Position,
    fresh: Array,
    limits: Limits,
) -> Moving:
    """Lanes ready for their first step.

    `fresh` says that the state or the field has just jumped, so that a lane's step size must not be
    larger than its state suggests.
    """
    rates = stepper.rates(position.time, position.state)
    guess = control.first_size(
        *lax.stop_gradient((position.state, rates, limits.relative, limits.floors)),
    )
    size = jnp.where(fresh, jnp.minimum(guess, position.size), position.size)
    kept = rates if method.reuses_rates else ()
    # An empty compartment that begins to fill asks for a first step far smaller than it needs,
    # which late in time would be none; a step that is too large is taken again.
    size = jnp.maximum(size, 10.0 * limits.smallest)
    return Moving(position.time, size, position.state, kept, position.steps)


class Tried(NamedTuple):
    """What a trial step was: its length, the square of its error's norm (infinite, where idle), and
    where it led."""

    length: Array
    squares: Array
    trial: Trial

    @property
    def taken(self) -> Array:
        """The lanes for which it was exact enough; not those that were idle."""
        return self.squares <= 1.0


def attempt(
    method: Method, stepper: Stepper, moving: Moving, target: Array, limits: Limits
) -> tuple[Moving, Tried]:
    """One trial step of every lane on its way to its `target`, and not beyond it.

    It is taken if it is exact enough. Lanes that are there or that have failed stay as they are.

    Step sizes are constants to differentiation, except that of a step that ends at its target,
    which is what was left: the only one that the time of an event acts on.
    """
    tried = look(method, stepper, moving, target, limits)
    return follow(method, moving, tried, target), tried


def look(
    method: Method,
    stepper: Stepper,
    moving: Moving,
    target: Array,
    limits: Limits,
    *,
    between: tuple[int, ...] = (),
    waiting: Array | None = None,
) -> Tried:
    """The first half of `attempt`: the trial step, which nobody has taken yet.

    `between` are the components whose interpolant is asked for. Lanes that are `waiting` are idle.
    """
    time, size, state, rates, _ = moving
    active, left = limits.allow(moving, target), target - time
    if waiting is not None:
        active = active & ~waiting
    if time.dtype == jnp.float32:
        # Late in time, the clock's rounding of a step is no longer small: let it be the step's too.
        size = lax.optimization_barrier(time + size) - time
    length = lax.optimization_barrier(jnp.where(active & (size * 1.0001 >= left), left, size))
    trial = stepper.step(time, length, state, rates, between)
    squares = control.squared_error(
        *lax.stop_gradient((state, trial, limits.relative, limits.floors))
    )
    # Idle lanes are told by their error from here on: masks of bytes between the compiler's
    # loops cost more than comparing numbers anew.
    squares = lax.optimization_barrier(jnp.where(active, squares, jnp.inf))
    return Tried(length, squares, trial)


def follow(
    method: Method,
    moving: Moving,
    tried: Tried,
    target: Array,
    *,
    held: Array | None = None,
) -> Moving:
    """The second half: each lane where its trial step has led it, if it is exact enough.

    Lanes that are `held` stay as they are: their next trial step is the same again.
    """
    (time, size, state, rates, steps), (length, squares, trial) = moving, tried
    last = length == target - time
    if held is not None:
        squares = lax.optimization_barrier(jnp.where(held, jnp.inf, squares))
    factor = jnp.where(squares < jnp.inf, control.factor(squares, method.order), 1.0)
    proposed = lax.stop_gradient(length) * factor
    if held is not None:
        # A lane may be held on a step that its target cuts short.
        proposed = jnp.where(squares < jnp.inf, proposed, size)

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

    `fresh` as in `start`. Returns the new position and each lane's status. It can be differentiated
    forwards; `insilico.solve.single_ways.advance` backwards.
    """
    limits = Limits.of(target, tolerances, negligible)
    stepper = method.prepare(field, position.time, position.state)

    end = lax.while_loop(
        lambda moving: any_of(limits.allow(moving, target)),
        lambda moving: attempt(method, stepper, moving, target, limits)[0],
        start(method, stepper, position, fresh, limits),
    )
    return judge(method, stepper, end, target, limits)


def judge(
    method: Method, stepper: Stepper, moving: Moving, target: Array, limits: Limits
) -> tuple[Position, Array]:
    """Where lanes came to rest, and their status, which says who is too stiff for the method."""
    position, status = limits.judge(moving, target)
    if method.name not in stiffness.BOUNDARIES:
        return position, status
    time, size, state = lax.stop_gradient((moving.time, moving.size, moving.state))

    def named() -> Array:
        product = stiffness.in_one(stiffness.grown(stepper.rates, time, state))
        stiff = stiffness.told(
            method.name,
            product,
            size,
            lax.stop_gradient(target) - time,
            (jnp.stack(state),),
            limits.relative,
            (jnp.stack(limits.floors),),
        )
        return stiffness.named(status, stiff)

    # Hardly ever is there anybody to look at.
    return position, lax.cond(any_of(status == Status.STEP_LIMIT), named, lambda: status)


def any_of(mask: Array) -> Array:
    """`jnp.any`, by halves: XLA would look at one lane after the other (2 % of the loop)."""
    return count_of(mask) > 0


def count_of(mask: Array) -> Array:
    """How many lanes, likewise."""
    words = mask.astype(jnp.int32)
    while words.size > 8 and words.size % 2 == 0:
        words = words[: words.size // 2] + words[words.size // 2 :]
    return jnp.sum(words)
