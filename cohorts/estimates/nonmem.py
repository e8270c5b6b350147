"""NONMEM's `.ext` and `.cov`: tables of numbers as Fortran writes them, one an estimation.

Bauer RJ. NONMEM Tutorial Part II: Estimation Methods and Advanced Examples. CPT Pharmacometrics
Syst Pharmacol 2019; 8:538-556; and the NONMEM 7 guides on "additional output files". Rows of the
iteration -1000000000 and below are no iterations but results.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cohorts.data.mistakes import DataError, Mistake
from cohorts.estimates.estimates import Estimate, Estimates, Role, with_errors
from insilico.config import did_you_mean, shown
from insilico.config.problems import listed

FINAL, ERRORS, FIXED, STATUS = -1_000_000_000, -1_000_000_001, -1_000_000_006, -1_000_000_007
"""Iterations whose rows are the final estimates, their standard errors, which are fixed, and how
the estimation ended."""

EVALUATION = "Objective Function Evaluation"
"""How the name of a method begins that estimates nothing."""

NO_ERROR = 1e10
"""The standard error of what has none."""

ASYMMETRY = 1e-4
"""Largest relative difference of two entries that are the same: numbers have six digits."""

_TABLE = re.compile(r"\s*TABLE NO\.\s*(\d+)\s*(?::\s*([^:]*))?")
_ENTRY = re.compile(r"(OMEGA|SIGMA)\((\d+),(\d+)\)")
# Fortran leaves the E out where the exponent has three digits.
_NUMBER = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+))(?:[EeDd]?([-+]\d+)|[EeDd](\d+))?")


class _Row(NamedTuple):
    line: int
    label: str
    cells: tuple[str, ...]


class _Block(NamedTuple):
    """A table of the file; `columns` without the first one's name."""

    number: int
    line: int
    method: str
    columns: tuple[str, ...]
    rows: tuple[_Row, ...]


def read_ext(text: str, source: str, table: int | None = None) -> tuple[Estimates, int]:
    """The estimates of an `.ext` file, and the number of the table that they are from.

    `table`: its number; default: the last. Raises `DataError` with everything wrong in it.
    """
    blocks = _blocks(text, source, "ITERATION")
    block = _chosen(blocks, source, table)
    names = block.columns[:-1]  # the last is the objective function, which may be infinite
    special = _results(block)
    if FINAL not in special:
        others = [str(each.number) for each in blocks if _has_final(each)]
        hint = f"`table: {others[-1]}` has them" if others else "did the run come to its end?"
        message = f"table {block.number} has no final estimates (no row {FINAL})"
        raise DataError(source, "line", [Mistake(block.line, "", message, hint)])
    mistakes: list[Mistake] = []
    found = {
        what: _numbers(special[what], block.columns, mistakes, used=len(names))
        for what in (FINAL, ERRORS, FIXED)
        if what in special
    }
    unfinished = _unfinished(blocks[: blocks.index(block) + 1], mistakes)
    if mistakes:
        raise DataError(source, "line", mistakes)
    values, errors = found[FINAL], found.get(ERRORS, np.full(len(names), NO_ERROR))
    if FIXED in found:
        fixed = found[FIXED] != 0.0
    else:  # of programs before 7.2
        fixed = (errors >= NO_ERROR) if ERRORS in found else (values == 0.0)
    estimates = {
        name: Estimate(
            name,
            value,
            None if still or not 0.0 < error < NO_ERROR else error,
            still,
            *_role(name),
        )
        for name, value, error, still in zip(
            names, values.tolist(), errors.tolist(), fixed.tolist(), strict=True
        )
    }
    return Estimates(source, block.method, estimates, unfinished), block.number


def with_cov(estimates: Estimates, number: int, text: str, source: str) -> Estimates:
    """The estimates of table `number` with the matrix that a `.cov` file has of them.

    Raises `DataError` with everything wrong in it.
    """
    block = _chosen(_blocks(text, source, "NAME"), source, number)
    mistakes: list[Mistake] = []
    labels = [row.label for row in block.rows]
    matrix = np.array([_numbers(row, block.columns, mistakes) for row in block.rows])
    if not mistakes and tuple(labels) != block.columns:
        message = f"rows of {listed(labels)}, but columns of {listed(block.columns)}"
        mistakes.append(Mistake(block.line, "", message, "a covariance matrix has the same twice"))
    if not mistakes:
        scale = np.sqrt(np.maximum(np.abs(np.diag(matrix)), 1e-300))
        relative = np.abs(matrix - matrix.T) / np.outer(scale, scale)
        for row, column in np.argwhere(np.tril(relative) > ASYMMETRY).tolist():
            message = (
                f"is {matrix[row, column]:g} with {labels[column]}, and the other way round "
                f"{matrix[column, row]:g}"
            )
            mistakes.append(Mistake(block.rows[row].line, labels[row], message))
    strange = [name for name in labels if name not in estimates.by_name]
    for name in strange:
        hint = did_you_mean(name, estimates.names)
        mistakes.append(Mistake(0, name, f"is no parameter of {estimates.source}", hint))
    if mistakes:
        raise DataError(source, "line", mistakes)
    estimated = [place for place, name in enumerate(labels) if not estimates[name].fixed]
    names = tuple(labels[place] for place in estimated)
    covariance = 0.5 * (matrix + matrix.T)[np.ix_(estimated, estimated)]
    return Estimates(
        estimates.source,
        estimates.method,
        with_errors(estimates.by_name.values(), names, covariance),
        estimates.unfinished,
        source,
        names,
        covariance,
    )


def _blocks(text: str, source: str, heading: str) -> list[_Block]:
    """The file's tables, whose headers begin with `heading`."""
    found: list[tuple[int, int, str, list[str], list[_Row]]] = []
    titled: tuple[int, int, str] | None = None
    mistakes: list[Mistake] = []
    for line, content in enumerate(text.splitlines(), start=1):
        if title := _TABLE.match(content):
            titled = int(title[1]), line, (title[2] or "").strip()
            continue
        words = content.split()
        if not words:
            continue
        if words[0].upper() == heading:
            number, at, method = titled or (len(found) + 1, line, "")
            found.append((number, at, method, words[1:], []))
            titled = None
        elif not found or titled is not None:
            message = f"has no header that begins with {heading}"
            hint = "leave FORMAT of $ESTIMATION and $COVARIANCE as it is by default"
            mistakes.append(Mistake(line, "", message, hint))
            break
        else:
            found[-1][-1].append(_Row(line, words[0], tuple(words[1:])))
    if not found and not mistakes:
        mistakes.append(Mistake(0, "", f"has no table with a header that begins with {heading}"))
    if mistakes:
        raise DataError(source, "line", mistakes)
    return [_Block(n, at, method, tuple(c), tuple(rows)) for n, at, method, c, rows in found]


def _chosen(blocks: Sequence[_Block], source: str, table: int | None) -> _Block:
    if table is None:
        return blocks[-1]
    of_that_number = [block for block in blocks if block.number == table]
    if not of_that_number:
        numbers = listed(block.number for block in blocks)
        raise DataError(
            source, "line", [Mistake(0, "", f"has no table {table}, but these: {numbers}")]
        )
    return of_that_number[-1]


def _results(block: _Block) -> dict[int, _Row]:
    """The rows that are no iterations, by their numbers."""
    numbered = {row.label: row for row in block.rows if row.label.lstrip("-").isdigit()}
    return {int(label): row for label, row in numbered.items() if int(label) <= FINAL}


def _has_final(block: _Block) -> bool:
    return FINAL in _results(block)


def _numbers(
    row: _Row, columns: Sequence[str], mistakes: list[Mistake], used: int | None = None
) -> np.ndarray:
    """The first `used` numbers of a row, NaN where one is none."""
    if len(row.cells) != len(columns):
        message = f"has {len(row.cells)} numbers, the header has {len(columns)} names"
        mistakes.append(Mistake(row.line, row.label, message, "was the file cut off?"))
        return np.full(len(columns[:used]), np.nan)
    values = [_number(cell) for cell in row.cells[:used]]
    for cell, name, value in zip(row.cells[:used], columns[:used], values, strict=True):
        if value is None:
            message = f"is no number: {shown(cell)}"
            hint = "stars stand for a number that did not fit" if "*" in cell else None
            mistakes.append(Mistake(row.line, name, message, hint))
    return np.array([np.nan if value is None else value for value in values])


def _number(cell: str) -> float | None:
    """A number as Fortran writes it: `1.5E+00`, `1.5D+00`, `1.5-101`; None where it is none."""
    match = _NUMBER.fullmatch(cell)
    if match is None:
        return None
    return float(f"{match[1]}e{match[2] or match[3] or 0}")


def _role(name: str) -> tuple[Role, frozenset[str]]:
    match = _ENTRY.fullmatch(name)
    if match is None:
        return "fixed_effect", frozenset()
    matrix, row, column = match.groups()
    if row == column:
        return "variance", frozenset()
    return "covariance", frozenset(f"{matrix}({place},{place})" for place in (row, column))


def _unfinished(blocks: Sequence[_Block], mistakes: list[Mistake]) -> str | None:
    """Why the last of these estimations does not count, by the first number of its row of the
    status; None where nothing is said against it.

    Of methods that minimise, 0 is success. Of expectation maximisation and Bayesian analysis 0 is
    completed and 2 was not tested for convergence; others were stopped, or have not come to rest.
    Where the objective function alone is evaluated, at estimates of the table before, that one
    says how they were found.
    """
    block = next((b for b in reversed(blocks) if not b.method.startswith(EVALUATION)), blocks[-1])
    row = _results(block).get(STATUS)
    if row is None:
        return None
    status = _numbers(row, block.columns, mistakes, used=1)[0]
    minimises = block.method.startswith(("First Order", "Laplac"))
    if status in ((0.0,) if minimises else (0.0, 2.0)):
        return None
    return f"{block.method or 'the estimation'} did not terminate successfully (status {status:g})"
