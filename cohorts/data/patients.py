"""Patient data as fits and diagnostics take them: records, measured values, covariates."""

from __future__ import annotations

import dataclasses
import enum
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from cohorts.data.exposure import time_after_dose
from cohorts.data.mistakes import Mistake, gathered
from insilico.config import Name, did_you_mean
from insilico.model import Model
from insilico.solve.records import Records

if TYPE_CHECKING:
    import pandas as pd


class Kind(enum.IntEnum):
    """What a record says of an output."""

    NOTHING = 0
    VALUE = 1
    CENSORED = 2
    """Below the limit of quantification."""


class Measured(NamedTuple):
    """What was measured at each record; padded below a subject's last one."""

    value: Float[np.ndarray, "records subjects"]
    """In the output's unit; 0 where nothing was measured, the limit where it is censored."""
    output: Int[np.ndarray, "records subjects"]
    """Index into the names of the measured outputs; 0 where nothing was measured."""
    kind: Int[np.ndarray, "records subjects"]
    """A `Kind`."""
    limit: Float[np.ndarray, "records subjects"]
    """Lower limit of quantification, 0 where none is known; a censored value has one."""


class Summary(NamedTuple):
    """How much there is of patient data."""

    subjects: int
    records: int
    doses: int
    """Records of doses, additional ones not counted."""
    observations: dict[str, int]
    """By output, censored ones included."""
    censored: dict[str, int]
    times: tuple[float, float]
    """Of the first and the last record, in the model's unit."""
    left_out: dict[str, int]
    """Rows of the table that the config leaves out, by the reason."""
    unused: tuple[str, ...]
    """Columns that the config does not use."""


@dataclasses.dataclass(frozen=True, eq=False)
class PatientData:
    """What is known of the patients of a study, in the model's units; from `read_patients`.

    - `model`: the structural model that the data were read for.
    - `records`: doses, observations, other events and inputs. Subjects are its patients.
    - `subjects`: their IDs, in the order of the table.
    - `outputs`: the measured outputs of the model.
    - `measured`: NumPy arrays (records, subjects), aligned with `records.laid_out()`.
    - `covariates`: (subjects,): numbers, or int codes of categories; of one that changes that of
      the subject's first record.
    - `changing`: those that change and that parameters may depend on, (records,) in the order of
      the table: what holds from each record on.
    - `vocabulary`: what each covariate is: its unit or its categories.
    - `frame`: the table as it was read, in its units, a row for each record.
    - `occasion`: number of the occasion that each record belongs to, from 0 for the subject's
      first, (records,) in the order of the table; None where nothing says it.
    - `warnings`: what somebody should know of, with its place.
    - `left_out`: rows that the config leaves out; `unused`: columns without a meaning.
    - `place`: what the table's lines are called, `line` or `row`.
    """

    model: Model
    records: Records
    subjects: tuple[Any, ...]
    outputs: tuple[str, ...]
    measured: Measured
    covariates: dict[str, np.ndarray]
    vocabulary: dict[str, Name]
    frame: pd.DataFrame
    changing: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    occasion: np.ndarray | None = None
    warnings: tuple[Mistake, ...] = ()
    left_out: dict[str, int] = dataclasses.field(default_factory=dict)
    unused: tuple[str, ...] = ()
    place: str = "row"

    @property
    def occasions(self) -> int:
        """Of the subject who has the most; 1 where nothing tells them apart."""
        return 1 if self.occasion is None else int(self.occasion.max()) + 1

    @property
    def occasions_of_subjects(self) -> Int[np.ndarray, " subjects"]:
        """How many each has."""
        result = np.ones(len(self.subjects), int)
        if self.occasion is not None:
            np.maximum.at(result, self.records.columns.patient, self.occasion + 1)
        return result

    @property
    def notes(self) -> list[str]:
        """The warnings as texts, each told once with its first lines."""
        return gathered(self.warnings, self.place)

    @property
    def times(self) -> Float[np.ndarray, "records subjects"]:
        """Of each record, in the model's unit; a subject's last one repeated below it."""
        columns = self.records.columns
        last = np.cumsum(np.bincount(columns.patient)) - 1
        times = np.repeat(columns.time[last][None], len(self.measured.kind), axis=0)
        times[columns.place, columns.patient] = columns.time
        return times

    @functools.cached_property
    def time_after_dose(self) -> Float[np.ndarray, " records"] | None:
        """Of each record in the order of the table, the time since the last dose, additional ones
        included, in the model's unit; NaN before the first, None where a reset turns a clock back.
        """
        import pandas as pd

        columns = self.records.columns
        same = columns.patient[1:] == columns.patient[:-1]
        if np.any(same & (columns.time[1:] < columns.time[:-1])):
            return None
        frame = pd.DataFrame(
            {
                "ID": columns.patient,
                "TIME": columns.time,
                "EVID": columns.event,
                "AMT": columns.amount,
                "ADDL": columns.additional,
                "II": columns.interval,
            }
        )
        return time_after_dose(frame)

    @property
    def observations(self) -> pd.DataFrame:
        """A row for each measured value, in the order of the table.

        Columns `subject`, `time`, `output`, `value` (NaN where it is censored), `censored` and
        `limit` (NaN where none is known), in the model's units.
        """
        import pandas as pd

        columns = self.records.columns
        value, output, kind, limit = (
            array[columns.place, columns.patient] for array in self.measured
        )
        found = pd.DataFrame(
            {
                "subject": np.array(self.subjects, dtype=object)[columns.patient],
                "time": columns.time,
                "output": np.array(self.outputs, dtype=object)[output],
                "value": np.where(kind == Kind.CENSORED, np.nan, value),
                "censored": kind == Kind.CENSORED,
                "limit": np.where(limit != 0, limit, np.nan),
            }
        )
        return found.loc[kind != Kind.NOTHING].infer_objects().reset_index(drop=True)

    def selected(self, subjects: Sequence[Any]) -> PatientData:
        """The data of some subjects, given by their IDs, in the order of the table.

        Raises `KeyError` for an ID that there is not.
        """
        for subject in subjects:
            if subject not in self.subjects:
                near = did_you_mean(str(subject), map(str, self.subjects))
                raise KeyError(f"there is no subject {subject!r}" + (f"; {near}" if near else ""))
        wanted = set(subjects)
        kept = np.array([subject in wanted for subject in self.subjects])
        columns = self.records.columns
        rows = kept[columns.patient]
        arrays = {
            name: array[rows]
            for name, array in columns._asdict().items()
            if isinstance(array, np.ndarray)
        }
        chosen = columns._replace(
            **arrays | {"patient": (np.cumsum(kept) - 1)[arrays["patient"]]},
            values=tuple(array[rows] for array in columns.values),
        )
        ids = tuple(subject for subject in self.subjects if subject in wanted)
        frame = self.frame[rows].reset_index(drop=True)
        longest = int(np.bincount(chosen.patient).max())
        return dataclasses.replace(
            self,
            records=dataclasses.replace(self.records, patients=ids, columns=chosen, data=frame),
            subjects=ids,
            measured=Measured(*(array[:longest, kept] for array in self.measured)),
            covariates={name: values[kept] for name, values in self.covariates.items()},
            changing={name: values[rows] for name, values in self.changing.items()},
            frame=frame,
            occasion=None if self.occasion is None else self.occasion[rows],
        )

    def summary(self) -> Summary:
        """How many subjects, records, doses and measured values there are."""
        columns, kind = self.records.columns, self.measured.kind
        counts = {name: self.measured.output == index for index, name in enumerate(self.outputs)}
        return Summary(
            subjects=len(self.subjects),
            records=len(columns.time),
            doses=int(np.sum(columns.doses)),
            observations={
                name: int(np.sum(of & (kind != Kind.NOTHING))) for name, of in counts.items()
            },
            censored={
                name: int(np.sum(of & (kind == Kind.CENSORED))) for name, of in counts.items()
            },
            times=(float(columns.time.min()), float(columns.time.max())),
            left_out=self.left_out,
            unused=self.unused,
        )
