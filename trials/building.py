"""From a config to the protocol that it describes.

What patients go through is checked on the way (that an arm's titration exists, that a formula reads
nothing unmeasured), all at once, with the place in the file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from cohorts import Cohort
from insilico import models
from insilico.config import ConfigError, Document, Expression, Name, Path
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
        # Without a model nothing can be said of what is known at a visit.
        at_visit = {**vocabulary, **known_at_visit} if vocabulary and model else {}
        formulas = self.formulas(at_visit)
        quantities, vocabulary = self.quantities(formulas, vocabulary, known_at_visit)
        at_visit = {**vocabulary, **known_at_visit} if at_visit else {}
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
        name, names = self.config.model, models.names()
        if name not in names:
            told = self.document.unknown(("model",), name, names, "model")
            self.problems.append(dataclasses.replace(told, hint=told.hint or models.HOW_TO_ADD))
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
        start = self.formulas_named((*path, "start"), spec.start, formulas)
        for index, formula in enumerate(start):
            self.early((*path, "start", index), formula.expression)
            if len(start) == len(spec.start):
                self.at_start((*path, "start", index), formula, vocabulary, at_visit)
        loading = self.loading(path, spec, vocabulary)
        days, revision = self.revision(path, spec, formulas, vocabulary, at_visit)
        titration = None
        if spec.titration is not None and self.known(
            (*path, "titration"), spec.titration, list(titrations), "titration"
        ):
            titration = titrations[spec.titration]
        first = self.titration_start(path, spec, max(loading, default=0), days)
        rule = ArmRule(days, revision, titration, first)
        return Arm(
            name, spec.label, start, loading, rule, spec.bioavailability, dict(spec.parameters)
        )

    def formulas_named(
        self, path: Path, names: Sequence[str], formulas: Mapping[str, Formula]
    ) -> tuple[Formula, ...]:
        """The formulas of a list of names at `path`, without those that there are not."""
        return tuple(
            formulas[formula]
            for index, formula in enumerate(names)
            if self.formula((*path, index), formula, formulas)
        )

    def loading(
        self, path: Path, spec: ArmSpec, vocabulary: Mapping[str, Name]
    ) -> dict[int, Expression]:
        """The doses of loading days."""
        with_maintenance = {**vocabulary, "maintenance": Name(unit="mg")}
        revised = min(spec.revision.days, default=None) if spec.revision is not None else None
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
            if revised is not None and entry.day >= revised:
                message = f"comes after the revision of day {revised}, which sets the dose"
                self.note((*place, "day"), message)
        return {entry.day: entry.dose for entry in spec.loading}

    def revision(
        self,
        path: Path,
        spec: ArmSpec,
        formulas: Mapping[str, Formula],
        vocabulary: Mapping[str, Name],
        at_visit: Mapping[str, Name],
    ) -> tuple[tuple[int, ...], tuple[Formula, ...]]:
        """The days on which the dose is revised, and the formulas that do it."""
        if spec.revision is None:
            return (), ()
        path, days = (*path, "revision"), tuple(spec.revision.days)
        revision = self.formulas_named((*path, "formulas"), spec.revision.formulas, formulas)
        if list(days) != sorted(set(days)):
            self.note((*path, "days"), "days must increase", found=str(list(days)))
        for index, day in enumerate(days):
            if day > self.last_day:
                message = f"is after the trial's end on day {self.last_day}"
                self.note((*path, "days", index), message)
            elif day > self.doses_end():
                message = f"comes after the last dose, on day {self.doses_end():g}"
                self.note((*path, "days", index), message)
        for index, formula in enumerate(revision):
            place = (*path, "formulas", index)
            self.early(place, formula.expression)
            self.days_back(place, formula)
            absent = [name for name in formula.expression.names if name not in at_visit]
            if at_visit and absent:
                self.absent(place, formula, absent)
        return days, revision

    def titration_start(
        self, path: Path, spec: ArmSpec, last_loading: int, revised: Sequence[int]
    ) -> int:
        """The first day on which the dose is titrated.

        What is measured on the day of the first dose, or before, says nothing of the dose; and a
        dose of loading is none to adjust.
        """
        place, stated = (*path, "titration_from_day"), spec.titration_from_day
        first = self.config.drug.first_day
        if stated is None:
            return max(first, last_loading, *revised) + 1
        if stated < first:
            self.note(
                place, f"comes before the first dose, on day {first}", allowed=f"from {first}"
            )
        elif stated <= last_loading:
            message = f"comes while loading goes on, until day {last_loading}"
            self.note(place, message, allowed=f"from {last_loading + 1}")
        elif stated > self.last_day:
            self.note(place, f"is after the trial's end on day {self.last_day}")
        return stated
