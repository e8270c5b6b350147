"""The solver for models that know their own solution: every lane to its target in one evaluation.

It has neither steps nor tolerances, so JAX differentiates it both ways by itself.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from insilico.solve import crossings, gradients, walks
from insilico.solve.adaptive import Position, any_of
from insilico.solve.cotangents import floating, replaced, without_failed
from insilico.solve.courses import Between
from insilico.solve.fields import Components
from insilico.solve.status import Status
from insilico.solve.tolerances import TolerancesAsNumbers
from insilico.solve.triggers import LOCATED, Signals, Watch, Watching
from insilico.solve.walks import Walk

SIXTEENTHS = tuple((index + 1) / 16 for index in range(16))
"""Where on the way between two rows triggers are looked at."""


def advance(
    field: Between,
    position: Position,
    target: Array,
    fresh: Array,
    tolerances: TolerancesAsNumbers,
    negligible: tuple[float, ...],
    *,
    watching: Watching | None = None,
) -> tuple[Position, Array] | tuple[Position, Array, Watch]:
    """Every lane to its `target` time by the closed form of the field's model.

    Arguments and result as for `insilico.solve.crossings.advance`; each way counts as one step. A
    lane whose state would not be finite stays where it is and has failed. Raises `ValueError` for
    inputs that change between two rows.
    """
    del fresh, negligible
    if watching is not None:
        return _watched(field, position, target, tolerances, watching)
    return _go(field, position, target, tolerances)


def _watched(
    field: Between,
    position: Position,
    target: Array,
    tolerances: TolerancesAsNumbers,
    watching: Watching,
) -> tuple[Position, Array, Watch]:
    """The same up to where a trigger crosses, looked for and found on the closed form itself."""
    watch, signals = crossings.set_off(position, watching), watching.signals
    target = jnp.where(watch.stopped, position.time, target)
    length = jnp.maximum(target - position.time, 0.0)
    smallest = jnp.finfo(length.dtype).eps * jnp.maximum(jnp.abs(target), 1e-3)
    way = lax.stop_gradient(_Way(position.time, length, position.state))
    curve = _Curve(field, way)
    end = lax.stop_gradient(_propagated(field, way.length, way.state))
    found = crossings.follow(
        signals, curve, end, watch.above, lax.stop_gradient(smallest), SIXTEENTHS
    )
    crossed = (found.crossed > 0.0) & (length > 0.0)
    halve = functools.partial(crossings.halve, signals)
    place = crossings.locate(halve, curve, found.bracket, any_of(crossed))
    there = position.time + lax.stop_gradient(place.high * length)
    arrived, status = _go(field, position, jnp.where(crossed, there, target), tolerances)
    located = crossed & (status == Status.OK)
    above = tuple(
        jnp.where(located | (length <= 0.0), old, new)
        for new, old in zip(found.above, watch.above, strict=True)
    )
    phase = jnp.where(located, LOCATED, watch.phase).astype(jnp.int32)
    which = jnp.where(located, place.which(), watch.which)
    return arrived, status, watch._replace(above=above, phase=phase, which=which)


class _Way(NamedTuple):
    begin: Array
    length: Array
    state: Components


class _Curve(NamedTuple):
    """In place of a step's interpolant, the closed form."""

    field: Between
    way: _Way

    @property
    def begin(self) -> Array:
        return self.way.begin

    @property
    def length(self) -> Array:
        return self.way.length

    def values(self, signals: Signals, share: Array | float) -> Components:
        begin, length, state = self.way
        since = share * length
        return signals.values(begin + since, _propagated(self.field, since, state))


def _go(
    field: Between, position: Position, target: Array, tolerances: TolerancesAsNumbers
) -> tuple[Position, Array]:
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
    # Plain zeros: a closed form may leave out what is never infused.
    rates: list[Any] = [0.0 for _ in state]
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
    ) -> tuple[Walk, gradients.Pullback, Array, Array]:
        def of(leaves: list[Array]) -> tuple[list[Array], Walk]:
            moved = replaced(given, leaves)
            if not self.timed:
                moved = moved._replace(events=moved.events._replace(time=given.events.time))
            walk = self.plain(moved, tolerances)
            return floating(walk), walk

        _, back, walk = jax.vjp(of, floating(given), has_aux=True)

        def pull(cotangents: Any) -> gradients.Given:
            (leaves,) = back(floating(without_failed(walk, cotangents)))
            return without_failed(walk, replaced(given, leaves))

        return walk, pull, record, jnp.bool_(True)
