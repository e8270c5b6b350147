"""Event tables read from columns, with every mistake told at once.

The meaning of each column is NONMEM's (Users Guide VI, PREDPP, chapter V); `README.md` beside this
file lists what that leaves open and what was decided.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from insilico.model import Dosing, Model
from insilico.occasions import by_occasion
from insilico.solve.records.cells import as_numbers, filled
from insilico.solve.records.laying_out import Columns, lay_out
from insilico.solve.records.mistakes import Mistake, RecordsError
from insilico.solve.records.table import Interpolation, Layout, RecordTable
from insilico.solve.tolerances import LARGEST_SHIFT

if TYPE_CHECKING:
    import pandas as pd

INTERPOLATIONS: tuple[Interpolation, ...] = ("nocb", "locf", "linear")

NAMES = {
    "patient": "ID",
    "time": "TIME",
    "event": "EVID",
    "amount": "AMT",
    "compartment": "CMT",
    "rate": "RATE",
    "additional": "ADDL",
    "interval": "II",
    "steady": "SS",
}
"""What a column means, and NONMEM's name for it."""

OBSERVATION, DOSE, OTHER, RESET, RESET_AND_DOSE, REPLACEMENT = 0, 1, 2, 3, 4, 8
EVENTS = (OBSERVATION, DOSE, OTHER, RESET, RESET_AND_DOSE, REPLACEMENT)


@dataclasses.dataclass(frozen=True)
class Covariate:
    """A column that an input of the model follows.

    **Arguments:**

    - `column`: its name.
    - `interpolation`: `"nocb"` (a record's value holds over the interval that ends at it: what
      NONMEM does), `"locf"` (over the interval that starts at it) or `"linear"` (between records).
      A dose's bioavailability, lag, duration and rate, and a steady state, are always those of the
      record's own value.
    """

    column: str
    interpolation: Interpolation = "nocb"


@dataclasses.dataclass(frozen=True, eq=False)
class Records:
    """An event table, read and checked; `insilico.solve.solve` takes it for events and pattern.

    - `model`: the model it was read for.
    - `patients`: each patient's ID, in the order of the table; parameters have to come in it.
    - `columns`: the checked columns in the order of the table.
    - `data`: what was read.
    """

    model: Model
    patients: tuple[Any, ...]
    columns: Columns
    data: Any

    def laid_out(self, overlaps: int | None = None) -> tuple[RecordTable, Layout]:
        """The arrays for `insilico.solve.solve_block`, and their layout.

        `overlaps`: how many implied doses may be under way or pending at a steady-state record;
        default: as many as the table shows where the model has no `dosing`. It matters to
        steady-state records whose infusions, or lags, are longer than II.
        """
        return lay_out(self.model, self.columns, overlaps)

    def by_occasion(self, occasion: Mapping[str, np.ndarray]) -> Records:
        """The same table for a model whose parameters of these names change between occasions.

        `occasion`: by parameter the number of each record's, from 0, in the order of the table. It
        holds from the record on, up to the next record of another occasion. `in_occasions` puts the
        parameters in its place.
        """
        columns, numbers = self.columns, (np.asarray(own, float) for own in occasion.values())
        return dataclasses.replace(
            self,
            model=by_occasion(self.model, tuple(occasion)),
            columns=columns._replace(
                values=(*columns.values, *numbers),
                interpolations=(*columns.interpolations, *("locf" for _ in occasion)),
            ),
        )

    def by_record(self, values: Any) -> np.ndarray:
        """`values` (patients, records) as one column in the order of the table."""
        return np.asarray(values)[self.columns.patient, self.columns.place]

    def frame(self, solution: Any, prefix: str = "") -> pd.DataFrame:
        """The table as it was read, with a column for each output and the patient's status.

        `prefix` goes before the names of outputs. Raises `ValueError` where a column of that name
        is in the table already.
        """
        import pandas as pd

        from insilico.solve.status import DESCRIPTIONS, Status

        found = pd.DataFrame(self.data).copy()
        added = {
            prefix + name: self.by_record(values)
            for name, values in zip(self.model.Outputs._fields, solution.outputs, strict=True)
        }
        described = np.array([DESCRIPTIONS[Status(code)] for code in solution.status])
        added[prefix + "status"] = described[self.columns.patient]
        taken = [name for name in added if name in found.columns]
        if taken:
            raise ValueError(f"the table has its own {', '.join(taken)}; give the outputs a prefix")
        return found.assign(**added)


def read_records(
    model: Model,
    data: Any,
    *,
    covariates: Mapping[str, str | Covariate] | None = None,
    columns: Mapping[str, str] | None = None,
) -> Records:
    """An event table in NONMEM's manner, for `model`.

    **Arguments:**

    - `data`: a pandas `DataFrame` or a mapping of columns, in order of ID and time. `TIME` is
      required. Without `ID` there is one patient; without `EVID` records with an amount are doses;
      without `CMT` doses go into the first compartment; `RATE`, `ADDL`, `II` and `SS` are 0 unless
      given. `CMT` counts compartments from 1 or names them. Times are in the model's unit, amounts
      in the compartment's.
    - `covariates`: for each input of the model, the column it follows, with `Covariate` where that
      is to be otherwise than by next observation carried backward.
    - `columns`: other names than NONMEM's, by meaning: `{"time": "hours"}`; see `NAMES`. A name
      that differs from NONMEM's by small letters alone has to be said, too.

    Raises `RecordsError`, which lists every mistake with its row, and `ValueError` for an
    interpolation or a meaning of a column that there is not.
    """
    return _Reader(model, data, dict(covariates or {}), dict(columns or {})).read()


class _Reader:
    def __init__(self, model: Model, data: Any, covariates: dict, columns: dict[str, str]):
        unknown = sorted(set(columns) - set(NAMES))
        if unknown:
            raise ValueError(f"columns: there is no {unknown[0]!r}; there are {', '.join(NAMES)}")
        self.model, self.data = model, data
        self.names = {**NAMES, **columns}
        self.covariates = {
            name: entry if isinstance(entry, Covariate) else Covariate(entry)
            for name, entry in covariates.items()
        }
        for name, entry in self.covariates.items():
            if entry.interpolation not in INTERPOLATIONS:
                raise ValueError(
                    f"covariates: {name} has interpolation {entry.interpolation!r}; "
                    f"there are {', '.join(INTERPOLATIONS)}"
                )
        self.mistakes: list[Mistake] = []
        self.raw = {str(name): np.asarray(data[name]) for name in data}
        self.length = max((len(column) for column in self.raw.values()), default=0)

    def wrong(self, where: np.ndarray, meaning: str, message: str, *shown: np.ndarray) -> None:
        """A mistake at each row where `where` holds; `message` may refer to the values shown."""
        column = self.names.get(meaning, meaning)
        for row in np.flatnonzero(where):
            values = [f"{array[row]:g}" for array in shown]
            self.mistakes.append(Mistake(int(row) + 1, column, message.format(*values)))

    def read(self) -> Records:
        self._check_shape()
        patient, labels = self._patients()
        time, missing = self._numbers("time", required=True)
        self.wrong(missing, "time", "is missing")
        amount, no_amount = self._numbers("amount")
        event, no_event = self._numbers("event")
        if self.names["event"] in self.raw:
            self.wrong(no_event, "event", "is missing")
        else:
            event = np.where(amount != 0, float(DOSE), float(OBSERVATION))
        rate, additional, interval, steady = (
            self._numbers(meaning)[0] for meaning in ("rate", "additional", "interval", "steady")
        )
        self.wrong(~np.isin(event, EVENTS), "event", "is {}; it may be 0, 1, 2, 3, 4 or 8", event)
        doses = np.isin(event, (DOSE, RESET_AND_DOSE))
        resets = np.isin(event, (RESET, RESET_AND_DOSE))
        compartment = self._compartments(doses | (event == REPLACEMENT), event)
        self._check_times(patient, time, resets)
        self._check_doses(time, event, doses, no_amount, amount, rate, additional, interval, steady)
        self._check_modelled(doses, rate, compartment)
        values, interpolations = self._covariates(patient, time)
        if self.mistakes:
            raise RecordsError(sorted(self.mistakes, key=lambda mistake: mistake.row))
        columns = Columns.of(
            patient=patient,
            time=time,
            event=event.astype(int),
            amount=amount,
            rate=rate,
            additional=additional.astype(int),
            interval=interval,
            steady=steady.astype(int),
            compartment=compartment,
            values=values,
            interpolations=interpolations,
        )
        return Records(self.model, labels, columns, self.data)

    def _check_shape(self) -> None:
        if self.names["time"] not in self.raw:
            self.mistakes.append(Mistake(0, self.names["time"], "there is no such column"))
        self._check_capitals()
        for meaning, name in self.names.items():
            if name != NAMES[meaning] and name not in self.raw:
                self.mistakes.append(Mistake(0, name, "there is no such column"))
        for name, column in self.raw.items():
            if column.shape != (self.length,):
                self.mistakes.append(
                    Mistake(0, name, f"is of shape {column.shape}, others have {self.length} rows")
                )
        if not self.length:
            self.mistakes.append(Mistake(0, "the table", "has no rows"))
        if self.mistakes:
            raise RecordsError(self.mistakes)

    def _check_capitals(self) -> None:
        """A column of the right name in other letters would be passed over: doses, not given."""
        used = {*self.names.values(), *(entry.column for entry in self.covariates.values())}
        for meaning, name in self.names.items():
            for other in self.raw:
                if other not in used and name not in self.raw and other.upper() == name.upper():
                    told = f"is not read: say columns={{{meaning!r}: {other!r}}}, or leave it out"
                    self.mistakes.append(Mistake(0, other, told))

    def _patients(self) -> tuple[np.ndarray, tuple[Any, ...]]:
        if self.names["patient"] not in self.raw:
            return np.zeros(self.length, int), (1,)
        identity = self.raw[self.names["patient"]]
        if identity.dtype.kind in "fO":
            import pandas as pd

            # Nothing equals NaN, and so each such row would be another patient.
            missing = pd.isna(identity)
            self.wrong(missing, "patient", "is missing")
            identity = identity[np.maximum.accumulate(np.where(missing, 0, np.arange(self.length)))]
        starts = np.concatenate([[True], identity[1:] != identity[:-1]])
        labels, seen = identity[starts].tolist(), set()
        again = np.zeros(self.length, bool)
        for label, row in zip(labels, np.flatnonzero(starts), strict=True):
            again[row] = label in seen
            seen.add(label)
        for row in np.flatnonzero(again):
            self.mistakes.append(
                Mistake(
                    int(row) + 1,
                    self.names["patient"],
                    f"{identity[row]} appears again after other patients' records",
                )
            )
        return np.cumsum(starts) - 1, tuple(labels)

    def _numbers(self, meaning: str, required: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """A column as numbers, 0 where missing, and where it is."""
        name = self.names.get(meaning, meaning)
        if name not in self.raw:
            return np.zeros(self.length), np.ones(self.length, bool)
        values, missing, wrong = as_numbers(self.raw[name])
        for row in np.flatnonzero(wrong):
            found = self.raw[name][row]
            self.mistakes.append(
                Mistake(int(row) + 1, name, f"{str(found)!r} is not a finite number")
            )
        return values, missing & ~wrong

    def _compartments(self, needed: np.ndarray, event: np.ndarray) -> np.ndarray:
        """From 0; 0 too where a record has no use for one."""
        names = self.model.components()
        column = self.raw.get(self.names["compartment"])
        if column is None:
            return np.zeros(self.length, int)
        numbers = {name: str(index + 1) for index, name in enumerate(names)}
        if column.dtype.kind in "OU":
            column = np.array([numbers.get(str(entry), entry) for entry in column], object)
        values, missing, wrong = as_numbers(column)
        # Whatever stands beside an observation means nothing to it.
        switching = np.isin(event, (OTHER, RESET)) & (values < 0)
        for row in np.flatnonzero(wrong & needed):
            self.mistakes.append(
                Mistake(
                    int(row) + 1,
                    self.names["compartment"],
                    f"{str(column[row])!r} is no number and no compartment: {', '.join(names)}",
                )
            )
        self.wrong(
            switching,
            "compartment",
            "is {}: turning a compartment off is not supported",
            values,
        )
        # 0 and a missing value stand for the default compartment.
        values = np.where(missing | (values == 0), 1.0, values)
        out = needed & ~wrong & ~(np.isin(values, np.arange(1, len(names) + 1)))
        self.wrong(
            out,
            "compartment",
            f"is {{}}; compartments of model {self.model.name} go from 1 to {len(names)}",
            values,
        )
        return np.where(needed & ~wrong & ~out, values, 1.0).astype(int) - 1

    def _check_times(self, patient: np.ndarray, time: np.ndarray, resets: np.ndarray) -> None:
        same = np.concatenate([[False], patient[1:] == patient[:-1]])
        before = np.concatenate([[0.0], time[:-1]])
        self.wrong(
            same & (time < before) & ~resets,
            "time",
            "is {}, before the {} of the patient's record above; only a reset may go back",
            time,
            before,
        )

    def _check_doses(
        self,
        time: np.ndarray,
        event: np.ndarray,
        doses: np.ndarray,
        no_amount: np.ndarray,
        amount: np.ndarray,
        rate: np.ndarray,
        additional: np.ndarray,
        interval: np.ndarray,
        steady: np.ndarray,
    ) -> None:
        replaces = event == REPLACEMENT
        idle = np.isin(event, (OBSERVATION, OTHER, RESET))
        given = {
            "amount": amount,
            "rate": rate,
            "additional": additional,
            "interval": interval,
            "steady": steady,
        }
        for meaning, values in given.items():
            unused = idle if meaning == "amount" else idle | replaces
            self.wrong(
                unused & (values != 0),
                meaning,
                "is {} at EVID {}, which gives no dose",
                values,
                event,
            )
        self.wrong((doses | replaces) & no_amount, "amount", "is missing on a record that needs it")
        self.wrong(doses & (amount < 0), "amount", "is {}; a dose cannot be below 0", amount)
        self.wrong(
            doses & (rate < 0) & ~np.isin(rate, (-1, -2)),
            "rate",
            "is {}; it may be 0, above 0, -1 (modelled rate) or -2 (modelled duration)",
            rate,
        )
        self.wrong(
            doses & ~np.isin(steady, (0, 1, 2)), "steady", "is {}; it may be 0, 1 or 2", steady
        )
        self.wrong(doses & (interval < 0), "interval", "is {}; it cannot be below 0", interval)
        self.wrong(
            doses & ((additional < 0) | (additional % 1 != 0)),
            "additional",
            "is {}; it must be a whole number, 0 or more",
            additional,
        )
        infused = doses & (rate > 0) & (amount > 0)
        duration = np.where(infused, amount, 1.0) / np.where(infused, rate, 1.0)
        told = (time + duration) - time
        self.wrong(
            infused & (np.abs(told - duration) > LARGEST_SHIFT * duration),
            "rate",
            "is {}, but an infusion of {} is too short for the clock at TIME {}; 0 gives a bolus",
            rate,
            duration,
            time,
        )
        nothing = doses & (amount == 0) & ~no_amount
        constant = nothing & (steady > 0) & (interval == 0)
        self.wrong(
            nothing & (rate != 0) & ~constant,
            "rate",
            "is {} with AMT 0, which only a constant infusion at steady state (SS, II 0) may have",
            rate,
        )
        self.wrong(
            constant & (rate == -2), "rate", "is -2, but a constant infusion has no duration"
        )
        self.wrong(
            constant & (additional > 0),
            "additional",
            "is {}, but a constant infusion ends at its record",
            additional,
        )
        self.wrong(
            doses & (additional > 0) & (interval == 0) & ~constant,
            "interval",
            "must be above 0 with ADDL {}",
            additional,
        )
        self.wrong(
            doses & (amount > 0) & np.isin(steady, (1, 2)) & (interval == 0),
            "interval",
            "must be above 0 with SS {}",
            steady,
        )

    def _check_modelled(self, doses: np.ndarray, rate: np.ndarray, compartment: np.ndarray) -> None:
        modelled = {-1.0: ("rate", doses & (rate == -1)), -2.0: ("duration", doses & (rate == -2))}
        if not any(np.any(where) for _, where in modelled.values()):
            return
        declared = declared_dosing(self.model)
        names = self.model.components()
        for code, (what, where) in modelled.items():
            for row in np.flatnonzero(where):
                name = names[compartment[row]]
                if getattr(declared.get(name, Dosing()), what) is None:
                    self.mistakes.append(
                        Mistake(
                            int(row) + 1,
                            self.names["rate"],
                            f"is {code:g}, but model {self.model.name} has no dosing {what} "
                            f"for compartment {name}",
                        )
                    )

    def _covariates(
        self, patient: np.ndarray, time: np.ndarray
    ) -> tuple[tuple[np.ndarray, ...], tuple[Interpolation, ...]]:
        fields = self.model.Inputs._fields
        for name in self.covariates:
            if name not in fields:
                self.mistakes.append(
                    Mistake(0, name, f"model {self.model.name} has inputs {', '.join(fields)}")
                )
        values: list[np.ndarray] = []
        interpolations: list[Interpolation] = []
        for name in fields:
            entry = self.covariates.get(name)
            if entry is None:
                self.mistakes.append(Mistake(0, name, "no column is named for this input"))
                continue
            if entry.column not in self.raw:
                self.mistakes.append(Mistake(0, entry.column, "there is no such column"))
                continue
            found, missing = self._numbers(entry.column)
            empty = np.flatnonzero(np.bincount(patient, ~missing) == 0)
            for row in np.searchsorted(patient, empty).tolist():
                told = "the patient has no value at all"
                self.mistakes.append(Mistake(row + 1, entry.column, told))
            if not empty.size:
                found = filled(found, missing, patient, time, entry.interpolation)
            values.append(found)
            interpolations.append(entry.interpolation)
        return tuple(values), tuple(interpolations)


def declared_dosing(model: Model) -> dict[str, Dosing]:
    """Which compartments' dosing the model states, at parameters and inputs of 1: names matter."""
    if model.dosing is None:
        return {}
    inputs = model.ones("Inputs") if model.Inputs._fields else model.Inputs()
    return model.dosing(model.ones("Parameters"), inputs)
