"""A config read, checked and resolved: what every command and script starts from."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence

import numpy as np

from insilico.config import ConfigError, Document, Expression, Path, Problem, load
from trials.building import build
from trials.config import TrialConfig
from trials.dosing import Formula
from trials.protocol import Protocol

SAMPLE = 4096
"""Candidates that a config is tried on."""


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """One trial, as its config describes it."""

    document: Document
    config: TrialConfig
    protocol: Protocol
    overrides: tuple[str, ...] = ()

    def check(self) -> None:
        """Try the config, and each of its sensitivity scenarios, on sample candidates.

        Raises `ConfigError` with every problem found: nobody is eligible, an expression divides by
        zero or has no value for somebody or at a visit that may happen, a dose is negative.
        """
        problems = self.on_candidates()
        for name, scenario in self.config.sensitivity.items():
            try:
                changed = self.changed(changes_of(scenario.set))
                if changed.config.analyses != self.config.analyses:
                    problems.append(
                        self.document.problem(
                            ("sensitivity", name, "set"),
                            "changes the analyses, so that its effects would be of other estimands",
                            found="",
                        )
                    )
                    continue
                dataclasses.replace(
                    changed, config=changed.config.model_copy(update={"sensitivity": {}})
                ).check()
            except ConfigError as error:
                mine = [(problem.field, problem.message) for problem in problems]
                problems += [
                    self._of_scenario(name, problem)
                    for problem in error.problems
                    if (problem.field, problem.message) not in mine
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

    def _of_scenario(self, name: str, problem: Problem) -> Problem:
        return self.document.problem(
            ("sensitivity", name, "set"),
            f"makes the config wrong: {problem.field}: {problem.message}",
            found=problem.found or "",
            allowed=problem.allowed,
            hint=problem.hint,
        )

    def _tried(self) -> list[Problem]:
        """What is wrong with expressions on the values they may meet."""
        protocol, config = self.protocol, self.config
        values = {
            name: np.asarray(column)
            for name, column in protocol.cohort.candidates(config.seed, SAMPLE).items()
        }
        found: list[tuple[Path, Expression]] = []
        for name, quantity in protocol.quantities.items():
            formula = isinstance(quantity, Formula)
            found.append((("quantities", name), quantity.expression if formula else quantity))
            if formula:
                value = quantity.dose(values, protocol.vocabulary)
            else:
                value = quantity.evaluate(values, protocol.vocabulary)
            values[name] = np.broadcast_to(np.asarray(value, float), (SAMPLE,))
        for name, spec in config.formulas.items():
            found.append((("formulas", name, "expression"), spec.expression))
        for name, spec in config.analyses.items():
            if spec.subset is not None:
                found.append((("analyses", name, "subset"), spec.subset))
        for name, expression in protocol.strata.items():
            found.append((("trial", "randomisation", "strata", "by", name), expression))
        doses: set[Path] = set()
        for name, arm in config.arms.items():
            for index, entry in enumerate(arm.loading):
                doses.add(("arms", name, "loading", index, "dose"))
                found.append((("arms", name, "loading", index, "dose"), entry.dose))
        values |= self._visit_samples()
        # No measurement is exactly zero; a divisor may be, where the measurement is another number.
        seen = np.logical_and.reduce([values[name] > 0 for name in protocol.measured])
        vocabulary = protocol.rule_vocabulary
        problems = []
        for path, expression in found:
            zero = [
                divisor
                for divisor in expression.denominators
                if np.any(np.asarray(divisor.evaluate(values, vocabulary)) == 0)
            ]
            result = np.broadcast_to(expression.evaluate(values, vocabulary), (SAMPLE,))
            for divisor in zero:
                problems.append(
                    self.document.problem(
                        path,
                        f"divides by zero for some subjects: {divisor} is 0",
                        found="",
                        hint="guard it with `a if c else b`",
                    )
                )
            if not zero and not np.all(np.isfinite(result[seen])):
                problems.append(
                    self.document.problem(
                        path,
                        "has no finite value for some subjects",
                        hint="guard it with `a if c else b`; `log` and `sqrt` need what is above 0",
                    )
                )
            elif path in doses and np.any(result[seen] < 0):
                problems.append(self.document.problem(path, "is a negative dose for some subjects"))
        return problems

    def _visit_samples(self) -> dict[str, np.ndarray]:
        """Values that a visit may meet: measured ones to one decimal, doses from none to large."""
        index = np.arange(SAMPLE)
        samples: dict[str, np.ndarray] = {"maintenance": 0.5 + index % 40 / 2.0}
        for name in self.protocol.rule_vocabulary:
            if name in self.protocol.measured:
                samples[name] = np.round(0.1 * (index * 7 % 200), 1)
            elif name == "day":
                samples[name] = 1.0 + index % self.protocol.days
            elif name == "dose" or name.startswith("dose_"):
                samples[name] = (index * (3 + len(name)) % 41) / 2.0
        return samples

    def changed(self, changes: Sequence[str]) -> Study:
        """The study with `key=value` changes applied on top of its own. Raises `ConfigError`."""
        return _resolve(self.document.file, (*self.overrides, *changes))


def read(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Study:
    """Read a trial's config file.

    **Arguments:**

    - `path`: the YAML file.
    - `overrides`: changes as `key=value`, such as `trial.replicates=20`.

    Raises `ConfigError` with every problem found, each with its line; see `Study.check` too.
    """
    study = _resolve(path, tuple(overrides))
    study.check()
    return study


def _resolve(path: str | os.PathLike[str], overrides: tuple[str, ...]) -> Study:
    document = load(path, overrides)
    salvaged = document.salvage(TrialConfig)
    if salvaged.parsed is not None and not salvaged.problems:
        return Study(document, salvaged.parsed, build(salvaged.parsed, document), overrides)
    problems = dict.fromkeys(salvaged.problems)
    if salvaged.parsed is not None:
        try:
            rest = Study(document, salvaged.parsed, build(salvaged.parsed, document), overrides)
            problems |= dict.fromkeys(rest.on_candidates())
        except ConfigError as error:
            more = [problem for problem in error.problems if not salvaged.follows(problem)]
            problems |= dict.fromkeys(more)
    raise ConfigError(problems)


def changes_of(values: dict[str, object]) -> list[str]:
    """A scenario's changes as overrides."""
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]
