"""Derivatives of a solve, exact for the steps that it took.

Forwards, JAX carries tangents through the loops. Backwards it cannot, so the steps are recorded on
the way and replayed from the last to the first, each by the transpose of its own derivative (a
discrete adjoint), and the rows between them likewise. The cost does not grow with the number of
parameters, and the result is the derivative of the numbers that were returned, not an approximation
of another.

Between two rows, the sizes of the steps are constants but for the last, which ends at the row: it
is what was left. So a row's time acts through it, and together with the rows' actions on both sides
(`insilico.solve.courses`) follows the jump that a later dose or the end of an infusion makes.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from insilico.model import Model
from insilico.solve import crossings, methods, reactions, stability, walks
from insilico.solve.adaptive import Limits, Position, start
from insilico.solve.cotangents import (
    floating,
    instantiated,
    is_floating,
    plus,
    pullback,
    replaced,
    without_failed,
)
from insilico.solve.courses import Condition, Course, Rule
from insilico.solve.events import Events, Pattern
from insilico.solve.fields import Components
from insilico.solve.opened_rules import OpenedRule, RuleWith
from insilico.solve.recordings import Kept, Marks, blank_record
from insilico.solve.replays import (
    Constants,
    Journey,
    Opened,
    Static,
    Sums,
    closure_converted,
    opened_flow,
)
from insilico.solve.stability import Probe
from insilico.solve.tolerances import TolerancesAsNumbers
from insilico.solve.triggers import LOCATED, Watch
from insilico.solve.walks import Prior, Row, Walk


class Given(NamedTuple):
    """What a walk of one chunk depends on, as arrays; `rule` are those that the rule has in it."""

    parameters: Any
    events: Events
    subject: Any
    rule: Any
    prior: Prior | None = None


Pullback = Callable[[Walk], Given]
"""From cotangents of a walk to those of what was given."""


class _Passed(NamedTuple):
    """A row that was passed: the condition and the probe before it, where lanes arrived and how,
    the numbers of the first step on the way there and of the first one after it, and what was
    remembered then of triggers."""

    before: Condition
    probe: Probe | None
    position: Position
    status: Array
    begun: Array
    count: Array
    watch: Watch | None


class _Totals(NamedTuple):
    """Cotangents, floating-point leaves only, of the condition before the rows that are done and
    of what all rows depend on: what was given but for events, and the equations' constants."""

    condition: list[Array]
    given: list[Array]
    equations: list[Array]


@dataclasses.dataclass(frozen=True)
class Differentiable:
    """A walk of one chunk of lanes, to be differentiated backwards.

    - `timed`: whether times of events, or of visits that a rule sets by what it measures, are
      differentiated too, which costs a little.
    - `again`: whether steps are taken again that are no more on record; if not, see
      `insilico.solve.replays.Kept`.
    """

    model: Model
    pattern: Pattern
    method: str
    rule: OpenedRule | None
    timed: bool = True
    again: bool = True

    @classmethod
    def of(
        cls,
        model: Model,
        parameters: Any,
        events: Events,
        pattern: Pattern,
        method: str,
        rule: Rule | None = None,
        subject: Any = None,
        prior: Prior | None = None,
        timed: bool = True,
        again: bool = True,
    ) -> tuple[Differentiable, Given]:
        """The walk of these, and what it depends on."""
        opened, constants = None, ()
        if rule is not None:
            course = Course(model, parameters, pattern)
            opened, constants = OpenedRule.of(rule, course, subject)
        given = Given(parameters, jax.tree.map(jnp.asarray, events), subject, constants, prior)
        return cls(model, pattern, method, opened, timed, again), given

    def walk(self, given: Given, tolerances: TolerancesAsNumbers) -> Walk:
        """The walk, for `jax.grad`. For its derivative it is gone again, and recorded: until then
        nothing is remembered but what was given.

        Lanes that failed have derivatives of zero. The rules of the derivative can themselves be
        differentiated forwards.
        """

        plain = self.plain

        def forth(given: Any, tolerances: Any) -> tuple[Walk, Any]:
            moved = self.rule is not None or self.model.triggers is not None
            timed = Static(moved or given.events.time.perturbed)
            given, tolerances = jax.tree.map(
                lambda leaf: leaf.value,
                (given, tolerances),
                is_leaf=lambda leaf: hasattr(leaf, "perturbed"),
            )
            return plain(given, tolerances), (given, tolerances, timed)

        def back(residuals: Any, cotangents: Walk) -> tuple[Any, Any]:
            given, tolerances, timed = residuals
            this = dataclasses.replace(self, timed=timed.value)
            course = self.course(given)
            record = blank_record(
                2 + len(self.model.negligible()),
                course.lanes,
                course.dtype,
                rows=given.events.time.shape[0],
            )
            walk, pull, *_ = this.with_pullback(given, tolerances, record)
            of_given = pull(instantiated(cotangents, walk))
            return jax.tree.map(lambda leaf: leaf if is_floating(leaf) else None, of_given), None

        run = jax.custom_vjp(plain)
        run.defvjp(forth, back, symbolic_zeros=True)
        return run(given, tolerances)

    def plain(self, given: Given, tolerances: TolerancesAsNumbers) -> Walk:
        """The walk, remembering nothing. It can be differentiated forwards."""
        course = self.course(given)
        equations, constants = self._equations(given)

        def pass_row(carry: tuple[Condition, Probe | None], this: Row) -> tuple[Any, Any]:
            before, probe = carry
            journey = self._journey(course, equations, constants, before, probe, this, tolerances)
            moving, probe = journey.taken()
            arrived = course.arrive(before, tolerances, *journey.judge(moving))
            after, seen = walks.leave(course, arrived, this)
            return (after, probe), seen

        (end, _), seen = walks.over_rows(
            pass_row,
            self._started(course, given),
            walks.rows_of(given.events, self.pattern),
            given.events,
            given.prior,
        )
        return walks.result(course, given.events, end, seen, given.prior)

    def _started(self, course: Course, given: Given) -> tuple[Condition, Probe | None]:
        """The condition before the first row, and the probe of the fastest rate."""
        condition = walks.started(course, given.prior)
        return condition, stability.begin(methods.get(self.method), condition.position.state)

    def with_pullback(
        self, given: Given, tolerances: TolerancesAsNumbers, record: Array
    ) -> tuple[Walk, Pullback, Array, Array]:
        """The walk, the function that carries cotangents back through it, the used record, and
        whether all steps are on it."""
        course = self.course(given)
        equations, constants = self._equations(given)

        def pass_row(
            carry: tuple[Condition, Probe | None, Array, Array], this: Row
        ) -> tuple[Any, Any]:
            before, probe, begun, record = carry
            journey = self._journey(course, equations, constants, before, probe, this, tolerances)
            (moving, after_probe), count, record, _ = journey.recorded(
                journey.moment, begun, record
            )
            position, status, *watch = journey.judge(moving)
            arrived = course.arrive(before, tolerances, position, status, *watch)
            after, seen = walks.leave(course, arrived, this)
            passed = _Passed(before, probe, position, arrived.status, begun, count, arrived.watch)
            return (after, after_probe, count, record), (seen, passed)

        (end, _, count, record), (seen, passed) = walks.over_rows(
            pass_row,
            (*self._started(course, given), jnp.int32(0), record),
            walks.rows_of(given.events, self.pattern),
            given.events,
            given.prior,
        )
        walk = walks.result(course, given.events, end, seen, given.prior)

        def pull(cotangents: Walk) -> Given:
            of_walk = floating(without_failed(walk, cotangents))
            of_end, of_seen = pullback(
                lambda end, seen: walks.result(course, given.events, end, seen, given.prior),
                end,
                seen,
            )(of_walk)
            recorded_from = jnp.maximum(count - record.shape[0], 0)
            kept = Kept(record, self._moments(given, tolerances) if self.again else None)
            of_given = self._back(given, tolerances, passed, of_end, of_seen, kept, recorded_from)
            return without_failed(walk, of_given)

        return walk, pull, record, count <= record.shape[0]

    def _back(
        self,
        given: Given,
        tolerances: TolerancesAsNumbers,
        passed: _Passed,
        of_end: Any,
        of_seen: Any,
        kept: Kept,
        recorded_from: Array,
    ) -> Given:
        """Cotangents of what was given, carried back over all rows."""
        course = self.course(given)
        equations, constants = self._equations(given)
        lasting = given._replace(events=())

        def row_back(carry: tuple[_Totals, Kept], at: tuple[Row, _Passed, Any]) -> tuple[Any, Any]:
            totals, kept = carry
            this, passed, of_seen = at
            before = passed.before
            arrived = before._replace(
                position=passed.position, status=passed.status, watch=passed.watch
            )

            def leave(lasting: Given, arrived: Condition, event: Events) -> Any:
                return walks.leave(self.course(lasting), arrived, this._replace(event=event))

            of_lasting, of_before, of_event = pullback(leave, lasting, arrived, this.event)(
                [*totals.condition, *floating(of_seen)]
            )
            journey = self._journey(
                course, equations, constants, before, passed.probe, this, tolerances
            )
            if passed.watch is not None:
                journey = journey._replace(located=passed.watch.phase == LOCATED)
            sums, kept = journey.replayed(
                Sums.of(of_before.position.state, journey.constants, self.timed),
                passed.begun,
                passed.count,
                kept,
                recorded_from,
            )

            def flow_constants(constants: list[Any], set_by_events: Any) -> list[Any]:
                now = before._replace(**set_by_events)
                field = course.field(functools.partial(equations, constants), now)
                time, state = now.position.time, now.position.state
                stepper = methods.get(self.method).prepare(field, time, state)
                return opened_flow(stepper, time, state)[1]

            set_by_events = {
                name: getattr(before, name) for name in ("infusion", "inputs", "slopes")
            }
            of_constants, of_set = pullback(flow_constants, constants, set_by_events)(
                sums.constants
            )
            of_before = of_before._replace(
                position=of_before.position._replace(state=sums.state),
                **{name: plus(getattr(of_before, name), of) for name, of in of_set.items()},
            )
            if self.timed:
                of_before, of_event = self._times_back(
                    course, passed, this, of_before, of_event, sums
                )
            totals = _Totals(
                floating(of_before),
                plus(totals.given, floating(of_lasting)),
                plus(totals.equations, floating(of_constants)),
            )
            return (totals, kept), floating(of_event)

        nothing = jax.tree.map(jnp.zeros_like, (floating(lasting), floating(constants)))
        (totals, _), of_events = walks.over_rows(
            row_back,
            (_Totals(floating(of_end), *nothing), kept),
            (walks.rows_of(given.events, self.pattern), passed, of_seen),
            given.events,
            given.prior,
            reverse=True,
        )
        (of_start,) = pullback(
            lambda given: walks.started(self.course(given), given.prior), lasting
        )(totals.condition)
        (of_equations,) = pullback(lambda given: self._equations(given)[1], lasting)(
            totals.equations
        )
        of_lasting = plus(totals.given, plus(floating(of_start), floating(of_equations)))
        return replaced(lasting, of_lasting)._replace(events=replaced(given.events, of_events))

    def _moments(self, given: Given, tolerances: TolerancesAsNumbers) -> Any:
        """Room for moments of ways between rows."""

        def first() -> Any:
            course = self.course(given)
            row = jax.tree.map(lambda leaf: leaf[0], walks.rows_of(given.events, self.pattern))
            now = (*self._started(course, given), row, tolerances)
            return self._journey(course, *self._equations(given), *now).moment

        return Marks.blank(jax.eval_shape(first))

    def _times_back(
        self,
        course: Course,
        passed: _Passed,
        this: Row,
        of_before: Condition,
        of_event: Events,
        sums: Sums,
    ) -> tuple[Condition, Events]:
        """Cotangents of the times at both ends of a way, given on to what has set them."""
        before = passed.before

        def target(before: Condition, event: Events) -> Array:
            return course.target(before, event, this.slot)

        there, set_out = target(before, this.event), before.position.time
        of_time = of_before.position.time
        # Who has arrived is where the row is, however the row moves; who had nowhere to go stays.
        arrived = (there > set_out) & (passed.position.time >= there)
        of_target = sums.target + jnp.where(arrived, of_time, 0.0)
        of_set_out = sums.time + jnp.where(there > set_out, 0.0, of_time)
        if passed.watch is not None:
            # Who has stopped on the way is as far from where it set out as its steps are long.
            stopped = passed.watch.stopped
            of_target = jnp.where(stopped, sums.target, of_target)
            of_set_out = jnp.where(stopped, sums.time + of_time, of_set_out)
        of_before = of_before._replace(position=of_before.position._replace(time=of_set_out))
        also_before, also_event = pullback(target, before, this.event)([of_target])
        return (
            replaced(before, plus(floating(of_before), floating(also_before))),
            replaced(this.event, plus(floating(of_event), floating(also_event))),
        )

    def course(self, given: Given) -> Course:
        rule = None if self.rule is None else RuleWith(self.rule, given.rule)
        return Course(self.model, given.parameters, self.pattern, rule, given.subject)

    def _equations(self, given: Given) -> tuple[Callable[..., Components], list[Any]]:
        """A course's equations, and what they have in them of the parameters."""
        course = self.course(given)
        now = course.start()
        return closure_converted(
            course.prepare(), now.position.time, now.position.state, now.infusion, now.inputs
        )

    def _opened(
        self,
        course: Course,
        equations: Callable[..., Components],
        constants: list[Any],
        now: Condition,
    ) -> tuple[Opened, Constants]:
        """The method made ready for the equations under what events have set."""
        field = course.field(functools.partial(equations, constants), now)
        depends = () if now.watch is None else reactions.signals(course, now).depends
        time, state = now.position.time, now.position.state
        return Opened.of(methods.get(self.method), field, time, state, depends)

    def _journey(
        self,
        course: Course,
        equations: Callable[..., Components],
        constants: list[Any],
        before: Condition,
        probe: Probe | None,
        this: Row,
        tolerances: TolerancesAsNumbers,
    ) -> Journey:
        opened, own = self._opened(course, equations, constants, before)
        target = course.target(before, this.event, this.slot)
        limits = Limits.of(target, tolerances, self.model.negligible())
        method, stepper = methods.get(self.method), opened.stepper(own)
        watching = reactions.watching(course, before, this.pause).get("watching")
        if watching is None:
            first = start(method, stepper, before.position, this.fresh, limits)
            return Journey(method, opened, own, limits, target, first, probe)
        watched = crossings.begin(method, stepper, before.position, this.fresh, limits, watching)
        return Journey(method, opened, own, limits, target, watched, probe, watching.signals)
