"""What columns are called in NONMEM's tables and in CDISC's ADaM, and which units they state.

ADPPK is CDISC's analysis dataset for population pharmacokinetics, ADPC that of concentrations; both
as pharmaverse makes them, which has records of doses in the second, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cohorts.data.checking import same_unit
from cohorts.data.config import ColumnsSpec, DataSpec, EventSpec, FlagSpec, OutputSpec
from cohorts.data.mistakes import Findings
from cohorts.data.table import Table, matches
from insilico.config import dimensions

NONMEM: Mapping[str, tuple[str, ...]] = {
    "subject": ("ID",),
    "time": ("TIME",),
    "measured": ("DV",),
    "amount": ("AMT",),
    "event": ("EVID",),
    "compartment": ("CMT",),
    "rate": ("RATE",),
    "missing": ("MDV",),
    "additional": ("ADDL",),
    "interval": ("II",),
    "steady": ("SS",),
    "output": ("DVID",),
    "censored": ("CENS", "BLQ", "BLQFN"),
    "limit": ("LLOQ",),
}
"""Names that say what a column is: one of these that the config does not speak of is a mistake."""

_UNITS = {"time_unit": ("FRLTU",), "amount_unit": ("AMTU", "DOSEU"), "measured_unit": ("AVALU",)}

ADPPK: Mapping[str, tuple[Any, ...]] = {
    **NONMEM,
    "subject": ("USUBJID", "SUBJID"),
    "time": ("AFRLT", "TIME"),
    "measured": ("DV", "AVAL"),
    "censored": ("BLQFN", "BLQFL"),
    "limit": ("ALLOQ", "LLOQ"),
    **_UNITS,
}

ADPC: Mapping[str, tuple[Any, ...]] = {
    "subject": ("USUBJID", "SUBJID"),
    "time": ("AFRLT",),
    "measured": ("AVAL",),
    "amount": ("AVAL",),
    "event": (EventSpec(column="PARAMCD", doses=("DOSE",)),),
    "output": ("PARAMCD",),
    "censored": ("BLQFL", FlagSpec(column="AVALCAT1", cells=("<BLQ",))),
    "limit": ("ALLOQ",),
    **_UNITS,
}

FORMATS: Mapping[str, Mapping[str, tuple[Any, ...]]] = {"adppk": ADPPK, "adpc": ADPC}


def settled(spec: DataSpec, names: Sequence[str]) -> DataSpec:
    """The spec with the defaults of its format, as far as a table of these columns has them.

    Times in ADaM count from the first dose, so that samples before it have negative ones; records
    that were derived from others (DTYPE) say nothing new and are left out.
    """
    if spec.format == "nonmem":
        return spec
    columns: dict[str, Any] = {}
    for meaning, candidates in FORMATS[spec.format].items():
        there = [each for each in candidates if getattr(each, "column", each) in names]
        if there and meaning not in spec.columns.model_fields_set:
            columns[meaning] = there[0]
    changed: dict[str, Any] = {"columns": spec.columns.model_copy(update=columns)}
    if "negative_times" not in spec.model_fields_set:
        changed["negative_times"] = True
    if "filled" not in spec.ignore.model_fields_set and "DTYPE" in names:
        changed["ignore"] = spec.ignore.model_copy(update={"filled": ("DTYPE",)})
    return spec.model_copy(update=changed)


def with_units(spec: DataSpec, table: Table, findings: Findings) -> DataSpec:
    """The spec with the units that the table's own columns say, where it states none itself.

    A row that says another unit is a mistake.
    """
    columns = spec.columns
    everywhere = np.ones(len(table), bool)
    measured = everywhere
    amounts, amount_unit = everywhere, columns.amount_unit
    if isinstance(columns.event, EventSpec) and columns.event.doses:
        measured = ~matches(table.texts(columns.event.column), columns.event.doses)
        if columns.amount == columns.measured and columns.measured_unit is not None:
            # The unit beside the value is that of an amount there.
            amounts, amount_unit = ~measured, columns.measured_unit
    outputs = {}
    for name, output in spec.outputs.items():
        rows = measured & _own(columns, output, table)
        unit = said_unit(columns.measured_unit, output.unit, rows, table, findings)
        outputs[name] = output.model_copy(update={"unit": unit})
    units = spec.units.model_copy(
        update={
            "time": said_unit(columns.time_unit, spec.units.time, everywhere, table, findings),
            "amount": said_unit(amount_unit, spec.units.amount, amounts, table, findings),
        }
    )
    return spec.model_copy(update={"outputs": outputs, "units": units})


def _own(columns: ColumnsSpec, output: OutputSpec, table: Table) -> np.ndarray:
    """The rows of an output."""
    column = columns.output or columns.compartment
    if output.where is None or column is None:
        return np.ones(len(table), bool)
    return matches(table.texts(column), [output.where])


def said_unit(
    column: str | None, stated: str, rows: np.ndarray, table: Table, findings: Findings
) -> str:
    """The unit that a column says where `rows`, (rows,), holds, or the stated one, which it has to
    agree with."""
    if column is None:
        return stated
    texts = table.texts(column)
    for text in dict.fromkeys(texts[rows & (texts != "")]):
        unit = _spelled(text)
        if not stated:
            stated = unit
        elif not same_unit(unit, stated):
            findings.wrong(
                rows & (texts == text),
                column,
                "is {}, elsewhere it is {}",
                texts,
                stated,
                hint="a table has one unit for each output, for times and for doses",
            )
    return stated


def _spelled(text: str) -> str:
    """A unit as it is known, which ADaM may have in capitals (HOURS)."""
    for unit in (text, text.lower()):
        try:
            dimensions(unit)
        except ValueError:
            continue
        return unit
    return text
