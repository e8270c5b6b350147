"""What happens to patients at the rows of their schedule: doses, infusions, inputs, decisions.

Everything here is elementwise over lanes and knows neither loops nor solvers, so that every driver
says the same at a row: the scan of `insilico.solve.walks`, where all lanes are at the same row, and
one in which each lane is at its own.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array

from insilico.model import Model
from insilico.solve.adaptive import Position
from insilico.solve.events import Events, Kind, Pattern
from insilico.solve.fields import Components, Field, hoisted
from insilico.solve.noise import chosen, structure_of
from insilico.solve.status import Status
from insilico.solve.tolerances import TolerancesAsNumbers
from insilico.solve.triggers import Occurrence, Watch, nothing_yet

UNDERSHOOT = 100.0
"""How far below its `lowest` a component may come, in tolerances at a value of its `negligible`.

Errors of single steps add up over tens of steps, but the least values are reached by small ones:
undershoots of the library's models were found to stay below a tenth of one tolerance. What is wrong
with a model, or with a patient's parameters, goes further.
"""


class Plan(NamedTuple):
    """What a rule has decided for each lane so far.

    - `next_visit`: time of the next visit; infinite where none is due.
    - `memory`: the rule's own NamedTuple of lanes.
    """

    next_visit: Array
    memory: Any


class Visit(NamedTuple):
    """What a rule sees: the time of each lane's visit and the model's true outputs then."""

    time: Array
    outputs: Any


class Rule(Protocol):
    """Decisions at visits: pure, elementwise over patients, with a memory.

    `subject` is any pytree whose leaves end in the lanes' axis: covariates, predicted doses, tables
    of random draws by nominal day (days, lanes).
    """

    def start(self, subject: Any) -> Plan:
        """The plan before anything has happened."""
        ...

    def visit(self, visit: Visit, plan: Plan, subject: Any) -> tuple[Any, Plan]:
        """What the visit puts on record (a pytree of lanes), and the plan after it."""
        ...

    def administer(self, time: Array, plan: Plan, subject: Any) -> tuple[tuple[Array, ...], Plan]:
        """The rule's orders at a row that asks for one, and the plan once they are given.

        A row's amount is multiplied by the order whose number it names.
        """
        ...


class Condition(NamedTuple):
    """All that is so of each lane at a moment: where it is, and what its events have set.

    - `infusion`: rates into the pattern's infused compartments; `inputs`: the model's, at time 0
      where they have `slopes`, which are there only if the pattern has ramps.
    - `plan`: the rule's; None where there is no rule.
    - `watch`: what is remembered of the model's triggers; None where it has none. `occurred`: the
      events of each of them so far.
    """

    position: Position
    status: Array
    infusion: tuple[Array, ...]
    inputs: tuple[Array, ...]
    plan: Plan | None
    slopes: tuple[Array, ...] = ()
    watch: Watch | None = None
    occurred: tuple[Occurrence, ...] = ()


@dataclasses.dataclass(frozen=True)
class Course:
    """A chunk of patients, their schedule's pattern and their rule.

    `parameters` is the model's NamedTuple of arrays (lanes,), or of scalars for one patient.
    """

    model: Model
    parameters: Any
    pattern: Pattern
    rule: Rule | None = None
    subject: Any = None

    @property
    def lanes(self) -> tuple[int, ...]:
        """Shape of every lane array."""
        return jax.tree.leaves(self.parameters)[0].shape

    @property
    def dtype(self) -> Any:
        return jax.tree.leaves(self.parameters)[0].dtype

    def start(self, inputs: Components | None = None) -> Condition:
        """Before anything has happened; `inputs` are for parameters that vary by them.

        The condition's own inputs are zero, those of parameters that vary these parameters.
        """
        zero = jnp.zeros(self.lanes, self.dtype)
        own = self.parameters if inputs is None else self.in_force(inputs)
        initial = self.model.initial(own)
        self.model.check_declared()
        self.model.check_state("initial state", initial)
        state = tuple(
            jnp.broadcast_to(leaf, self.lanes).astype(self.dtype)
            for leaf in jax.tree.leaves(initial)
        )
        finite = jnp.all(jnp.stack([jnp.isfinite(leaf) for leaf in state]), axis=0)
        watch, occurred = nothing_yet(self.model, zero)
        return Condition(
            position=Position(
                time=zero + self.pattern.start, size=zero + jnp.inf, state=state, steps=zero
            ),
            status=jnp.where(finite, Status.OK, Status.NOT_FINITE).astype(jnp.int32),
            infusion=tuple(zero for _ in self.pattern.infused),
            inputs=self._first_inputs(zero),
            plan=None if self.rule is None else self.rule.start(self.subject),
            slopes=tuple(zero for _ in self.model.Inputs._fields if self._has(Kind.RAMP)),
            watch=watch,
            occurred=occurred,
        )

    def _first_inputs(self, zero: Array) -> Components:
        varying = self.model.varying
        own = len(self.model.Inputs._fields) - len(varying)
        values = (getattr(self.parameters, name) for name in varying)
        return (*(zero for _ in range(own)), *(jnp.broadcast_to(v, zero.shape) for v in values))

    def _has(self, kind: Kind) -> bool:
        return kind in self.pattern.kinds

    def named(self, components: Components) -> Any:
        """The model's state of flat components."""
        structure = jax.tree.structure(self.model.initial(self.parameters))
        return jax.tree.unflatten(structure, components)

    def in_force(self, inputs: Components) -> Any:
        """The parameters under these inputs."""
        return self.model.in_force(self.parameters, inputs)

    def outputs(self, position: Position, inputs: Components) -> Any:
        """The model's outputs at each lane's time, under its inputs."""
        own = self.in_force(inputs)
        found = self.model.outputs(position.time, self.named(position.state), own)
        self.model.check_outputs(found)
        return found

    def prepare(self, start: Condition | None = None) -> _Equations:
        """The equations, with what depends on the parameters alone computed here and now.

        `start`: any condition, where there is one; it only shows what all of them look like.
        """
        start = self.start() if start is None else start
        position = start.position
        return hoisted(self.rates, position.time, position.state, start.infusion, start.inputs)

    def rates(
        self, time: Array, components: Components, infusion: Components, inputs: Components
    ) -> Components:
        """The model's equations as they are stated, with what is infused."""
        named_inputs = self.model.Inputs(*inputs)
        found = self.model.derivative(time, self.named(components), self.parameters, named_inputs)
        self.model.check_state("derivative", found)
        rates = jax.tree.leaves(found)
        for compartment, rate in zip(self.pattern.infused, infusion, strict=True):
            rates[compartment] = rates[compartment] + rate
        # A rate that is the same for all patients may be a plain number.
        return tuple(
            rate
            if jnp.shape(rate) == self.lanes
            else jnp.broadcast_to(rate, self.lanes).astype(self.dtype)
            for rate in rates
        )

    def field(self, equations: _Equations, condition: Condition) -> Between:
        """The field until the next row."""
        return Between(self, equations, condition)

    def diffusion(self, condition: Condition) -> dict[str, Field]:
        """The coefficients of the model's noise until the next row, by name; or none."""
        if self.model.diffusion is None:
            return {}
        structure = structure_of(self.model)

        def coefficients(time: Array, state: Components) -> Components:
            assert self.model.diffusion is not None
            inputs = self.model.Inputs(*condition.inputs)
            noise = self.model.diffusion(time, self.named(state), self.parameters, inputs)
            self.model.check_noise(noise)
            return tuple(
                jnp.broadcast_to(leaf, self.lanes).astype(self.dtype)
                for leaf in chosen(structure, noise)
            )

        return {"diffusion": coefficients}

    def target(self, condition: Condition, row: Events, slot: Array) -> Array:
        """The time each lane goes to before the row acts; failed lanes stay where they are."""
        limit = jnp.broadcast_to(row.time, self.lanes).astype(self.dtype)
        now = condition.position.time
        if condition.plan is not None:
            planned = condition.plan.next_visit
            # Who looks out for triggers passes no slot before the row's time has come.
            otherwise = now if condition.watch is None else limit
            visit = jnp.where(planned <= limit, planned, otherwise)
            limit = jnp.where(slot, jnp.maximum(visit, now), limit)
        if self._has(Kind.RESET):
            limit = jnp.where(row.kind == Kind.RESET, now, limit)
        return jnp.where(condition.status == Status.OK, limit, now)

    def arrive(
        self,
        before: Condition,
        tolerances: TolerancesAsNumbers,
        position: Position,
        status: Array,
        watch: Watch | None = None,
    ) -> Condition:
        """Lanes where their way to a row has ended; `before` is how they set out.

        One that has not failed, but is outside of the model's domain, fails here; one that failed
        on its way outside of the domain did so for that.
        """
        ended = jnp.maximum(before.status, status)
        allowance = UNDERSHOOT * (tolerances.relative + tolerances.absolute)
        bounds = zip(position.state, self.model.lowest(), self.model.negligible(), strict=True)
        for component, lowest, negligible in bounds:
            if lowest is not None:
                outside = component < lowest - allowance * negligible
                leaving = outside & (before.status == Status.OK)
                ended = jnp.where(leaving, Status.LEFT_DOMAIN, ended)
        return before._replace(position=position, status=ended.astype(jnp.int32), watch=watch)

    def hold_visit(self, condition: Condition, row: Events) -> tuple[Condition, Array, Any]:
        """At a free slot: the condition after it, which lanes held a visit, and their records."""
        assert self.rule is not None and condition.plan is not None
        now, planned = condition.position.time, condition.plan.next_visit
        due = (condition.status == Status.OK) & (planned <= row.time)
        if condition.watch is not None:
            due = due & ~condition.watch.stopped
        late = due & (planned < now)
        record, after = self.rule.visit(
            Visit(now, self.outputs(condition.position, condition.inputs)),
            condition.plan,
            self.subject,
        )
        plan = jax.tree.map(lambda new, old: jnp.where(due, new, old), after, condition.plan)
        status = jnp.where(late, Status.LATE_VISIT, condition.status).astype(jnp.int32)
        return condition._replace(plan=plan, status=status), due & ~late, record

    def act(self, condition: Condition, row: Events) -> tuple[Condition, Array]:
        """What the row does to each lane; the state of one that has failed stays as it is.

        With it the row's amount, times the rule's order where it asks for one.
        """
        solved = condition.status == Status.OK
        condition, amount = self._ordered(condition, row)
        if self._has(Kind.RESET):
            condition = self._reset(condition, row)

        def hits(kind: Kind, index: int) -> Array:
            return (row.kind == kind) & (row.target == index)

        def changed(index: int, value: Array) -> Array:
            if self._has(Kind.DOSE):
                dosed = solved & hits(Kind.DOSE, index)
                value = value + jnp.where(dosed, amount, 0.0)
            if self._has(Kind.SET):
                value = jnp.where(solved & hits(Kind.SET, index), amount, value)
            return value

        def infused(compartment: int, rate: Array) -> Array:
            return rate + jnp.where(hits(Kind.RATE, compartment), amount, 0.0)

        position = condition.position
        condition = condition._replace(
            position=position._replace(
                state=tuple(changed(i, value) for i, value in enumerate(position.state))
            ),
            infusion=tuple(
                infused(compartment, rate)
                for compartment, rate in zip(self.pattern.infused, condition.infusion, strict=True)
            ),
        )
        if self._has(Kind.INPUT):
            condition = condition._replace(
                inputs=tuple(
                    jnp.where(hits(Kind.INPUT, i), amount, value)
                    for i, value in enumerate(condition.inputs)
                ),
                slopes=tuple(
                    jnp.where(hits(Kind.INPUT, i), 0.0, slope)
                    for i, slope in enumerate(condition.slopes)
                ),
            )
        if self._has(Kind.RAMP):
            starts = [hits(Kind.RAMP, i) for i in range(len(condition.inputs))]
            condition = condition._replace(
                inputs=tuple(
                    value - jnp.where(start, amount * row.time, 0.0)
                    for start, value in zip(starts, condition.inputs, strict=True)
                ),
                slopes=tuple(
                    jnp.where(start, amount, slope)
                    for start, slope in zip(starts, condition.slopes, strict=True)
                ),
            )
        return condition, amount

    def _reset(self, condition: Condition, row: Events) -> Condition:
        # A failed lane keeps the time at which it stopped.
        hit = (row.kind == Kind.RESET) & (condition.status == Status.OK)
        initial = self.start(condition.inputs)
        position = condition.position

        def renewed(new: Array, old: Array) -> Array:
            return jnp.where(hit, new, old)

        return condition._replace(
            position=position._replace(
                time=renewed(jnp.asarray(row.time, self.dtype), position.time),
                size=renewed(initial.position.size, position.size),
                state=jax.tree.map(renewed, initial.position.state, position.state),
            ),
            infusion=jax.tree.map(renewed, initial.infusion, condition.infusion),
        )

    def finish(self, condition: Condition, last_slot: Any) -> Condition:
        """After the last row: a visit that was due by the last slot, but not held, is a failure."""
        if condition.plan is None:
            return condition
        # No later slot is left to find out that a visit had none.
        unheld = (condition.status == Status.OK) & (condition.plan.next_visit <= last_slot)
        status = jnp.where(unheld, Status.LATE_VISIT, condition.status).astype(jnp.int32)
        return condition._replace(status=status)

    def _ordered(self, condition: Condition, row: Events) -> tuple[Condition, Array]:
        amount = jnp.broadcast_to(row.amount, self.lanes).astype(self.dtype)
        # An order that nobody gives is no dose that anybody knows: the lane fails, and says so.
        given = jnp.where(row.order < 0, amount, jnp.nan)
        if self.rule is None or condition.plan is None:
            return condition, given
        orders, after = self.rule.administer(condition.position.time, condition.plan, self.subject)
        if not isinstance(orders, tuple | list):
            # The entries of an array would be taken for orders, and one patient's for everybody's.
            raise TypeError(
                "administer of a rule must give a tuple of orders, arrays of lanes, and the plan; "
                f"found {type(orders).__name__} in place of the tuple"
            )
        for number, order in enumerate(orders):
            given = jnp.where(row.order == number, amount * order, given)
        asked = (row.order >= 0) & (condition.status == Status.OK)
        plan = jax.tree.map(lambda new, old: jnp.where(asked, new, old), after, condition.plan)
        return condition._replace(plan=plan), given


@dataclasses.dataclass(frozen=True, eq=False)
class Between:
    """The field between two rows, and all that holds there, for solvers that need more than it."""

    course: Course
    equations: _Equations
    condition: Condition

    def __call__(self, time: Array, state: Components) -> Components:
        now = self.condition
        inputs = now.inputs
        if now.slopes:
            sloping = zip(now.inputs, now.slopes, strict=True)
            inputs = tuple(value + slope * time for value, slope in sloping)
        return self.equations(time, state, now.infusion, inputs)


class _Equations(Protocol):
    def __call__(
        self, time: Array, state: Components, infusion: Components, inputs: Components, /
    ) -> Components: ...
