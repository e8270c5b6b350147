"""Patient data from a table, with everything that is wrong with it told at once.

Numbers are checked as they stand in the table, so that messages show what the user wrote, and are
turned into the model's units afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import TYPE_CHECKING

import numpy as np

from cohorts._faults import CohortError, Fault, Faults, raise_any
from cohorts.data.characteristics import read_characteristics
from cohorts.data.checking import check_spec
from cohorts.data.companion import with_doses
from cohorts.data.config import DataSpec
from cohorts.data.events import Events, read_event_table, read_events
from cohorts.data.files import of_frame, open_table
from cohorts.data.formats import NONMEM, settled, with_units
from cohorts.data.measuring import Measurements, read_measurements
from cohorts.data.mistakes import DataError, Findings, Mistake
from cohorts.data.occasions import read_occasions
from cohorts.data.patients import Kind, PatientData
from cohorts.data.starting import moves_by_itself
from cohorts.data.table import Table
from insilico.config import Document, Name, Path, did_you_mean
from insilico.model import Model

if TYPE_CHECKING:
    import pandas as pd


def read_patients(
    model: Model,
    spec: DataSpec,
    frame: pd.DataFrame | None = None,
    *,
    covariates: Mapping[str, Name] | None = None,
    folder: str | os.PathLike[str] = ".",
    document: Document | None = None,
    path: Path = ("data",),
) -> PatientData:
    """The patients of a table, in the units of `model`.

    **Arguments:**

    - `spec`: what the table's columns mean. Its file is relative to the folder of `document`, or
      else to `folder`.
    - `frame`: the table itself, in place of the file; it is not changed.
    - `covariates`: those that somebody needs (a population's), in whose units and codes they are
      given; default: in the table's.
    - `document`, `path`: the config that `spec` was parsed from and where it stands there, for the
      places of problems.

    Raises `ConfigError` (without a document `CohortError`) with all that cannot be in `spec`, and
    `DataError` with all that is wrong with the table. Does not import JAX.
    """
    faults = Faults(document, path)
    table, companion, wanted = None, None, covariates or {}
    base = FilePath(document.file).parent if document else FilePath(folder)
    with faults.at("file"):
        table = _opened(spec, base / spec.file) if frame is None else of_frame(spec, frame)
    if spec.doses is not None:
        with faults.at("doses"):
            raise_any(_unfit_for_doses(spec))
        with faults.at("doses", "file"):
            companion = _opened(spec, base / spec.doses.file)
        if companion is None:
            faults.raise_if_any()
    if table is None:
        if spec.format == "nonmem":  # else its columns depend on the table
            check_spec(model, spec, wanted, faults)
        faults.raise_if_any()
    assert table is not None
    spec = settled(spec, table.names)
    try:
        unmentioned = _check_header(spec, table)
    except DataError as error:
        if spec.format == "nonmem":
            check_spec(model, spec, wanted, faults)
        with faults.at("file"):
            raise_any(error.faults if faults.some else [])
        faults.raise_if_any()
        raise
    table = table.without_ignored(spec).of_somebody(spec.columns.subject)
    findings = Findings(table, unmentioned)
    spec = with_units(spec, table, findings)
    if companion is not None:
        spec, table = with_doses(spec, table, companion, findings)
    check_spec(model, spec, wanted, faults)
    faults.raise_if_any()
    if not len(table):
        findings.add(Mistake(0, "", "no row is left: all are left out by the config, or are wrong"))
        findings.raise_any()
    return _read(model, spec, table, wanted, findings)


def _unfit_for_doses(spec: DataSpec) -> list[Fault]:
    """What stands beside a companion of doses and says them as well."""
    if spec.format != "adpc":
        hint = "their format is adpc, or the doses are records of the table"
        return [Fault((), "belongs to samples of ADPC", f"format: {spec.format}", hint=hint)]
    if spec.doses is not None and FilePath(spec.file).name == FilePath(spec.doses.file).name:
        message = "is called as the table of samples, beside which a fit keeps it"
        return [Fault(("file",), message, spec.doses.file, hint="rename one of them")]
    stated = [
        name
        for name in ("amount", "event", "rate", "additional", "interval", "steady")
        if getattr(spec.columns, name) is not None
    ]
    message = "says the doses, and so does `columns`"
    return [Fault((), message, ", ".join(stated), hint="leave one out")] if stated else []


def _opened(spec: DataSpec, file: FilePath) -> Table:
    """Raises `CohortError` where there is no such file."""
    try:
        return open_table(spec, file)
    except FileNotFoundError:
        near = [entry.name for entry in file.parent.iterdir()] if file.parent.is_dir() else []
        fault = Fault((), "there is no such file", str(file), hint=did_you_mean(file.name, near))
    except OSError as error:
        fault = Fault((), f"cannot be read: {(error.strerror or str(error)).lower()}", str(file))
    raise CohortError([fault])


def _check_header(spec: DataSpec, table: Table) -> list[Mistake]:
    """Columns with NONMEM's name for something of which the config says nothing.

    Raises `DataError` where a column is missing: what the rows say cannot be judged then.
    """
    used = spec.columns_used()
    unmentioned = [
        Mistake(
            0,
            name,
            f"has NONMEM's name for `{meaning}`, of which the config says nothing",
            f"write `columns: {{{meaning}: {name}}}`, or `{{{meaning}: null}}` if it is something "
            "else",
        )
        for meaning, names in NONMEM.items()
        if meaning not in spec.columns.model_fields_set
        for name in table.names
        if name.upper() in names and name not in used
    ]
    lacking = [
        Mistake(
            0,
            name,
            f"there is no such column; there are {', '.join(table.names)}",
            did_you_mean(name, table.names),
        )
        for name in used
        if name not in table.names
    ]
    if lacking:
        raise DataError(table.source, table.place, [*table.mistakes, *lacking, *unmentioned])
    return unmentioned


def _read(
    model: Model, spec: DataSpec, table: Table, wanted: Mapping[str, Name], findings: Findings
) -> PatientData:
    events = read_events(model, spec, table, findings)
    measurements = read_measurements(model, spec, table, events.event, findings)
    found = read_characteristics(model, spec, table, wanted, events, findings)
    _check_repeats(spec, table, events, measurements, findings)
    occasion = read_occasions(spec, table, events, findings)
    records = read_event_table(model, spec, table, events, found.followed, findings)
    findings.raise_any()
    assert records is not None
    _tell_the_unusual(model, spec, events, measurements, findings)
    used = spec.columns_used()
    return PatientData(
        model=model,
        records=records,
        subjects=records.patients,
        outputs=tuple(spec.outputs),
        measured=measurements.laid_out(model, spec, records.columns),
        covariates=found.constant,
        changing=found.changing,
        vocabulary=found.vocabulary,
        frame=records.data,
        occasion=occasion,
        warnings=tuple(sorted(findings.warnings, key=lambda each: (each.line, each.column))),
        left_out=dict(table.left_out),
        unused=tuple(name for name in table.names if name not in used),
        place=table.place,
    )


def _check_repeats(
    spec: DataSpec, table: Table, events: Events, measured: Measurements, findings: Findings
) -> None:
    """Tell records that say again what another one says, and others of its instant."""
    import pandas as pd

    doses, column = events.doses, spec.columns.name("measured") or ""
    rows = np.arange(len(table))
    into = np.zeros(len(table)) if events.compartment is None else events.compartment
    amount = events.items.get("amount", np.zeros(len(table)))
    value = np.where(measured.kind == Kind.VALUE, measured.value, 0.0)
    told = pd.DataFrame(
        {
            "row": rows,
            "subject": events.subject,
            "time": events.time,
            "event": events.event,
            "what": np.where(doses, into, measured.output).astype(str),
            "value": np.where(doses, amount, value),
        }
    )
    told = told.loc[doses | (measured.kind != Kind.NOTHING)]

    def first(keys: list[str]) -> np.ndarray:
        """The first row that agrees with each one in these columns."""
        result = rows.copy()
        result[told["row"]] = told.groupby(keys, sort=False, dropna=False)["row"].transform("first")
        return result

    instant = ["subject", "time", "event", "what"]
    same, near = first([*instant, "value"]), first(instant)
    if not spec.repeats:
        findings.wrong(
            same != rows,
            column,
            "says the same as {} {}, at the same time",
            table.place,
            table.lines[same],
            hint="remove one, or write `repeats: true` if both are meant",
        )
    findings.warn(
        (near != rows) & (same == rows),
        column,
        "is of the same time as a record above; both count",
    )


def _tell_the_unusual(
    model: Model, spec: DataSpec, events: Events, measured: Measurements, findings: Findings
) -> None:
    """Warnings of subjects without a measured value, or a dose, and of a late start."""
    for what, there in (
        ("measured value", measured.kind != Kind.NOTHING),
        ("dose", events.doses),
    ):
        without = np.bincount(events.subject, there)[events.subject] == 0
        if without.all():
            findings.note(f"no subject has a {what}")
        else:
            message = f"this subject has no {what}; it is kept"
            findings.warn(events.first & without, spec.columns.subject or "", message)
    late = events.first & (events.time != 0.0)
    if late.any() and moves_by_itself(model):
        message = (
            f"this subject's first record is at {{}}, and {model.name} starts from its initial "
            "state there, as in NONMEM; a record of EVID 2 at time 0 lets it start at 0"
        )
        findings.warn(late, spec.columns.time or "", message, events.time)
