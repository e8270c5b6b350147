"""Public data sets are read whole, by the descriptions that a user would write."""

import dataclasses
from typing import Annotated, NamedTuple

import numpy as np
import pandas as pd
import pytest

from cohorts.data import DataError, read_patients
from insilico import models
from insilico.model import Model, Quantity
from insilico.vocabulary import Value

SIMULATED = {
    "columns": {"compartment": "CMT", "missing": "MDV", "steady": None, "interval": None},
    "units": {"amount": "ug"},
    "outputs": {"concentration": {"unit": "ug/L"}},
}
CHARACTERISTICS = {
    "weight": {"column": "WTBL", "unit": "kg"},
    "sex": {"column": "SEX", "categories": ["M", "F"]},
}
WITHOUT_WEIGHT = "01-702-1082"
"""The one subject of the ADaM data whose weight nobody knows."""


class Outputs(NamedTuple):
    concentration: Annotated[Value, Quantity("mg/L", "in plasma")]
    activity: Annotated[Value, Quantity("1", "of the prothrombin complex, relative to normal")]


@pytest.fixture(scope="module")
def response() -> Model:
    """A model with a second output, which nobody solves."""
    return dataclasses.replace(models.get("one_compartment"), Outputs=Outputs)


@pytest.mark.parametrize(("name", "doses"), [("theophylline_sd", 12), ("theophylline_md", 84)])
def test_theophylline(shared, model, describe, name, doses):
    """Every dose enters the depot, whose compartment its coded event names."""
    spec = describe(
        file=f"{name}.csv",
        columns={"event": {"column": "EVID", "coding": "nlmixr"}, "compartment": "CMT"},
        covariates={"weight": {"column": "WT", "unit": "kg"}},
    )
    data = read_patients(model, spec, folder=shared / "pkpd")
    raw = pd.read_csv(shared / "pkpd" / f"{name}.csv")
    assert data.subjects == tuple(range(1, 13))
    assert not data.warnings
    columns = data.records.columns
    assert np.all(columns.compartment[columns.doses] == 0)
    assert data.summary().doses == doses
    np.testing.assert_array_equal(columns.amount[columns.doses], raw[raw.EVID == 101].AMT)
    np.testing.assert_array_equal(data.observations["value"], raw[raw.EVID == 0].DV)
    np.testing.assert_array_equal(data.covariates["weight"], raw.groupby("ID").WT.first())


def test_theophylline_as_it_stands_says_how_its_events_are_written(shared, model, describe):
    spec = describe(file="theophylline_sd.csv", columns={"compartment": "CMT"})
    with pytest.raises(DataError, match="coding: nlmixr") as error:
        read_patients(model, spec, folder=shared / "pkpd")
    assert len(error.value.mistakes) == 12


def test_warfarin(shared, response, describe):
    """Two outputs told apart by text; four values were measured twice, which is told."""
    spec = describe(
        file="warfarin_pk_pca.csv",
        columns={"subject": "id", "time": "time", "measured": "dv", "amount": "amt",
                 "event": "evid", "output": "dvid"},
        outputs={"concentration": {"where": "cp", "unit": "mg/L"},
                 "activity": {"where": "pca", "unit": "%"}},
        covariates={"weight": {"column": "wt", "unit": "kg"},
                    "age": {"column": "age", "unit": "yr"},
                    "sex": {"column": "sex", "categories": ["male", "female"]}},
    )  # fmt: skip
    data = read_patients(response, spec, folder=shared / "pkpd")
    raw = pd.read_csv(shared / "pkpd" / "warfarin_pk_pca.csv")
    summary = data.summary()
    assert summary.subjects == 32
    assert summary.observations == {"concentration": 251, "activity": 232}
    assert [warning.line for warning in data.warnings] == [152, 154, 156, 158]
    percent = raw[(raw.evid == 0) & (raw.dvid == "pca")].dv
    found = data.observations
    np.testing.assert_allclose(found[found.output == "activity"].value, percent / 100, rtol=1e-15)
    sexes = raw.groupby("id").sex.first()
    np.testing.assert_array_equal(data.covariates["sex"], sexes == "female")


@pytest.mark.parametrize(
    ("name", "model", "observed"),
    [("Oral_1CPT_sim", "one_compartment", 6947), ("Bolus_2CPT_sim", "two_compartment", 6960)],
)
def test_simulated_sets(shared, describe, name, model, observed):
    """In µg; 13 records of the oral set say themselves that nothing was measured."""
    changed = SIMULATED
    if name.startswith("Bolus"):
        changed = SIMULATED | {"columns": SIMULATED["columns"] | {"compartment": None}}
    spec = describe(file=f"{name}.csv", **changed)
    if name.startswith("Bolus"):
        spec = spec.model_copy(update={"doses_into": "central"})
    data = read_patients(models.get(model), spec, folder=shared / "pkpd")
    raw = pd.read_csv(shared / "pkpd" / f"{name}.csv")
    summary = data.summary()
    assert (summary.subjects, summary.records, summary.doses) == (120, 7920, 960)
    assert summary.observations == {"concentration": observed}
    columns = data.records.columns
    np.testing.assert_allclose(
        columns.amount[columns.doses], raw[raw.EVID == 1].AMT / 1000, rtol=1e-15
    )
    np.testing.assert_allclose(data.observations["value"], raw[raw.EVID == 0].DV / 1000, rtol=1e-15)
    assert np.all(columns.steady == 0)


def test_simulated_sets_do_not_say_by_themselves_what_SS_is(shared, model, describe):
    changed = SIMULATED | {"columns": {"compartment": "CMT", "missing": "MDV"}}
    spec = describe(file="Oral_1CPT_sim.csv", **changed)
    with pytest.raises(DataError) as error:
        read_patients(model, spec, folder=shared / "pkpd")
    assert [mistake.column for mistake in error.value.mistakes] == ["II", "SS"]


def test_phenobarbital(shared, model, describe):
    """No events: records with an amount are doses. Amounts are per kg, so the user multiplies."""
    frame = pd.read_csv(shared / "pkpd" / "phenobarbital_nlme.csv")
    frame["amount"] = frame["dose"] * frame["Wt"]
    spec = describe(
        columns={
            "subject": "Subject",
            "time": "time",
            "measured": "conc",
            "amount": "amount",
            "event": None,
        },
        doses_into="central",
        covariates={
            "weight": {"column": "Wt", "unit": "kg"},
            "apgar": {"column": "Apgar"},
            "low": {"column": "ApgarInd", "categories": ["< 5", ">= 5"]},
        },
    )
    data = read_patients(model, spec, frame)
    summary = data.summary()
    assert (summary.subjects, summary.doses) == (59, 589)
    assert summary.observations == {"concentration": 155}
    assert data.covariates["apgar"][:2].tolist() == [7.0, 9.0]


def test_pain_scores(shared, response, describe):
    """Outputs in columns beside one another and a dose that is no record, turned into rows."""
    wide = pd.read_csv(shared / "pkpd" / "pumas_pk_painscore.csv")
    long = wide.melt(["ID", "TIME"], ["CONC", "PAINRELIEF"], "DVID", "DV").assign(EVID=0, AMT=0.0)
    doses = wide.groupby("ID", as_index=False).first()[["ID", "DOSE"]]
    doses = doses.query("DOSE > 0").rename(columns={"DOSE": "AMT"}).assign(TIME=0.0, EVID=1)
    frame = pd.concat([doses, long]).sort_values(["ID", "TIME"], kind="stable")
    spec = describe(
        columns={"output": "DVID"},
        outputs={
            "concentration": {"where": "CONC", "unit": "mg/L"},
            "activity": {"where": "PAINRELIEF"},
        },
    )
    data = read_patients(response, spec, frame)
    summary = data.summary()
    assert (summary.subjects, summary.doses) == (160, 120)
    assert summary.observations == {"concentration": 1920, "activity": 1920}
    assert sum("has no dose" in warning.message for warning in data.warnings) == 40


def test_adppk(shared, model, describe):
    """Columns and the unit of values by the format's names; samples before the dose are kept."""
    spec = describe(
        file="adppk.csv.gz",
        format="adppk",
        columns=None,
        units={"time": "h", "amount": "mg"},
        outputs={"concentration": {"where": 2}},
        ignore={"rows": {"CMT": [3]}, "subjects": [WITHOUT_WEIGHT]},
        covariates=CHARACTERISTICS,
    )
    data = read_patients(model, spec, folder=shared / "formats" / "adam")
    raw = pd.read_csv(shared / "formats" / "adam" / "adppk.csv.gz")
    raw = raw.query("USUBJID != @WITHOUT_WEIGHT and CMT != 3")
    observed = raw.query("EVID == 0 and MDV == 0")
    found = data.observations
    assert data.subjects == tuple(raw.USUBJID.unique())
    assert data.times.min() == -0.5
    np.testing.assert_array_equal(found["censored"], observed.BLQFN == 1)
    np.testing.assert_array_equal(found["time"], observed.AFRLT)
    np.testing.assert_array_equal(found["value"], observed.DV.where(observed.BLQFN == 0))
    assert np.all(found["limit"] == 0.01)
    assert data.left_out == {"CMT 3": 672, f"subjects {WITHOUT_WEIGHT}": 17}
    (told,) = data.notes
    assert "(334 in all), BLQFN: is flagged as below quantification, but not used" in told


def test_adpc(shared, model, describe):
    """Doses among the records, all units in the file, derived records left out."""
    spec = describe(
        file="adpc.csv.gz",
        format="adpc",
        columns=None,
        units=None,
        outputs={"concentration": {"where": "XAN"}},
        ignore={"rows": {"PARCAT1": ["URINE"]}, "subjects": [WITHOUT_WEIGHT]},
        covariates=CHARACTERISTICS,
    )
    data = read_patients(model, spec, folder=shared / "formats" / "adam")
    summary = data.summary()
    assert (summary.subjects, summary.doses) == (167, 495)
    assert summary.observations == {"concentration": 2338}
    assert summary.censored == {"concentration": 501}
    assert summary.left_out["any DTYPE"] == 825
    doses = data.records.columns
    assert np.all(doses.amount[doses.doses] == 54.0)


def test_units_of_a_file_that_say_something_else_are_told(shared, model, describe):
    spec = describe(
        file="adpc.csv.gz",
        format="adpc",
        columns=None,
        units={"time": "d", "amount": "mg"},
        outputs={"concentration": {"where": "XAN", "unit": "ng/mL"}},
        ignore={"rows": {"PARCAT1": ["URINE"]}},
    )
    with pytest.raises(DataError) as error:
        read_patients(model, spec, folder=shared / "formats" / "adam")
    assert {mistake.column for mistake in error.value.mistakes} == {"AVALU", "FRLTU"}
    assert 'AVALU: is "ug/ml", elsewhere it is ng/mL' in str(error.value)
