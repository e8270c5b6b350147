"""Patient data as a table with NONMEM's columns, of what was measured or of what was simulated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from cohorts.data.config import ColumnsSpec, CovariateSpec, DataSpec, OutputSpec, UnitsSpec
from cohorts.data.patients import Kind, PatientData

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "ID", "TIME", "EVID", "AMT", "CMT", "RATE", "ADDL", "II", "SS", "DV", "MDV", "DVID", "CENS",
    "LLOQ",
)  # fmt: skip


def to_nonmem(
    data: PatientData, simulated: Float[np.ndarray, "*replicates records subjects"] | None = None
) -> pd.DataFrame:
    """A table that NONMEM, nlmixr2 and Monolix read, in the model's units.

    `to_nonmem(data).to_csv("table.csv", index=False, na_rep=".")` writes it;
    `nonmem_spec(data, "table.csv")` says what it means.

    **Arguments:**

    - `simulated`: values in place of the measured ones, such as `Predicted.mean` with residual
      error, aligned with `data.measured`; with replicates, a first column `REP` counts them. One
      below its record's limit is censored, as a measured one would be. NaN where a solve failed: a
      record of which nothing is known.

    The columns are ID (the subject's, or its number from 1 where IDs are no numbers), those of
    `COLUMNS`, OCC where occasions are told apart, counted from 1 for each subject, and a column for
    each covariate and input by its name in capitals. DVID counts the
    measured outputs from 1 and is 0 where nothing was measured. A censored value's DV is its limit.
    Codes of categories are as in `data.covariates`.

    Raises `ValueError` for simulated values of another shape, and where a covariate or an input has
    the name of another column.
    """
    import pandas as pd

    names = [
        *COLUMNS,
        "REP",
        *([] if data.occasion is None else ["OCC"]),
        *map(str.upper, data.covariates),
    ]
    names += map(_input, data.model.Inputs._fields)
    if again := [name for number, name in enumerate(names) if name in names[:number]]:
        raise ValueError(f"{again[0]} is the name of another column; rename the covariate")
    if simulated is None:
        return pd.DataFrame(_columns(data, data.measured.value, data.measured.kind))
    values = np.asarray(simulated, float)
    shape = data.measured.value.shape
    if values.shape[-2:] != shape or values.ndim > 3:
        raise ValueError(
            f"simulated: found shape {values.shape}; allowed are (records, subjects), here "
            f"{shape}, and (replicates, records, subjects)"
        )
    if values.ndim == 2:
        return pd.DataFrame(_simulated(data, values))
    tables = [pd.DataFrame(_simulated(data, each)) for each in values]
    for number, table in enumerate(tables, start=1):
        table.insert(0, "REP", number)
    return pd.concat(tables, ignore_index=True)


def nonmem_spec(data: PatientData, file: str) -> DataSpec:
    """What the table of `to_nonmem` means: the section `data` of a config that reads it."""
    model, outputs = data.model, data.model.quantities("Outputs")
    covariates = {
        name: CovariateSpec(
            column=name.upper(),
            unit=word.unit,
            categories={each: code for code, each in enumerate(word.categories)} or None,
            changes="locf" if name in data.changing else None,
        )
        for name, word in data.vocabulary.items()
    }
    interpolations = data.records.columns.interpolations
    for (name, quantity), changes in zip(
        model.quantities("Inputs").items(), interpolations, strict=True
    ):
        covariates[f"input_{name}"] = CovariateSpec(
            column=_input(name),
            unit=quantity.unit,
            changes=changes,
            input=name,
        )
    return DataSpec(
        file=file,
        columns=ColumnsSpec(
            subject="ID", time="TIME", event="EVID", amount="AMT", compartment="CMT", rate="RATE",
            additional="ADDL", interval="II", steady="SS", measured="DV", missing="MDV",
            output="DVID", censored="CENS", limit="LLOQ",
            occasion=None if data.occasion is None else "OCC",
        ),
        units=UnitsSpec(time=model.time_unit, amount=_dosed_unit(data)),
        outputs={
            name: OutputSpec(where=number, unit=outputs[name].unit)
            for number, name in enumerate(data.outputs, start=1)
        },
        covariates=covariates,
        negative_times=bool(data.times.min() < 0),
        repeats=True,
    )  # fmt: skip


def _input(name: str) -> str:
    return f"INPUT_{name.upper()}"


def _dosed_unit(data: PatientData) -> str:
    columns, names = data.records.columns, data.model.components()
    quantities = data.model.quantities("State")
    dosed = np.unique(columns.compartment[columns.doses]).tolist() or [0]
    return quantities[names[dosed[0]].partition("[")[0]].unit


def _simulated(data: PatientData, values: np.ndarray) -> dict[str, np.ndarray]:
    kind, limit = data.measured.kind, data.measured.limit
    censored = (values < limit) & (limit != 0)
    kind = np.where(
        (kind == Kind.NOTHING) | np.isnan(values),
        Kind.NOTHING,
        np.where(censored, Kind.CENSORED, Kind.VALUE),
    )
    return _columns(data, np.where(censored, limit, values), kind)


def _columns(data: PatientData, value: np.ndarray, kind: np.ndarray) -> dict[str, np.ndarray]:
    records = data.records.columns

    def flat(array: np.ndarray) -> np.ndarray:
        return array[records.place, records.patient]

    observed, limit = flat(kind) != Kind.NOTHING, flat(data.measured.limit)
    giving = records.doses | (records.event == 8)
    identity = np.array(data.subjects, dtype=object)[records.patient]
    if not all(isinstance(subject, int) for subject in data.subjects):
        identity = records.patient + 1
    columns = dict(zip(COLUMNS, (
        identity.astype(int), records.time, records.event, records.amount,
        np.where(giving, records.compartment + 1, 0), records.rate, records.additional,
        records.interval, records.steady, np.where(observed, flat(value), np.nan),
        (~observed).astype(int), np.where(observed, flat(data.measured.output) + 1, 0),
        (flat(kind) == Kind.CENSORED).astype(int), np.where(limit != 0, limit, np.nan),
    ), strict=True))  # fmt: skip
    others = {} if data.occasion is None else {"OCC": data.occasion + 1}
    for name, values in data.covariates.items():
        others[name.upper()] = data.changing.get(name, values[records.patient])
    for name, values in zip(data.model.Inputs._fields, records.values, strict=True):
        others[_input(name)] = values
    return columns | others
