"""What a table says arrives as it is meant: records, values, covariates, units."""

import numpy as np
import pandas as pd
import pytest

from cohorts.data import DataSpec, Kind, read_patients
from insilico import models


def test_values_stand_at_their_records(read):
    data = read()
    assert data.subjects == (1, 2)
    assert data.outputs == ("concentration",)
    assert data.measured.value.tolist() == [[0.0, 0.0], [5.1, 6.4], [2.5, 3.0]]
    assert data.measured.kind.tolist() == [[0, 0], [1, 1], [1, 1]]
    assert data.times.tolist() == [[0.0, 0.0], [1.0, 1.0], [8.0, 8.0]]
    table, layout = data.records.laid_out()
    assert layout.records == 3
    assert np.asarray(table.amount).tolist() == [[100.0, 120.0], [0.0, 0.0], [0.0, 0.0]]
    assert data.summary().observations == {"concentration": 4}


def test_theophylline(shared):
    """Every subject's dose enters the depot, whose compartment its coded event names."""
    spec = DataSpec.model_validate_json("""{
      "file": "theophylline_sd.csv",
      "columns": {"subject": "ID", "time": "TIME", "measured": "DV", "amount": "AMT",
                  "event": {"column": "EVID", "coding": "nlmixr"}, "compartment": "CMT"},
      "units": {"time": "h", "amount": "mg"},
      "outputs": {"concentration": {"unit": "mg/L"}},
      "covariates": {"weight": {"column": "WT", "unit": "kg"}}
    }""")
    data = read_patients(models.get("one_compartment"), spec, folder=shared / "pkpd")
    raw = pd.read_csv(shared / "pkpd" / "theophylline_sd.csv")
    assert data.subjects == tuple(range(1, 13))
    assert not data.warnings
    doses = data.records.columns.doses
    assert np.all(data.records.columns.compartment[doses] == 0)
    np.testing.assert_array_equal(
        data.records.columns.amount[doses], raw[raw.EVID == 101].AMT.to_numpy()
    )
    np.testing.assert_array_equal(data.observations["value"], raw[raw.EVID == 0].DV)
    np.testing.assert_array_equal(data.covariates["weight"], raw.groupby("ID").WT.first())


def test_warfarin(shared):
    """Two outputs told apart by text; four values were measured twice, which is told."""
    spec = DataSpec.model_validate_json("""{
      "file": "warfarin_pk_pca.csv",
      "columns": {"subject": "id", "time": "time", "measured": "dv", "amount": "amt",
                  "event": "evid", "output": "dvid"},
      "units": {"time": "h", "amount": "mg"},
      "outputs": {"concentration": {"where": "cp", "unit": "mg/L"},
                  "inr": {"where": "pca", "unit": "%"}},
      "covariates": {"weight": {"column": "wt", "unit": "kg"},
                     "age": {"column": "age", "unit": "yr"},
                     "sex": {"column": "sex", "categories": ["male", "female"]}}
    }""")
    data = read_patients(models.get("warfarin_hamberg2010"), spec, folder=shared / "pkpd")
    raw = pd.read_csv(shared / "pkpd" / "warfarin_pk_pca.csv")
    summary = data.summary()
    assert summary.subjects == 32
    assert summary.observations == {"concentration": 251, "inr": 232}
    assert [warning.line for warning in data.warnings] == [152, 154, 156, 158]
    percent = raw[(raw.evid == 0) & (raw.dvid == "pca")].dv.to_numpy()
    found = data.observations
    np.testing.assert_allclose(found[found.output == "inr"].value, percent / 100, rtol=1e-15)
    assert data.vocabulary["sex"].categories == ("male", "female")
    assert data.covariates["sex"].sum() == (raw.groupby("id").sex.first() == "female").sum()


def test_censored_values_keep_their_limit(read):
    text = "ID,TIME,DV,AMT,EVID,CENS\n1,0,.,100,1,0\n1,1,5,.,0,0\n1,9,.,.,0,1\n"
    data = read(
        text,
        columns={"censored": "CENS"},
        outputs={"concentration": {"unit": "ug/L", "limit": "0.2 mg/L"}},
    )
    assert data.measured.kind[:, 0].tolist() == [Kind.NOTHING, Kind.VALUE, Kind.CENSORED]
    assert data.measured.limit[:, 0].tolist() == [0.0, 0.2, 0.2]
    assert data.measured.value[:, 0] == pytest.approx([0.0, 0.005, 0.2])
    assert [warning.line for warning in data.warnings] == [3]
    assert data.observations["censored"].tolist() == [False, True]
