"""What the arms of a trial do to a patient: starting doses, revision, titration, rechecks.

A rule of `insilico.solve`: elementwise over patients, with everything random handed in as tables by
day. It decides on what was measured, never on the truth.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from cohorts import ResidualNumbers
from insilico.config import Name
from insilico.solve import Plan, Visit
from trials.dosing.formulas import LateKnowledge, preferred_dose
from trials.dosing.regimen import LAGS, ArmRule, DoseSizes, Schedule, day_of
from trials.dosing.titration import Adjustment

Measure = Callable[[Any, Mapping[str, Array], Mapping[str, ResidualNumbers]], dict[str, Array]]
"""From a model's outputs, standard normal draws and numbers of residual errors to measured values,
the latter three by output name."""


class Person(NamedTuple):
    """What the rule needs of each patient. Lanes are the last axis; before it are days of doses, or
    places of visits (those of the schedule).

    - `values`: covariates and quantities by name.
    - `start_dose`: dose of each day (mg) while no visit has changed it, (days, lanes).
    - `unknown_until`: first day on which each late covariate is known.
    - `noise`: standard normal draws for each measured output by place; `residual`: the numbers
      of its residual error.
    - `attends`: 1 where the visit at that place is kept. `takes`: the share of a day's dose that
      enters, 0 where it is not taken.
    - `leaves`: day, as a real number, on which the patient drops out; infinite for most.
    """

    values: dict[str, Array]
    start_dose: Array
    unknown_until: dict[str, Array]
    noise: dict[str, Array]
    residual: dict[str, ResidualNumbers]
    attends: Array
    takes: Array
    leaves: Array


class Memory(NamedTuple):
    """What is remembered of each patient between events.

    `dose` is what visits have arrived at for each dose, and counts once `changed` is 1; `next_dose`
    is a factor on one dose; `recent` are the doses ordered last, latest first.
    """

    dose: Array
    changed: Array
    next_dose: Array
    hold: Array
    band: Array
    recent: tuple[Array, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class DosingRule:
    """The dosing of one arm, chosen by number among those of a trial (an `insilico.solve.Rule`).

    The number may be traced: one compiled program serves all arms.
    """

    arm: Array | int
    arms: tuple[ArmRule, ...]
    schedule: Schedule
    sizes: DoseSizes
    measure: Measure
    outputs: tuple[str, ...]
    vocabulary: Mapping[str, Name]
    late: LateKnowledge
    dosed_before_visit: bool = False
    """Whether the dose of a day is given before that day's visit."""
    doses_end: float = math.inf
    """The day of the last dose, where dosing ends before the trial does."""

    def start(self, subject: Person) -> Plan:
        nothing = jnp.zeros_like(subject.leaves)
        first = jnp.full_like(nothing, self.schedule.first)
        memory = Memory(
            dose=nothing,
            changed=nothing,
            next_dose=nothing + 1.0,
            hold=nothing,
            band=nothing - 1.0,
            recent=(nothing,) * (LAGS + 1),
        )
        return Plan(self._time(first, subject), memory)

    def administer(
        self, time: Array, plan: Plan, subject: Person
    ) -> tuple[tuple[Array, ...], Plan]:
        memory: Memory = plan.memory
        day = day_of(time)
        base = self._dose(memory, day, subject)
        special = (memory.next_dose != 1.0) | (memory.hold > 0)
        changed = self.sizes.fit(base * memory.next_dose)
        ordered = jnp.where(special, changed * (1.0 - memory.hold), base)
        memory = memory._replace(
            next_dose=jnp.ones_like(ordered), recent=(ordered, *memory.recent[:-1])
        )
        return (ordered * _entry(subject.takes, day),), plan._replace(memory=memory)

    def visit(self, visit: Visit, plan: Plan, subject: Person) -> tuple[dict[str, Array], Plan]:
        memory: Memory = plan.memory
        day, place = day_of(visit.time), self.schedule.place(visit.time)
        kept = _entry(subject.attends, place) > 0
        noise = {name: _entry(table, place) for name, table in subject.noise.items()}
        measured = self.measure(visit.outputs, noise, subject.residual)
        current = self._dose(memory, day, subject)

        def of_arm(rule: ArmRule) -> Callable[[], tuple[Memory, Array]]:
            return lambda: self._decide(rule, day, measured, current, memory, subject)

        decided, recheck = lax.switch(self.arm, [of_arm(rule) for rule in self.arms])
        memory = Memory(*_select(kept, tuple(decided), tuple(memory)))
        following = self.schedule.after(place, kept, recheck)
        record = {
            "attended": kept,
            "daily_dose": jnp.where(
                day < self.doses_end - self.dosed_before_visit + 1.0,
                self._dose(memory, day, subject) / self.sizes.every,
                0.0,
            ),
            **{f"{name}_measured": measured[name] for name in self.outputs},
            **{name: getattr(visit.outputs, name) for name in self.outputs},
        }
        return record, Plan(self._time(following, subject), memory)

    def _decide(
        self,
        rule: ArmRule,
        day: Array,
        measured: dict[str, Array],
        current: Array,
        memory: Memory,
        subject: Person,
    ) -> tuple[Memory, Array]:
        """The memory after a kept visit, and the days until the next at the latest."""
        never = jnp.full_like(day, math.inf)
        dose, recheck = current, never
        changed = jnp.zeros_like(day, bool)
        revising = jnp.zeros_like(day, bool)
        if rule.revision:
            for listed in rule.revision_days:
                revising = revising | (day == listed)
            # Formulas speak of mg a day, whatever the interval between two doses.
            every = self.sizes.every
            # The dose of a visit's own day is none of a day before.
            before = memory.recent[self.dosed_before_visit :][:LAGS]
            lagged = {f"dose_{lag}": dose / every for lag, dose in enumerate(before, 1)}
            unknown = {name: day < until for name, until in subject.unknown_until.items()}
            values = {**subject.values, **measured, **lagged, "day": day, "dose": current / every}
            revised = preferred_dose(rule.revision, values, self.vocabulary, self.late, unknown)
            dose = jnp.where(revising, self.sizes.fit(revised * every), dose)
            changed = changed | revising
        adjustment: Adjustment | None = None
        titrating = jnp.zeros_like(day, bool)
        if rule.titration is not None:
            titrating = (day >= rule.titration_from) & ~revising
            adjustment = rule.titration.adjust(measured[rule.titration.of], memory.band)
            dose = jnp.where(titrating, self.sizes.fit(current * adjustment.factor), dose)
            changed = changed | titrating
            recheck = jnp.where(titrating, adjustment.recheck, recheck)
        # What a visit ordered until the next one ends here, whatever kind of visit this is.
        after = memory._replace(
            dose=jnp.where(changed, dose, memory.dose),
            changed=jnp.where(changed, 1.0, memory.changed),
            next_dose=jnp.ones_like(day),
            hold=jnp.zeros_like(day),
        )
        if adjustment is not None:
            after = after._replace(
                next_dose=jnp.where(titrating, adjustment.next_dose, after.next_dose),
                hold=jnp.where(titrating, adjustment.hold, after.hold),
                band=jnp.where(titrating, adjustment.band, memory.band),
            )
        return after, recheck

    def _dose(self, memory: Memory, day: Array, subject: Person) -> Array:
        return jnp.where(memory.changed > 0, memory.dose, _entry(subject.start_dose, day))

    def _time(self, place: Array, subject: Person) -> Array:
        """Time (h) of a visit; infinite where the trial or the patient's part in it ends before."""
        takes_place = self.schedule.takes_place(place, subject.leaves)
        return jnp.where(takes_place, self.schedule.time(place), math.inf)


def _entry(table: Array, number: Array) -> Array:
    """Each lane's entry of a table (rows, lanes), from 1; the last one's beyond its end."""
    index = jnp.clip(number - 1.0, 0, table.shape[0] - 1).astype(jnp.int32)
    return jnp.take_along_axis(table, index[None], axis=0)[0]


def _select(mask: Array, new: Any, old: Any) -> Any:
    return tuple(
        _select(mask, a, b) if isinstance(a, tuple) else jnp.where(mask, a, b)
        for a, b in zip(new, old, strict=True)
    )
