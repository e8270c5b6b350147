"""From a config to the protocol that it describes.

What patients go through is checked on the way (that an arm's titration exists, that a formula reads
nothing unmeasured), all at once, with the place in the file.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence

import numpy as np

from cohorts import Cohort
from insilico import models
from insilico.config import ConfigError, Document, Name
from insilico.model import Model
from insilico.solve import Dose, Events, Pattern, Tolerances, schedule
from insilico.solve.methods import ADAPTIVE, CLOSED_FORM, EXPONENTIAL, FIXED_STEP, SERIES
from trials.config import ArmSpec, TrialConfig
from trials.design import check_design
from trials.dosing import (
    HOURS_A_DAY,
    MINUTE,
    ArmRule,
    DoseSizes,
    Formula,
    Schedule,
    Titration,
    VisitDays,
    VisitTimes,
    band_problems,
)
from trials.naming import Naming
from trials.periods import Periods
from trials.protocol import Arm, Protocol, visit_names
from trials.size import check_size, sizes

MOST_VISITS = 128
"""Visits for which there is room at most where the config does not say; fewer where rechecks are
too far apart for that many."""


def build(config: TrialConfig, document: Document) -> Protocol:
    """The protocol that a config describes. Raises `ConfigError` with every problem there is."""
    return _Builder(config, document).protocol()


class _Builder(Naming):
    def protocol(self) -> Protocol:
        config = self.config
        model = self.model()
        cohort = self.cohort(model)
        vocabulary, late = self.vocabulary(cohort)
        measured = self.visits(model)
        known_at_visit = visit_names(model, measured) if model else {}
        self.covariate_names(vocabulary, known_at_visit)
        formulas = self.formulas({**vocabulary, **known_at_visit}, known=bool(vocabulary))
        quantities, vocabulary = self.quantities(formulas, vocabulary, known_at_visit)
        at_visit = {**vocabulary, **known_at_visit}
        titrations = self.titrations(measured)
        arms = tuple(
            self.arm(name, spec, model, formulas, titrations, vocabulary, at_visit)
            for name, spec in config.arms.items()
        )
        self.crossover(model)
        check_design(self, vocabulary, measured)
        recheck = self.shortest_recheck(titrations)
        events = self.events(model, recheck)
        if model is not None and cohort is not None:
            check_size(self, sizes(config, cohort, model, config.visits.most or MOST_VISITS))
        if self.problems or model is None or cohort is None or events is None:
            if cohort is not None:
                self.tried(cohort)
            raise ConfigError(self.problems)
        drug = config.drug
        return Protocol(
            model=model,
            cohort=cohort,
            arms=arms,
            events=events[0],
            pattern=events[1],
            visits=self.schedule(),
            sizes=DoseSizes(
                drug.rounding, drug.weekly_rounding, drug.lowest, drug.highest, drug.every
            ),
            tolerances=self.tolerances(),
            vocabulary=vocabulary,
            late=late,
            quantities=quantities,
            strata=dict(config.trial.randomisation.strata.by),
            measured=tuple(measured),
            days=self.last_day,
            dosed_before_visit=config.visits.days is not None
            and drug.time_of_day < config.visits.time_of_day,
            doses_end=self.doses_end(),
            periods=Periods.of(config),
            period_effects=config.trial.crossover.period_effects if config.trial.crossover else {},
            most_visits=min(config.visits.most or MOST_VISITS, sum(events[1].slots)),
        )

    def model(self) -> Model | None:
        if not self.known(("model",), self.config.model, models.names(), "model"):
            return None
        model, solver = models.get(self.config.model), self.config.solver
        method = solver.method or model.method
        if model.diffusion is not None:
            self.note(("model",), "has noise, whose paths trials do not draw")
        least = self.tolerances().relative
        if "relative_tolerance" in solver.model_fields_set and solver.relative_tolerance < least:
            hint = "leave it out, raise it, or choose `precision: double`"
            message = f"single precision cannot do better than {least:g}"
            self.note(("solver", "relative_tolerance"), message, hint=hint)
        if method in FIXED_STEP and (solver.step or model.step) is None:
            hint = "state solver.step, for example 0.01 h"
            self.note(("solver", "method"), f"{method} needs a step", found="", hint=hint)
        if method in EXPONENTIAL and not model.gates:
            message = f"{method} is for models with gates, and {model.name} names none"
            self.note(("solver", "method"), message, found="")
        if method in CLOSED_FORM and model.propagate is None:
            message = f"{method} is for models that have one, and {model.name} has none"
            self.note(("solver", "method"), message, found="")
        if solver.method in SERIES:
            self._check_series(model)
        return model

    def _check_series(self, model: Model) -> None:
        # Not on top: it takes JAX to look at a model's operations.
        from insilico.solve.methods.taylor import without_rule

        if unknown := without_rule(model):
            message = f"has no rule for {', '.join(unknown)}, which {model.name} uses"
            others = [json.dumps(each) for each in ADAPTIVE if each not in SERIES]
            self.note(("solver", "method"), message, allowed=", ".join(others))

    def tolerances(self) -> Tolerances:
        """The solver's settings, as far as its precision can meet them."""
        solver = self.config.solver
        stated = Tolerances(
            solver.relative_tolerance, solver.absolute_tolerance, solver.max_steps, solver.step
        )
        return stated.attainable(solver.precision)

    def cohort(self, model: Model | None) -> Cohort | None:
        try:
            cohort = Cohort.from_spec(self.config.cohort, self.document, model=model)
        except ConfigError as error:
            self.problems += error.problems
            return self.cohort_without_criteria(model)
        if model is not None and cohort.population.model != model.name:
            self.note(
                ("cohort",),
                f"{cohort.population.name} is a population of the model {cohort.population.model}",
                hint=f"the trial's model is {model.name}",
            )
        return cohort

    def cohort_without_criteria(self, model: Model | None) -> Cohort | None:
        """For what the rest of the config may name, where only criteria are wrong."""
        spec = self.config.cohort.model_copy(update={"eligibility": ()})
        try:
            return Cohort.from_spec(spec, self.document, model=model)
        except ConfigError:
            return None

    def tried(self, cohort: Cohort) -> None:
        """Note what only candidates show: a cohort that nobody belongs to."""
        try:
            cohort.check(self.document)
        except ConfigError as error:
            self.problems += error.problems

    def schedule(self) -> Schedule:
        """When visits may be, of a config without mistakes in that."""
        visits = self.config.visits
        if visits.times is not None:
            return VisitTimes(tuple(visits.times), self.config.drug.first_dose)
        return VisitDays(
            tuple(visits.days or ()), visits.time_of_day, int(visits.retry_after), self.last_day
        )

    def visits(self, model: Model | None) -> list[str]:
        spec = self.config.visits
        outputs = list(model.quantities("Outputs")) if model else []
        measured = list(spec.measure)
        for index, name in enumerate(spec.measure):
            if model and not self.known(
                ("visits", "measure", index), name, outputs, "output to measure"
            ):
                # What was meant may be any of them; its other uses are not to blame.
                measured = outputs
            if name in spec.measure[:index]:
                self.note(("visits", "measure", index), "is listed twice")
        for name in spec.quantified_from:
            self.known(("visits", "quantified_from", name), name, measured, "measured output")
        if (spec.days is None) == (spec.times is None):
            self.note(("visits",), "needs one of `days` and `times`", key=True)
        elif spec.times is not None:
            self.visit_times(spec.times)
        else:
            self.visit_days(spec.days or [])
        return measured

    def visit_times(self, times: Sequence[float]) -> None:
        for index, (earlier, later) in enumerate(itertools.pairwise(times), 1):
            if later < earlier + MINUTE * (1 - 1e-6):
                self.note(
                    ("visits", "times", index),
                    f"must come at least a minute after the time before, {earlier:g} h",
                )
        until = HOURS_A_DAY * self.config.trial.duration
        for index, time in enumerate(times):
            if time > until * (1 + 1e-9):
                self.note(
                    ("visits", "times", index),
                    f"is after the trial's end, {until:g} h after the first dose",
                    hint="make trial.duration longer",
                )
        for key in ("time_of_day", "retry_after"):
            if key in self.config.visits.model_fields_set:
                self.note(("visits", key), "means nothing to visits at `times`", found="")
        for name, arm in self.config.arms.items():
            for key in ("titration", "revision"):
                if getattr(arm, key) is not None:
                    self.note(
                        ("arms", name, key),
                        "goes with visits on days, and not with visits at times",
                        found="",
                        hint="state visits.days in place of visits.times",
                    )

    def visit_days(self, days: Sequence[int]) -> None:
        spec = self.config.visits
        if list(days) != sorted(set(days)):
            self.note(("visits", "days"), "days must increase", found=str(list(days)))
        for index, day in enumerate(days):
            if day > self.last_day:
                self.note(
                    ("visits", "days", index),
                    f"is after the trial's end on day {self.last_day}",
                    allowed=f"1 to {self.last_day}",
                )
        if spec.retry_after % 1:
            self.note(("visits", "retry_after"), "must be whole days")

    def titrations(self, measured: Sequence[str]) -> dict[str, Titration]:
        found = {}
        for name, spec in self.config.titrations.items():
            path = ("titrations", name)
            self.known((*path, "of"), spec.of, measured, "measured output")
            for message in band_problems(list(spec.bands)):
                self.note((*path, "bands"), message, found="")
            found[name] = Titration.from_spec(spec)
        return found

    def parameter(self, path: Sequence[str | int], name: str, model: Model) -> None:
        self.known(path, name, model.Parameters._fields, "parameter of the model")

    def arm(
        self,
        name: str,
        spec: ArmSpec,
        model: Model | None,
        formulas: Mapping[str, Formula],
        titrations: Mapping[str, Titration],
        vocabulary: Mapping[str, Name],
        at_visit: Mapping[str, Name],
    ) -> Arm:
        path = ("arms", name)
        if model is not None:
            for parameter in spec.parameters:
                self.parameter((*path, "parameters", parameter), parameter, model)
        for other, of_other in self.config.arms.items():
            if other == name:
                break
            if of_other.label == spec.label:
                self.note((*path, "label"), f"is the label of the arm {other} too")

        def named(key: Sequence[str | int], names: Sequence[str]) -> tuple[Formula, ...]:
            return tuple(
                formulas[formula]
                for index, formula in enumerate(names)
                if self.formula((*path, *key, index), formula, formulas)
            )

        start = named(("start",), spec.start)
        for index, formula in enumerate(start):
            self.early((*path, "start", index), formula.expression)
            if len(start) == len(spec.start):
                self.at_start((*path, "start", index), formula, vocabulary, at_visit)
        with_maintenance = {**vocabulary, "maintenance": Name(unit="mg")}
        for index, entry in enumerate(spec.loading):
            place = (*path, "loading", index)
            self.early((*place, "dose"), entry.dose)
            if vocabulary:
                self.expression((*place, "dose"), entry.dose, with_maintenance, "number")
            if entry.day > self.last_day:
                self.note((*place, "day"), f"is after the trial's end on day {self.last_day}")
            elif not self.doses_on(entry.day):
                self.note((*place, "day"), "is a day without a dose")
            if entry.day in [before.day for before in spec.loading[:index]]:
                self.note((*place, "day"), "is listed twice")
        revision: tuple[Formula, ...] = ()
        days: tuple[int, ...] = ()
        if spec.revision is not None:
            revision = named(("revision", "formulas"), spec.revision.formulas)
            days = tuple(spec.revision.days)
            if list(days) != sorted(set(days)):
                self.note((*path, "revision", "days"), "days must increase", found=str(list(days)))
            for index, day in enumerate(days):
                if day > self.last_day:
                    self.note(
                        (*path, "revision", "days", index),
                        f"is after the trial's end on day {self.last_day}",
                    )
                elif day > self.doses_end():
                    self.note(
                        (*path, "revision", "days", index),
                        f"comes after the last dose, on day {self.doses_end():g}",
                    )
            for index, formula in enumerate(revision):
                self.early((*path, "revision", "formulas", index), formula.expression)
                self.days_back((*path, "revision", "formulas", index), formula)
                absent = [name for name in formula.expression.names if name not in at_visit]
                if vocabulary and absent:
                    self.absent((*path, "revision", "formulas", index), formula, absent)
        titration = None
        if spec.titration is not None and self.known(
            (*path, "titration"), spec.titration, list(titrations), "titration"
        ):
            titration = titrations[spec.titration]
        loading = {entry.day: entry.dose for entry in spec.loading}
        last_loading = max(loading, default=0)
        # What is measured on the first day, before any dose, says nothing of the dose; and a dose
        # of loading is none to adjust.
        first = spec.titration_from_day or max(1, last_loading, *days) + 1
        if spec.titration_from_day is not None and spec.titration_from_day <= last_loading:
            self.note(
                (*path, "titration_from_day"),
                f"comes while loading goes on, until day {last_loading}",
                allowed=f"from {last_loading + 1}",
            )
        elif spec.titration_from_day is not None and spec.titration_from_day > self.last_day:
            self.note(
                (*path, "titration_from_day"), f"is after the trial's end on day {self.last_day}"
            )
        for index, entry in enumerate(spec.loading):
            if days and entry.day >= min(days):
                self.note(
                    (*path, "loading", index, "day"),
                    f"comes after the revision of day {min(days)}, which sets the dose",
                )
        rule = ArmRule(days, revision, titration, first)
        return Arm(
            name, spec.label, start, loading, rule, spec.bioavailability, dict(spec.parameters)
        )

    def crossover(self, model: Model | None) -> None:
        """Note sequences that are none, arms that nobody is under, effects of no period."""
        spec = self.config.trial.crossover
        if spec is None:
            return
        path = ("trial", "crossover")
        periods = len(spec.sequences[0])
        for index, sequence in enumerate(spec.sequences):
            place = (*path, "sequences", index)
            for period, name in enumerate(sequence):
                self.known((*place, period), name, list(self.config.arms), "arm")
            if len(sequence) != periods:
                message = f"has {len(sequence)} periods, and the first sequence {periods}"
                self.note(place, message, found="")
            if sequence in spec.sequences[:index]:
                self.note(place, "is listed twice", found="")
        for name in self.config.arms:
            if not any(name in sequence for sequence in spec.sequences):
                self.note(("arms", name), "is in none of trial.crossover.sequences", key=True)
        if self.config.trial.randomisation.allocation is not None:
            self.note(
                ("trial", "randomisation", "allocation"),
                "means nothing to a crossover, in which every subject is randomised to a sequence",
                found="",
            )
        for name, effects in spec.period_effects.items():
            place = (*path, "period_effects", name)
            if model is not None:
                self.parameter(place, name, model)
            if len(effects) != periods:
                self.note(place, f"needs a factor for each of {periods} periods")

    def doses_on(self, day: int) -> bool:
        drug = self.config.drug
        last = drug.last_day or self.last_day
        if drug.every % 1:
            return True  # nobody knows, and that is said elsewhere
        return drug.first_day <= day <= last and (day - drug.first_day) % drug.every == 0

    def doses_end(self) -> float:
        """Day of the last dose where dosing ends before the trial; infinite where it does not."""
        drug = self.config.drug
        if drug.last_day is None or drug.last_day >= self.last_day:
            return math.inf
        return drug.last_day - (drug.last_day - drug.first_day) % drug.every

    def shortest_recheck(self, titrations: Mapping[str, Titration]) -> float:
        used = {spec.titration for spec in self.config.arms.values()}
        waits = [table.shortest_recheck for name, table in titrations.items() if name in used]
        gaps = np.diff(self.config.visits.days or [])
        between = [float(gap) for gap in gaps if gap > 0]
        return min([*waits, *between, self.config.visits.retry_after, float(self.last_day)])

    def doses(self) -> None:
        """Which doses there are and when they may be given."""
        drug = self.config.drug
        if drug.every % 1:
            self.note(("drug", "every"), "must be whole days")
        last = drug.last_day or self.last_day
        if last > self.last_day:
            self.note(("drug", "last_day"), f"is after the trial's end on day {self.last_day}")
        elif drug.first_day > last:
            self.note(("drug", "first_day"), f"is after the last day of dosing, day {last}")
        if drug.adherence is not None:
            mean, spread = drug.adherence.mean, drug.adherence.spread
            widest = math.sqrt(mean * (1.0 - mean))
            if spread > 0.0 and spread >= widest:
                self.note(
                    ("drug", "adherence", "spread"),
                    f"is more than shares around {mean:g} can be spread",
                    allowed=f"below {widest:.3g}, the root of mean·(1 − mean)" if widest else "0",
                )
        if drug.rounding is not None and drug.weekly_rounding is not None:
            self.note(("drug", "weekly_rounding"), "does not go with `rounding`; state one of them")
        if drug.lowest is not None and drug.highest is not None:
            sizes = DoseSizes(
                drug.rounding, drug.weekly_rounding, drug.lowest, drug.highest, drug.every
            )
            if drug.lowest > drug.highest:
                self.note(("drug", "lowest"), f"is above `highest` ({drug.highest:g} mg)")
            elif sizes.limits[0] > (sizes.limits[1] or 0.0):
                self.note(("drug", "rounding"), "leaves no dose between `lowest` and `highest`")

    def events(self, model: Model | None, recheck: float) -> tuple[Events, Pattern] | None:
        drug = self.config.drug
        self.doses()
        if model is None or not self.known(
            ("drug", "compartment"), drug.compartment, model.components(), "compartment"
        ):
            return None
        last = drug.last_day or self.last_day
        if drug.every % 1 or last > self.last_day or drug.first_day > last:
            return None
        doses = [
            Dose((day - 1) * HOURS_A_DAY + drug.time_of_day, drug.compartment, drug.fraction, 0)
            for day in range(drug.first_day, last + 1, int(drug.every))
        ]
        visits = self.schedule()
        if isinstance(visits, VisitTimes):
            if self.problems:
                return None  # the times may be among them
            doses = [dose for dose in doses if dose.time <= visits.clock[-1]]
            return schedule(model, doses, visits_at=visits.clock)
        until = visits.time(self.last_day)
        # A rule may ask for a visit a day: a recheck counts from the visit before.
        return schedule(
            model,
            [dose for dose in doses if dose.time <= until],
            visits_until=until,
            shortest_recheck=max(1.0, math.floor(min(recheck, self.last_day))) * HOURS_A_DAY,
        )
