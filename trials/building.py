"""From a config to the protocol that it describes.

What patients go through is checked on the way (that an arm's titration exists, that a formula reads
nothing unmeasured), all at once, with the place in the file.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

from cohorts import Cohort
from insilico import models
from insilico.config import ConfigError, Document, Expression, Name, is_name
from insilico.model import Model
from insilico.solve import Dose, Events, Pattern, Tolerances, schedule
from insilico.solve.methods import CLOSED_FORM, EXPONENTIAL, FIXED_STEP
from trials.checks import Checks
from trials.config import ArmSpec, TrialConfig
from trials.design import check_design
from trials.dosing import (
    HOURS_A_DAY,
    ArmRule,
    DoseSizes,
    Formula,
    LateKnowledge,
    Schedule,
    Titration,
    band_problems,
    library,
)
from trials.protocol import Arm, Protocol, visit_names
from trials.size import check_size, sizes

UNKNOWN = "unknown"
"""Category of a covariate that is not known yet."""

MOST_VISITS = 128
"""Visits for which there is room at most where the config does not say; fewer where rechecks are
too far apart for that many."""


def build(config: TrialConfig, document: Document) -> Protocol:
    """The protocol that a config describes. Raises `ConfigError` with every problem there is."""
    return _Builder(config, document).protocol()


class _Builder(Checks):
    def __init__(self, config: TrialConfig, document: Document):
        super().__init__(config, document)
        self.faulty: set[str] = set()
        self.late_quantities: set[str] = set()

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
            self.arm(name, spec, formulas, titrations, vocabulary, at_visit)
            for name, spec in config.arms.items()
        )
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
            visits=Schedule(
                days=tuple(config.visits.days),
                hour=config.visits.time_of_day,
                retry_after=int(config.visits.retry_after),
                last_day=self.last_day,
                doses_end=self.doses_end(),
            ),
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
            dosed_before_visit=drug.time_of_day < config.visits.time_of_day,
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
        return model

    def tolerances(self) -> Tolerances:
        """The solver's settings, as far as its precision can meet them."""
        solver = self.config.solver
        stated = Tolerances(
            solver.relative_tolerance, solver.absolute_tolerance, solver.max_steps, solver.step
        )
        return stated.attainable(solver.precision)

    def cohort(self, model: Model | None) -> Cohort | None:
        try:
            cohort = Cohort.from_spec(self.config.cohort, self.document)
        except ConfigError as error:
            self.problems += error.problems
            return self.cohort_without_criteria()
        if model is not None and cohort.population.model != model.name:
            self.note(
                ("cohort", "population"),
                f"is a population of the model {cohort.population.model}",
                hint=f"the trial's model is {model.name}",
            )
        return cohort

    def cohort_without_criteria(self) -> Cohort | None:
        """For what the rest of the config may name, where only criteria are wrong."""
        spec = self.config.cohort.model_copy(update={"eligibility": ()})
        try:
            return Cohort.from_spec(spec, self.document)
        except ConfigError:
            return None

    def tried(self, cohort: Cohort) -> None:
        """Note what only candidates show: a cohort that nobody belongs to."""
        try:
            cohort.check(self.document)
        except ConfigError as error:
            self.problems += error.problems

    def vocabulary(self, cohort: Cohort | None) -> tuple[dict[str, Name], LateKnowledge]:
        vocabulary = {} if cohort is None else dict(cohort.vocabulary)
        codes: dict[str, int] = {}
        for group, spec in self.config.availability.items():
            path = ("availability", group)
            for index, name in enumerate(spec.covariates):
                if not vocabulary or not self.known(
                    (*path, "covariates", index), name, list(vocabulary), "covariate"
                ):
                    continue
                if vocabulary[name].kind != "category":
                    self.note((*path, "covariates", index), "must be a covariate with categories")
                elif name in codes:
                    self.note((*path, "covariates", index), "is listed in two groups")
                else:
                    codes[name] = len(vocabulary[name].categories)
            days = [entry.day for entry in spec.known]
            for index, day in enumerate(days):
                if day > self.last_day:
                    self.note(
                        (*path, "known", index, "day"),
                        f"is after the trial's end on day {self.last_day}",
                    )
            shares = [entry.share for entry in spec.known]
            if days != sorted(set(days)) or shares != sorted(shares):
                self.note((*path, "known"), "days must increase and shares not fall", found="")
        # Every category may be unknown: a formula can have a term for it also in a trial that
        # knows everything.
        for name, known in vocabulary.items():
            if known.kind == "category":
                categories = (*known.categories, UNKNOWN)
                vocabulary[name] = dataclasses.replace(known, categories=categories)
        return vocabulary, LateKnowledge(codes)

    def covariate_names(self, vocabulary: Mapping[str, Name], at_visit: Mapping[str, Name]) -> None:
        """Note a covariate whose name an expression would take for something else."""
        for name in vocabulary:
            if name in at_visit or name == "maintenance":
                stated = ("cohort", "covariates", "stated", name)
                here = self.document.has(stated)
                self.note(
                    stated if here else ("visits", "measure"),
                    "has the name of what is known at a visit or of a dose"
                    if here
                    else f"has an output with the name of the covariate {name}",
                    found="",
                    hint="choose another name" if here else None,
                    key=here,
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
        if list(spec.days) != sorted(set(spec.days)):
            self.note(("visits", "days"), "days must increase", found=str(list(spec.days)))
        for index, day in enumerate(spec.days):
            if day > self.last_day:
                self.note(
                    ("visits", "days", index),
                    f"is after the trial's end on day {self.last_day}",
                    allowed=f"1 to {self.last_day}",
                )
        if spec.retry_after % 1:
            self.note(("visits", "retry_after"), "must be whole days")
        return measured

    def formulas(self, at_visit: Mapping[str, Name], *, known: bool) -> dict[str, Formula]:
        found = dict(library())
        for name, spec in self.config.formulas.items():
            before = len(self.problems)
            if known:
                self.expression(
                    ("formulas", name, "expression"), spec.expression, at_visit, "number", "visit"
                )
            if len(self.problems) > before:
                self.faulty.add(name)
            if name in library():
                self.note(
                    ("formulas", name),
                    f"has the name of a published formula ({found[name].title})",
                    hint="leave it out to use that one, or choose a name of its own",
                    key=True,
                )
            found[name] = Formula(name, spec.expression, spec.unit, name, spec.source)
        return found

    def formula(
        self, path: Sequence[str | int], name: str, formulas: Mapping[str, Formula]
    ) -> bool:
        """Whether there is such a formula; notes it where there is none."""
        if dose := re.match(r"\d+(\.\d+)?", name):
            self.note(
                path,
                "must be the name of a formula",
                hint=f"for a fixed dose add formulas: {{fixed: {{expression: {dose[0]}}}}} and "
                "write fixed here",
            )
            return False
        return self.known(path, name, list(formulas), "formula", ("formulas",))

    def quantities(
        self,
        formulas: Mapping[str, Formula],
        vocabulary: dict[str, Name],
        at_visit: Mapping[str, Name],
    ) -> tuple[dict[str, Expression | Formula], dict[str, Name]]:
        found: dict[str, Expression | Formula] = {}
        names = dict(vocabulary)
        for name, spec in self.config.quantities.items():
            path = ("quantities", name)
            if not is_name(name):
                self.note(path, "has the name of a word of expressions", key=True)
            elif name in vocabulary:
                self.note(path, "has the name of a covariate", key=True)
            elif name in at_visit or name == "maintenance":
                self.note(path, "has the name of what is known at a visit or of a dose", key=True)
            if (spec.expression is None) == (spec.formula is None):
                self.note(path, "needs one of `expression` and `formula`", key=True)
            elif spec.expression is not None:
                self.expression((*path, "expression"), spec.expression, names, "number")
                found[name] = spec.expression
            elif spec.formula is not None and self.formula(
                (*path, "formula"), spec.formula, formulas
            ):
                found[name] = formulas[spec.formula]
                self.at_start((*path, "formula"), formulas[spec.formula], vocabulary, at_visit)
            names[name] = Name(description=spec.formula or "")
            if name in found:
                self.mark_late(name, found[name])
        # Without a cohort nothing can be said of names, rather than that all of them are wrong.
        return found, names if vocabulary else {}

    def mark_late(self, name: str, quantity: Expression | Formula) -> None:
        """Remember a quantity that depends on what is not known from the start."""
        expression = quantity.expression if isinstance(quantity, Formula) else quantity
        listed = {each for spec in self.config.availability.values() for each in spec.covariates}
        if any(each in listed or each in self.late_quantities for each in expression.names):
            self.late_quantities.add(name)

    def early(self, path: Sequence[str | int], expression: Expression) -> None:
        """Note a dose that reads a quantity computed from what nobody may know yet."""
        for name in expression.names:
            if name in self.late_quantities:
                self.note(
                    path,
                    f"reads the quantity {name}, which depends on a covariate that is known late",
                    found="",
                    hint="use a formula of the covariates themselves, which are `unknown` until "
                    "they arrive",
                )

    def at_start(
        self,
        path: Sequence[str | int],
        formula: Formula,
        vocabulary: Mapping[str, Name],
        at_visit: Mapping[str, Name],
    ) -> None:
        """Note a formula that reads what is not known before the first dose."""
        if not vocabulary:
            return
        missing = [name for name in formula.expression.names if name not in vocabulary]
        unmeasured = [name for name in missing if name in at_visit]
        absent = [name for name in missing if name not in at_visit]
        if unmeasured:
            self.note(
                path,
                f"formula {formula.name} reads {', '.join(unmeasured)}, which nobody has measured "
                "before the first dose",
                hint="such a formula belongs under `revision`",
            )
        if absent:
            self.absent(path, formula, absent)

    def absent(self, path: Sequence[str | int], formula: Formula, names: Sequence[str]) -> None:
        if formula.name in self.faulty:
            return  # its own mistake has been told
        self.note(
            path,
            f"formula {formula.name} reads {', '.join(names)}, which the cohort does not have",
            hint="state it under cohort.covariates.stated, or choose another formula",
        )

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
        formulas: Mapping[str, Formula],
        titrations: Mapping[str, Titration],
        vocabulary: Mapping[str, Name],
        at_visit: Mapping[str, Name],
    ) -> Arm:
        path = ("arms", name)
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
        return Arm(name, spec.label, start, loading, rule)

    def days_back(self, path: tuple[str | int, ...], formula: Formula) -> None:
        """Note a formula that reads doses of days on which none may have been given."""
        lags = [name for name in formula.expression.names if name.startswith("dose_")]
        every = self.config.drug.every
        if lags and every != 1 and not every % 1:
            self.note(
                path,
                f"reads {', '.join(sorted(lags))}, doses of days back, which not every day has "
                f"with a dose every {self.config.drug.every:g} d",
                hint="such a formula goes with daily doses",
            )

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
        gaps = np.diff(self.config.visits.days)
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
        until = (self.last_day - 1) * HOURS_A_DAY + self.config.visits.time_of_day
        # A rule may ask for a visit a day: a recheck counts from the visit before.
        return schedule(
            model,
            [dose for dose in doses if dose.time <= until],
            visits_until=until,
            shortest_recheck=max(1.0, math.floor(min(recheck, self.last_day))) * HOURS_A_DAY,
        )
