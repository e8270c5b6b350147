"""What is written with NONMEM's columns reads back as the same data."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cohorts.data import PatientData, exposures, nonmem_spec, read_patients, to_nonmem
from insilico.solve import solve

TABLE = """ID,TIME,DV,AMT,EVID,RATE,ADDL,II,WHAT,BLQ,WT,SEX
A1,0,.,100,1,-0,2,12,.,0,70,male
A1,1,5.1,.,0,.,.,.,plasma,0,70,male
A1,1,40,.,0,.,.,.,gut,0,70,male
A1,48,.,.,0,.,.,.,plasma,1,70,male
A2,-0.5,.,.,2,.,.,.,.,0,62.5,female
A2,0,.,120,1,60,.,.,.,0,62.5,female
A2,1.5,6.4,.,0,.,.,.,plasma,0,62.5,female
"""
STATED = {
    "columns": {
        "rate": "RATE",
        "additional": "ADDL",
        "interval": "II",
        "output": "WHAT",
        "censored": "BLQ",
    },
    "outputs": {
        "concentration": {"where": "plasma", "unit": "mg/L", "limit": "0.2 mg/L"},
        "depot": {"where": "gut", "unit": "mg"},
    },
    "covariates": {
        "weight": {"column": "WT", "unit": "kg"},
        "sex": {"column": "SEX", "categories": ["male", "female"]},
    },
    "negative_times": True,
}


def read_back(data: PatientData, table: pd.DataFrame, folder: Path) -> PatientData:
    table.to_csv(folder / "export.csv", index=False, na_rep=".")
    return read_patients(data.model, nonmem_spec(data, "export.csv"), folder=folder)


def test_a_table_reads_back_as_the_same_data(read, assert_same, tmp_path):
    data = read(TABLE, **STATED)
    table = to_nonmem(data)
    assert table["ID"].tolist() == [1] * 4 + [2] * 3
    assert table["DVID"].tolist() == [0, 1, 2, 1, 0, 0, 1]
    assert table["MDV"].tolist() == [1, 0, 0, 0, 1, 1, 0]
    assert table["CENS"].tolist() == [0, 0, 0, 1, 0, 0, 0]
    assert table["CMT"].tolist() == [1, 0, 0, 0, 0, 1, 0]
    again = read_back(data, table, tmp_path)
    assert again.subjects == (1, 2)
    assert_same(again, data, but=("subjects",))


def test_inputs_that_change_are_written_too(read, assert_same, following, tmp_path):
    text = "ID,TIME,DV,AMT,EVID,CRCL\n1,0,.,100,1,50\n1,1,5.1,.,0,50\n1,24,.,.,2,60\n"
    stated = {"renal": {"column": "CRCL", "unit": "L/h", "changes": "linear", "input": "effect"}}
    data = read(text, model=following, covariates=stated)
    assert_same(read_back(data, to_nonmem(data), tmp_path), data)


def test_simulated_values_stand_where_values_were_measured(read, assert_same, tmp_path):
    data = read(TABLE, **STATED)
    values = np.full(data.measured.value.shape, 7.0)
    values[1, 0], values[2, 1] = 0.1, np.nan
    table = to_nonmem(data, values)
    assert table["DV"].tolist()[1:4] == [0.2, 7.0, 7.0]
    assert table["CENS"].tolist() == [0, 1, 0, 0, 0, 0, 0]
    assert table["MDV"].tolist() == [1, 0, 0, 0, 1, 1, 1]
    again = read_back(data, table, tmp_path)
    assert again.summary().censored == {"concentration": 1, "depot": 0}
    assert again.summary().observations == {"concentration": 2, "depot": 1}


def test_replicates_follow_one_another(read):
    data = read(TABLE, **STATED)
    values = np.stack([np.full(data.measured.value.shape, each) for each in (3.0, 4.0)])
    table = to_nonmem(data, values)
    assert table["REP"].tolist() == [1] * 7 + [2] * 7
    assert table["DV"].dropna().unique().tolist() == [3.0, 4.0]


def test_exposures_of_a_solution_follow_from_its_table(read, model):
    """In the model's units, whatever the table's are."""
    text = "ID,TIME,DV,AMT,EVID,SS,II\n1,0,.,0.1,1,1,1\n" + "".join(
        f"1,{hour / 24!r},1,.,0,.,.\n" for hour in range(25)
    )
    columns = {"steady": "SS", "interval": "II"}
    data = read(text, columns=columns, units={"time": "d", "amount": "g"})
    solution = solve(model, model.Parameters(1.0, 3.0, 30.0), data.records)
    course = data.records.by_record(solution.outputs.concentration)
    found = exposures(to_nonmem(data).assign(course=course), "course")
    assert found["end"].tolist() == [24.0]
    # Trapezoids of an hour are off by about a hundredth while the drug is absorbed.
    assert found["auc"].tolist()[0] == pytest.approx(100.0 / 3.0, rel=0.01)


def test_what_does_not_fit_is_refused(read):
    data = read(TABLE, **STATED)
    with pytest.raises(ValueError, match=r"found shape \(2, 2\); allowed are .* here \(4, 2\)"):
        to_nonmem(data, np.zeros((2, 2)))
    stated = STATED | {"covariates": {"rate": {"column": "WT", "unit": "kg"}}}
    with pytest.raises(ValueError, match="RATE is the name of another column"):
        to_nonmem(read(TABLE, **stated))
