"""Where on a step a trigger comes to lie above zero, and how a lane gets there.

A trial step is followed along its own interpolant at quarters of its length. If a trigger crosses
zero from below, the step is not taken: the place is found by halving, and a shorter step goes
there, so that the state has the accuracy of the stepper. Halving waits until no lane of the chunk
has anything else to do, since all lanes pay for it. What the interpolant misses is made up for at
the place itself (`insilico.solve.courses.Course.react`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from insilico.solve import adaptive
from insilico.solve.adaptive import Limits, Moving, Position, Tried, any_of
from insilico.solve.fields import Components, Field
from insilico.solve.methods import Method, Stepper
from insilico.solve.tolerances import TolerancesAsNumbers
from insilico.solve.triggers import (
    ACTED,
    APPROACHING,
    AT_ONCE,
    CROSSED,
    GOING,
    LOCATED,
    Signals,
    Watch,
    Watching,
)

QUARTERS = (0.25, 0.5, 0.75, 1.0)
"""Where on a step triggers are looked at. One that comes and goes between two of them is missed."""

HALVINGS = 40
"""Of a quarter of a step: to 2e-13 of the step, where the rounding of triggers begins to show."""

SETTLED = 100.0
"""Steps shorter than this many of the smallest there are do not set a trigger free for its next
event: right after one, its sign is that of a rounding."""


class Watched(NamedTuple):
    """Lanes on their way, and what they remember of their triggers."""

    moving: Moving
    watch: Watch


class Bracket(NamedTuple):
    """Where on a step a trigger crosses zero first: between which shares of it, which triggers
    could set off their event at the first of these, and which do at the second."""

    low: Array
    high: Array
    armed: tuple[Array, ...]
    hit: tuple[Array, ...]

    def which(self) -> Array:
        """The number of the trigger that crosses first."""
        # One rounding may see a crossing at the very end that another does not.
        return jnp.where(_any(self.hit), _first(self.hit), _first(self.armed))


class Curve(NamedTuple):
    """A step's interpolant of the components that triggers depend on."""

    begin: Array
    length: Array
    state: Components
    between: tuple[Components, ...]

    def values(self, signals: Signals, share: Array | float) -> Components:
        """The triggers at a share of the step."""
        state = list(self.state)
        for index, powers in zip(signals.depends, self.between, strict=True):
            total = powers[-1]
            for coefficient in powers[-2::-1]:
                total = coefficient + share * total
            state[index] = state[index] + share * total
        return signals.values(self.begin + share * self.length, tuple(state))


class Followed(NamedTuple):
    """Whether a trigger crosses on a step, where, and which are above zero at its end."""

    crossed: Array
    bracket: Bracket
    above: tuple[Array, ...]


def follow(
    signals: Signals,
    curve: Any,
    end: Components,
    above: tuple[Array, ...],
    smallest: Array,
    shares: tuple[float, ...] = QUARTERS,
) -> Followed:
    """A step, a `Curve` or alike, to the state `end`, looked at at some `shares` of it."""
    settled = curve.length > SETTLED * smallest
    armed = tuple(each == 0 for each in above)
    nowhere = jnp.zeros_like(settled)
    found = Bracket(
        jnp.zeros_like(curve.begin), jnp.ones_like(curve.begin), armed, (nowhere,) * len(armed)
    )
    crossed, before = nowhere, 0.0
    for share in shares:
        if share == 1.0:
            values = signals.values(curve.begin + curve.length, end)
        else:
            values = curve.values(signals, share)
        up = tuple(value > 0.0 for value in values)
        hit = tuple(a & b for a, b in zip(armed, up, strict=True))
        here = _any(hit) & ~crossed
        there = Bracket(
            jnp.full_like(found.low, before), jnp.full_like(found.low, share), armed, hit
        )
        found = jax.tree.map(lambda new, old, here=here: jnp.where(here, new, old), there, found)
        crossed = crossed | here
        armed = tuple(a | (settled & ~b) for a, b in zip(armed, up, strict=True))
        before = share
    return Followed(crossed, found, tuple((~each).astype(jnp.int32) for each in armed))


def _any(masks: Sequence[Array]) -> Array:
    total = masks[0]
    for mask in masks[1:]:
        total = total | mask
    return total


def _first(masks: Sequence[Array]) -> Array:
    """The number of the first mask that is true; 0 where none is."""
    number = jnp.zeros(masks[0].shape, jnp.int32)
    for index in reversed(range(len(masks))):
        number = jnp.where(masks[index], index, number).astype(jnp.int32)
    return number


def begin(
    method: Method,
    stepper: Stepper,
    position: Position,
    fresh: Array,
    limits: Limits,
    watching: Watching,
) -> Watched:
    """Lanes ready for their first step, or at the place of an event that a jump has set off."""
    fresh = fresh | (watching.watch.phase == ACTED)
    moving = adaptive.start(method, stepper, position, fresh, limits)
    return Watched(moving, set_off(position, watching))


def set_off(position: Position, watching: Watching) -> Watch:
    """What is remembered of triggers when lanes set out; some have an event there already."""
    watch, signals = watching.watch, watching.signals
    up = [value > 0.0 for value in signals.values(position.time, position.state)]
    jumped = [
        watching.able & watching.pause & (above == 0) & each
        for above, each in zip(watch.above, up, strict=True)
    ]
    phase = jnp.where(_any(jumped), AT_ONCE, GOING).astype(jnp.int32)
    return Watch(watch.above, phase, _first(jumped), watch.share)


def going(watched: Watched, target: Array, limits: Limits) -> Array:
    """Lanes that are on their way and may go on."""
    phase = watched.watch.phase
    on_the_way = (phase == GOING) | (phase == APPROACHING)
    return limits.allow(watched.moving, target) & on_the_way


def unfinished(watched: Watched, target: Array, limits: Limits) -> Array:
    """Lanes that are on their way, or wait for a crossing to be located."""
    return going(watched, target, limits) | (watched.watch.phase == CROSSED)


def attempt(
    method: Method,
    stepper: Stepper,
    watched: Watched,
    target: Array,
    limits: Limits,
    signals: Signals,
    again: Array | bool = False,
) -> tuple[Watched, Tried, Curve, Bracket]:
    """One trial step of every lane on its way (`insilico.solve.adaptive.attempt`).

    Lanes on whose step a trigger crosses stay where they are; the interpolant and where on it that
    is are returned. Those of lanes that wait already are looked at `again`.
    """
    moving, watch = watched
    approaching = watch.phase == APPROACHING
    aim = jnp.where(approaching, moving.time + watch.share * moving.size, target)
    after, tried = adaptive.attempt(
        method, stepper, moving, aim, limits, between=signals.depends,
        waiting=~((watch.phase == GOING) | approaching | again),
    )  # fmt: skip
    curve = Curve(moving.time, tried.length, moving.state, tried.between)
    curve, end = lax.stop_gradient((curve, after.state))
    found = follow(signals, curve, end, watch.above, limits.smallest)
    crossed = tried.taken & found.crossed & (watch.phase == GOING)
    held = crossed | again
    taken = tried.taken & ~held

    def kept(new: Array, old: Array) -> Array:
        return jnp.where(held, old, new)

    moved = Moving(
        kept(after.time, moving.time),
        # The same step again, should it be asked for.
        kept(after.size, curve.length),
        tuple(map(kept, after.state, moving.state)),
        tuple(map(kept, after.rates, moving.rates)),
        jnp.where(again, moving.steps, after.steps),
    )
    above = tuple(
        jnp.where(taken & ~approaching, new, old)
        for new, old in zip(found.above, watch.above, strict=True)
    )
    # A step to a crossing that is not exact enough, which one that is shorter than a step that was
    # hardly ever is, leads to a shorter one, and to the crossing again.
    phase = jnp.where(approaching, jnp.where(taken, LOCATED, GOING), watch.phase)
    phase = jnp.where(crossed, CROSSED, phase).astype(jnp.int32)
    watch = watch._replace(above=above, phase=phase)
    return Watched(moved, watch), tried._replace(taken=taken, between=()), curve, found.bracket


def halve(signals: Signals, curve: Any, found: Bracket) -> Bracket:
    """A bracket of half the length."""
    middle = 0.5 * (found.low + found.high)
    up = (value > 0.0 for value in curve.values(signals, middle))
    hit = tuple(a & b for a, b in zip(found.armed, up, strict=True))
    crossed = _any(hit)
    return Bracket(
        jnp.where(crossed, found.low, middle),
        jnp.where(crossed, middle, found.high),
        found.armed,
        tuple(jnp.where(crossed, new, old) for new, old in zip(hit, found.hit, strict=True)),
    )


def locate(
    halved: Callable[[Any, Bracket], Bracket], curve: Any, found: Bracket, wanted: Array
) -> Bracket:
    """A bracket that is as short as it has to be, if it is `wanted`; `halved` makes it half."""
    # A loop of no rounds, in place of a condition: under `vmap` both sides of one are computed.
    _, found = lax.while_loop(
        lambda carry: wanted & (carry[0] < HALVINGS),
        lambda carry: (carry[0] + 1, halved(curve, carry[1])),
        (jnp.int32(0), found),
    )
    return found


def send(watched: Watched, found: Bracket, waiting: Array, limits: Limits) -> Watched:
    """Lanes that wait are sent to the place that was found, by a length that is a constant."""
    moving, watch = watched
    there = found.high * moving.size <= 2.0 * limits.smallest
    phase = jnp.where(waiting, jnp.where(there, LOCATED, APPROACHING), watch.phase)
    return Watched(
        moving,
        Watch(
            watch.above,
            phase.astype(jnp.int32),
            jnp.where(waiting, found.which(), watch.which),
            jnp.where(waiting, found.high, watch.share),
        ),
    )


def step(
    method: Method,
    stepper: Stepper,
    watched: Watched,
    target: Array,
    limits: Limits,
    signals: Signals,
) -> tuple[Watched, Tried]:
    """A trial step of lanes on their way; once there are none, others learn where they cross."""
    nobody = ~any_of(going(watched, target, limits))
    again = nobody & (watched.watch.phase == CROSSED)
    after, tried, curve, found = attempt(method, stepper, watched, target, limits, signals, again)
    place = locate(functools.partial(halve, signals), curve, found, nobody)
    return send(after, place, again, limits), tried


def advance(
    method: Method,
    field: Field,
    position: Position,
    target: Array,
    fresh: Array,
    tolerances: TolerancesAsNumbers,
    negligible: tuple[float, ...],
    *,
    watching: Watching | None = None,
) -> tuple[Position, Array] | tuple[Position, Array, Watch]:
    """As `insilico.solve.adaptive.advance`, but lanes stop where a trigger crosses.

    Returns what is remembered of the triggers, too, unless there is nothing to look out for.
    """
    if watching is None:
        return adaptive.advance(method, field, position, target, fresh, tolerances, negligible)
    limits = Limits.of(target, tolerances, negligible)
    stepper = method.prepare(field, position.time, position.state)
    signals = watching.signals
    end = lax.while_loop(
        lambda watched: any_of(unfinished(watched, target, limits)),
        lambda watched: step(method, stepper, watched, target, limits, signals)[0],
        begin(method, stepper, position, fresh, limits, watching),
    )
    return judge(method, stepper, end, target, limits)


def judge(
    method: Method, stepper: Stepper, watched: Watched, target: Array, limits: Limits
) -> tuple[Position, Array, Watch]:
    """Where lanes came to rest, their status, and what is remembered of their triggers."""
    moving, watch = watched
    target = jnp.where(watch.stopped, moving.time, target)
    return *adaptive.judge(method, stepper, moving, target, limits), watch
