"""Doses of a companion dataset, CDISC's EX or ADEX, put among the records of an ADPC table.

ADPC counts time from a subject's first dose (AFRLT), the companion has dates: each dose is put at
its time after the subject's first one there.
"""

from __future__ import annotations

import dataclasses
from pathlib import PurePath

import numpy as np

from cohorts.data.clock import HOUR, instants, written
from cohorts.data.config import DataSpec, DoseColumnsSpec, DosesSpec, EventSpec
from cohorts.data.dosing_records import Given, given_doses, per_second
from cohorts.data.formats import said_unit
from cohorts.data.mistakes import Findings, Mistake
from cohorts.data.table import Table, matches

COLUMNS = {
    "subject": ("USUBJID", "SUBJID"),
    "start": ("ASTDTM", "EXSTDTC", "ASTDT"),
    "end": ("AENDTM", "EXENDTC", "AENDT"),
    "amount": ("EXDOSE", "AVAL"),
    "unit": ("EXDOSU", "DOSEU", "AVALU"),
    "frequency": ("EXDOSFRQ",),
    "route": ("EXROUTE",),
}
"""Names of columns in ADEX and EX."""

NEEDED = ("subject", "start", "amount")

DOSE = "DOSE"
"""PARAMCD of a record of a dose, in ADPC as in ADEX."""

RATE = "RATE"

APART = 120.0
"""Seconds between two clocks' accounts of one sample; times in hours have two decimals or more."""


def with_doses(
    spec: DataSpec, table: Table, companion: Table, findings: Findings
) -> tuple[DataSpec, Table]:
    """The table with the companion's doses among its records, and the spec of that table.

    What is wrong with the companion goes into `findings`; the doses that can be told are there.
    Raises `DataError` where a column is missing: what the rows say cannot be judged then.
    """
    assert spec.doses is not None
    name = PurePath(companion.source).name
    columns, lacking = _columns(spec.doses, companion)
    place = f"{name} {companion.place}"
    findings.mistakes += [each._replace(within=place) for each in (*companion.mistakes, *lacking)]
    _own_doses(spec, table, name, findings)
    if lacking:
        findings.raise_any()
    companion = dataclasses.replace(companion, mistakes=())
    doses = _counted(spec.doses, columns, companion).of_somebody(columns.subject)
    findings.mistakes += [each._replace(within=place) for each in doses.mistakes]
    doses = dataclasses.replace(doses, companions=np.full(len(doses), place), mistakes=())
    told = Findings(doses)
    given = given_doses(spec, columns, table, doses, told)
    unit = said_unit(columns.unit, spec.units.amount, np.ones(len(doses), bool), doses, told)
    findings.mistakes += told.mistakes
    findings.warnings += told.warnings
    units = spec.units.model_copy(update={"amount": unit})
    spec = spec.model_copy(update={"units": units})
    # A first dose that is wrong would make its subject's samples wrong, too.
    return _joined(spec, columns, table, doses, given, findings, trusted=not told.mistakes)


def _columns(spec: DosesSpec, companion: Table) -> tuple[DoseColumnsSpec, list[Mistake]]:
    """The columns of the companion, and mistakes where there are none of these names."""
    found, lacking = {}, []
    for meaning, candidates in COLUMNS.items():
        stated = getattr(spec.columns, meaning)
        there = [each for each in ([stated] if stated else candidates) if each in companion.names]
        found[meaning] = there[0] if there else None
        if not there and stated:
            lacking.append(
                Mistake(0, stated, f"is no column; there are {', '.join(companion.names)}")
            )
        elif not there and meaning in NEEDED:
            message = f"has no column {' or '.join(candidates)}"
            hint = f"name it by `doses: {{columns: {{{meaning}: …}}}}`"
            lacking.append(Mistake(0, "", message, hint))
    lacking += [
        Mistake(0, column, f"is no column; there are {', '.join(companion.names)}")
        for column in spec.only
        if column not in companion.names
    ]
    return DoseColumnsSpec(**found), lacking


def _own_doses(spec: DataSpec, table: Table, name: str, findings: Findings) -> None:
    """Mistakes where the table has doses as well."""
    column = spec.columns.output
    if column is not None:
        findings.wrong(
            matches(table.texts(column), [DOSE]),
            column,
            f"is {DOSE}, and doses are those of {name}",
            hint=f"leave out one of both: `doses`, or `ignore: {{rows: {{{column}: [{DOSE}]}}}}`",
        )


def _counted(spec: DosesSpec, columns: DoseColumnsSpec, companion: Table) -> Table:
    """The records that count, the others by their reason."""
    only = dict(spec.only)
    if "PARAMCD" in companion.names:
        only.setdefault("PARAMCD", (DOSE,))
    for column, cells in only.items():
        others = ~matches(companion.texts(column), cells)
        companion = companion.without(others, f"other {column} than {', '.join(map(str, cells))}")
    assert columns.amount is not None
    nothing = companion.numbers(columns.amount).values == 0
    # Placebo, and doses that were not given.
    return companion.without(nothing, f"{columns.amount} 0") if np.any(nothing) else companion


def _joined(
    spec: DataSpec,
    columns: DoseColumnsSpec,
    table: Table,
    doses: Table,
    given: Given,
    findings: Findings,
    *,
    trusted: bool,
) -> tuple[DataSpec, Table]:
    """The records of both by subject and time; a sample at the time of a dose comes before it."""
    import pandas as pd

    subject, time = spec.columns.subject, spec.columns.time
    if subject is None or time is None:
        return spec, table  # said elsewhere
    ids = table.texts(subject)
    whose = doses.texts(columns.subject or "")[given.record]
    there = np.isin(whose, ids)
    left_out = (*table.left_out, *_prefixed(doses))
    unheard = int(np.sum(~there))
    if unheard:
        name = PurePath(doses.source).name
        left_out = (*left_out, (f"{name}: doses of subjects without a record", unheard))
    given = Given(*(column[there] for column in given))
    whose = whose[there]
    first = pd.Series(given.seconds).groupby(whose).transform("min").to_numpy(dtype=float)
    factor = per_second(spec)
    if trusted:
        begun = dict(zip(whose.tolist(), first.tolist(), strict=True))
        _same_clock(spec, table, begun, factor, doses.source, findings)
    after = (given.seconds - first) * factor
    output = spec.columns.output or "PARAMCD"
    amount = columns.amount or ""
    cells = {subject: whose, time: after, output: DOSE, amount: given.amount}
    event = EventSpec(column=output, doses=(DOSE,))
    changed = {"amount": amount, "event": event, "amount_unit": None}
    if np.any(given.hours > 0):
        span = np.where(given.hours > 0, given.hours * HOUR * factor, 1.0)
        cells[RATE] = np.where(given.hours > 0, given.amount / span, 0.0)
        changed["rate"] = RATE
    if columns.route is not None:
        texts = doses.texts(columns.route)[given.record]
        if into := _compartments(spec, columns.route, texts, given, doses, findings):
            cells[columns.route], changed["compartment"] = into, columns.route
    # What samples have in these columns is about no dose.
    others = {amount, changed.get("compartment")} - {spec.columns.measured}
    samples = table.frame.drop(columns=[name for name in others if name in table.names])
    frame = pd.concat(
        [samples.astype(object), pd.DataFrame(cells, dtype=object)], ignore_index=True
    )
    order = _order(ids, table.numbers(time).values, whose, after)
    lines = np.concatenate([table.lines, doses.lines[given.record]])
    place = doses.within(0) if len(doses) else ""
    companions = np.array([""] * len(table) + [place] * len(whose), dtype=object)
    joined = dataclasses.replace(
        table,
        frame=frame.iloc[order].reset_index(drop=True),
        lines=lines[order],
        companions=companions[order],
        left_out=left_out,
    )
    findings.table = joined
    spec = spec.model_copy(update={"columns": spec.columns.model_copy(update=changed)})
    return spec, joined


def _prefixed(doses: Table) -> list[tuple[str, int]]:
    name = PurePath(doses.source).name
    return [(f"{name}: {reason}", number) for reason, number in doses.left_out]


def _compartments(
    spec: DataSpec, column: str, texts: np.ndarray, given: Given, doses: Table, findings: Findings
) -> list[str] | None:
    """The compartment of each dose by its route; None where the routes do not tell it."""
    assert spec.doses is not None
    routes = spec.doses.routes
    told = Findings(dataclasses.replace(doses, mistakes=()))
    rows = np.zeros(len(doses), bool)
    if routes:
        rows[given.record[~np.isin(texts, list(routes))]] = True
        told.wrong(
            rows,
            column,
            "is {}, of which `doses: {{routes: …}}` says nothing",
            doses.texts(column),
        )
    elif len(set(texts.tolist())) > 1:
        rows[given.record[texts != texts[0]]] = True
        told.wrong(
            rows,
            column,
            f"is {{}}, and that of other doses is {texts[0]}",
            doses.texts(column),
            hint="say into which compartment each goes by `doses: {routes: {…: …}}`",
        )
    findings.mistakes += told.mistakes
    return [routes.get(text, "") for text in texts.tolist()] if routes else None


def _same_clock(
    spec: DataSpec,
    table: Table,
    first: dict[str, float],
    factor: float,
    source: str,
    findings: Findings,
) -> None:
    """Mistakes of samples whose date (ADTM) is not their time after the companion's first dose."""
    subject, time = spec.columns.subject or "", spec.columns.time or ""
    if "ADTM" not in table.names:
        return
    dates = instants(table.texts("ADTM"))
    begun = np.array([first.get(each, np.nan) for each in table.texts(subject).tolist()], float)
    wanted = (dates.seconds - begun) * factor
    stated = table.numbers(time).values
    off = ~dates.dates & (np.abs(wanted - stated) > APART * factor)
    starts = np.array(["" if np.isnan(each) else written(each) for each in begun], dtype=object)
    findings.wrong(
        off,
        time,
        f"is {{}}, but ADTM is {{}} after the first dose of {PurePath(source).name}, at {{}}",
        stated,
        wanted,
        starts,
        hint="leave records of other treatments out by `doses: {only: {EXTRT: […]}}`",
    )


def _order(ids: np.ndarray, times: np.ndarray, whose: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Where records and doses stand: a dose before the first record of its subject that is later,
    records as they stood.

    Doses after a subject's last record come before those before the next one's first.
    """
    places: dict[str, list[int]] = {}
    for row, each in enumerate(ids.tolist()):
        places.setdefault(each, []).append(row)
    position = np.empty(len(whose))
    for name in set(whose.tolist()):
        rows = np.array(places[name])
        latest = np.maximum.accumulate(np.nan_to_num(times[rows], nan=-np.inf))
        mine = np.flatnonzero(whose == name)
        later = np.searchsorted(latest, after[mine], side="right")
        position[mine] = np.where(
            later < len(rows), rows[np.minimum(later, len(rows) - 1)] - 0.25, rows[-1] + 0.25
        )
    keys = np.concatenate([np.arange(len(ids), dtype=float), position])
    moments = np.concatenate([np.zeros(len(ids)), after])
    return np.lexsort((moments, keys))
