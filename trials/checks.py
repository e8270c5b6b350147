"""Problems of a config collected while it is looked at, each with its place in the file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from insilico.config import Document, Expression, Name, Path, Problem
from trials.config import TrialConfig

AXES = ("population", "trial", "period", "arm", "subject", "visit")
"""Axes of the results, which nothing that they hold may have the name of."""


class Checks:
    """A config under examination; `problems` holds what was found so far."""

    def __init__(self, config: TrialConfig, document: Document):
        self.config = config
        self.document = document
        self.problems: list[Problem] = []
        self.last_day = math.ceil(config.trial.duration - 1e-9)

    def note(self, path: Sequence[str | int], message: str, **details: Any) -> None:
        self.problems.append(self.document.problem(tuple(path), message, **details))

    def known(
        self,
        path: Sequence[str | int],
        name: str,
        choices: Sequence[str],
        what: str,
        section: Path | None = None,
    ) -> bool:
        """Whether `name` is one of `choices`; notes it with the nearest where it is not."""
        if name in choices:
            return True
        self.problems.append(self.document.unknown(tuple(path), name, choices, what, section))
        return False

    def free(self, path: Sequence[str | int], name: str, taken: Sequence[str]) -> None:
        """Note a `name`, the key at `path`, that something else in the results has."""
        if name in (*AXES, *taken):
            message = "has the name of something else in the results"
            self.note(path, message, key=True, hint="choose another name")

    def expression(
        self,
        path: Sequence[str | int],
        expression: Expression,
        vocabulary: Mapping[str, Name],
        gives: Any,
        at: str = "always",
    ) -> None:
        self.problems += self.document.check_expression(
            tuple(path), expression, vocabulary, gives=gives, at=at
        )
