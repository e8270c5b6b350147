"""What is wrong with a table, told all at once, and what is worth a look."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cohorts._faults import Fault
from insilico.config import shown

if TYPE_CHECKING:
    from cohorts.data.table import Table

LISTED = 50
"""Different mistakes that a message lists; the error has them all."""
SHOWN = 5
"""Lines that a message shows of the same mistake."""


class Mistake(NamedTuple):
    """Something in a table that is wrong, or that somebody should know of."""

    line: int
    """Of the file, as an editor counts; of a frame or parquet file the row from 1. 0: no line."""
    column: str
    """The column's name in the table; empty where it is about no column."""
    message: str
    """What was found, and what is allowed."""
    hint: str | None = None
    """How to mend it."""
    within: str = ""
    """What its line is called in a companion of the table, as in `ex.csv line`; empty: the
    table's own."""

    def __str__(self) -> str:
        column = f"{self.column}: " if self.column else ""
        return column + self.message + (f"; {self.hint}" if self.hint else "")


class DataError(ValueError):
    """A table cannot be read as patient data.

    - `source`: the file, as the user gave it.
    - `place`: what its lines are called, `line` or `row`.
    - `mistakes`: everything that is wrong with it, in the order of the file.
    """

    def __init__(self, source: str, place: str, mistakes: Sequence[Mistake]):
        self.source, self.place = source, place
        self.mistakes = tuple(
            sorted(mistakes, key=lambda each: (each.within, each.line, each.column))
        )
        count = len(self.mistakes)
        lines = [f"{source}: {count} mistake{'s' if count > 1 else ''}", *self.texts]
        super().__init__("\n- ".join(lines))

    @property
    def texts(self) -> list[str]:
        """The first `LISTED` mistakes as texts, each told once with its first lines."""
        groups = gathered(self.mistakes, self.place)
        more = len(groups) - LISTED
        return groups[:LISTED] + ([f"and {more} more of other kinds"] if more > 0 else [])

    @property
    def faults(self) -> list[Fault]:
        """The same as faults of the file."""
        return [Fault((), text, "") for text in self.texts]


def gathered(mistakes: Iterable[Mistake], place: str) -> list[str]:
    """Mistakes as texts, each told once with its first lines; `place`: what lines are called."""
    lines: dict[tuple[str, str], list[int]] = {}
    for mistake in mistakes:
        lines.setdefault((mistake.within, str(mistake)), []).append(mistake.line)
    return [
        f"{within.rpartition(' ')[0]}: {text}"
        if within and where[0] == 0
        else _placed(where, text, within or place)
        for (within, text), where in lines.items()
    ]


def _placed(lines: list[int], text: str, place: str) -> str:
    if lines[0] == 0:
        return text
    if len(lines) == 1:
        return f"{place} {lines[0]}, {text}"
    more = f", … ({len(lines)} in all)" if len(lines) > SHOWN else ""
    return f"{place}s {', '.join(map(str, lines[:SHOWN]))}{more}, {text}"


class Findings:
    """Collects what is found in a table, with what was found already."""

    def __init__(self, table: Table, mistakes: Iterable[Mistake] = ()):
        self.table = table
        self.mistakes: list[Mistake] = [*table.mistakes, *mistakes]
        self.warnings: list[Mistake] = []
        self._cells: set[tuple[int, str]] = set()

    def raise_any(self) -> None:
        """Raise `DataError` if there are mistakes."""
        if self.mistakes:
            raise DataError(self.table.source, self.table.place, self.mistakes)

    def add(self, mistake: Mistake) -> None:
        """A mistake of no row."""
        self.mistakes.append(mistake)

    def wrong(
        self,
        rows: np.ndarray,
        column: str,
        message: str,
        *found: np.ndarray | str,
        hint: str | None = None,
    ) -> None:
        """A mistake at each row where `rows` holds.

        `message` has a `{}` for each of `found`: a text, or an array of which the row's is shown.
        """
        for row in np.flatnonzero(rows).tolist():
            self.mistakes.append(self._at(row, column, message, found, hint))
            self._cells.add((row, column))

    def warn(self, rows: np.ndarray, column: str, message: str, *found: np.ndarray | str) -> None:
        """As `wrong`, but nothing that keeps the data from being used."""
        for row in np.flatnonzero(rows).tolist():
            self.warnings.append(self._at(row, column, message, found, None))

    def note(self, message: str) -> None:
        """A warning of no row."""
        self.warnings.append(Mistake(0, "", message))

    def adopt(self, row: int, column: str, message: str) -> None:
        """A mistake that another reader found, unless that cell is known to be wrong.

        `row` counts from 1 and is 0 where none is to blame.
        """
        if (row - 1, column) not in self._cells:
            line = int(self.table.lines[row - 1]) if row else 0
            within = self.table.within(row - 1) if row else ""
            self.add(Mistake(line, column, message, within=within))

    def _at(
        self,
        row: int,
        column: str,
        message: str,
        found: Sequence[np.ndarray | str],
        hint: str | None,
    ) -> Mistake:
        cells = [each if isinstance(each, str) else _shown(each[row]) for each in found]
        line, within = int(self.table.lines[row]), self.table.within(row)
        return Mistake(line, column, message.format(*cells), hint, within)


def _shown(cell: Any) -> str:
    return shown(cell) if isinstance(cell, str) else f"{cell:.12g}"
