"""The events of a table: when they happened to whom, and the event table that follows from them.

What events mean is `insilico.solve.read_records`'s to say. Where a cell is wrong, the likeliest one
stands in for it, so that the rest of the table can be judged.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from cohorts.data.checking import converted, fits, rate_unit
from cohorts.data.config import DataSpec, EventSpec
from cohorts.data.mistakes import Findings
from cohorts.data.table import Table, matches, read_numbers
from insilico.model import Model
from insilico.solve.records import Covariate, Records, RecordsError, read_records
from insilico.solve.records.reading import DOSE, EVENTS, OBSERVATION, REPLACEMENT, RESET_AND_DOSE

ITEMS = ("amount", "rate", "additional", "interval", "steady")
"""Items of an event table that are numbers, besides its time and code."""

WHOLE = r"(0|[1-9][0-9]*)(\.0*)?"
"""An ID that is the same as a number: not 007."""


class Events(NamedTuple):
    """What happened at each row of a table; arrays (rows,), in its units."""

    ids: np.ndarray
    """Of the subjects, (subjects,)."""
    subject: np.ndarray
    """Index into `ids`."""
    time: np.ndarray
    event: np.ndarray
    """NONMEM's EVID."""
    compartment: np.ndarray | None
    """As the table names it, empty where it does not; None where doses go into the first."""
    items: dict[str, np.ndarray]
    """Of `ITEMS` those that the table has, NaN where a cell is missing."""

    @property
    def doses(self) -> np.ndarray:
        return np.isin(self.event, (DOSE, RESET_AND_DOSE))

    @property
    def first(self) -> np.ndarray:
        """Whether a row is its subject's first."""
        return np.concatenate([[True], self.subject[1:] != self.subject[:-1]])


def read_events(model: Model, spec: DataSpec, table: Table, findings: Findings) -> Events:
    """The events of a table; what `read_records` finds wrong is left to it."""
    ids, subject = _subjects(spec, table)
    time = _times(spec, table, subject, findings)
    items = {
        meaning: read_numbers(table, name, findings).values
        for meaning in ITEMS
        if (name := spec.columns.name(meaning)) is not None
    }
    event, coded = _codes(spec, table, items.get("amount"), findings)
    compartment = _compartments(model, spec, table, event, coded, findings)
    if "amount" in items and spec.columns.amount == spec.columns.measured:
        # One column has both: what it has of an observation is no amount.
        items["amount"] = np.where(event == OBSERVATION, np.nan, items["amount"])
    return Events(ids, subject, time, event, compartment, items)


def read_event_table(
    model: Model,
    spec: DataSpec,
    table: Table,
    events: Events,
    inputs: Mapping[str, np.ndarray],
    findings: Findings,
) -> Records | None:
    """The event table in the model's units; None where it cannot be one.

    `inputs`: by input of the model its value at each row, (rows,), NaN where it is missing.
    """
    columns: dict[str, Any] = {
        "patient": events.ids[events.subject],
        "time": events.time,
        "event": events.event,
        **events.items,
    }
    if events.compartment is not None:
        columns["compartment"] = events.compartment
    names = {
        meaning: spec.columns.name("subject" if meaning == "patient" else meaning) or f"({meaning})"
        for meaning in columns
    }
    data = {names[meaning]: values for meaning, values in columns.items()}
    followed = {}
    for covariate in spec.covariates.values():
        if covariate.input is not None:
            data[covariate.column] = inputs[covariate.input]
            followed[covariate.input] = Covariate(covariate.column, covariate.changes or "locf")
    try:
        records = read_records(model, data, covariates=followed, columns=names)
    except RecordsError as error:
        for mistake in error.mistakes:
            findings.adopt(mistake.row, mistake.column, mistake.message)
        return None
    frame = table.typed(name for name in spec.columns_used() if name != spec.columns.subject)
    return _in_units(dataclasses.replace(records, data=frame), spec, findings)


def _subjects(spec: DataSpec, table: Table) -> tuple[np.ndarray, np.ndarray]:
    """The IDs, and the number of each row's."""
    name = spec.columns.subject
    if name is None:
        return np.array([1], dtype=object), np.zeros(len(table), int)
    texts = table.texts(name)
    if all(re.fullmatch(WHOLE, text) for text in set(texts)):
        texts = np.array([int(text.partition(".")[0]) for text in texts], dtype=object)
    starts = np.concatenate([[True], texts[1:] != texts[:-1]])
    return texts[starts], np.cumsum(starts) - 1


def _times(spec: DataSpec, table: Table, subject: np.ndarray, findings: Findings) -> np.ndarray:
    """Of each row; where there is none, that of the subject's row above."""
    import pandas as pd

    name = spec.columns.time
    assert name is not None
    cells = read_numbers(
        table, name, findings, "dates and clock times are written as the time since the first dose"
    )
    findings.wrong(cells.missing, name, "is missing")
    if not spec.negative_times:
        findings.wrong(
            cells.values < 0,
            name,
            "is {}, before 0",
            cells.values,
            hint="times count from the first dose or later; `negative_times: true` where samples "
            "before it are meant",
        )
    known = pd.Series(cells.values).groupby(subject)
    return known.ffill().fillna(known.transform("min")).fillna(0.0).to_numpy()


def _codes(
    spec: DataSpec, table: Table, amount: np.ndarray | None, findings: Findings
) -> tuple[np.ndarray, np.ndarray]:
    """EVID of each row, and the compartment that nlmixr's code names, NaN where it names none."""
    given = np.zeros(len(table)) if amount is None else np.nan_to_num(amount)
    likely = np.where(given != 0, float(DOSE), float(OBSERVATION))
    nowhere = np.full(len(table), np.nan)
    name, stated = spec.columns.name("event"), spec.columns.event
    if name is None:
        return likely, nowhere
    if isinstance(stated, EventSpec) and stated.doses:
        doses = matches(table.texts(name), stated.doses)
        return np.where(doses, float(DOSE), float(OBSERVATION)), nowhere
    cells = read_numbers(table, name, findings)
    findings.wrong(cells.missing, name, "is missing")
    codes = np.where(np.isnan(cells.values), likely, cells.values)
    compartment = codes // 100
    coded = (codes > 100) & (codes % 100 == 1) & (codes < 10000)
    if isinstance(stated, EventSpec) and stated.coding == "nlmixr":
        plain = np.isin(codes, (0, 2))
        findings.wrong(
            ~coded & ~plain,
            name,
            "is {}; of nlmixr's codes there are 0, 2, and 101, 201, … for doses",
            codes,
            hint="write other events in NONMEM's codes",
        )
        return np.where(plain, codes, likely), np.where(coded, compartment, np.nan)
    findings.wrong(
        coded,
        name,
        "is {}, which is nlmixr's code of a dose into compartment {}",
        codes,
        compartment,
        hint=f"write `event: {{column: {name}, coding: nlmixr}}`",
    )
    strange = ~np.isin(codes, EVENTS) & ~coded
    findings.wrong(strange, name, "is {}; it may be 0, 1, 2, 3, 4 or 8", codes)
    return np.where(coded | strange, likely, codes), nowhere


def _compartments(
    model: Model,
    spec: DataSpec,
    table: Table,
    event: np.ndarray,
    coded: np.ndarray,
    findings: Findings,
) -> np.ndarray | None:
    """Into which doses go, as `read_records` takes it."""
    name, components = spec.columns.compartment, model.components()
    named = ~np.isnan(coded)
    if name is None and np.any(named):
        return np.where(named, np.nan_to_num(coded).astype(int).astype(str), "")
    if name is None:
        into = spec.doses_into
        return None if into is None else np.full(len(table), into, dtype=object)
    texts = table.texts(name)
    if len(components) > 1:
        findings.wrong(
            np.isin(event, (DOSE, RESET_AND_DOSE, REPLACEMENT)) & (texts == ""),
            name,
            "is missing on a dose",
            hint=f"the model has {', '.join(components)}, counted from 1",
        )
    findings.wrong(
        named & (texts != "") & (table.numbers(name).values != coded),
        name,
        "is {}, but the event's code says compartment {}",
        texts,
        coded,
    )
    return texts


def _in_units(records: Records, spec: DataSpec, findings: Findings) -> Records:
    """Times, amounts and rates in the model's units."""
    model, columns, units = records.model, records.columns, spec.units
    amount, rate = columns.amount.copy(), columns.rate.copy()
    components, quantities = model.components(), model.quantities("State")
    giving = columns.doses | (columns.event == REPLACEMENT)
    for number in np.unique(columns.compartment[giving]).tolist():
        rows = giving & (columns.compartment == number)
        unit = quantities[components[number].partition("[")[0]].unit
        if not fits(units.amount, unit):
            findings.wrong(
                rows,
                spec.columns.compartment or spec.columns.amount or "",
                "is a dose in {} into {}, which is in {}",
                units.amount,
                components[number],
                unit,
            )
            continue
        amount[rows] = converted(amount[rows], units.amount, unit)
        # -1 and -2 are codes.
        rates = rows & (rate > 0)
        if np.any(rates):
            rate[rates] = converted(rate[rates], rate_unit(spec), f"{unit}/{model.time_unit}")
    converted_columns = columns._replace(
        time=converted(columns.time, units.time, model.time_unit),
        interval=converted(columns.interval, units.time, model.time_unit),
        amount=amount,
        rate=rate,
    )
    return dataclasses.replace(records, columns=converted_columns)
