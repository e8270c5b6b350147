"""A trial as it is carried out: a config resolved against models, populations and formulas."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cohorts import Cohort, ResidualNumbers
from insilico.config import Expression, Name
from insilico.model import Model
from insilico.occasions import by_occasion
from insilico.solve import Events, Pattern, Tolerances
from trials.dosing import LAGS, ArmRule, DoseSizes, Formula, LateKnowledge, Schedule
from trials.periods import Periods

if TYPE_CHECKING:
    from jax import Array

    from trials.dosing import DosingRule


@dataclasses.dataclass(frozen=True)
class Arm:
    """One arm, resolved: formulas for the start, doses of loading days, and what follows.

    `parameters` are factors on the patient's own, `bioavailability` one on doses that enter.
    """

    name: str
    label: str
    start: tuple[Formula, ...]
    loading: Mapping[int, Expression]
    rule: ArmRule
    bioavailability: float = 1.0
    parameters: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, eq=False)
class Protocol:
    """What a trial's patients go through, ready to be simulated.

    - `vocabulary`: names that criteria, quantities and starting formulas may use.
    - `days`: number of nominal days for which random tables of doses are drawn; those of visits
      are laid out by `visits`.
    - `strata`: yes/no factors of randomisation by name; `quantities`: expressions or formulas.
    - `occasions`: hours since day 1 began at which the second occasion of a subject begins, and
      those after it; none in a crossover, whose periods are occasions.
    - `periods`: which arms the groups of subjects are under in which period; `period_effects`:
      factors on everybody's parameters in each period.
    """

    model: Model
    cohort: Cohort
    arms: tuple[Arm, ...]
    events: Events
    pattern: Pattern
    visits: Schedule
    sizes: DoseSizes
    tolerances: Tolerances
    vocabulary: Mapping[str, Name]
    late: LateKnowledge
    quantities: Mapping[str, Expression | Formula]
    strata: Mapping[str, Expression]
    measured: tuple[str, ...]
    days: int
    most_visits: int
    dosed_before_visit: bool
    doses_end: float
    periods: Periods
    period_effects: Mapping[str, Sequence[float]]
    occasions: tuple[float, ...] = ()

    @property
    def number_of_occasions(self) -> int:
        """How often what varies between occasions is drawn for each subject."""
        return self.periods.number + len(self.occasions)

    @property
    def solved_model(self) -> Model:
        """The model as patients are solved by it: with what changes between their occasions."""
        return varying_model(self.model, self.cohort, self.occasions)

    def occasion(self, period: np.ndarray, hours: np.ndarray) -> np.ndarray:
        """Number of the occasion, from 0, at a time since day 1 of a period began, in h."""
        return period + np.searchsorted(self.occasions, hours, side="right")

    @property
    def dosing_times(self) -> np.ndarray:
        """When doses may be taken, in h since day 1 of a period began."""
        return np.asarray(self.events.time)[list(self.pattern.ordered)]

    @property
    def factors(self) -> dict[str, np.ndarray]:
        """By parameter that differs between conditions, the factor on it in each, (condition,)."""
        names = dict.fromkeys([*self.period_effects, *(n for a in self.arms for n in a.parameters)])
        return {
            name: np.outer(
                self.period_effects.get(name, np.ones(self.periods.number)),
                [arm.parameters.get(name, 1.0) for arm in self.arms],
            ).ravel()
            for name in names
        }

    def rule(self, arm: Array | int) -> DosingRule:
        """The dosing of the arm of that number, which may be traced."""
        from trials.dosing import DosingRule

        return DosingRule(
            arm=arm,
            arms=tuple(entry.rule for entry in self.arms),
            schedule=self.visits,
            sizes=self.sizes,
            measure=self.measure,
            outputs=self.measured,
            vocabulary=self.rule_vocabulary,
            late=self.late,
            dosed_before_visit=self.dosed_before_visit,
            doses_end=self.doses_end,
        )

    @property
    def rule_vocabulary(self) -> dict[str, Name]:
        return {**self.vocabulary, **visit_names(self.model, self.measured)}

    def measure(
        self, outputs: Any, noise: Mapping[str, Any], numbers: Mapping[str, ResidualNumbers]
    ) -> dict[str, Any]:
        """Measured values: the true ones with the population's residual error."""
        result = {}
        for name in self.measured:
            true = getattr(outputs, name)
            residual = self.cohort.population.residual.get(name)
            if residual is None:
                result[name] = true
                continue
            result[name] = residual.measured(true, noise[name], numbers[name])
        return result


def varying_model(model: Model, cohort: Cohort, occasions: Sequence[float]) -> Model:
    """The model whose parameters change at these times; the same one where there are none."""
    return by_occasion(model, cohort.population.between_occasion) if occasions else model


def visit_names(model: Model, measured: Sequence[str]) -> dict[str, Name]:
    """What is known at a visit: measured values, the day, the dose, and doses given before."""
    units = {name: quantity.unit for name, quantity in model.quantities("Outputs").items()}
    names = {
        name: Name(
            unit="" if units[name] == "1" else units[name],
            description="measured",
            available="visit",
        )
        for name in measured
        if name in units
    }
    names["day"] = Name(unit="", description="day of the trial", available="visit")
    names["dose"] = Name(unit="mg", description="current daily dose", available="visit")
    for lag in range(1, LAGS + 1):
        text = f"dose given {lag} day{'s' if lag > 1 else ''} before"
        names[f"dose_{lag}"] = Name(unit="mg", description=text, available="visit")
    return names
