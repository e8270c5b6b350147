"""The measured values of a table: of which output, and whether below quantification."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cohorts.data.checking import converted, limit_of
from cohorts.data.config import DataSpec, FlagSpec
from cohorts.data.mistakes import Findings
from cohorts.data.patients import Kind, Measured
from cohorts.data.table import Table, matches, read_numbers, same
from insilico.config import listed
from insilico.model import Model
from insilico.solve.records.laying_out import Columns

FLAGS = {"": 0, "0": 0, "1": 1, "n": 0, "y": 1, "no": 0, "yes": 1, "false": 0, "true": 1}
"""What a cell of a column of flags may have, and what it says."""


class Measurements(NamedTuple):
    """As `Measured`, but by row of the table, (rows,), and in the units of the table."""

    value: np.ndarray
    output: np.ndarray
    kind: np.ndarray
    limit: np.ndarray

    def laid_out(self, model: Model, spec: DataSpec, columns: Columns) -> Measured:
        """In the model's units, (records, subjects)."""
        value, limit = self.value.copy(), self.limit.copy()
        units = model.quantities("Outputs")
        for index, (name, output) in enumerate(spec.outputs.items()):
            rows = (self.output == index) & (self.kind != Kind.NOTHING)
            value[rows] = converted(value[rows], output.unit, units[name].unit)
            limit[rows] = converted(limit[rows], output.unit, units[name].unit)
        nothing, censored = self.kind == Kind.NOTHING, self.kind == Kind.CENSORED
        limit = np.where(nothing, 0.0, np.nan_to_num(limit))
        value = np.where(nothing, 0.0, np.where(censored, limit, value))
        shape = (int(columns.place.max()) + 1, int(columns.patient.max()) + 1)

        def padded(flat: np.ndarray) -> np.ndarray:
            result = np.zeros(shape, flat.dtype)
            result[columns.place, columns.patient] = flat
            return result

        kinds = self.kind.astype(np.int32)
        return Measured(padded(value), padded(self.output), padded(kinds), padded(limit))


def read_measurements(
    model: Model, spec: DataSpec, table: Table, event: np.ndarray, findings: Findings
) -> Measurements:
    """What was measured at each row; `event` is of each, as NONMEM's EVID."""
    column = spec.columns.name("measured")
    assert column is not None
    cells = read_numbers(
        table,
        column,
        findings,
        "a value below its limit is flagged in a column `censored`; a "
        "text for a missing value is named by `missing:`",
    )
    without = _flags(spec, table, "missing", findings)
    flagged = _flags(spec, table, "censored", findings)
    observed = (event == 0) & ~without
    output = _outputs(spec, table, observed, findings)
    name = spec.columns.name("missing") or "MDV"
    findings.wrong(
        observed & cells.missing & ~flagged,
        column,
        "is missing on an observation",
        hint=f"give the value, or {name} 1 where nothing was measured",
    )
    unused = ~observed & ~np.isnan(cells.values) & (cells.values != 0)
    if column == spec.columns.amount:
        unused &= event == 0
    # Without the values themselves, warnings of many records are told as one.
    findings.warn(unused, column, "has a value on a record where nothing was measured; not used")
    findings.warn(
        (event == 0) & without & flagged,
        spec.columns.name("censored") or "",
        "is flagged as below quantification, but not used, as {} says that nothing was measured",
        name,
    )
    limit = _limits(model, spec, table, output, flagged, findings)
    low = observed & ~flagged & (cells.values < limit)
    findings.warn(
        low, column, "is below its limit of {}, but not flagged; it counts as a value", limit
    )
    high = observed & flagged & (cells.values > limit)
    findings.warn(high, column, "is above its limit of {}, but flagged; it counts as below", limit)
    findings.wrong(
        observed & flagged & np.isnan(limit),
        spec.columns.name("censored") or column,
        "is flagged as below quantification, but no limit is known",
        hint="give `limit:` to the output, or `columns: {limit: …}` for all",
    )
    kind = np.where(observed, np.where(flagged, Kind.CENSORED, Kind.VALUE), Kind.NOTHING)
    return Measurements(cells.values, output, kind, limit)


def _flags(spec: DataSpec, table: Table, meaning: str, findings: Findings) -> np.ndarray:
    """Where a column of flags is set; nowhere if there is none."""
    column = spec.columns.name(meaning)
    if column is None:
        return np.zeros(len(table), bool)
    texts = table.texts(column)
    stated = getattr(spec.columns, meaning)
    if isinstance(stated, FlagSpec):
        return matches(texts, stated.cells)
    codes = np.array([FLAGS.get(same(text.lower()), -1) for text in texts])
    findings.wrong(codes < 0, column, "is {}; it may be 0 or 1 (N or Y)", texts)
    return codes == 1


def _outputs(spec: DataSpec, table: Table, observed: np.ndarray, findings: Findings) -> np.ndarray:
    """Which output each observation is of."""
    column = spec.columns.output or spec.columns.compartment
    wanted = {index: each.where for index, each in enumerate(spec.outputs.values())}
    output = np.zeros(len(table), np.int32)
    if column is None or wanted == {0: None}:
        return output
    texts = table.texts(column)
    unknown = observed.copy()
    for index, where in wanted.items():
        rows = matches(texts, [where])
        output[rows] = index
        unknown &= ~rows
    findings.wrong(
        unknown,
        column,
        "is {} on an observation; outputs have {}",
        texts,
        listed(wanted.values(), quoted=True),
        hint="describe it under `outputs`, or leave such rows out by `ignore: {rows: …}`",
    )
    return np.where(observed, output, 0).astype(np.int32)


def _limits(
    model: Model,
    spec: DataSpec,
    table: Table,
    output: np.ndarray,
    flagged: np.ndarray,
    findings: Findings,
) -> np.ndarray:
    """The limit of each observation in the unit of the table, NaN where none is known."""
    units = model.quantities("Outputs")
    stated = []
    for name, each in spec.outputs.items():
        unit = units[name].unit
        limit = converted(np.array(limit_of(each, unit)), unit, each.unit)
        stated.append(float(limit) if each.limit is not None else np.nan)
    limits = np.array(stated)[output]
    column = spec.columns.limit
    if column is None:
        return limits
    if column == spec.columns.measured:
        return np.where(flagged, table.numbers(column).values, limits)
    cells = read_numbers(table, column, findings)
    return np.where(cells.missing | (cells.values == 0), limits, cells.values)
