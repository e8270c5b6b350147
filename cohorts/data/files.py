"""Files of tables: csv and parquet, as cells with their lines."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cohorts.data.config import DataSpec
from cohorts.data.mistakes import DataError, Mistake
from cohorts.data.table import Table
from insilico.config import shown
from insilico.solve.records.cells import MISSING

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


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
    frame = frame.rename(columns=str).reset_index(drop=True)
    mistakes = [] if len(frame) else [Mistake(0, "", "has no rows")]
    if mistakes := mistakes + _repeated(list(frame.columns), 0):
        raise DataError(source, "row", mistakes)
    lines = np.arange(1, len(frame) + 1)
    return Table(source, "row", frame, lines, _missing(spec), spec.decimal)


def _read_csv(spec: DataSpec, path: Path) -> Table:
    import pandas as pd

    source = str(path)
    try:
        rows, lines, comments = _split(spec, _decoded(path))
    except csv.Error as error:
        hint = "is there a quote without its other?"
        raise _no_table(path, f"cannot be split into cells: {error}", hint=hint) from None
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
    return Table(source, "line", frame, at, _missing(spec), spec.decimal, tuple(mistakes), left_out)


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
    if again := _repeated(header, line):
        raise DataError(str(path), "line", again)


def _repeated(names: list[str], line: int) -> list[Mistake]:
    """Mistakes of names that several columns have; columns without a name cannot be spoken of."""
    again = sorted({name for name in names if name and names.count(name) > 1})
    message, hint = "is the name of several columns", "rename all but one"
    return [Mistake(line, name, message, hint) for name in again]


def _ragged(found: int, wanted: int, line: int, spec: DataSpec) -> Mistake:
    hint = None
    if found > wanted and spec.separator == ",":
        hint = "is there a decimal comma in it? write 1.5, or put quotes around a text"
    return Mistake(line, "", f"has {found} cells, the header has {wanted}", hint)


def _missing(spec: DataSpec) -> frozenset[str]:
    return frozenset(MISSING) | {text.strip().lower() for text in spec.missing}


def _no_table(path: Path, message: str, line: int = 0, hint: str | None = None) -> DataError:
    return DataError(str(path), "line", [Mistake(line, "", message, hint)])
