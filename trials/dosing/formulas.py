"""Dose formulas: published algorithms by name, and a config's own."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from insilico.config import Expression, Name, conversion_factor, load
from insilico.vocabulary import where

LIBRARY = Path(__file__).with_name("algorithms.yaml")


@dataclasses.dataclass(frozen=True)
class Formula:
    """A dose (mg/day) as arithmetic on covariates and, where it revises, on measured values."""

    name: str
    expression: Expression
    unit: str
    title: str = ""
    source: str = ""
    status: str = ""

    def dose(self, values: Mapping[str, Any], vocabulary: Mapping[str, Name]) -> Any:
        """The dose in mg/day, from values of the names it uses."""
        per_day = conversion_factor(self.unit, "mg/d")
        return self.expression.evaluate(values, vocabulary) * per_day


@functools.cache
def library() -> dict[str, Formula]:
    """The published algorithms that come with the program, by name."""
    return {
        name: Formula(
            name,
            Expression(entry["expression"]),
            entry["unit"],
            entry["title"],
            entry["source"],
            entry["status"],
        )
        for name, entry in load(LIBRARY).data.items()
    }


@dataclasses.dataclass(frozen=True)
class LateKnowledge:
    """Covariates that are not known from the start, each with the code that stands for unknown."""

    codes: Mapping[str, int]

    def masked(self, values: Mapping[str, Any], unknown: Mapping[str, Any]) -> dict[str, Any]:
        """The values as they are known: unknown covariates hold the code for unknown."""
        hidden = {
            name: where(unknown[name], code, values[name]) for name, code in self.codes.items()
        }
        return {**values, **hidden}


def preferred_dose(
    formulas: tuple[Formula, ...],
    values: Mapping[str, Any],
    vocabulary: Mapping[str, Name],
    late: LateKnowledge,
    unknown: Mapping[str, Any],
) -> Any:
    """The dose by the first formula whose covariates are known, in mg/day.

    `unknown` says for each late covariate where it is not known yet. The last formula takes
    everybody who is left, with `"unknown"` for what it cannot know.
    """
    known = late.masked(values, unknown)
    dose = formulas[-1].dose(known, vocabulary)
    for formula in reversed(formulas[:-1]):
        missing = [unknown[name] for name in formula.expression.names if name in unknown]
        preferred = formula.dose(known, vocabulary)
        if missing:
            dose = where(functools.reduce(operator.or_, missing), dose, preferred)
        else:
            dose = preferred
    return dose
