"""nlmixr2's JSON, in the form of its qualification references and in that of the README."""

import json
from pathlib import Path

import numpy as np
import pytest

from cohorts.data import DataError
from cohorts.estimates import Estimates, read_estimates
from cohorts.estimates.nlmixr2 import read_nlmixr2

REFERENCE = (
    Path(__file__).parents[4]
    / "shared"
    / "data"
    / "pkpd"
    / "reference"
    / "theophylline_focei_nlmixr2.json"
)


def read(content) -> Estimates:
    return read_nlmixr2(json.dumps(content), "fit.json")


def test_thetas_and_variances_are_told_apart(nlmixr2):
    found = read(nlmixr2)
    assert found.method == "nlmixr2, focei" and found.unfinished is None
    assert found["tcl"].role == "fixed_effect" and found["eta.cl"].role == "variance"
    between = found.covariance_of_effects("eta.v", "eta.cl")
    assert between is not None and between.name == "(eta.cl,eta.v)" and between.value == 0.024
    assert found["tka"].fixed and found.uncertain("tcl") and not found.uncertain("eta.cl")
    np.testing.assert_array_equal(
        found.covariance_of(["tv", "tcl"]), [[0.0036, 0.00216], [0.00216, 0.0064]]
    )


def test_a_qualification_reference_is_read_as_it_is():
    if not REFERENCE.exists():
        pytest.skip(f"nlmixr2's answers are not there: {REFERENCE.name} in ../shared")
    found = read_estimates(REFERENCE)
    assert found.names == ["tka", "tcl", "tv", "add.sd", "eta.ka", "eta.cl", "eta.v"]
    assert found["tcl"].relative_standard_error == pytest.approx(0.0746534560278)
    assert found.covariance is None and not found.uncertain("eta.ka")


def test_a_fit_that_did_not_converge_is_not_trusted(nlmixr2):
    nlmixr2["converged"] = False
    assert read(nlmixr2).unfinished == "nlmixr2 did not converge"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("params", None, "params: is missing"),
        ("params.se", [0.1], "params.se: has 1 values, not 4"),
        ("params.estimate", [0, None, 3, 0.7], "params.estimate: of tcl is no number: nothing"),
        ("params.ptype", ["theta", "theta", "sd", "theta"], 'of tv is "sd", not theta or omega'),
        ("omega.value", [[0.09, 0.024]], "omega: must have `name`, and as `value` a row"),
        ("cov.value", [[1, 2, 0], [0, 1, 0], [0, 0, 1]], "cov: is not symmetric"),
        ("cov.name", ["tcl", "tv", "prop.sd"], 'cov: has "prop.sd", which `params` and `omega`'),
    ],
)
def test_a_mistake_is_told(nlmixr2, path, value, said):
    *way, last = path.split(".")
    section = nlmixr2
    for step in way:
        section = section[step]
    section[last] = value
    with pytest.raises(DataError) as caught:
        read(nlmixr2)
    assert said in str(caught.value)


def test_what_is_no_json_is_told_with_its_line():
    with pytest.raises(DataError, match="line 2, is no JSON"):
        read_nlmixr2('{"params":\n nothing}', "fit.json")


def test_a_matrix_of_nonmem_does_not_go_with_it(tmp_path, nlmixr2):
    file = tmp_path / "fit.json"
    file.write_text(json.dumps(nlmixr2))
    with pytest.raises(DataError, match="has its covariance matrix itself"):
        read_estimates(file, tmp_path / "run12.cov")
