"""The covariates of a table: constant for each subject, or followed by an input of the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from cohorts.data.checking import codes_of, converted
from cohorts.data.config import Cell, CovariateSpec, DataSpec
from cohorts.data.events import Events
from cohorts.data.mistakes import Findings
from cohorts.data.table import Table, matches, read_numbers
from insilico.config import Name, listed, nearest
from insilico.model import Model
from insilico.solve.records.reading import OTHER


class Characteristics(NamedTuple):
    """The covariates of a table's subjects."""

    constant: dict[str, np.ndarray]
    """By name, (subjects,), numbers or int32 codes of categories; of one that changes the first."""
    changing: dict[str, np.ndarray]
    """By name, (rows,), likewise, what holds from each row on."""
    vocabulary: dict[str, Name]
    followed: dict[str, np.ndarray]
    """By input of the model, (rows,), in its unit; NaN where a cell is missing."""


def stated_vocabulary(spec: DataSpec) -> dict[str, Name]:
    """The covariates that parameters may depend on, as a config describes them."""
    return {
        name: Name("number", covariate.unit)
        if covariate.categories is None
        else Name("category", categories=tuple(covariate.categories))
        for name, covariate in spec.covariates.items()
        if covariate.changes is None or covariate.input is None
    }


def read_characteristics(
    model: Model,
    spec: DataSpec,
    table: Table,
    wanted: Mapping[str, Name],
    events: Events,
    findings: Findings,
) -> Characteristics:
    """The covariates, with mistakes where one is unknown or changes as it should not.

    `wanted`: units and categories that somebody needs, instead of those of the table.
    """
    found = Characteristics({}, {}, {}, {})
    for name, covariate in spec.covariates.items():
        if covariate.categories is None:
            word = Name("number", covariate.unit)
            hint = "name its `categories`, if these are such"
            cells = read_numbers(table, covariate.column, findings, hint)
            values, empty = cells.values, cells.missing
        else:
            word = wanted.get(name) or Name("category", categories=tuple(covariate.categories))
            values = _codes(covariate, word, table, findings)
            empty = table.texts(covariate.column) == ""
        if covariate.changes is None:
            _check_constant(covariate.column, values, word, events, findings)
        else:
            _check_instants(covariate.column, values, events, findings)
        if covariate.changes is None or covariate.input is None:
            _check_known(covariate.column, empty, events, findings)
            if word.kind == "number" and name in wanted:
                word = wanted[name]
                values = converted(values, covariate.unit, word.unit)
            held = _held(values, events.subject)
            constant = _first(values, events.subject)
            if word.kind != "number" and not np.any(np.isnan(constant)):
                constant, held = constant.astype(np.int32), held.astype(np.int32)
            found.constant[name] = constant
            found.vocabulary[name] = word
            if covariate.changes is not None:
                found.changing[name] = held
        if covariate.input is not None:
            unit = model.quantities("Inputs")[covariate.input].unit
            number = covariate.categories is None
            found.followed[covariate.input] = (
                converted(values, covariate.unit, unit) if number else values
            )
    return found


def _codes(covariate: CovariateSpec, word: Name, table: Table, findings: Findings) -> np.ndarray:
    """The number of each row's category, NaN where there is none."""
    assert covariate.categories is not None
    texts = table.texts(covariate.column)
    codes = np.full(len(table), np.nan)
    cells: dict[str, Cell] = (
        covariate.categories
        if isinstance(covariate.categories, dict)
        else {category: category for category in covariate.categories}
    )
    for category, cell in cells.items():
        codes[matches(texts, [cell])] = codes_of(word).index(category)
    unknown = np.isnan(codes) & (texts != "")
    near = {text: nearest(text, map(str, cells.values())) for text in set(texts[unknown])}
    for text, likely in near.items():
        findings.wrong(
            unknown & (texts == text),
            covariate.column,
            "is {}; there are {}",
            texts,
            listed(cells.values(), quoted=True),
            hint=f"did you mean {likely}?" if likely else None,
        )
    return codes


def _first(values: np.ndarray, subject: np.ndarray) -> np.ndarray:
    """Each subject's first value, NaN where it has none; (subjects,)."""
    result = np.full(int(subject.max()) + 1, np.nan)
    rows = np.flatnonzero(~np.isnan(values))[::-1]
    result[subject[rows]] = values[rows]
    return result


def _held(values: np.ndarray, subject: np.ndarray) -> np.ndarray:
    """Each row's value, or else the subject's last one before it, or else its first; (rows,)."""
    rows = np.where(np.isnan(values), -1, np.arange(len(values)))
    last = np.maximum.accumulate(rows)
    own = (last >= 0) & (subject[last] == subject)
    return np.where(own, values[last], _first(values, subject)[subject])


def _check_known(column: str, empty: np.ndarray, events: Events, findings: Findings) -> None:
    nowhere = np.bincount(events.subject, ~empty)[events.subject] == 0
    findings.wrong(
        events.first & nowhere,
        column,
        "the subject has no value at all",
        hint="give one, or leave the subject out by `ignore: {subjects: …}`",
    )


def _check_constant(
    column: str, values: np.ndarray, word: Name, events: Events, findings: Findings
) -> None:
    subject = events.subject
    first = _first(values, subject)[subject]
    rows = np.flatnonzero(~np.isnan(values) & (values != first))
    # A subject's first change is told; what comes after it would say the same again. Of many who
    # change one says what is meant.
    _, at = np.unique(subject[rows], return_index=True)
    told = np.zeros(len(values), bool)
    told[rows[at]] = True

    def texts(numbers: np.ndarray) -> np.ndarray:
        names = codes_of(word)
        return np.array([names[int(each)] if names else f"{each:g}" for each in numbers[rows[at]]])

    if not len(rows):
        return
    here, above = texts(values)[0], texts(first)[0]
    findings.wrong(
        told,
        column,
        "differs from the subject's records above, and is declared constant; on the first of "
        f"these lines it is {here} and was {above}",
        hint="write `changes: locf` beside it if it does change, or mend the cells",
    )


def _check_instants(column: str, values: np.ndarray, events: Events, findings: Findings) -> None:
    """Of two values at one instant only the second's own record (EVID 2) can say which holds."""
    before = ~events.first & np.concatenate([[False], events.time[1:] == events.time[:-1]])
    above = np.concatenate([[np.nan], values[:-1]])
    both = ~np.isnan(values) & ~np.isnan(above)
    findings.wrong(
        before & both & (values != above) & (events.event != OTHER),
        column,
        "is {}, and {} on the record above, which is of the same time",
        values,
        above,
        hint="a change needs a record of its own (EVID 2), or a time of its own",
    )
