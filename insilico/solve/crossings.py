"""Where on a step a trigger comes to lie above zero, and how a lane gets there.

A trial step is followed along its own interpolant at quarters of its length. If a trigger crosses
zero from below, the step is not taken: the place is found by halving, and a shorter step goes
there, so that the state has the accuracy of the stepper. Halving waits until no lane of the chunk
has anything else to do, since all lanes pay for it. What the interpolant misses is made up for at
the place itself (`insilico.solve.reactions.react`).
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
from insilico.solve.methods import Method, Stepper, Trial, interpolated
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
    could set off their event at the first of these, and which do at the second.

    Numbers tell: those of `above` are not above zero for the former, of `hit` for the latter they
    are. Masks of bytes between the compiler's loops cost more.
    """

    low: Array
    high: Array
    above: Components
    hit: Components

    def which(self) -> Array:
        """The number of the trigger that crosses first."""
        # One rounding may see a crossing at the very end that another does not.
        able = [1.0 - 2.0 * (each > 0.0) for each in self.above]
        return jnp.where(_largest(self.hit) > 0.0, _first(self.hit), _first(able))


class Curve(NamedTuple):
    """A step's interpolant of the components that triggers depend on."""

    begin: Array
    length: Array
    state: Components
    between: tuple[Components, ...]

    def values(self, signals: Signals, share: Array | float) -> Components:
        """The triggers at a share of the step."""
        state = list(self.state)
        begun = tuple(state[index] for index in signals.depends)
        for index, value in zip(
            signals.depends, interpolated(share, begun, self.between), strict=True
        ):
            state[index] = value
        return signals.values(self.begin + share * self.length, tuple(state))


class Followed(NamedTuple):
    """Whether a trigger crosses on a step (a number above zero), where, and `Watch.above` at its
    end if none does."""

    crossed: Array
    bracket: Bracket
    above: Components


def follow(
    signals: Signals,
    curve: Any,
    end: Components,
    above: Components,
    smallest: Array,
    shares: tuple[float, ...] = QUARTERS,
) -> Followed:
    """A step, a `Curve` or alike, to the state `end`, looked at at some `shares` of it."""
    settled = curve.length > SETTLED * smallest
    nowhere = jnp.zeros_like(curve.begin)
    crossed, before = nowhere, 0.0
    found = Bracket(nowhere, nowhere + 1.0, above, (nowhere,) * len(above))
    for share in shares:
        if share == 1.0:
            values = signals.values(curve.begin + curve.length, end)
        else:
            values = curve.values(signals, share)
        values = lax.stop_gradient(values)
        hit = _hit(above, values)
        here = _largest(hit)
        first = (here > 0.0) & (crossed <= 0.0)
        there = Bracket(nowhere + before, nowhere + share, above, hit)
        found = jax.tree.map(lambda new, old, first=first: jnp.where(first, new, old), there, found)
        crossed = lax.max(crossed, here)
        above = tuple(
            jnp.where(settled & (value < old), value, old)
            for value, old in zip(values, above, strict=True)
        )
        before = share
    return Followed(crossed, found, above)


def _hit(above: Components, values: Components) -> Components:
    """Values of triggers that could set off their event; above zero, they do."""
    return tuple(
        jnp.where(before > 0.0, -1.0, value) for before, value in zip(above, values, strict=True)
    )


def _largest(numbers: Sequence[Array]) -> Array:
    largest = numbers[0]
    for number in numbers[1:]:
        largest = lax.max(largest, number)
    return largest


def _first(numbers: Sequence[Array]) -> Array:
    """The index of the first of the numbers that is above zero; 0 where none is."""
    found = jnp.zeros(numbers[0].shape, jnp.int32)
    for index in reversed(range(len(numbers))):
        found = jnp.where(numbers[index] > 0.0, index, found).astype(jnp.int32)
    return found


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
    watch = watching.watch
    values = watching.signals.values(position.time, position.state)
    jumped = _hit(watch.above, lax.stop_gradient(values))
    able = watching.able & watching.pause & (_largest(jumped) > 0.0)
    phase = jnp.where(able, AT_ONCE, GOING).astype(jnp.int32)
    return Watch(watch.above, phase, _first(jumped), watch.share)


def going(watched: Watched, target: Array, limits: Limits) -> Array:
    """Lanes that are on their way and may go on."""
    return limits.allow(watched.moving, target) & (watched.watch.phase <= APPROACHING)


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
) -> tuple[Watched, Tried, Curve, Bracket]:
    """One trial step of every lane on its way (`insilico.solve.adaptive.attempt`).

    Lanes on whose step a trigger crosses stay where they are, as if they were idle, and with its
    length as their size; the interpolant and where on it that is are returned.
    """
    moving, watch = watched
    approaching = watch.phase == APPROACHING
    aim = jnp.where(approaching, moving.time + watch.share * moving.size, target)
    tried = adaptive.look(
        method,
        stepper,
        moving,
        aim,
        limits,
        between=signals.depends,
        waiting=watch.phase > APPROACHING,
    )
    curve, end = _curve(moving, tried.length, tried.trial)
    found = follow(signals, curve, end, watch.above, limits.smallest)
    crossed = (found.crossed > 0.0) & (watch.phase == GOING) & tried.taken
    # All that follows asks for these: without a barrier it would follow the step each time.
    squares, above = lax.optimization_barrier(
        (jnp.where(crossed, jnp.inf, tried.squares), found.above)
    )
    crossed = (squares == jnp.inf) & tried.taken
    tried = tried._replace(squares=squares)
    after = adaptive.follow(method, moving, tried, aim)
    kept = ~tried.taken | approaching
    above = tuple(jnp.where(kept, old, new) for new, old in zip(above, watch.above, strict=True))
    # A step to a crossing that is not exact enough, which one that is shorter than a step that was
    # hardly ever is, leads to a shorter one, and to the crossing again.
    phase = jnp.where(approaching, jnp.where(tried.taken, LOCATED, GOING), watch.phase)
    phase = jnp.where(crossed, CROSSED, phase).astype(jnp.int32)
    watch = watch._replace(above=above, phase=phase)
    return Watched(after, watch), tried, curve, found.bracket


def _curve(moving: Moving, length: Array, trial: Trial) -> tuple[Curve, Components]:
    """A step's interpolant and its end, as constants."""
    curve = Curve(moving.time, length, moving.state, trial.between)
    return lax.stop_gradient((curve, trial.state))


def halve(signals: Signals, curve: Any, found: Bracket) -> Bracket:
    """A bracket of half the length."""
    middle = 0.5 * (found.low + found.high)
    hit = _hit(found.above, lax.stop_gradient(curve.values(signals, middle)))
    crossed = _largest(hit) > 0.0
    return Bracket(
        jnp.where(crossed, found.low, middle),
        jnp.where(crossed, middle, found.high),
        found.above,
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


def look_again(stepper: Stepper, watched: Watched, limits: Limits, signals: Signals) -> Watched:
    """Lanes that wait learn where they cross, from the same step once more."""
    moving, watch = watched
    again = watch.phase == CROSSED
    trial = stepper.step(moving.time, moving.size, moving.state, moving.rates, signals.depends)
    curve, end = _curve(moving, moving.size, trial)
    found = follow(signals, curve, end, watch.above, limits.smallest).bracket
    place = locate(functools.partial(halve, signals), curve, found, any_of(again))
    return send(watched, place, again, limits)


class Going(NamedTuple):
    """The way of lanes to their `target`, on which they look out for triggers."""

    method: Method
    stepper: Stepper
    target: Array
    limits: Limits
    signals: Signals

    def take(
        self,
        carry: tuple[Any, ...],
        attempted: Callable[..., tuple[Any, ...]],
        more: Callable[..., Array] | None = None,
    ) -> tuple[Any, ...]:
        """Steps until nobody has to go further; `attempted` takes one of a carry, whose first entry
        is a `Watched`. With `more`, only as long as it says so.

        The loop of steps is small and has nothing else in it: crossings are located outside.
        """

        def on(carry: tuple[Any, ...], lanes: Array) -> Array:
            return any_of(lanes) if more is None else any_of(lanes) & more(*carry)

        def round_(carry: tuple[Any, ...]) -> tuple[Any, ...]:
            watched, *rest = lax.while_loop(
                lambda carry: on(carry, going(carry[0], self.target, self.limits)),
                lambda carry: attempted(*carry),
                carry,
            )
            waiting = any_of(watched.watch.phase == CROSSED)
            return lax.cond(waiting, self._located, lambda same: same, watched), *rest

        return lax.while_loop(
            lambda carry: on(carry, unfinished(carry[0], self.target, self.limits)), round_, carry
        )

    def _located(self, watched: Watched) -> Watched:
        return look_again(self.stepper, watched, self.limits, self.signals)

    def attempt(self, watched: Watched) -> tuple[Watched, Tried]:
        """One trial step."""
        return attempt(self.method, self.stepper, watched, self.target, self.limits, self.signals)[
            :2
        ]


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
    way = Going(method, stepper, target, limits, watching.signals)
    first = begin(method, stepper, position, fresh, limits, watching)
    (end,) = way.take((first,), lambda watched: (way.attempt(watched)[0],))
    return judge(method, stepper, end, target, limits)


def judge(
    method: Method, stepper: Stepper, watched: Watched, target: Array, limits: Limits
) -> tuple[Position, Array, Watch]:
    """Where lanes came to rest, their status, and what is remembered of their triggers."""
    moving, watch = watched
    target = jnp.where(watch.stopped, moving.time, target)
    return *adaptive.judge(method, stepper, moving, target, limits), watch
