"""A config read, checked and resolved: what every command and script starts from."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

import numpy as np

from insilico.config import ConfigError, Document, Expression, Path, Problem, load
from insilico.config.problems import override_label
from trials.building import build
from trials.config import SensitivitySpec, TrialConfig
from trials.dosing import Formula
from trials.notes import notes_of
from trials.protocol import Protocol
from trials.size import sizes, total

_NO_CHANGE = frozenset(
    ("title", "description", "seed", "sensitivity", "published", "assumptions", "truth", "keep",
     "largest_failed_share", "success")
)  # fmt: skip
"""Sections that no true effect depends on."""

SAMPLE = 4096
"""Candidates that a config is tried on."""


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """One trial, as its config describes it."""

    document: Document
    config: TrialConfig
    protocol: Protocol
    overrides: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Bytes of memory that the numbers of a run take at least."""
        protocol = self.protocol
        shape = sizes(
            self.config,
            protocol.cohort,
            protocol.model,
            protocol.most_visits,
            len(protocol.dosing_times),
        )
        return total(self.config, shape)

    @property
    def notes(self) -> list[str]:
        """What is worth knowing of a config that is no mistake in it."""
        return notes_of(self.config, self.protocol, self._samples())

    @property
    def estimate_files(self) -> dict[str, FilePath]:
        """The files of estimates that the population is imported from, by the paths of their
        fields."""
        described = self.config.cohort.described
        if described is None or described.estimates is None:
            return {}
        found = described.estimates.files(FilePath(self.document.file).parent)
        return {f"cohort.described.estimates.{field}": file for field, file in found.items()}

    def check(self) -> None:
        """Try the config, and each of its sensitivity scenarios, on sample candidates.

        Raises `ConfigError` with every problem found: nobody is eligible, an expression divides by
        zero or has no value for somebody or at a visit that may happen, a dose is negative.
        """
        problems = self.on_candidates()
        for name, scenario in self.config.sensitivity.items():
            if misstated := self._misstated(name, scenario):
                problems += misstated
                continue
            told = [(problem.field, problem.message) for problem in problems]
            problems += [
                self._of_scenario(name, problem)
                for problem in self._wrong_under(scenario)
                if (problem.field, problem.message) not in told
            ]
        if problems:
            raise ConfigError(problems)

    def on_candidates(self) -> list[Problem]:
        """What only candidates show: nobody is eligible, or an expression has no value for some."""
        try:
            self.protocol.cohort.check(self.document)
        except ConfigError as error:
            return list(error.problems)
        return self._tried()

    def _wrong_under(self, scenario: SensitivitySpec) -> list[Problem]:
        """What a scenario makes wrong."""
        try:
            changed = self.changed(changes_of(scenario.set))
        except ConfigError as error:
            return list(error.problems)
        if changed.config.analyses != self.config.analyses:
            message = "changes the analyses, so that its effects would be of other estimands"
            return [self.document.problem(("analyses",), message, found="")]
        return changed.on_candidates()

    def _misstated(self, name: str, scenario: SensitivitySpec) -> list[Problem]:
        """What is wrong with a scenario's changes before they are made."""
        where = ("sensitivity", name, "set")
        places = list(_places(scenario.set))
        keys = [key for key, _ in places]
        problems = []
        for key, path in places:
            if "" in key.split("."):
                message = f'"{key}" is no place: it is written section.key'
                problems.append(self.document.problem((*where, *path), message, found=""))
            elif keys.count(key) > 1 or any(other.startswith(f"{key}.") for other in keys):
                message = f'the key "{key}" is given twice'
                hint = "remove one"
                problem = self.document.problem((*where, *path), message, found="", hint=hint)
                problems.append(problem)
        if not problems and all(key.split(".")[0] in _NO_CHANGE for key in keys):
            message = "changes nothing that a true effect depends on"
            hint = "change the cohort, the model, the drug, visits or arms"
            problems.append(self.document.problem(where, message, found="", hint=hint))
        return problems

    def _of_scenario(self, name: str, problem: Problem) -> Problem:
        """A problem that a scenario causes, at the change that causes it."""
        scenario = self.config.sensitivity[name]
        causes = [
            path
            for key, path in _places(scenario.set)
            if problem.file == override_label(key)
            or f"{problem.field}.".startswith(f"{key}.")
            or f"{key}.".startswith(f"{problem.field}.")
        ]
        field = f"{problem.field}: " if problem.field else ""
        return self.document.problem(
            ("sensitivity", name, "set", *(causes[0] if causes else ())),
            f"makes the config wrong: {field}{problem.message}",
            found=problem.found or "",
            allowed=problem.allowed,
            hint=problem.hint,
        )

    def _tried(self) -> list[Problem]:
        """What is wrong with expressions on the values they may meet."""
        protocol = self.protocol
        values = self._samples()
        # No measurement is exactly zero; a divisor may be, where the measurement is another number.
        seen = np.logical_and.reduce([values[name] > 0 for name in protocol.measured])
        cohort = protocol.cohort
        enrolled = np.logical_and.reduce(
            [np.ones(SAMPLE, bool), *(cohort.holds(rule, values) for rule in cohort.criteria)]
        )
        problems = []
        for path, expression in self._expressions():
            zero = [
                divisor
                for divisor in expression.denominators
                if np.any(np.asarray(divisor.evaluate(values, protocol.rule_vocabulary)) == 0)
            ]
            result = expression.evaluate(values, protocol.rule_vocabulary)
            result = np.broadcast_to(result, (SAMPLE,))[seen]
            said: list[str] = []
            hint = None
            if zero:
                said = [f"divides by zero for some subjects: {divisor} is 0" for divisor in zero]
                hint = "guard it with `a if c else b`"
            elif not np.all(np.isfinite(result)):
                said = ["has no finite value for some subjects"]
                hint = "guard it with `a if c else b`; `log` and `sqrt` need what is above 0"
            elif self._starts_doses(path, expression) and np.any(result < 0):
                said = ["is a negative dose for some subjects"]
            elif path[-1] == "subset" and not np.any(result[enrolled[seen]] != 0):
                said = [f"holds for none of {np.sum(enrolled):,} eligible candidates"]
                hint = "widen it, or the eligibility, so that there are such people to analyse"
            problems += [
                self.document.problem(path, message, found="", hint=hint) for message in said
            ]
        return problems

    def _starts_doses(self, path: Path, expression: Expression) -> bool:
        """Whether an expression gives doses before anybody has been seen at a visit."""
        seen = {n for n, each in self.protocol.rule_vocabulary.items() if each.available == "visit"}
        return path[0] == "arms" or (path[0] == "formulas" and not seen & set(expression.names))

    def _expressions(self) -> Iterator[tuple[Path, Expression]]:
        """The config's expressions on subjects and visits, each with its place."""
        config = self.config
        for name, quantity in self.protocol.quantities.items():
            formula = isinstance(quantity, Formula)
            yield ("quantities", name), quantity.expression if formula else quantity
        for name, spec in config.formulas.items():
            yield ("formulas", name, "expression"), spec.expression
        for name, spec in config.analyses.items():
            if spec.subset is not None:
                yield ("analyses", name, "subset"), spec.subset
        for name, expression in self.protocol.strata.items():
            yield ("trial", "randomisation", "strata", "by", name), expression
        for name, arm in config.arms.items():
            for index, entry in enumerate(arm.loading):
                yield ("arms", name, "loading", index, "dose"), entry.dose

    def _samples(self) -> dict[str, np.ndarray]:
        """Values of every name that an expression may use, (SAMPLE,) each."""
        protocol = self.protocol
        values = {
            name: np.asarray(column)
            for name, column in protocol.cohort.candidates(self.config.seed, SAMPLE).items()
        }
        for name, quantity in protocol.quantities.items():
            if isinstance(quantity, Formula):
                value = quantity.dose(values, protocol.vocabulary)
            else:
                value = quantity.evaluate(values, protocol.vocabulary)
            values[name] = np.broadcast_to(np.asarray(value, float), (SAMPLE,))
        return values | self._visit_samples()

    def _visit_samples(self) -> dict[str, np.ndarray]:
        """Values that a visit may meet: measured ones to one decimal, doses from none to large."""
        index = np.arange(SAMPLE)
        samples: dict[str, np.ndarray] = {"maintenance": 0.5 + index % 40 / 2.0}
        for name in self.protocol.rule_vocabulary:
            if name in self.protocol.measured:
                # What begins above 0 without a drug, like an INR, is never measured as 0.
                least = 1 if self._begins_above_zero(name) else 0
                samples[name] = np.round(0.1 * np.maximum(index * 7 % 200, least), 1)
            elif name == "day":
                samples[name] = 1.0 + index % self.protocol.days
            elif name == "dose" or name.startswith("dose_"):
                samples[name] = (index * (3 + len(name)) % 41) / 2.0
        return samples

    def _begins_above_zero(self, output: str) -> bool:
        """Whether an output of the model's typical patient is above 0 before any dose."""
        model = self.protocol.model
        if model.typical is None:
            return False
        outputs = model.outputs(0.0, model.initial(model.typical), model.typical)
        return bool(getattr(outputs, output) > 0)

    def changed(self, changes: Sequence[str]) -> Study:
        """The study with `key=value` changes applied on top of its own. Raises `ConfigError`."""
        return _resolve(self.document.file, (*self.overrides, *changes))


def needed(study: object) -> None:
    """Raise `TypeError` for what is no study, as when a config's path is given for one."""
    if not isinstance(study, Study):
        found = repr(study) if isinstance(study, str) else type(study).__name__
        raise TypeError(f"a study is needed, as `trials.read(path)` gives it; found {found}")


def read(path: str | os.PathLike[str], overrides: str | Sequence[str] = ()) -> Study:
    """Read a trial's config file.

    **Arguments:**

    - `path`: the YAML file.
    - `overrides`: changes as `key=value`, such as `trial.replicates=20`; one or several.

    Raises `ConfigError` with every problem found, each with its line; see `Study.check` too. Raises
    `TypeError` for overrides that are no texts.
    """
    study = _resolve(path, _texts(overrides))
    study.check()
    return study


def _texts(overrides: object) -> tuple[str, ...]:
    """Overrides one by one. Raises `TypeError` for anything but texts."""
    found: tuple[object, ...] = (overrides,)
    if isinstance(overrides, Iterable) and not isinstance(overrides, str | Mapping):
        found = tuple(overrides)
    texts = tuple(each for each in found if isinstance(each, str))
    if len(texts) < len(found):
        raise TypeError(
            "overrides must be texts such as 'trial.replicates=20', one or a list; "
            f"found {overrides!r}"
        )
    return texts


def _resolve(path: str | os.PathLike[str], overrides: tuple[str, ...]) -> Study:
    whole = load(path, overrides)

    def study(document: Document, config: TrialConfig) -> Study:
        found = Study(document, config, build(config, document), overrides)
        # Of the whole, candidates are tried by `Study.check`.
        if document is not whole and (problems := found.on_candidates()):
            raise ConfigError(problems)
        return found

    return whole.checked(TrialConfig, study)


def changes_of(values: Mapping[str, object]) -> list[str]:
    """A scenario's changes as overrides.

    A section among them changes only what it names, as a section of the file would be read: the
    keys that stand beside those stay.
    """
    changes = []
    for key, path in _places(values):
        value: Any = values
        for step in path:
            value = value[step]
        changes.append(f"{key}={json.dumps(value)}")
    return changes


def _places(values: Mapping[str, object], path: Path = ()) -> Iterator[tuple[str, Path]]:
    """Each change's dotted place in the config, and where it stands among the changes."""
    for key, value in values.items():
        here = (*path, key)
        if isinstance(value, Mapping) and value:
            yield from _places(value, here)
        else:
            yield ".".join(map(str, here)), here
