"""A table as its file has it: texts in columns, each row with its line."""

from __future__ import annotations

import codecs
import csv
import dataclasses
import gzip
import io
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cohorts.data.config import DataSpec
from cohorts.data.mistakes import DataError, Findings, Mistake
from insilico.config import shown
from insilico.solve.records.reading import MISSING

if TYPE_CHECKING:
    import pandas as pd

QUOTES = "is there a quote without its other?"
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


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
    """

    source: str
    place: str
    frame: pd.DataFrame
    lines: np.ndarray
    missing: frozenset[str]
    decimal: str
    mistakes: tuple[Mistake, ...] = ()
    left_out: tuple[tuple[str, int], ...] = ()

    def __contains__(self, name: str) -> bool:
        return name in self.frame.columns

    def __len__(self) -> int:
        return len(self.lines)

    def texts(self, name: str) -> np.ndarray:
        """A column as texts, empty where a value is missing; whole numbers have no point."""
        cells = self.frame[name].to_numpy(dtype=object)
        texts = np.array([_text(cell) for cell in cells], dtype=object)
        return np.where([text.lower() in self.missing for text in texts], "", texts)

    def numbers(self, name: str) -> Numbers:
        """A column as numbers."""
        import pandas as pd

        column = self.frame[name]
        if pd.api.types.is_numeric_dtype(column):
            values = column.to_numpy(dtype=float, na_value=np.nan)
            missing = np.isnan(values)
        else:
            texts = self.texts(name)
            missing = texts == ""
            plain = [text.replace(self.decimal, ".") for text in texts]
            values = np.asarray(
                pd.to_numeric(pd.Series(plain, dtype=object), errors="coerce"), float
            )
        wrong = ~missing & ~np.isfinite(values)
        return Numbers(np.where(wrong, np.nan, values), missing, wrong)

    def without(self, rows: np.ndarray, reason: str) -> Table:
        """The table without these rows, which are counted under `reason`."""
        if not np.any(rows):
            return dataclasses.replace(self, left_out=(*self.left_out, (reason, 0)))
        return dataclasses.replace(
            self,
            frame=self.frame[~rows].reset_index(drop=True),
            lines=self.lines[~rows],
            left_out=(*self.left_out, (reason, int(np.sum(rows)))),
        )


def open_table(spec: DataSpec, path: Path) -> Table:
    """The table in a csv (which may be gzipped) or parquet file.

    Raises `OSError` where it cannot be read, `DataError` where it is no table.
    """
    if path.suffix == ".parquet":
        import pandas as pd

        with path.open("rb") as file:  # and not its name, which might be read as a URL's
            try:
                return of_frame(spec, pd.read_parquet(file), str(path))
            except (ValueError, TypeError) as error:
                raise _no_table(path, f"is no parquet file: {error}") from None
    return _read_csv(spec, path)


def of_frame(spec: DataSpec, frame: pd.DataFrame, source: str = "the table") -> Table:
    """The table of a frame, whose rows count from 1."""
    if not len(frame):
        raise DataError(source, "row", [Mistake(0, "", "has no rows")])
    frame = frame.rename(columns=str).reset_index(drop=True)
    return _settled(spec, Table(
        source, "row", frame, np.arange(1, len(frame) + 1), _missing(spec), spec.decimal
    ))  # fmt: skip


def _read_csv(spec: DataSpec, path: Path) -> Table:
    import pandas as pd

    source = str(path)
    try:
        rows, lines, comments = _split(spec, _decoded(path))
    except csv.Error as error:
        raise _no_table(path, f"cannot be split into cells: {error}", hint=QUOTES) from None
    if len(rows) == 0:
        raise _no_table(path, "is empty")
    header = [name.strip() for name in rows[0]]
    _check_header(path, header, lines[0], spec.separator)
    if len(rows) == 1:
        raise _no_table(path, "has a header, but no rows", lines[0])
    mistakes, whole = [], []
    for index in range(1, len(rows)):
        if len(rows[index]) == len(header):
            whole.append(index)
        else:
            mistakes.append(_ragged(len(rows[index]), len(header), lines[index], spec))
    columns = zip(*(rows[index] for index in whole), strict=True) if whole else [()] * len(header)
    frame = pd.DataFrame(
        {name: np.array(cells, dtype=object) for name, cells in zip(header, columns, strict=True)}
    )
    left_out = ((f"comments ({spec.ignore.comments})", comments),) if spec.ignore.comments else ()
    at = np.array([lines[index] for index in whole], dtype=int)
    return _settled(spec, Table(
        source, "line", frame, at, _missing(spec), spec.decimal, tuple(mistakes), left_out
    ))  # fmt: skip


def _decoded(path: Path) -> str:
    content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError) as error:
            raise _no_table(path, f"is no whole gzip file: {error}") from None
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise _no_table(path, "is UTF-16 text", hint="save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        message = f"the byte 0x{content[error.start]:02x} is not UTF-8 text"
        raise _no_table(path, message, line, "save the file as UTF-8") from None


def _split(spec: DataSpec, text: str) -> tuple[list[list[str]], list[int], int]:
    """The rows that are neither blank nor comments, their lines, and how many are comments."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=spec.separator)
    rows, lines, comments, line = [], [], 0, 1
    for row in reader:
        if spec.ignore.comments and row and row[0].startswith(spec.ignore.comments):
            comments += 1
        elif any(cell.strip() for cell in row):
            rows.append(row)
            lines.append(line)
        line = reader.line_num + 1
    return rows, lines, comments


def _check_header(path: Path, header: list[str], line: int, separator: str) -> None:
    others = {other: header[0].count(other) for other in SEPARATORS if other != separator}
    likely = max(others, key=lambda other: others[other])
    if len(header) == 1 and others[likely]:
        message = f"has one column only: its cells seem to be separated by {SEPARATORS[likely]}"
        raise _no_table(path, message, line, f"write `separator: {shown(likely)}`")
    again = sorted({name for name in header if name and header.count(name) > 1})
    if again:
        raise DataError(str(path), "line", [
            Mistake(line, name, "is the name of several columns", "rename all but one")
            for name in again
        ])  # fmt: skip


def _ragged(found: int, wanted: int, line: int, spec: DataSpec) -> Mistake:
    hint = None
    if found > wanted and spec.separator == ",":
        hint = "is there a decimal comma in it? write 1.5, or put quotes around a text"
    return Mistake(line, "", f"has {found} cells, the header has {wanted}", hint)


def _settled(spec: DataSpec, table: Table) -> Table:
    """The table without what the config leaves out; the columns to look in have to be there."""
    for name, cells in spec.ignore.rows.items():
        if name in table:
            listed = ", ".join(map(str, cells))
            rows = matches(table.texts(name), cells)
            table = table.without(rows, f"{name} {listed}")
    subject = spec.columns.subject
    if spec.ignore.subjects and subject is not None and subject in table:
        rows = matches(table.texts(subject), spec.ignore.subjects)
        table = table.without(rows, f"subjects {', '.join(map(str, spec.ignore.subjects))}")
    return table


def read_numbers(table: Table, column: str, findings: Findings, hint: str | None = None) -> Numbers:
    """A column as numbers; each cell that is none is a mistake, mended by `hint`."""
    cells = table.numbers(column)
    if np.any(cells.wrong):
        texts = table.texts(column)
        mended = np.array([text.replace(",", ".") for text in texts], dtype=object)
        commas = cells.wrong & np.array([_is_number(text) for text in mended])
        findings.wrong(commas, column, "is {}, with a decimal comma", texts,
                       hint='write a point, or `decimal: ","` for the whole file')  # fmt: skip
        findings.wrong(
            cells.wrong & ~commas, column, "is {}, which is no finite number", texts, hint=hint
        )
    return cells


def matches(texts: np.ndarray, cells: Iterable[Any]) -> np.ndarray:
    """Where a text is one of the cells that a config states; 1 and 1.0 are the same."""
    return np.isin([same(text) for text in texts], [same(_text(cell)) for cell in cells])


def same(text: str) -> str:
    """A text that is the same for all ways to write a number."""
    return f"{float(text):.17g}" if _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _text(cell: Any) -> str:
    if isinstance(cell, str):
        return cell.strip()
    if cell is None or cell != cell or str(cell) == "<NA>":
        return ""
    if isinstance(cell, float | np.floating) and float(cell).is_integer():
        return str(int(cell))
    return str(cell)


def _missing(spec: DataSpec) -> frozenset[str]:
    return frozenset(MISSING) | {text.strip().lower() for text in spec.missing}


def _no_table(path: Path, message: str, line: int = 0, hint: str | None = None) -> DataError:
    return DataError(str(path), "line", [Mistake(line, "", message, hint)])
