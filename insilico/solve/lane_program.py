"""What one program of the kernel does: a block of lanes from their first row to their last.

Each lane has its own time, step size and row. What a step is, what happens at a row and when a lane
has failed are the functions that XLA's driver calls; here they are strung together for lanes that
do not wait for each other.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from insilico.model import Model
from insilico.solve import adaptive, crossings, reactions, stiffness
from insilico.solve.adaptive import Limits, Moving, Position
from insilico.solve.courses import Condition, Course, Plan, Rule, Visit
from insilico.solve.crossings import Bracket, Curve, Watched
from insilico.solve.events import Events, Kind, Pattern
from insilico.solve.fields import Components
from insilico.solve.methods import Method
from insilico.solve.plain import Operations, Table, Unsuitable, plain
from insilico.solve.status import Status
from insilico.solve.tolerances import TolerancesAsNumbers
from insilico.solve.triggers import ACTED, CROSSED, Occurrence, Watch


class Journey(NamedTuple):
    """Where each lane is on its way through the schedule.

    - `row`: the row that it goes to: -1 before it sets out, the number of its rows once it is
      through.
    - `target`: the time that it goes to; the rest as in `Condition`.
    """

    row: Array
    target: Array
    moving: Moving
    status: Array
    infusion: Components
    inputs: Components
    slopes: Components
    plan: Plan | None
    watch: Watch | None
    occurred: tuple[Occurrence, ...]

    @property
    def condition(self) -> Condition:
        time, size, state, _, steps = self.moving
        position = Position(time, size, state, steps)
        return Condition(
            position,
            self.status,
            self.infusion,
            self.inputs,
            self.plan,
            self.slopes,
            self.watch,
            self.occurred,
        )


def _any(mask: Array) -> Array:
    # The one reduction to a scalar that every version of the kernel's compiler has.
    return jnp.max(mask.astype(jnp.int32)) > 0


def _select(mask: Array, new: Any, old: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(mask, a, b).astype(b.dtype), new, old)


@dataclasses.dataclass(frozen=True)
class Reading:
    """An array in memory, read entry by entry; the patient is the last index."""

    reference: Any
    dtype: Any

    def __call__(self, *index: Any, mask: Any = None, otherwise: Any = None) -> Array:
        found = triton.load(self.reference.at[index], mask=mask, other=otherwise)
        return found != 0 if self.dtype == jnp.bool_ else found

    def number(self, index: int) -> Array:
        """One number, the same for all lanes."""
        found = self.reference[index]
        return found != 0 if self.dtype == jnp.bool_ else found

    def at_row(self, row: Array, patient: Array) -> Array:
        """Of a column of rows, shared by all patients or each patient's own."""
        return self(row) if len(self.reference.shape) == 1 else self(row, patient)

    def of(self, patient: Array) -> Array | Table:
        """The patients' numbers, or their table, which stays where it is."""
        if len(self.reference.shape) == 1:
            return self(patient)
        rows = self.reference.shape[0]

        def at(row: Array, inside: Array, otherwise: Any) -> Array:
            kind = jnp.int32 if self.dtype == jnp.bool_ else self.dtype
            other = jnp.full(row.shape, otherwise, kind)
            return self(row.astype(jnp.int32), patient, mask=inside, otherwise=other)

        return Table(rows, self.dtype, at)


@dataclasses.dataclass(frozen=True)
class Decisions:
    """A rule as plain operations, for a program's lanes."""

    visit: Operations
    administer: Operations

    @classmethod
    def of(cls, course: Course, rule: Rule, start: Condition, lanes: int) -> Decisions:
        def alike(leaf: Any) -> Any:
            shape = jnp.shape(leaf)
            if len(shape) not in (1, 2):
                raise Unsuitable(f"an array of shape {shape} in what a rule knows of its subjects")
            return jax.ShapeDtypeStruct((*shape[:-1], lanes), jnp.asarray(leaf).dtype)

        start, subject = jax.tree.map(alike, (start, course.subject))
        own = dataclasses.replace(course, parameters=jax.tree.map(alike, course.parameters))
        visit = jax.eval_shape(
            lambda parameters, position, inputs: Visit(
                position.time,
                dataclasses.replace(own, parameters=parameters).outputs(position, inputs),
            ),
            own.parameters,
            start.position,
            start.inputs,
        )
        return cls(
            Operations.of(rule.visit, lanes, visit, start.plan, subject),
            Operations.of(rule.administer, lanes, visit.time, start.plan, subject),
        )

    @property
    def constants(self) -> list[Any]:
        """Numbers of the rule that the kernel has to be handed."""
        return [value for value in self._closed_over() if np.ndim(value) == 0]

    def _closed_over(self) -> tuple[Any, ...]:
        return (*self.visit.constants, *self.administer.constants)

    def rule(self, constants: list[Any]) -> _PlainRule:
        """The rule, whose `constants` are now these."""
        if any(np.ndim(value) for value in self._closed_over()):
            raise Unsuitable("an array of constants in a rule: a chain of `where` has none")
        count = len(self.visit.constants)
        return _PlainRule(self, constants[:count], constants[count:])


@dataclasses.dataclass(frozen=True)
class _PlainRule:
    decisions: Decisions
    of_visit: list[Any]
    of_administer: list[Any]

    def start(self, subject: Any) -> Plan:
        raise NotImplementedError("lanes come to the kernel with their first plan made")

    def visit(self, visit: Visit, plan: Plan, subject: Any) -> tuple[Any, Plan]:
        return self.decisions.visit(visit, plan, subject, constants=self.of_visit)

    def administer(self, time: Array, plan: Plan, subject: Any) -> tuple[tuple[Array, ...], Plan]:
        return self.decisions.administer(time, plan, subject, constants=self.of_administer)


class Program:
    """One program of the kernel: a block of lanes from their first row to their last.

    `given` is a `_Given` of `Reading`s, `walk` a `Walk` of places in memory; `fused` as of
    `insilico.solve.plain.Operations`.
    """

    def __init__(
        self,
        model: Model,
        pattern: Pattern,
        method: Method,
        decisions: Decisions | None,
        lanes: int,
        given: Any,
        walk: Any,
        *,
        fused: bool,
    ):
        self.pattern, self.method, self.lanes = pattern, method, lanes
        self.plain = functools.partial(plain, lanes=lanes, fused=fused)
        self.given, self.walk = given, walk
        number = pl.program_id(0) * lanes + jnp.arange(lanes, dtype=jnp.int32)
        self.patient = number if given.order is None else given.order(number)
        self.rows = pattern.rows if given.rows is None else given.rows(self.patient)

        def own(tree: Any) -> Any:
            return jax.tree.map(lambda reading: reading.of(self.patient), tree)

        parameters, start = own(given.parameters), own(given.start)
        # Patients come with their initial state, which resets bring back.
        structure = jax.tree.structure(jax.eval_shape(model.initial, _alike(parameters)))
        # Fused once they are part of a step: before, they are differentiated.
        plain_model = dataclasses.replace(
            model,
            initial=lambda _: jax.tree.unflatten(structure, start.position.state),
            derivative=plain(model.derivative, lanes),
            outputs=plain(model.outputs, lanes),
            triggers=None if model.triggers is None else plain(model.triggers, lanes),
            react=None if model.react is None else plain(model.react, lanes),
        )
        rule = None
        if decisions is not None:
            rule = decisions.rule([reading.number(0) for reading in given.constants])
        self.course = Course(plain_model, parameters, pattern, rule, own(given.subject))
        self.equations = self.course.prepare(start)
        self.tolerances = TolerancesAsNumbers(
            *map(given.tolerances.number, range(len(TolerancesAsNumbers._fields)))
        )
        self.negligible = model.negligible()
        self.beginning = start

    def run(self) -> None:
        """Take every lane through all rows, and put on record what came of it."""
        end = lax.while_loop(
            lambda journey: _any(journey.row < self.rows),
            lambda journey: self._step(
                lax.while_loop(lambda j: _any(self._waiting(j)), self._pass_row, journey)
            ),
            self._depart(self.beginning),
        )
        condition, slots = end.condition, np.flatnonzero(self.pattern.slots)
        if len(slots):
            last = jnp.full((self.lanes,), slots[-1], jnp.int32)
            condition = self.course.finish(
                condition, self.given.events.time.at_row(last, self.patient)
            )
        self._write(self.walk.status, reactions.ended_well(self.course, condition.status))
        self._write(self.walk.stopped, condition.position.time)
        self._write(self.walk.steps, condition.position.steps)
        named = self.course.named(condition.position.state)
        jax.tree.map(self._write, self.walk.state, named)
        occurred = reactions.triggered(self.course, condition)
        jax.tree.map(self._write, self.walk.triggered, occurred)

    def _depart(self, start: Condition) -> Journey:
        """Lanes that wait to be sent to their first row."""
        time, size, state, steps = start.position
        rates = state if self.method.reuses_rates else ()
        return Journey(
            jnp.full((self.lanes,), -1, jnp.int32),
            time,
            Moving(time, size, state, rates, steps),
            start.status,
            start.infusion,
            start.inputs,
            start.slopes,
            start.plan,
            start.watch,
            start.occurred,
        )

    def _limits(self, target: Array) -> Limits:
        return Limits.of(target, self.tolerances, self.negligible)

    def _underway(self, journey: Journey) -> Array:
        limits = self._limits(journey.target)
        if journey.watch is None:
            return limits.allow(journey.moving, journey.target)
        watched = Watched(journey.moving, journey.watch)
        return crossings.unfinished(watched, journey.target, limits)

    def _waiting(self, journey: Journey) -> Array:
        """Lanes at their row, or failed on the way to it."""
        return (journey.row < self.rows) & ~self._underway(journey)

    def _step(self, journey: Journey) -> Journey:
        """One trial step of every lane that is underway."""
        if journey.watch is not None:
            return self._watched_step(journey, Watched(journey.moving, journey.watch))

        def attempt(moving: Moving, target: Array, now: Condition) -> Moving:
            return adaptive.attempt(
                self.method, self._stepper(now), moving, target, self._limits(target)
            )[0]

        moving = self.plain(attempt)(journey.moving, journey.target, journey.condition)
        return journey._replace(moving=moving)

    def _watched_step(self, journey: Journey, watched: Watched) -> Journey:
        """The same where triggers may cross, and to the place of those that do."""
        signals = reactions.signals(self.course, self.beginning)
        method, target = self.method, journey.target

        def attempt(watched: Watched, target: Array, now: Condition) -> Any:
            limits = self._limits(target)
            after, _, curve, found = crossings.attempt(
                method, self._stepper(now), watched, target, limits, signals
            )
            return after, curve, found

        def halve(curve: Curve, found: Bracket) -> Bracket:
            return crossings.halve(signals, curve, found)

        after, curve, found = self.plain(attempt)(watched, target, journey.condition)
        # Nobody waits for others here: a lane is sent to its crossing as soon as it has one.
        crossed = after.watch.phase == CROSSED
        place = crossings.locate(self.plain(halve), curve, found, _any(crossed))
        after = crossings.send(after, place, crossed, self._limits(target))
        return journey._replace(moving=after.moving, watch=after.watch)

    def _stepper(self, now: Condition) -> Any:
        position = now.position
        return self.method.prepare(
            self.course.field(self.equations, now), position.time, position.state
        )

    def _pass_row(self, journey: Journey) -> Journey:
        """What happens at the row that waiting lanes stand at, and off to the next one."""
        waiting, rows = self._waiting(journey), self.rows
        here = waiting & (journey.row >= 0)
        aim = journey.target
        if journey.watch is not None:
            aim = jnp.where(journey.watch.stopped, journey.moving.time, aim)
        _, status = self._limits(journey.target).judge(journey.moving, aim)
        status = self._named(journey, status)
        position = journey.condition.position
        now = self.course.arrive(
            journey.condition, self.tolerances, position, status, journey.watch
        )
        index = jnp.maximum(journey.row, 0)
        row = self._row(index)
        now = reactions.notice(self.course, now, self._pause(row))
        if jax.tree.leaves(self.walk.outputs):
            self._observe(now, index, here)
        if self.course.rule is not None and any(self.pattern.slots):
            now = self._hold_visits(now, row, index, here)
        if now.watch is not None:
            now = self._react(now, row, here)
        solved = now.status == Status.OK
        after, amount = self.course.act(now, row)
        if self.course.rule is not None and self.pattern.ordered:
            number = self.given.ask.at_row(index, self.patient)
            amount = jnp.where(solved, amount, jnp.nan)
            self._write(self.walk.administered, amount, number, here & (number >= 0))
        now = _select(here, after, journey.condition)

        following = jnp.where(waiting, journey.row + 1, journey.row)
        next_index = jnp.clip(following, 0, self.pattern.rows - 1)
        slot = self.given.slot.at_row(next_index, self.patient) >= 0
        target = self.course.target(now, self._row(next_index), slot)
        target = jnp.where(following < rows, target, now.position.time)
        begins, jumped = journey.row < 0, row.kind != Kind.NONE
        pause = self._pause(self._row(next_index))
        watching = reactions.watching(self.course, now, pause).get("watching")
        if watching is not None:
            jumped = jumped & (row.kind != Kind.PAUSE) | (watching.watch.phase == ACTED)
        fresh = begins | jumped

        def start(now: Condition, fresh: Array, target: Array) -> Moving:
            return adaptive.start(
                self.method, self._stepper(now), now.position, fresh, self._limits(target)
            )

        moving = self.plain(start)(now, fresh, target)
        watch = now.watch
        if watching is not None:
            # A last row has no way after it.
            watch = _select(following < rows, crossings.set_off(now.position, watching), watch)
        onwards = Journey(
            following,
            target,
            moving,
            now.status,
            now.infusion,
            now.inputs,
            now.slopes,
            now.plan,
            watch,
            now.occurred,
        )
        return _select(waiting, onwards, journey)

    def _named(self, journey: Journey, status: Array) -> Array:
        """The status, in which those who are too stiff for the method are named."""
        name = self.method.name
        if name not in stiffness.BOUNDARIES:
            return status
        position, limits = journey.condition.position, self._limits(journey.target)

        def product(time: Array, state: Components, direction: Components, now: Condition) -> Any:
            return stiffness.grown(self._stepper(now).rates, time, state)(direction)

        def named() -> Array:
            stiff = stiffness.told(
                name,
                lambda direction: self.plain(product)(
                    position.time, position.state, direction, journey.condition
                ),
                position.size,
                journey.target - position.time,
                position.state,
                limits.relative,
                limits.floors,
            )
            return stiffness.named(status, stiff)

        return lax.cond(_any(status == Status.STEP_LIMIT), named, lambda: status)

    def _pause(self, row: Events) -> Array | None:
        """Whether a row is a free slot for what the state sets off."""
        return row.kind == Kind.PAUSE if Kind.PAUSE in self.pattern.kinds else None

    def _react(self, now: Condition, row: Events, here: Array) -> Condition:
        """The events of lanes that have stopped for one."""
        assert now.watch is not None
        there = here & now.watch.stopped & (now.status == Status.OK)
        react = self.plain(functools.partial(reactions.react, self.course))
        return lax.cond(_any(there), lambda: _select(there, react(now, row), now), lambda: now)

    def _row(self, index: Array) -> Events:
        return Events(*(column.at_row(index, self.patient) for column in self.given.events))

    def _observe(self, now: Condition, index: Array, here: Array) -> None:
        number = self.given.observation.at_row(index, self.patient)
        solved = now.status == Status.OK

        def write(place: Any, leaf: Array) -> None:
            self._write(place, jnp.where(solved, leaf, jnp.nan), number, here & (number >= 0))

        jax.tree.map(write, self.walk.outputs, self.course.outputs(now.position, now.inputs))

    def _hold_visits(self, now: Condition, row: Events, index: Array, here: Array) -> Condition:
        number = self.given.slot.at_row(index, self.patient)
        there = here & (number >= 0)

        def hold() -> tuple[Array, Plan | None]:
            after, held, record = self.course.hold_visit(now, row)

            def write(place: Any, leaf: Array) -> None:
                if jnp.issubdtype(leaf.dtype, jnp.floating):
                    leaf = jnp.where(held, leaf, jnp.nan)
                self._write(place, leaf, number, there)

            write(self.walk.visit_time, now.position.time)
            jax.tree.map(write, self.walk.records, record)
            return _select(there, (after.status, after.plan), (now.status, now.plan))

        status, plan = lax.cond(_any(there), hold, lambda: (now.status, now.plan))
        return now._replace(status=status, plan=plan)

    def _write(
        self, place: Any, values: Array, row: Array | None = None, mask: Array | None = None
    ) -> None:
        kept = jnp.broadcast_to(values, (self.lanes,)).astype(place.dtype)
        if row is None:
            triton.store(place.at[self.patient], kept)
        else:
            triton.store(place.at[jnp.maximum(row, 0), self.patient], kept, mask=mask)


def _alike(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)
