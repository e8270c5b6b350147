"""A table as its file has it: cells in columns, each row with its line."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cohorts.data.config import DataSpec
from cohorts.data.mistakes import Findings, Mistake

if TYPE_CHECKING:
    import pandas as pd

MARKS = {".": {}, ",": str.maketrans(",.", ".,")}
"""From a decimal mark in the file to a point; the other mark is then part of no number."""

NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?", re.ASCII)
WORDS = {".": "point", ",": "comma"}


class Numbers(NamedTuple):
    """A column as numbers; all arrays are (rows,)."""

    values: np.ndarray
    """NaN where there is none."""
    missing: np.ndarray
    wrong: np.ndarray
    """Where there is something else than a finite number."""


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """The rows of a table that are not left out.

    - `source`, `place`: the file's name, and what its lines are called, `line` or `row`.
    - `frame`: the cells as they stand. `lines`: of each row.
    - `missing`: texts for a missing value, in small letters. `decimal`: the decimal mark.
    - `mistakes`: of the file itself; its rows that could not be split are not in `frame`.
    - `left_out`: how many rows, by the reason.
    - `companions`: of each row what its line is called where it is a companion's, as in
      `ex.csv line`, and else an empty text; None where no row is.
    """

    source: str
    place: str
    frame: pd.DataFrame
    lines: np.ndarray
    missing: frozenset[str]
    decimal: str
    mistakes: tuple[Mistake, ...] = ()
    left_out: tuple[tuple[str, int], ...] = ()
    companions: np.ndarray | None = None

    def within(self, row: int) -> str:
        """What the line of a row is called, where it is not the table's own."""
        return "" if self.companions is None else str(self.companions[row])

    @property
    def names(self) -> list[str]:
        """Of the columns."""
        return list(self.frame.columns)

    def __len__(self) -> int:
        return len(self.lines)

    def texts(self, name: str) -> np.ndarray:
        """A column as texts, empty where a value is missing; whole numbers have no point."""
        import pandas as pd

        cells = self.frame[name].to_numpy(dtype=object)
        texts = np.array([_text(cell) for cell in cells], dtype=object)
        missing = np.array([text.lower() in self.missing for text in texts], bool)
        return np.where(missing | pd.isna(cells), "", texts)

    def numbers(self, name: str) -> Numbers:
        """A column as numbers."""
        import pandas as pd

        column = self.frame[name]
        if column.dtype.kind in "biuf":
            values = column.to_numpy(dtype=float, na_value=np.nan)
            missing = np.isnan(values)
        else:
            texts = self.texts(name)
            missing = texts == ""
            plain = pd.Series([text.translate(MARKS[self.decimal]) for text in texts], dtype=object)
            values = np.asarray(pd.to_numeric(plain, errors="coerce"), float)
        wrong = ~missing & ~np.isfinite(values)
        return Numbers(np.where(wrong, np.nan, values), missing, wrong)

    def typed(self, names: Iterable[str]) -> pd.DataFrame:
        """The frame, with numbers (NaN where missing) in those columns of `names` that have no
        other cells."""
        cells = {name: self.numbers(name) for name in names}
        found = {name: each.values for name, each in cells.items() if not np.any(each.wrong)}
        return self.frame.assign(**found)

    def without_ignored(self, spec: DataSpec) -> Table:
        """The table without the rows that the config leaves out, which are counted."""
        table, ignore, subject = self, spec.ignore, spec.columns.subject
        rows = [(name, cells, f"{name} {_listed(cells)}") for name, cells in ignore.rows.items()]
        if ignore.subjects and subject is not None:
            rows.append((subject, ignore.subjects, f"subjects {_listed(ignore.subjects)}"))
        for name, cells, reason in rows:
            table = table.without(matches(table.texts(name), cells), reason)
        for name, cells in spec.only.items():
            reason = f"{name} other than {_listed(cells)}"
            table = table.without(~matches(table.texts(name), cells), reason)
        for name in ignore.filled:
            table = table.without(table.texts(name) != "", f"any {name}")
        return table

    def of_somebody(self, name: str | None) -> Table:
        """The table with mistakes in place of the rows that have no ID in the column `name`.

        Nothing else of them can be judged: it depends on what the subject had before.
        """
        if name is None:
            return self
        nobody = self.texts(name) == ""
        mistakes = [Mistake(int(line), name, "is missing") for line in self.lines[nobody]]
        return dataclasses.replace(
            self,
            frame=self.frame[~nobody].reset_index(drop=True),
            lines=self.lines[~nobody],
            mistakes=(*self.mistakes, *mistakes),
        )

    def without(self, rows: np.ndarray, reason: str) -> Table:
        """The table without some of its rows, (rows,), which are counted."""
        return dataclasses.replace(
            self,
            frame=self.frame[~rows].reset_index(drop=True),
            lines=self.lines[~rows],
            left_out=(*self.left_out, (reason, int(np.sum(rows)))),
        )


def read_numbers(table: Table, column: str, findings: Findings, hint: str | None = None) -> Numbers:
    """A column as numbers; each cell that is none is a mistake, mended by `hint`."""
    cells = table.numbers(column)
    if np.any(cells.wrong):
        texts, other = table.texts(column), "," if table.decimal == "." else "."
        mended = np.array(
            [
                other in text and NUMBER.fullmatch(text.translate(MARKS[other])) is not None
                for text in texts
            ]
        )
        findings.wrong(
            cells.wrong & mended,
            column,
            "is {}, with a decimal {}",
            texts,
            WORDS[other],
            hint=f'write a {WORDS[table.decimal]}, or `decimal: "{other}"` for the whole file',
        )
        findings.wrong(
            cells.wrong & ~mended, column, "is {}, which is no finite number", texts, hint=hint
        )
    return cells


def matches(texts: np.ndarray, cells: Iterable[Any]) -> np.ndarray:
    """Where a text is one of the cells that a config states; 1 and 1.0 are the same."""
    return np.isin([same(text) for text in texts], [same(_text(cell)) for cell in cells])


def same(text: str) -> str:
    """A text that is the same for all ways to write a number."""
    return f"{float(text):.17g}" if NUMBER.fullmatch(text) else text


def _text(cell: Any) -> str:
    if isinstance(cell, str):
        return cell.strip()
    if isinstance(cell, float | np.floating) and float(cell).is_integer():
        return str(int(cell))
    return str(cell)


def _listed(cells: Iterable[Any]) -> str:
    return ", ".join(map(str, cells))
