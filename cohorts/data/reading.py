"""Patient data from a table, with everything that is wrong with it told at once.

What events mean is `insilico.solve.read_records`'s to say; this adds what was measured, and of
whom, and puts its mistakes among the others. Numbers are checked as they stand in the table, so
that messages show what the user wrote, and turned into the model's units afterwards.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from cohorts._faults import Fault, Faults, raise_any
from cohorts.data.characteristics import Characteristics, Moments, read_characteristics
from cohorts.data.checking import check_spec, converted, fits, rate_unit
from cohorts.data.config import NONMEM, ColumnsSpec, DataSpec
from cohorts.data.measuring import Measurements, read_measurements
from cohorts.data.mistakes import DataError, Findings, Mistake
from cohorts.data.patients import Kind, PatientData
from cohorts.data.table import Table, of_frame, open_table, read_numbers
from insilico.config import Document, Name, Path, did_you_mean
from insilico.model import Model
from insilico.solve.records import Covariate, Records, RecordsError, read_records
from insilico.solve.records.laying_out import Columns
from insilico.solve.records.reading import EVENTS

if TYPE_CHECKING:
    import pandas as pd

EVENT_ITEMS = ("amount", "rate", "additional", "interval", "steady")
"""Items of an event table that are numbers, besides its time and code."""


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
    else `DataError` with all that is wrong with the table. Does not import JAX.
    """
    faults = Faults(document, path)
    wanted = covariates or {}
    check_spec(model, spec, wanted, faults)
    faults.raise_if_any()
    if frame is not None:
        return _Reader(model, spec, of_frame(spec, frame), wanted).read()
    table = None
    with faults.at("file"):
        table = _opened(spec, FilePath(document.file).parent if document else FilePath(folder))
    faults.raise_if_any()
    assert table is not None
    return _Reader(model, spec, table, wanted).read()


def _opened(spec: DataSpec, folder: FilePath) -> Table:
    """Raises `CohortError` where there is no such file."""
    file = folder / spec.file
    try:
        return open_table(spec, file)
    except FileNotFoundError:
        near = [entry.name for entry in file.parent.iterdir()] if file.parent.is_dir() else []
        hint = did_you_mean(file.name, near)
        raise_any([Fault((), "there is no such file", str(file), hint=hint)])
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise_any([Fault((), f"the file cannot be read: {reason}", str(file))])
    raise AssertionError


class _Reader:
    def __init__(self, model: Model, spec: DataSpec, table: Table, wanted: Mapping[str, Name]):
        self.model, self.spec, self.table, self.wanted = model, spec, table, wanted
        self.findings = Findings(table.lines)
        self.findings.mistakes += table.mistakes

    def read(self) -> PatientData:
        self._check_columns()
        if not len(self.table):
            self._end("no row is left: the config leaves out all of them, or all are wrong")
        subject, labels = self._subjects()
        time = self._times(subject)
        items = {meaning: self._numbers(meaning) for meaning in EVENT_ITEMS}
        event, into = self._events(items["amount"])
        into = self._compartments(event, into)
        measurements = read_measurements(self.model, self.spec, self.table, event, self.findings)
        found = read_characteristics(
            self.model, self.spec, self.table, self.wanted, Moments(subject, time, event),
            self.findings,
        )  # fmt: skip
        self._check_repeats(subject, time, event, into, items["amount"], measurements)
        records = self._records(labels[subject], time, event, into, items, found)
        if records is not None:
            records = self._in_units(records)
        if self.findings.mistakes or records is None:
            self._end()
        self._tell_the_unusual(records.columns, measurements, labels)
        return PatientData(
            model=self.model,
            records=records,
            subjects=tuple(labels),
            outputs=tuple(self.spec.outputs),
            measured=measurements.laid_out(self.model, self.spec, records.columns),
            covariates=found.constant,
            vocabulary=found.vocabulary,
            frame=self.table.frame,
            warnings=tuple(sorted(self.findings.warnings, key=lambda each: each.line)),
            left_out=dict(self.table.left_out),
            unused=tuple(name for name in self.table.frame.columns if name not in self._used()),
        )

    def _end(self, message: str | None = None) -> NoReturn:
        mistakes = self.findings.mistakes
        if message is not None:
            mistakes = [*mistakes, Mistake(0, "", message)]
        raise DataError(self.table.source, self.table.place, mistakes)

    def _used(self) -> set[str]:
        """The columns that the config speaks of."""
        names = {self.spec.columns.name(meaning) for meaning in ColumnsSpec.model_fields}
        covariates = {covariate.column for covariate in self.spec.covariates.values()}
        return {name for name in names if name} | covariates | set(self.spec.ignore.rows)

    def _check_columns(self) -> None:
        there = list(self.table.frame.columns)
        for name in sorted(self._used() - set(there)):
            message = f"there is no such column; there are {', '.join(there)}"
            self.findings.mistakes.append(Mistake(0, name, message, did_you_mean(name, there)))
        for meaning, names in NONMEM.items():
            if meaning in self.spec.columns.model_fields_set:
                continue
            for name in there:
                if name.upper() in names and name not in self._used():
                    message = f"has NONMEM's name for `{meaning}`, of which the config says nothing"
                    hint = f"write `columns: {{{meaning}: {name}}}`, or `{{{meaning}: null}}` if "
                    hint += "it is something else"
                    self.findings.mistakes.append(Mistake(0, name, message, hint))

    def _name(self, meaning: str) -> str | None:
        """The column of that meaning, if the table has it."""
        name = self.spec.columns.name(meaning)
        return name if name is not None and name in self.table else None

    def _subjects(self) -> tuple[np.ndarray, np.ndarray]:
        """The number of each row's subject, and the IDs."""
        name = self._name("subject")
        if name is None:
            return np.zeros(len(self.table), int), np.array([1], dtype=object)
        texts = self.table.texts(name)
        missing = texts == ""
        self.findings.wrong(missing, name, "is missing")
        # A row without an ID is most likely the subject's above.
        above = np.maximum.accumulate(np.where(missing, 0, np.arange(len(texts))))
        texts = texts[above]
        starts = np.concatenate([[True], texts[1:] != texts[:-1]])
        labels = texts[starts]
        if all(label.isdecimal() and str(int(label)) == label for label in labels):
            labels = np.array([int(label) for label in labels], dtype=object)
        return np.cumsum(starts) - 1, labels

    def _times(self, subject: np.ndarray) -> np.ndarray:
        """Of each row; where there is none, that of the subject's row above."""
        import pandas as pd

        name = self._name("time")
        if name is None:
            return np.zeros(len(self.table))
        cells = read_numbers(self.table, name, self.findings)
        self.findings.wrong(cells.missing, name, "is missing")
        if not self.spec.negative_times:
            self.findings.wrong(
                cells.values < 0, name, "is {}, before 0", cells.values,
                hint="times count from the first dose or later; `negative_times: true` where "
                "samples before it are meant",
            )  # fmt: skip
        known = pd.Series(cells.values).groupby(subject)
        return known.ffill().fillna(known.transform("min")).fillna(0.0).to_numpy()

    def _numbers(self, meaning: str) -> np.ndarray | None:
        """An item of an event table, NaN where there is none; None without such a column."""
        name = self._name(meaning)
        return None if name is None else read_numbers(self.table, name, self.findings).values

    def _events(self, amount: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        """NONMEM's code of each row's event, and compartments that the code itself names."""
        given = np.zeros(len(self.table)) if amount is None else np.nan_to_num(amount)
        likely = np.where(given != 0, 1.0, 0.0)
        name = self._name("event")
        if name is None:
            return likely, None
        cells = read_numbers(self.table, name, self.findings)
        self.findings.wrong(cells.missing, name, "is missing")
        codes = np.where(np.isnan(cells.values), likely, cells.values)
        into = codes // 100
        dose = (codes >= 100) & (codes % 100 == 1) & (codes < 10000)
        if self.spec.columns.coding == "nonmem":
            self.findings.wrong(
                dose, name, "is {}, which is nlmixr's code of a dose into compartment {}", codes,
                into, hint=f"write `event: {{{{column: {name}, coding: nlmixr}}}}`",
            )  # fmt: skip
            strange = ~np.isin(codes, EVENTS) & ~dose
            self.findings.wrong(strange, name, "is {}; it may be 0, 1, 2, 3, 4 or 8", codes)
            return np.where(dose | strange, likely, codes), None
        observed = np.isin(codes, (0, 2))
        self.findings.wrong(
            ~dose & ~observed, name, "is {}; of nlmixr's codes there are 0, 2, and 101, 201, … for "
            "doses", codes, hint="write other events in NONMEM's codes",
        )  # fmt: skip
        return np.where(observed, codes, likely), np.where(dose, into, np.nan)

    def _compartments(self, event: np.ndarray, coded: np.ndarray | None) -> np.ndarray | None:
        """Into which doses go, as `read_records` takes it; None where nothing says it."""
        name, doses = self._name("compartment"), np.isin(event, (1, 4, 8))
        components = self.model.components()
        if name is None and coded is not None:
            return np.where(np.isnan(coded), "", np.nan_to_num(coded).astype(int).astype(str))
        if name is None:
            stated = self.spec.doses_into
            return None if stated is None else np.full(len(self.table), stated, dtype=object)
        texts = self.table.texts(name)
        if len(components) > 1:
            self.findings.wrong(
                doses & (texts == ""), name, "is missing on a dose",
                hint=f"the model has {', '.join(components)}, counted from 1",
            )  # fmt: skip
        if coded is not None:
            numbers = self.table.numbers(name).values
            self.findings.wrong(
                ~np.isnan(coded) & (texts != "") & (numbers != coded), name,
                "is {}, but the event's code says compartment {}", texts, coded,
            )  # fmt: skip
        return texts

    def _check_repeats(
        self, subject: np.ndarray, time: np.ndarray, event: np.ndarray,
        into: np.ndarray | None, amount: np.ndarray | None, measured: Measurements,
    ) -> None:  # fmt: skip
        """Tell records that say again what another one says, and others of its instant."""
        import pandas as pd

        doses, column = np.isin(event, (1, 4)), self.spec.columns.name("measured") or ""
        nowhere = np.full(len(self.table), "", dtype=object)
        place = np.where(doses, nowhere if into is None else into, measured.output.astype(str))
        given = np.zeros(len(self.table)) if amount is None else amount
        value = np.where(doses, given, np.where(measured.kind == Kind.VALUE, measured.value, 0.0))
        moment = pd.DataFrame({
            "subject": subject, "time": time, "event": event, "place": place,
            "value": value, "row": np.arange(len(self.table)),
        })[doses | (measured.kind != Kind.NOTHING)]  # fmt: skip

        def above(keys: list[str]) -> tuple[np.ndarray, np.ndarray]:
            """Where another record agrees in `keys`, and the first that does."""
            first = moment.groupby(keys, sort=False, dropna=False)["row"].transform("first")
            result = np.arange(len(self.table))
            result[moment["row"]] = first
            return result != np.arange(len(self.table)), self.table.lines[result]

        instant = ["subject", "time", "event", "place"]
        repeats, line = above([*instant, "value"])
        where = self.table.place
        if not self.spec.repeats:
            self.findings.wrong(
                repeats, column, f"says the same as {where} {{}}, at the same time", line,
                hint="remove one, or write `repeats: true` if both are meant",
            )  # fmt: skip
        again, line = above(instant)
        self.findings.warn(
            again & ~repeats, column, f"is of the same time as {where} {{}}; both count", line
        )

    def _records(
        self, labels: np.ndarray, time: np.ndarray, event: np.ndarray, into: np.ndarray | None,
        items: Mapping[str, np.ndarray | None], found: Characteristics,
    ) -> Records | None:  # fmt: skip
        """The event table, in the units of the data; None where it has mistakes."""
        columns: dict[str, Any] = {"patient": labels, "time": time, "event": event}
        columns |= {meaning: values for meaning, values in items.items() if values is not None}
        if into is not None:
            columns["compartment"] = into
        own = {"patient": "subject"}
        names = {
            meaning: self._name(own.get(meaning, meaning)) or f"({meaning})" for meaning in columns
        }
        data = {names[meaning]: values for meaning, values in columns.items()}
        followed = {}
        for covariate in self.spec.covariates.values():
            if covariate.input in found.followed:
                data[covariate.column] = found.followed[covariate.input]
                followed[covariate.input] = Covariate(covariate.column, covariate.changes or "locf")
        try:
            return read_records(self.model, data, covariates=followed, columns=names)
        except RecordsError as error:
            for mistake in error.mistakes:
                if mistake.row:
                    self.findings.adopt(mistake.row - 1, mistake.column, mistake.message)
                else:
                    self.findings.mistakes.append(Mistake(*mistake))
            return None

    def _in_units(self, records: Records) -> Records:
        """Times, amounts and rates in the model's units."""
        columns, units, hour = records.columns, self.spec.units, self.model.time_unit
        amount, rate = columns.amount.copy(), columns.rate.copy()
        components = self.model.components()
        quantities = self.model.quantities("State")
        giving = np.isin(columns.event, (1, 4, 8))
        for number in np.unique(columns.compartment[giving]).tolist():
            rows = giving & (columns.compartment == number)
            unit = quantities[components[number].partition("[")[0]].unit
            if units.amount is None or not fits(units.amount, unit):
                self.findings.wrong(
                    rows, self._name("compartment") or self._name("amount") or "",
                    f"is a dose in {units.amount} into {components[number]}, which is in {unit}",
                )  # fmt: skip
                continue
            amount[rows] = converted(amount[rows], units.amount, unit)
            # -1 and -2 are codes.
            rates = rows & (rate > 0)
            if np.any(rates):
                rate[rates] = converted(rate[rates], rate_unit(self.spec) or "", f"{unit}/{hour}")
        return dataclasses.replace(
            records,
            data=self.table.frame,
            columns=columns._replace(
                time=converted(columns.time, units.time, hour),
                interval=converted(columns.interval, units.time, hour),
                amount=amount,
                rate=rate,
            ),
        )

    def _tell_the_unusual(
        self, columns: Columns, measured: Measurements, labels: np.ndarray
    ) -> None:
        """Warnings of subjects that have no measured value, or no dose."""
        kept = self.findings.warnings
        first = self.table.lines[np.searchsorted(columns.patient, np.arange(len(labels)))]
        name = self._name("subject") or ""
        for number in np.flatnonzero(
            np.bincount(columns.patient, measured.kind != Kind.NOTHING) == 0
        ):
            message = f"subject {labels[number]} has no measured value; it is kept"
            kept.append(Mistake(int(first[number]), name, message))
        undosed = np.flatnonzero(np.bincount(columns.patient, columns.doses) == 0)
        for number in undosed:
            message = f"subject {labels[number]} has no dose; it is kept"
            kept.append(Mistake(int(first[number]), name, message))
