"""The loop of steps of a stated size that takes every lane from its time to its target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from insilico.model import Model
from insilico.solve.adaptive import Position
from insilico.solve.brownian import Paths, Place
from insilico.solve.fields import Components, Field
from insilico.solve.methods import FixedStepMethod, StochasticMethod
from insilico.solve.noise import Coefficients, structure_of
from insilico.solve.status import Status
from insilico.solve.tolerances import TolerancesAsNumbers

SLACK = 1e-6
"""By this share a step may be longer than stated, so that rounding of a time adds no step."""


def advance(
    method: FixedStepMethod,
    model: Model,
    field: Field,
    position: Position,
    target: Array,
    fresh: Array,
    tolerances: TolerancesAsNumbers,
    negligible: tuple[float, ...],
) -> tuple[Position, Array]:
    """Every lane to its `target` time in equal steps, not longer than the stated one.

    Arguments and result as for `insilico.solve.adaptive.advance`, without its step sizes.
    """
    del fresh, negligible
    take = method.prepare(model, field, position.time, position.state)
    span = target - position.time
    count = jnp.maximum(jnp.ceil(span / _longest(model, tolerances) - SLACK), 1.0)
    length = span / count

    def ends(time: Array, done: Array) -> Array:
        del time
        end = position.time + (done + 1.0) * length
        return jnp.where(done + 1.0 >= count, target, end)

    def move(time: Array, end: Array, state: Components, place: Any) -> tuple[Components, Any]:
        return take(time, end - time, state), place

    return _steps(position, target, tolerances, ends, move, ())


def advance_stochastic(
    method: StochasticMethod,
    model: Model,
    subjects: Array,
    field: Field,
    position: Position,
    target: Array,
    fresh: Array,
    tolerances: TolerancesAsNumbers,
    negligible: tuple[float, ...],
    diffusion: Coefficients,
) -> tuple[Position, Array]:
    """Every lane to its `target` time, along its own paths.

    Steps end at the multiples of the stated step and at the target, so that another row cuts one
    step in two and leaves all others as they are. `subjects` are the words of a key a lane, lanes
    last; the rest is as for `advance`.
    """
    del fresh, negligible
    structure, longest = structure_of(model), _longest(model, tolerances)
    assert model.step is not None
    take = method.prepare(structure, field, diffusion, position.time, position.state)
    paths = Paths.of(subjects, structure.processes, model.step)

    def ends(time: Array, done: Array) -> Array:
        del done
        end = (jnp.floor(time / longest + SLACK) + 1.0) * longest
        return jnp.where(end >= target - SLACK * longest, target, end)

    def move(time: Array, end: Array, state: Components, place: Place) -> tuple[Components, Place]:
        increments, after = paths.go(place, end)
        return take(time, end - time, state, increments), after

    return _steps(position, target, tolerances, ends, move, paths.at(position.time))


def _longest(model: Model, tolerances: TolerancesAsNumbers) -> Array:
    own = jnp.nan if model.step is None else model.step
    return jnp.where(jnp.isnan(tolerances.step), own, tolerances.step)


def _steps(
    position: Position,
    target: Array,
    tolerances: TolerancesAsNumbers,
    ends: Callable[[Array, Array], Array],
    move: Callable[[Array, Array, Components, Any], tuple[Components, Any]],
    place: Any,
) -> tuple[Position, Array]:
    """Steps up to the target, or a state that is not finite, or the most steps there may be.

    `ends` says where a step ends, for its start and the number of steps before it; `move` takes it.
    """

    def active_of(time: Array, steps: Array, sound: Array) -> Array:
        return (time < target) & (steps < tolerances.max_steps) & (sound > 0.0)

    def body(carry: tuple) -> tuple:
        time, state, steps, sound, place = carry
        active = active_of(time, steps, sound)
        end = jnp.where(active, ends(time, steps - position.steps), time)
        after, place = move(time, end, state, place)
        after = lax.optimization_barrier(after)
        # Of a number that is not finite, nothing is left but NaN.
        spoilt = sum((0.0 * component for component in after), jnp.zeros_like(time))
        taken = active & (spoilt == 0.0)
        return (
            jnp.where(taken, end, time),
            jax.tree.map(lambda new, old: jnp.where(taken, new, old), after, state),
            steps + active.astype(steps.dtype),
            jnp.where(active & ~taken, 0.0, sound),
            place,
        )

    time, state, steps, sound, _ = lax.while_loop(
        lambda carry: jnp.any(active_of(carry[0], carry[2], carry[3])),
        body,
        (position.time, position.state, position.steps, jnp.ones_like(position.time), place),
    )
    failure = jnp.where(sound > 0.0, Status.STEP_LIMIT, Status.NOT_FINITE)
    status = jnp.where(time < target, failure, Status.OK).astype(jnp.int32)
    return position._replace(time=time, state=state, steps=steps), status
