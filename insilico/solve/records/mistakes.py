"""What is wrong with an event table, told all at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

LISTED = 50
"""Mistakes that a message lists; the error has them all."""


class Mistake(NamedTuple):
    """What is wrong with a table: `row` counts from 1 and is 0 where no row is to blame."""

    row: int
    column: str
    message: str

    def __str__(self) -> str:
        place = f"row {self.row}, " if self.row else ""
        return f"{place}{self.column}: {self.message}"


class RecordsError(ValueError):
    """An event table cannot be what it says; `mistakes` has everything that is wrong with it."""

    def __init__(self, mistakes: Sequence[Mistake]):
        self.mistakes = tuple(mistakes)
        lines = [f"- {mistake}" for mistake in self.mistakes[:LISTED]]
        if len(self.mistakes) > LISTED:
            lines.append(f"- and {len(self.mistakes) - LISTED} more")
        count = len(self.mistakes)
        super().__init__(
            f"the event table has {count} mistake{'s' if count > 1 else ''}:\n" + "\n".join(lines)
        )
