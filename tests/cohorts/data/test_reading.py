"""What a table says arrives as it is meant: records, values, covariates, units."""

import gzip
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from cohorts import CohortError
from cohorts.data import DataError, Kind, read_patients
from insilico.config import Name
from insilico.solve import solve

TWO_SUBJECTS = """ID,TIME,DV,AMT,EVID,WT,SEX
1,0,.,100,1,70,male
1,1,5.1,.,0,70,male
1,8,2.5,.,0,70,male
2,0,.,120,1,62.5,female
2,1.5,6.4,.,0,62.5,female
"""
COVARIATES = {
    "weight": {"column": "WT", "unit": "kg"},
    "sex": {"column": "SEX", "categories": ["male", "female"]},
}


def test_values_stand_at_their_records(read):
    data = read(TWO_SUBJECTS, covariates=COVARIATES)
    assert data.subjects == (1, 2)
    assert data.outputs == ("concentration",)
    assert data.measured.value.tolist() == [[0.0, 0.0], [5.1, 6.4], [2.5, 0.0]]
    assert data.measured.kind.tolist() == [[0, 0], [1, 1], [1, 0]]
    assert data.times.tolist() == [[0.0, 0.0], [1.0, 1.5], [8.0, 1.5]]
    assert data.covariates["weight"].tolist() == [70.0, 62.5]
    assert data.covariates["sex"].tolist() == [0, 1]
    assert data.vocabulary == {
        "weight": Name("number", "kg"),
        "sex": Name("category", categories=("male", "female")),
    }
    table, layout = data.records.laid_out()
    assert (layout.records, np.asarray(table.amount)[0].tolist()) == (3, [100.0, 120.0])
    np.testing.assert_array_equal(table.time, data.times)


def test_records_are_solved_as_they_stand(read, model):
    data = read(TWO_SUBJECTS)
    solution = solve(model, model.Parameters(1.0, 3.0, 30.0), data.records)
    frame = data.records.frame(solution)
    assert list(frame.columns[:5]) == ["ID", "TIME", "DV", "AMT", "EVID"]
    exact = 100 / 30 * 1.0 / (1.0 - 0.1) * (np.exp(-0.1) - np.exp(-1.0))
    assert frame["concentration"][1] == pytest.approx(exact, rel=1e-6)
    assert frame["DV"].isna().tolist() == [True, False, False, True, False]
    assert frame["AMT"].dropna().tolist() == [100.0, 120.0]


def test_observations_are_a_tidy_table(read):
    found = read(TWO_SUBJECTS).observations
    assert found["subject"].tolist() == [1, 1, 2]
    assert found["time"].tolist() == [1.0, 8.0, 1.5]
    assert found["value"].tolist() == [5.1, 2.5, 6.4]
    assert not found["censored"].any()
    assert found["limit"].isna().all()


def test_other_units_give_the_same_data(read, assert_same):
    """In days, grams and ng/mL; decimal fractions of a day are rounded once more."""
    text = """ID,TIME,DV,AMT,EVID,RATE,II,ADDL,WT,SEX
1,0,.,0.1,1,0.48,0.5,2,70000,male
1,0.0416666666666666667,5100,.,0,.,.,.,70000,male
1,0.3333333333333333333,2500,.,0,.,.,.,70000,male
2,0,.,0.12,1,0,0,0,62500,female
2,0.0625,6400,.,0,.,.,.,62500,female
"""
    hours = """ID,TIME,DV,AMT,EVID,RATE,II,ADDL,WT,SEX
1,0,.,100,1,20,12,2,70,male
1,1,5.1,.,0,.,.,.,70,male
1,8,2.5,.,0,.,.,.,70,male
2,0,.,120,1,0,0,0,62.5,female
2,1.5,6.4,.,0,.,.,.,62.5,female
"""
    columns = {"rate": "RATE", "interval": "II", "additional": "ADDL"}
    sex = {"sex": COVARIATES["sex"]}
    assert_same(
        read(
            text,
            columns=columns,
            units={"time": "d", "amount": "g"},
            covariates=sex,
            outputs={"concentration": {"unit": "ng/mL"}},
        ),
        read(hours, columns=columns, covariates=sex),
        rtol=1e-15,
    )


def test_covariates_come_in_the_units_and_codes_that_are_wanted(read, tmp_path, model, describe):
    wanted = {
        "weight": Name("number", "g"),
        "sex": Name("category", categories=("female", "male")),
    }
    (tmp_path / "table.csv").write_text(TWO_SUBJECTS)
    spec = describe(covariates=COVARIATES)
    data = read_patients(model, spec, covariates=wanted, folder=tmp_path)
    assert data.covariates["weight"].tolist() == [70000.0, 62500.0]
    assert data.covariates["sex"].tolist() == [1, 0]
    assert data.vocabulary == wanted
    wanted = {"weight": Name("number", "yr"), "age": Name("number", "yr")}
    with pytest.raises(CohortError, match="kg .a mass. cannot be turned into yr(.|\n)*age"):
        read_patients(model, spec, covariates=wanted, folder=tmp_path)


def test_categories_have_names_of_their_own(read):
    text = TWO_SUBJECTS.replace("female", "2").replace("male", "1.0")
    stated = {"sex": {"column": "SEX", "categories": {"male": 1, "female": 2}}}
    assert read(text, covariates=stated).covariates["sex"].tolist() == [0, 1]


def test_flags_are_categories_no_and_yes(tmp_path, model, describe):
    (tmp_path / "table.csv").write_text(TWO_SUBJECTS)
    stated = {"man": {"column": "SEX", "categories": {"yes": "male", "no": "female"}}}
    spec, wanted = describe(covariates=stated), {"man": Name("flag")}
    data = read_patients(model, spec, covariates=wanted, folder=tmp_path)
    assert data.covariates["man"].tolist() == [1, 0]
    assert data.vocabulary == wanted


def test_inputs_follow_covariates_that_change(read, following):
    text = """ID,TIME,DV,AMT,EVID,CRCL
1,0,.,100,1,50
1,1,5.1,.,0,.
1,24,.,.,2,60
1,30,2.5,.,0,.
"""
    stated = {"renal": {"column": "CRCL", "unit": "mL/min", "changes": "locf", "input": "effect"}}
    data = read(text, model=following, covariates=stated)
    (values,) = data.records.columns.values
    np.testing.assert_allclose(values, np.array([50, 50, 60, 60]) * 0.06, rtol=1e-15)
    assert data.records.columns.interpolations == ("locf",)
    assert not data.covariates


def test_two_values_of_an_input_at_one_instant_need_a_record_of_their_own(read, following):
    text = "ID,TIME,DV,AMT,EVID,CRCL\n1,0,.,100,1,50\n1,5,5.1,.,0,50\n1,5,.,.,{},60\n"
    stated = {"renal": {"column": "CRCL", "unit": "L/h", "changes": "locf", "input": "effect"}}
    columns = {"missing": "MDV"}
    text = text.replace("CRCL\n", "CRCL,MDV\n").replace("60\n", "60,1\n").replace("50\n", "50,0\n")
    read(text.format(2), model=following, covariates=stated, columns=columns)
    with pytest.raises(DataError, match="line 4, CRCL: is 60, and 50 on the record above"):
        read(text.format(0), model=following, covariates=stated, columns=columns)


def test_censored_values_keep_their_limit(read):
    text = "ID,TIME,DV,AMT,EVID,CENS\n1,0,.,100,1,0\n1,1,5,.,0,0\n1,9,.,.,0,1\n"
    data = read(
        text,
        columns={"censored": "CENS"},
        outputs={"concentration": {"unit": "ug/L", "limit": "0.002 mg/L"}},
    )
    assert data.measured.kind[:, 0].tolist() == [Kind.NOTHING, Kind.VALUE, Kind.CENSORED]
    assert data.measured.limit[:, 0].tolist() == [0.0, 0.002, 0.002]
    assert data.measured.value[:, 0] == pytest.approx([0.0, 0.005, 0.002], rel=1e-15)
    assert data.observations["censored"].tolist() == [False, True]
    assert data.observations["value"].isna().tolist() == [False, True]
    assert data.summary().censored == {"concentration": 1}


def test_limits_stand_in_a_column_or_in_that_of_values(read):
    text = "ID,TIME,DV,AMT,EVID,BLQ,LLOQ\n1,0,.,100,1,N,\n1,1,5,.,0,N,0.2\n1,9,0.1,.,0,Y,0.3\n"
    data = read(text, columns={"censored": "BLQ", "limit": "LLOQ"})
    assert data.measured.limit[:, 0].tolist() == [0.0, 0.2, 0.3]
    data = read(text, columns={"censored": "BLQ", "limit": "DV"})
    assert data.measured.value[:, 0].tolist() == [0.0, 5.0, 0.1]
    assert data.measured.limit[:, 0].tolist() == [0.0, 0.0, 0.1]
    assert data.measured.kind[:, 0].tolist() == [0, 1, 2]


def test_what_the_config_leaves_out_is_counted(read):
    text = "# made by hand\n" + TWO_SUBJECTS + "# 3,0,.,1,1,1,male\n3,0,.,1,1,1,male\n"
    ignore = {"comments": "#", "subjects": [3], "rows": {"TIME": [8.0]}}
    data = read(text, ignore=ignore)
    assert data.subjects == (1, 2)
    assert data.left_out == {"comments (#)": 2, "TIME 8.0": 1, "subjects 3": 1}
    assert data.summary().records == 4
    assert data.unused == ("WT", "SEX")


def test_the_same_table_in_other_forms(read, tmp_path, model, describe, assert_same):
    plain = read(TWO_SUBJECTS, covariates=COVARIATES)
    spec = describe(covariates=COVARIATES)
    frame = pd.read_csv(tmp_path / "table.csv", na_values=".")
    before = frame.copy()
    assert_same(read_patients(model, spec, frame), plain)
    pd.testing.assert_frame_equal(frame, before)
    frame.to_parquet(tmp_path / "table.parquet")
    spec = describe(covariates=COVARIATES, file="table.parquet")
    assert_same(read_patients(model, spec, folder=tmp_path), plain)
    packed = gzip.compress(TWO_SUBJECTS.encode())
    assert_same(read(packed, covariates=COVARIATES, file="table.csv.gz"), plain)
    assert_same(read(b"\xef\xbb\xbf" + TWO_SUBJECTS.encode(), covariates=COVARIATES), plain)
    assert_same(read(TWO_SUBJECTS.replace("\n", "\r\n"), covariates=COVARIATES), plain)
    european = TWO_SUBJECTS.replace(",", ";").replace(".5", ",5").replace("5.1", "5,1")
    european = european.replace("6.4", "6,4")
    assert_same(read(european, covariates=COVARIATES, separator=";", decimal=","), plain)


def test_rows_of_a_frame_count_from_one(model, describe):
    frame = pd.DataFrame(
        {"ID": [1, 1], "TIME": [0.0, 1.0], "DV": [np.nan] * 2, "AMT": [100.0, 0.0], "EVID": [1, 0]}
    )
    with pytest.raises(DataError, match="row 2, DV: is missing"):
        read_patients(model, describe(), frame)


def test_doses_go_where_the_config_says(read):
    assert read(TWO_SUBJECTS).records.columns.compartment.tolist() == [0] * 5
    central = read(TWO_SUBJECTS, doses_into="central").records.columns
    assert central.compartment[central.doses].tolist() == [1, 1]


def test_without_events_records_with_an_amount_are_doses(read):
    text = "ID,TIME,DV,AMT\n1,0,,100\n1,1,5.1,\n1,12,,50\n1,13,4.2,0\n"
    columns = {"event": None}
    assert read(text, columns=columns).records.columns.event.tolist() == [1, 0, 1, 0]


def test_replicates_are_read_where_they_are_meant(read):
    text = "ID,TIME,DV,AMT,EVID\n1,0,.,100,1\n1,1,5.1,.,0\n1,1,5.1,.,0\n"
    with pytest.raises(DataError, match="line 4, DV: says the same as line 3"):
        read(text)
    assert read(text, repeats=True).summary().observations == {"concentration": 2}


def test_ids_are_numbers_only_where_nothing_is_lost(read):
    assert read(TWO_SUBJECTS.replace("\n2,", "\n02,")).subjects == ("1", "02")
    assert read(TWO_SUBJECTS.replace("\n2,", "\n2.0,")).subjects == (1, 2)
    assert read(TWO_SUBJECTS.replace("\n2,", "\n2.5,")).subjects == ("1", "2.5")


def test_a_selection_is_what_its_own_table_gives(read, assert_same):
    data = read(TWO_SUBJECTS, covariates=COVARIATES)
    chosen = data.selected([2])
    alone = "\n".join(line for line in TWO_SUBJECTS.splitlines() if not line.startswith("1"))
    assert_same(chosen, read(alone, covariates=COVARIATES))
    assert chosen.measured.value.shape == (2, 1)
    assert chosen.frame["ID"].tolist() == ["2", "2"]
    assert_same(data.selected([2, 1]), data)
    with pytest.raises(KeyError, match="there is no subject 3"):
        data.selected([3])


def test_tens_of_thousands_of_rows_take_seconds(read):
    rows = ["ID,TIME,DV,AMT,EVID,WT,SEX"]
    for subject in range(2000):
        rows.append(f"{subject},0,.,100,1,{50 + subject % 40},male")
        rows += [
            f"{subject},{hour},{(subject * hour) % 97 + 0.5},.,0,{50 + subject % 40},male"
            for hour in range(1, 25)
        ]
    begun = time.process_time()
    data = read("\n".join(rows), covariates=COVARIATES)
    assert time.process_time() - begun < 5
    assert data.summary().records == 50_000


def test_reading_does_not_import_jax(tmp_path, describe):
    (tmp_path / "table.csv").write_text(TWO_SUBJECTS)
    program = f"""
import sys
from cohorts.data import DataSpec, read_patients
from insilico import models
spec = DataSpec.model_validate_json({describe().model_dump_json()!r})
read_patients(models.get("one_compartment"), spec, folder={str(tmp_path)!r}).summary()
sys.exit("jax" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_rows_that_count_are_stated_and_others_counted(read):
    """As ADaM's analysis flags are: Y, or nothing."""
    lines = TWO_SUBJECTS.splitlines()
    flags = ["ANL01FL", "Y", "Y", "", "Y", "Y"]
    text = "\n".join(f"{line},{flag}" for line, flag in zip(lines, flags, strict=True))
    data = read(text, covariates=COVARIATES, only={"ANL01FL": ["Y"]})
    assert data.observations["value"].tolist() == [5.1, 6.4]
    assert data.left_out == {"ANL01FL other than Y": 1}
