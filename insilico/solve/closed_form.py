"""The solver for models that know their own solution: every lane to its target in one evaluation.

It has neither steps nor tolerances, so JAX differentiates it both ways by itself.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from insilico.solve import gradients, walks
from insilico.solve.adaptive import Position
from insilico.solve.courses import Between
from insilico.solve.fields import Components
from insilico.solve.replays import replaced, smooth
from insilico.solve.status import Status
from insilico.solve.tolerances import TolerancesAsNumbers
from insilico.solve.walks import Walk


def advance(
    field: Between,
    position: Position,
    target: Array,
    fresh: Array,
    tolerances: TolerancesAsNumbers,
    negligible: tuple[float, ...],
) -> tuple[Position, Array]:
    """Every lane to its `target` time by the closed form of the field's model.

    Arguments and result as for `insilico.solve.adaptive.advance`; each way counts as one step. A
    lane whose state would not be finite stays where it is and has failed. Raises `ValueError` for
    inputs that change between two rows.
    """
    del fresh, negligible
    ahead = target > position.time
    # Lanes that are there should not spoil derivatives by whatever their state is after no time.
    after = _propagated(field, jnp.where(ahead, target - position.time, 0.0), position.state)
    finite = jnp.all(jnp.stack([jnp.isfinite(component) for component in after]), axis=0)
    allowed = position.steps < tolerances.max_steps
    taken = ahead & allowed & finite
    failure = jnp.where(allowed, Status.NOT_FINITE, Status.STEP_LIMIT)
    arrived = position._replace(
        time=jnp.where(taken, target, position.time),
        state=jax.tree.map(lambda new, old: jnp.where(taken, new, old), after, position.state),
        steps=position.steps + (ahead & allowed).astype(position.steps.dtype),
    )
    return arrived, jnp.where(ahead & ~taken, failure, Status.OK).astype(jnp.int32)


def _propagated(field: Between, duration: Array, state: Components) -> Components:
    course, now = field.course, field.condition
    model, pattern = course.model, course.pattern
    assert model.propagate is not None
    if now.slopes:
        raise ValueError(
            f"an input of model {model.name} changes linearly between two records, which its "
            f"closed form does not know: let it be constant there, or choose another method"
        )
    rates = [jnp.zeros_like(component) for component in state]
    for compartment, rate in zip(pattern.infused, now.infusion, strict=True):
        rates[compartment] = rate
    inputs = (model.Inputs(*now.inputs),) if now.inputs else ()
    after = model.propagate(
        duration, course.named(state), course.parameters, course.named(tuple(rates)), *inputs
    )
    return tuple(
        jnp.broadcast_to(leaf, duration.shape).astype(duration.dtype)
        for leaf in jax.tree.leaves(after)
    )


class DifferentiableInClosedForm(gradients.Differentiable):
    """A walk in closed form, to be differentiated backwards: there are no steps to be recorded."""

    def plain(self, given: gradients.Given, tolerances: TolerancesAsNumbers) -> Walk:
        return walks.walk_course(self.course(given), given.events, tolerances, advance, given.prior)

    def with_pullback(
        self, given: gradients.Given, tolerances: TolerancesAsNumbers, record: Array
    ) -> tuple[Walk, gradients.Pullback, Array]:
        def of(leaves: list[Array]) -> tuple[list[Array], Walk]:
            walk = self.plain(replaced(given, leaves), tolerances)
            return smooth(walk), walk

        _, back, walk = jax.vjp(of, smooth(given), has_aux=True)

        def pull(cotangents: Any) -> gradients.Given:
            (leaves,) = back(smooth(gradients.without_failed(walk, cotangents)))
            return gradients.without_failed(walk, replaced(given, leaves))

        return walk, pull, record
