"""A config read, checked and resolved: what every command and script starts from."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from insilico.config import ConfigError, Document, Expression, load
from trials.config import TrialConfig
from trials.dosing import Formula
from trials.protocol import Protocol, build


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """One trial, as its config describes it."""

    document: Document
    config: TrialConfig
    protocol: Protocol
    overrides: tuple[str, ...] = ()

    def check(self) -> None:
        """Try the config on sample candidates.

        Raises `ConfigError` where nobody is eligible, and where an expression divides by zero for
        somebody.
        """
        self.protocol.cohort.check(self.document)
        candidates = self.protocol.cohort._candidates(self.config.seed, 4096)
        values = {name: np.asarray(column) for name, column in candidates.items()}
        problems = []
        for path, expression in self._expressions(values):
            for divisor in expression.denominators:
                if not set(divisor.names) <= set(values):
                    continue
                found = jnp.asarray(divisor.evaluate(values, self.protocol.vocabulary))
                if bool(jnp.any(found == 0)):
                    problems.append(
                        self.document.problem(
                            path,
                            f"divides by zero for some subjects: {divisor} is 0",
                            hint="guard it with `a if c else b`",
                        )
                    )
        if problems:
            raise ConfigError(problems)

    def _expressions(
        self, values: dict[str, np.ndarray]
    ) -> list[tuple[tuple[str | int, ...], Expression]]:
        """Expressions on subjects, each with its place; adds the config's quantities to `values`."""
        found: list[tuple[tuple[str | int, ...], Expression]] = []
        for name, quantity in self.protocol.quantities.items():
            expression = quantity.expression if isinstance(quantity, Formula) else quantity
            found.append((("quantities", name), expression))
            if isinstance(quantity, Formula):
                value = quantity.dose(values, self.protocol.vocabulary)
            else:
                value = quantity.evaluate(values, self.protocol.vocabulary)
            values[name] = np.broadcast_to(np.asarray(value, float), next(iter(values.values())).shape)
        for name, spec in self.config.formulas.items():
            found.append((("formulas", name, "expression"), spec.expression))
        for name, spec in self.config.analyses.items():
            if spec.subset is not None:
                found.append((("analyses", name, "subset"), spec.subset))
        for name, expression in self.protocol.strata.items():
            found.append((("trial", "randomisation", "strata", "by", name), expression))
        for name, arm in self.config.arms.items():
            for index, entry in enumerate(arm.loading):
                found.append((("arms", name, "loading", index, "dose"), entry.dose))
        return found

    def changed(self, changes: Sequence[str]) -> Study:
        """The study with `key=value` changes applied on top of its own. Raises `ConfigError`."""
        return _resolve(self.document.file, (*self.overrides, *changes))


def read(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Study:
    """Read a trial's config file.

    **Arguments:**

    - `path`: the YAML file.
    - `overrides`: changes as `key=value`, such as `trial.replicates=20`.

    Raises `ConfigError` with every problem found, each with its line.
    """
    study = _resolve(path, tuple(overrides))
    problems = []
    for name, scenario in study.config.sensitivity.items():
        try:
            study.changed(changes_of(scenario.set))
        except ConfigError as error:
            problems += [
                study.document.problem(
                    ("sensitivity", name, "set"),
                    f"makes the config wrong: {problem.field}: {problem.message}",
                    found=problem.found or "",
                    allowed=problem.allowed,
                    hint=problem.hint,
                )
                for problem in error.problems
            ]
    if problems:
        raise ConfigError(problems)
    return study


def _resolve(path: str | os.PathLike[str], overrides: tuple[str, ...]) -> Study:
    document = load(path, overrides)
    config = document.parse(TrialConfig)
    return Study(document, config, build(config, document), overrides)


def changes_of(values: dict[str, object]) -> list[str]:
    """A scenario's changes as overrides."""
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]
