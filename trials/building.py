"""From a config to the protocol that it describes.

What patients go through is checked on the way (that an arm's titration exists, that a formula reads
nothing unmeasured), all at once, with the place in the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cohorts import Cohort
from insilico import models
from insilico.config import ConfigError, Document, Name
from insilico.model import Model
from insilico.time_units import counted_in
from trials.config import ArmSpec, TrialConfig
from trials.design import check_design
from trials.dosing import (
    ArmRule,
    DoseSizes,
    Formula,
    Titration,
    band_problems,
)
from trials.periods import Periods
from trials.protocol import Arm, Protocol, visit_names
from trials.scheduling import Scheduling
from trials.size import check_size, sizes
from trials.solving import check_solver, tolerances_of

MOST_VISITS = 128
"""Visits for which there is room at most where the config does not say; fewer where rechecks are
too far apart for that many."""


def build(config: TrialConfig, document: Document) -> Protocol:
    """The protocol that a config describes. Raises `ConfigError` with every problem there is."""
    return _Builder(config, document).protocol()


class _Builder(Scheduling):
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
        occasions = self.occasions(cohort)
        events = self.events(model, cohort, recheck, occasions)
        if model is not None and cohort is not None:
            doses = 0 if events is None else len(events[1].ordered)
            most_visits = config.visits.most or MOST_VISITS
            check_size(self, sizes(config, cohort, model, most_visits, doses))
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
            tolerances=tolerances_of(config.solver),
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
            occasions=occasions,
            most_visits=min(config.visits.most or MOST_VISITS, sum(events[1].slots)),
        )

    def model(self) -> Model | None:
        if not self.known(("model",), self.config.model, models.names(), "model"):
            return None
        model = counted_in(models.get(self.config.model), "h")
        check_solver(self, model)
        return model

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

    def titrations(self, measured: Sequence[str]) -> dict[str, Titration]:
        found = {}
        for name, spec in self.config.titrations.items():
            path = ("titrations", name)
            self.known((*path, "of"), spec.of, measured, "measured output")
            for message in band_problems(list(spec.bands)):
                self.note((*path, "bands"), message, found="")
            found[name] = Titration.from_spec(spec)
        return found

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
