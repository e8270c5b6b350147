"""Data sets that are simulated from a fit can be fitted as the data were."""

import json
from typing import Any

import numpy as np
import pandas as pd

from cohorts import fits
from cohorts.data import Kind, read_patients
from insilico.config import load


def test_a_fit_s_data_sets_have_its_design_and_other_values(fitted, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from insilico.cli import _prepare, app

    # The cache would be set for the tests that follow in this process, too.
    monkeypatch.setattr(_prepare, "use_compilation_cache", lambda folder: None)
    out = tmp_path / "simulated"
    arguments = ["export", str(fitted.path), "--replicates", "3", "--out", str(out)]
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 0, answer.stderr
    table: Any = pd.read_csv(out / "nonmem.csv", na_values=".")
    assert sorted(set(table["REP"])) == [1, 2, 3]
    fit = fits.read(fitted.path / "config.yaml")
    stated = json.dumps({**fit.document.data, **load(str(out / "data.yaml")).data})
    spec = fits.FitConfig.model_validate_json(stated)
    first = table[table["REP"] == 1].drop(columns="REP")
    again = read_patients(fit.patients.model, spec.data, folder=out)
    assert list(again.subjects) == list(range(1, 13))
    columns, theirs = again.records.columns, fit.patients.records.columns
    np.testing.assert_allclose(columns.time, theirs.time)
    np.testing.assert_allclose(columns.amount, theirs.amount, rtol=1e-12)
    kind = again.measured.kind
    assert np.array_equal(kind, fit.patients.measured.kind)
    seen = kind == Kind.VALUE
    assert not np.any(again.measured.value[seen] == fit.patients.measured.value[seen])
    others = table[table["REP"] == 2]["DV"].to_numpy()
    assert not np.array_equal(first["DV"].to_numpy(), others, equal_nan=True)
