"""The state that doses repeated for ever lead to, found by giving them until nothing changes.

One dosing cycle maps the state before a dose to the state before the next one; its fixed point is
the steady state. Cycles are iterated from the initial state, each lane as long as it needs, until
the error that is left, estimated from how fast the changes shrink, is within the tolerances. Where
they shrink slowly and evenly (a half-life much longer than the interval), the search jumps to where
the geometric series would end, keeps the jump only if a cycle from there changes the state much
less, and goes on with plain cycles, which alone decide that it is done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from insilico.solve.adaptive import Position
from insilico.solve.cotangents import is_floating
from insilico.solve.courses import Course
from insilico.solve.fields import Components
from insilico.solve.methods.jacobians import Elimination
from insilico.solve.records.packing import Packing
from insilico.solve.status import Status
from insilico.solve.tolerances import TolerancesAsNumbers
from insilico.solve.walks import Advance

MOST_CYCLES = 20_000
"""Cycles after which a search that is neither done nor out of steps is given up."""

MOST_DOSES = 1e9
"""Doses, or hours of an infusion, in a state that a Newton step may lead to."""

EVEN = 0.1
"""Changes shrink evenly if two successive ratios differ by less than this part of 1 - ratio."""

SLOW = 0.3
"""Ratio of successive changes above which a jump saves cycles: it costs two."""

BLUR = 10.0
"""A ratio is as good as an earlier one if it differs by less than this many times 1 - ratio."""

GAIN = 0.5
"""A jump is kept if the change in a cycle from there is smaller by this factor."""

ROUNDING = 64.0
"""Changes below so many units in the last place are none."""

BLURRED = 100.0
"""Changes that do not shrink, and may be the rounding of larger numbers that went through, are none
up to so many tolerances: a dose that has been absorbed leaves its rounding in the depot."""


class Cycle(NamedTuple):
    """What is repeated, arrays (lanes,), or with an axis of steady-state records before that.

    - `wanted`: whether the lane has such a record; `constant`: an infusion without end, and without
      `interval`.
    - `time`: of the record; model equations that depend on time see the interval up to it.
    - `bolus`: the amount that enters `compartment` at the start of a cycle, or `rate` and
      `duration` of an infusion, which may be longer than the interval.
    - `since`: the time since the start of the cycle at the record, up to `interval`.
    - `inputs`: the model's, at the record.
    """

    wanted: Array
    constant: Array
    time: Array
    interval: Array
    compartment: Array
    bolus: Array
    rate: Array
    duration: Array
    since: Array
    inputs: tuple[Array, ...]


class Found(NamedTuple):
    """Steady states (steady-state records, components, lanes), and how each lane fared."""

    states: Array
    status: Array
    steps: Array


class _Search(NamedTuple):
    """Where each lane's search stands, (lanes,) or a tuple of them.

    - `state`: where the next cycle starts; `length`: how long it takes.
    - `change`: in the last cycle; `ratio`: to the one before; `plain`: cycles since the last jump;
      `passed`: successive cycles that found nothing more to gain.
    - `jumped`: whether `state` is a jump on trial; `back`: the state to return to, `weights` and
      `size`: those of the change there; `patience`: cycles to wait before the next jump, and
      `wait`, how many of them are left.
    - `tried`: the ratio of changes that the last jump assumed; `slowest`: the largest one of jumps
      that were kept.
    - `steady`: the state found; `finishing`: only the way to the record is left.
    """

    state: Components
    length: Array
    change: Components
    ratio: Array
    plain: Array
    passed: Array
    jumped: Array
    back: Components
    weights: Components
    size: Array
    patience: Array
    wait: Array
    tried: Array
    slowest: Array
    steady: Components
    finishing: Array
    finished: Array
    cycles: Array
    steps: Array
    status: Array


class CycleMap:
    """One dosing cycle as a function of the state before its dose."""

    def __init__(
        self, course: Course, cycle: Cycle, tolerances: TolerancesAsNumbers, advance: Advance
    ):
        self.course, self.cycle = course, cycle
        self.tolerances, self.advance = tolerances, advance
        self.equations = course.prepare()
        self.negligible = course.model.negligible()
        start = course.start()
        interval = jnp.where(cycle.constant, 1.0, jnp.where(cycle.wanted, cycle.interval, 1.0))
        # An infusion longer than the interval is a constant one and the rest of it (PREDPP V.F.4).
        whole = lax.stop_gradient(jnp.floor(cycle.duration / interval))
        self.background = jnp.where(cycle.constant, 1.0, whole)
        self.rest = jnp.where(cycle.constant, 0.0, cycle.duration - whole * interval)
        self.start = start._replace(inputs=cycle.inputs)

    def infusion(self, overlapping: Array) -> tuple[Array, ...]:
        rate = overlapping * self.cycle.rate
        return tuple(
            jnp.where(self.cycle.compartment == compartment, rate, 0.0)
            for compartment in self.course.pattern.infused
        )

    def __call__(
        self, state: Components, length: Array, steps: Array, moving: Array
    ) -> tuple[Components, Array, Array]:
        """The state a `length` after a dose, with steps taken by then and status; idle lanes stay.

        It ends at the record's time, whatever its length.
        """
        end = jnp.where(moving, self.cycle.time, self.cycle.time - length)
        begin = self.cycle.time - length
        dosed = tuple(
            value + jnp.where(moving & (self.cycle.compartment == i), self.cycle.bolus, 0.0)
            for i, value in enumerate(state)
        )
        targets, overlapping = end[None], self.background[None]
        if self.course.pattern.infused:
            targets = jnp.stack([jnp.minimum(begin + self.rest, end), end])
            overlapping = jnp.stack([self.background + 1.0, self.background])

        def part(position: Position, towards: tuple[Array, Array]) -> tuple[Position, Array]:
            target, overlap = towards
            condition = self.start._replace(infusion=self.infusion(overlap))
            field = self.course.field(self.equations, condition)
            # Sizes start anew, so that the same state always gives the same steps.
            fresh = position._replace(size=jnp.full_like(position.size, jnp.inf))
            return self.advance(
                field, fresh, target, jnp.ones_like(moving), self.tolerances, self.negligible
            )

        position = Position(begin, jnp.full_like(begin, jnp.inf), dosed, steps)
        position, status = lax.scan(part, position, (targets, overlapping))
        return position.state, position.steps, jnp.max(status, axis=0)


def steady_states(
    course: Course,
    cycles: Cycle,
    status: Array,
    tolerances: TolerancesAsNumbers,
    *,
    advance: Advance,
    differentiable: Advance | None = None,
    orders: int = 1,
    direct: bool = False,
) -> Found:
    """The state at each steady-state record, its own dose still to be given.

    Lanes whose `status` is not OK are left out; those that find nothing get `NO_STEADY_STATE`. The
    search carries no derivative. With `differentiable`, a solver that does as `advance` does, its
    result is corrected by Newton steps, whose value is below the tolerances and whose derivatives
    up to so many `orders` are those of the steady state, in the ways in which that solver has them;
    `advance` has to be differentiable forwards then.

    `direct`: whether the search sets out from one Newton step, which is the steady state itself
    where the equations are linear. It pays where `advance` is cheap: a closed form.
    """
    cycles = cycles._replace(wanted=cycles.wanted & (status == Status.OK))
    packing = Packing.of(cycles.wanted)

    def found(parameters: Any, cycle: Cycle) -> tuple[Components, Array, Array]:
        active, nothing = cycle.wanted, jnp.zeros_like(cycle.time)
        still = lax.stop_gradient((parameters, cycle, tolerances))
        fixed = Course(course.model, still[0], course.pattern)
        search = CycleMap(fixed, *still[1:], advance)
        outset = _outset(search, active) if direct else search.start.position.state
        end = _search(search, outset, active, nothing)
        state = end.state
        if differentiable is not None:
            solved = active & (end.status == Status.OK)

            def usable(tree: Any) -> Any:
                # What made a search fail, such as NaN, spoils even a derivative of zero.
                return jax.tree.map(
                    lambda leaf: jnp.where(solved, leaf, 1.0) if is_floating(leaf) else leaf, tree
                )

            moved = Course(course.model, usable(parameters), course.pattern)
            step = CycleMap(moved, usable(cycle), tolerances, differentiable)
            state = corrected(step, usable(lax.stop_gradient(end.steady)), solved, advance, orders)
        failed = jnp.where(active, end.status, Status.OK)
        return state, failed, end.steps

    def nothing_wanted(parameters: Any, cycle: Cycle) -> tuple[Components, Array, Array]:
        shapes = jax.eval_shape(found, parameters, cycle)
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def of_pack(_: tuple[()], pack: tuple[Any, Cycle]) -> tuple[tuple[()], Any]:
        return (), lax.cond(jnp.any(pack[1].wanted), found, nothing_wanted, *pack)

    packs = (packing.of_lanes(course.parameters), packing.packed(cycles))
    _, of_packs = lax.scan(of_pack, (), packs)
    states, ended, steps = packing.unpacked(of_packs)
    failed = jnp.max(jnp.where(cycles.wanted, ended, Status.OK), axis=0)
    return Found(jnp.stack(states, axis=1), jnp.maximum(status, failed), jnp.sum(steps, axis=0))


def _way(cycle: Cycle) -> Array:
    """From the steady state before a dose to the record; none for a constant infusion."""
    return jnp.where(cycle.constant, 0.0, cycle.since)


def _outset(step: CycleMap, active: Array) -> Components:
    """The initial state after one Newton step, where that is a state that doses can lead to."""
    start, cycle = step.start.position.state, step.cycle
    length, on = _correction(step, start, active, step.advance)
    found, _ = on(start, length)
    # Without elimination there is none, but for rounding, which makes it enormous.
    most = MOST_DOSES * (jnp.abs(cycle.bolus) + jnp.abs(cycle.rate))
    possible = active
    for value in found:
        possible &= (value >= 0.0) & (value <= most)
    return _choose(possible, found, start)


def _search(step: CycleMap, outset: Components, active: Array, steps: Array) -> _Search:
    cycle, tolerances = step.cycle, step.tolerances
    relative = tolerances.relative
    floors = [tolerances.absolute * size for size in step.negligible]
    start = step.start.position.state
    zero = jnp.zeros_like(cycle.time)
    nothing = tuple(zero for _ in start)
    no, none = jnp.zeros_like(active), jnp.zeros(active.shape, jnp.int32)
    epsilon = jnp.finfo(zero.dtype).eps

    def size_of(change: Components, weights: Components) -> Array:
        squares = [(c / w) ** 2 for c, w in zip(change, weights, strict=True)]
        return jnp.sqrt(sum(squares, zero) / len(squares))

    def running(now: _Search) -> Array:
        return active & ~now.finished & (now.status == Status.OK)

    def cycle_on(now: _Search) -> _Search:
        on = running(now)
        length = jnp.where(now.finishing, _way(cycle), now.length)
        after, steps, status = step(now.state, jnp.where(on, length, 0.0), now.steps, on)
        change = tuple(b - a for a, b in zip(now.state, after, strict=True))
        weights = tuple(
            relative * jnp.maximum(jnp.abs(a), jnp.abs(b)) + floor
            for a, b, floor in zip(now.state, after, floors, strict=True)
        )
        # A jump that leaves the changes as they were, or changes the sign of an amount, was none.
        kept = size_of(change, now.weights) <= GAIN * now.size
        failed = now.jumped & ~(kept & (status == Status.OK))
        status = jnp.where(failed, Status.OK, status)
        proven = jnp.where(now.jumped & ~failed, now.tried, 0.0)
        slowest = jnp.maximum(now.slowest, proven)
        known = (now.plain > 0) & ~now.jumped
        dot = sum((a * b / w**2 for a, b, w in zip(change, now.change, weights, strict=True)), zero)
        square = sum((b * b / w**2 for b, w in zip(now.change, weights, strict=True)), zero)
        ratio = jnp.where(known & (square > 0), dot / jnp.where(square > 0, square, 1.0), 1.0)

        largest = jnp.abs(cycle.bolus) + jnp.abs(cycle.rate * cycle.interval)
        for value in after:
            largest = jnp.maximum(largest, jnp.abs(value))
        still = jnp.ones_like(active)
        within = known
        for a, b, new, old, weight, floor in zip(
            now.state, after, change, now.change, weights, floors, strict=True
        ):
            rounding = ROUNDING * epsilon * jnp.maximum(jnp.abs(a), jnp.abs(b)) + 1e-6 * floor
            small = jnp.abs(new) <= rounding
            still &= small
            left_over = jnp.minimum(ROUNDING * epsilon * largest, BLURRED * weight)
            small |= known & (jnp.abs(new) >= jnp.abs(old)) & (jnp.abs(new) <= left_over)
            shrinking = jnp.abs(new) / jnp.maximum(jnp.abs(old), rounding)
            shrinking = jnp.maximum(shrinking, slowest)
            left = jnp.abs(new) * shrinking / jnp.where(shrinking < 1.0, 1.0 - shrinking, 1.0)
            within &= small | ((shrinking < 1.0) & (left <= weight))
        # Once may be chance: a slow change that hides behind a fast one shows in the next cycle.
        passed = jnp.where(within, now.passed + 1, 0)
        done = ~failed & (status == Status.OK) & (still | (passed >= 2))

        even = (ratio < 1.0) & (jnp.abs(ratio - now.ratio) <= EVEN * (1.0 - ratio))
        # Near the end rounding blurs the ratio; then an earlier jump's serves again.
        again = (now.plain > 2) & (jnp.abs(ratio - slowest) <= BLUR * (1.0 - slowest))
        again &= slowest > 0.0
        jumps = known & (now.plain > 1) & ((even & (ratio > SLOW)) | again) & (now.wait <= 0)
        jumps &= ~cycle.constant & ~done
        assumed = jnp.where(even, ratio, slowest)
        reach = assumed / jnp.where(assumed < 1.0, 1.0 - assumed, 1.0)
        there = tuple(b + reach * c for b, c in zip(after, change, strict=True))
        for value, jump in zip(after, there, strict=True):
            jumps &= jnp.isfinite(jump) & (value * jump >= 0)
        patience = jnp.where(failed, 2 * now.patience, now.patience)

        new = _Search(
            state=_choose(failed, now.back, _choose(jumps, there, after)),
            # A constant infusion has no interval; twice as long each time reaches any time scale.
            length=jnp.where(cycle.constant, 2.0 * now.length, now.length),
            change=change,
            ratio=ratio,
            plain=jnp.where(failed | jumps, 0, now.plain + 1),
            passed=jnp.where(failed | jumps, 0, passed),
            jumped=jumps,
            back=_choose(jumps, after, now.back),
            weights=_choose(jumps, weights, now.weights),
            size=jnp.where(jumps, size_of(change, weights), now.size),
            patience=patience,
            wait=jnp.where(failed, patience, now.wait - 1),
            tried=jnp.where(jumps, assumed, now.tried),
            slowest=slowest,
            steady=_choose(done, after, now.steady),
            finishing=done,
            finished=now.finishing,
            cycles=now.cycles + 1,
            steps=steps,
            status=_ended(status, now.cycles),
        )
        # On the way to the record there is nothing to judge.
        passing = now._replace(state=after, finished=~no, steps=steps, status=status)
        new = jax.tree.map(lambda a, b: jnp.where(now.finishing, a, b), passing, new)
        return jax.tree.map(lambda a, b: jnp.where(on, a, b), new, now)

    first = _Search(
        state=outset,
        length=jnp.where(cycle.constant, 1.0, cycle.interval),
        change=nothing, ratio=zero + 1.0, plain=none, passed=none,
        jumped=no, back=nothing, weights=tuple(zero + 1.0 for _ in start), size=zero,
        patience=none + 2, wait=none, tried=zero, slowest=zero,
        steady=start, finishing=no, finished=no, cycles=none, steps=steps,
        status=jnp.full(active.shape, Status.OK, jnp.int32),
    )  # fmt: skip
    return lax.while_loop(lambda now: jnp.any(running(now)), cycle_on, first)


def _ended(status: Array, cycles: Array) -> Array:
    """Running out of steps while cycles still change the state is to have found none."""
    spent = (status == Status.STEP_LIMIT) | (status == Status.STIFF)
    given_up = (cycles >= MOST_CYCLES) | spent
    return jnp.where(given_up, Status.NO_STEADY_STATE, status).astype(jnp.int32)


def _choose(where: Array, yes: Components, no: Components) -> Components:
    return tuple(jnp.where(where, a, b) for a, b in zip(yes, no, strict=True))


def corrected(
    step: CycleMap, steady: Components, active: Array, advance: Advance, orders: int
) -> Components:
    """The state at the record from `steady` after Newton steps towards the cycle's fixed point.

    By the implicit function theorem one step gives the fixed point's first derivative with respect
    to everything that the cycle depends on. As the matrix of `_correction` stands still, each
    further step makes the next higher one right: there are as many as `orders`.
    """
    length, on = _correction(step, steady, active, advance)
    # The cycles of corrections and the way to the record, by one program that is compiled once:
    # what a correction would be at the record nobody asks.
    lengths = jnp.stack([*[length] * orders, _way(step.cycle)])
    _, after = lax.scan(on, steady, lengths)
    return jax.tree.map(lambda leaf: leaf[-1], after)


def _correction(
    step: CycleMap, steady: Components, active: Array, advance: Advance
) -> tuple[Array, Callable[[Components, Array], tuple[Components, Components]]]:
    """The length of a cycle, and Newton's step from a state near `steady`, which gives the state
    after such a length, too.

    With M the derivative of a cycle by its initial state at `steady`, y + (I - M)^-1 (Phi(y) - y),
    where Phi alone is differentiated. `advance` is for M.
    """
    cycle = step.cycle
    # For a constant infusion any length has the same fixed point.
    length = jnp.where(cycle.constant, 1.0, cycle.interval)
    length = jnp.where(active, length, 0.0)
    none, count = jnp.zeros_like(length), len(steady)
    still = jax.tree.map(lax.stop_gradient, step.course.parameters)
    frozen = CycleMap(
        Course(step.course.model, still, step.course.pattern),
        lax.stop_gradient(cycle),
        lax.stop_gradient(step.tolerances),
        advance,
    )

    def along(direction: Components) -> Components:
        def after(state: Components) -> Components:
            return frozen(state, lax.stop_gradient(length), none, active)[0]

        return jax.jvp(after, (steady,), (direction,))[1]

    # One cycle with all directions beside each other, not one for each.
    directions = jnp.eye(count, dtype=length.dtype)[:, :, None] * jnp.ones_like(length)
    columns = lax.stop_gradient(jax.vmap(along)(tuple(jnp.moveaxis(directions, 1, 0))))
    elimination = Elimination.of([range(count)] * count)
    entries = tuple(columns[row][column] for column in range(count) for row in range(count))
    factors = elimination.factors(entries, jnp.ones_like(length))

    def on(state: Components, length: Array) -> tuple[Components, Components]:
        after, *_ = step(state, length, none, active)
        residual = tuple(b - a for a, b in zip(state, after, strict=True))
        move = elimination.solve(factors, residual)
        usable = active & jnp.all(jnp.isfinite(jnp.stack(move)), axis=0)
        moved = tuple(a + jnp.where(usable, b, 0.0) for a, b in zip(state, move, strict=True))
        return moved, after

    return length, on
