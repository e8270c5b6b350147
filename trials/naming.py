"""The names that a trial's expressions may use, and its formulas and quantities, checked."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

from cohorts import Cohort
from insilico.config import Document, Expression, Name, is_name
from trials.checks import Checks
from trials.config import TrialConfig
from trials.dosing import Formula, LateKnowledge, library

UNKNOWN = "unknown"
"""Category of a covariate that is not known yet."""

OF_A_SUBJECT = ("attempts",)
"""What results hold of a subject beside covariates and quantities, and parameters with a prefix."""


class Naming(Checks):
    """Problems of a config's names, noted as they are found; see `trials.building`."""

    def __init__(self, config: TrialConfig, document: Document):
        super().__init__(config, document)
        self.faulty: set[str] = set()
        self.late_quantities: set[str] = set()

    def vocabulary(self, cohort: Cohort | None) -> tuple[dict[str, Name], LateKnowledge]:
        """The cohort's covariates, empty without a cohort, and which of them arrive late."""
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
        """Note a covariate whose name an expression, or the results, take for something else."""
        for name in self.config.cohort.covariates.stated:
            self.kept(("cohort", "covariates", "stated", name), name)
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

    def kept(self, path: Sequence[str | int], name: str) -> None:
        """Note a covariate or quantity that has the name of something else kept of a subject."""
        parameters = (name,) if name.startswith("parameter_") else ()
        self.free(path, name, (*OF_A_SUBJECT, *parameters))

    def formulas(self, at_visit: Mapping[str, Name]) -> dict[str, Formula]:
        """The published formulas and the config's own; `at_visit` is empty where names of a visit
        cannot be told."""
        found = dict(library())
        for name, spec in self.config.formulas.items():
            before = len(self.problems)
            if at_visit:
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
        """The config's quantities, and the vocabulary with their names beside the covariates'."""
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
            else:
                self.kept(path, name)
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
        if not (vocabulary and at_visit):
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
        """Note a formula that reads what the cohort does not have."""
        if formula.name in self.faulty:
            return  # its own mistake has been told
        self.note(
            path,
            f"formula {formula.name} reads {', '.join(names)}, which the cohort does not have",
            hint="state it under cohort.covariates.stated, or choose another formula",
        )

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
