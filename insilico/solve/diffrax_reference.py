"""The same model through the same events by diffrax: the reference that the lanes answer to."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import Array

from insilico.model import Model
from insilico.solve.adaptive import Position
from insilico.solve.courses import Rule
from insilico.solve.events import Events, Pattern
from insilico.solve.fields import Field
from insilico.solve.status import Status
from insilico.solve.tolerances import Tolerances, TolerancesAsNumbers
from insilico.solve.walks import Walk, walk

if TYPE_CHECKING:
    import diffrax


def reference(
    model: Model,
    parameters: Any,
    events: Events,
    pattern: Pattern,
    tolerances: Tolerances,
    *,
    rule: Rule | None = None,
    subject: Any = None,
    solver: diffrax.AbstractAdaptiveSolver | None = None,
) -> Walk:
    """Solve patients one by one with `solver` (default `diffrax.Dopri8()`), vectorised by `vmap`.

    Arguments and result as for `insilico.solve.walk`, except that all leaves of the result have the
    patients' axis last, that `max_steps` holds between two rows instead of in all, and that a
    failed patient's `stopped` is the end of the interval it failed in. Slower than lanes by an
    order of magnitude; use it to check them, or for a solver that lanes do not have.

    Raises `ValueError` for a model with noise: `insilico.solve.stochastic_reference` is for those;
    and for one with triggers, whose events it does not look out for.
    """
    if model.diffusion is not None:
        raise ValueError(f"model {model.name} has noise: take stochastic_reference")
    if model.triggers is not None:
        raise ValueError(f"model {model.name} has triggers, which the reference does not know")
    import diffrax  # not on top: who does not ask for it should not wait for it

    advance = functools.partial(_advance, solver or diffrax.Dopri8(), tolerances.max_steps)

    def alone(parameters: Any, events: Events, subject: Any) -> Walk:
        return walk(
            model,
            parameters,
            events,
            pattern,
            tolerances.numbers(),
            rule=rule,
            subject=subject,
            advance=advance,
        )

    def last_axis(leaf: Array) -> int | None:
        return leaf.ndim - 1 if leaf.ndim else None

    event_axes = jax.tree.map(lambda leaf: 1 if jnp.ndim(leaf) == 2 else None, events)
    mapped = jax.vmap(alone, in_axes=(0, event_axes, jax.tree.map(last_axis, subject)))
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -1), mapped(parameters, events, subject))


def _advance(
    solver: diffrax.AbstractAdaptiveSolver,
    max_steps: int,
    field: Field,
    position: Position,
    target: Array,
    fresh: Array,
    tolerances: TolerancesAsNumbers,
    negligible: tuple[float, ...],
) -> tuple[Position, Array]:
    del fresh
    rates = jnp.stack(field(position.time, position.state))
    started = jnp.all(jnp.isfinite(rates))
    import diffrax

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda time, state, _: field(jnp.asarray(time), state)),
        solver,
        position.time,
        # Without finite rates it would look for a first step until its steps are spent.
        jnp.where(started, target, position.time),
        None,
        position.state,
        # diffrax knows one absolute tolerance; the strictest serves every state.
        stepsize_controller=diffrax.PIDController(
            rtol=tolerances.relative,
            atol=tolerances.absolute * min(negligible),
            dtmin=1e-14 * jnp.maximum(jnp.abs(target), 1e-3),
        ),
        max_steps=max_steps,
        throw=False,
    )
    assert solution.ys is not None
    state = jax.tree.map(lambda leaf: leaf[-1], solution.ys)
    spent = solution.result == diffrax.RESULTS.max_steps_reached
    solved = (solution.result == diffrax.RESULTS.successful) & started
    failure = jnp.where(spent, Status.STEP_LIMIT, Status.NOT_FINITE)
    status = jnp.where(solved | (target <= position.time), Status.OK, failure).astype(jnp.int32)
    steps = position.steps + solution.stats["num_steps"]
    return Position(target, position.size, state, steps), status
