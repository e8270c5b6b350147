"""Estimators against R (survival, emmeans, sandwich, direct formulas) on shared data sets."""

import csv
import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from trials.analyses import (
    Status,
    hazard_ratio,
    kaplan_meier,
    log_rank,
    mean_difference,
    restricted_mean_difference,
    risk_difference_mantel_haenszel,
    risk_difference_miettinen_nurminen,
    risk_difference_newcombe,
)

ORACLES = Path(__file__).resolve().parents[3] / "shared" / "oracles" / "analysis"
pytestmark = pytest.mark.skipif(
    not ORACLES.is_dir(), reason=f"shared answers of R are not here: {ORACLES}"
)

# R and this code both work in double precision: what differs is the order of sums, and R's `coxph`
# stopping at a relative change of 1e-9 of the log likelihood.
CLOSED_FORM, ITERATED = 1e-10, 1e-8


def _results(method):
    if not ORACLES.is_dir():
        return [pytest.param(None, id=f"{method} missing")]
    results = json.loads((ORACLES / "expected.json").read_text())["results"]
    return [pytest.param(r, id=r["id"]) for r in results if r["method"] == method]


def _columns(result):
    with (ORACLES / result["data"]).open() as lines:
        rows = list(csv.DictReader(lines))
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


# All data sets are padded to one shape, so that they share one compiled program an estimator (and
# so that padding is seen to change nothing).
SUBJECTS, COLUMNS, STRATA = 320, 6, 12


def _trial(column):
    padding = [(0, SUBJECTS - len(column))] + [(0, 0)] * (column.ndim - 1)
    return jnp.asarray(np.pad(column, padding))[None]


def _everyone(data):
    return _trial(np.ones(len(next(iter(data.values()))), bool))


def _treated(data, column, reference):
    return _trial((data[column] != reference).astype(int))


@pytest.mark.parametrize("result", _results("ancova"))
@pytest.mark.parametrize("robust", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_adjusted_mean_difference(result, robust):
    data, expected = _columns(result), result["expected"]
    outcome, terms = result["spec"]["formula"].split(" ~ ")
    arm, *covariates = terms.split(" + ")
    complete = np.all([data[name] != "" for name in (outcome, arm, *covariates)], axis=0)
    columns = []
    for name in covariates:
        try:
            columns.append(np.where(complete, data[name], "nan").astype(float))
        except ValueError:  # a factor: all levels, the redundant one is dropped by the estimator
            columns.extend((data[name] == level).astype(float) for level in np.unique(data[name]))
    found = mean_difference(
        _trial(np.where(complete, data[outcome], "nan").astype(float)),
        _treated(data, arm, result["spec"]["reference"]),
        _trial(complete),
        _trial(np.pad(np.stack(columns, axis=-1), [(0, 0), (0, COLUMNS - len(columns))])),
        robust=robust,
    )
    contrast = expected["contrasts_vs_reference"][0]
    coefficient = next(name for name in expected["coefficients"] if name.startswith(arm))
    error = expected["hc3_se"][coefficient] if robust else contrast["SE"]
    np.testing.assert_allclose(found.estimate[0], contrast["estimate"], rtol=CLOSED_FORM)
    np.testing.assert_allclose(found.standard_error[0], error, rtol=CLOSED_FORM)
    assert found.degrees_of_freedom[0] == contrast["df"]
    if not robust:
        np.testing.assert_allclose(found.lower[0], contrast["lower.CL"], rtol=CLOSED_FORM)
        np.testing.assert_allclose(found.upper[0], contrast["upper.CL"], rtol=CLOSED_FORM)
        np.testing.assert_allclose(found.p_value[0], contrast["p.value"], rtol=ITERATED)


def _survival(result):
    data, spec = _columns(result), result["spec"]
    arm = _treated(data, spec["arm"], spec["reference"])
    arrays = (
        _trial(data[spec["time"]].astype(float)),
        _trial(data[spec["event"]] == "1"),
        arm,
        _everyone(data),
    )
    _, stratum = np.unique(data[spec["stratum"]], return_inverse=True)
    return arrays, _trial(stratum), _trial(data[spec["covariates"]].astype(float)[:, None])


@pytest.mark.parametrize("result", _results("survival"))
@pytest.mark.parametrize(
    "model",
    [
        "cox_efron",
        *(
            pytest.param(f"cox_efron_{each}", marks=pytest.mark.slow)
            for each in ("adjusted", "stratified")
        ),
    ],
)
def test_hazard_ratio(result, model):
    arrays, stratum, covariates = _survival(result)
    found = hazard_ratio(
        *arrays,
        covariates if model.endswith("adjusted") else None,
        stratum if model.endswith("stratified") else None,
    )
    expected = result["expected"][model]
    row = expected["coefficients"][".g"]
    assert found.status[0] == Status.OK
    np.testing.assert_allclose(
        found.estimate[0], row["coef"], rtol=ITERATED, atol=ITERATED * row["se(coef)"]
    )
    np.testing.assert_allclose(found.standard_error[0], row["se(coef)"], rtol=ITERATED)
    np.testing.assert_allclose(found.p_value[0], row["Pr(>|z|)"], rtol=ITERATED)
    limits = np.exp([found.lower[0], found.upper[0]])
    np.testing.assert_allclose(limits, expected["ci95"][0], rtol=ITERATED)


@pytest.mark.parametrize("result", _results("survival"))
@pytest.mark.parametrize("test", ["logrank", "logrank_stratified"])
def test_log_rank(result, test):
    arrays, stratum, _ = _survival(result)
    found = log_rank(*arrays, stratum if test.endswith("stratified") else None)
    expected = result["expected"][test]
    variance = 1 / found.standard_error[0] ** 2
    excess = found.estimate[0] * variance
    np.testing.assert_allclose(variance, expected["var11"], rtol=CLOSED_FORM)
    difference = expected["obs"][1] - expected["exp"][1]
    np.testing.assert_allclose(excess, difference, rtol=CLOSED_FORM, atol=CLOSED_FORM)
    np.testing.assert_allclose(found.p_value[0], expected["p"], rtol=CLOSED_FORM)


@pytest.mark.parametrize("result", _results("survival"))
def test_restricted_mean(result):
    arrays, *_ = _survival(result)
    expected = result["expected"]["rmst"]
    found = restricted_mean_difference(*arrays, horizon=float(expected["tau"]))
    groups = [expected["group0"], expected["group1"]]
    np.testing.assert_allclose(found.mean[0], groups, rtol=CLOSED_FORM)
    np.testing.assert_allclose(found.estimate[0], expected["difference"], rtol=CLOSED_FORM)
    np.testing.assert_allclose(found.standard_error[0], expected["se"], rtol=CLOSED_FORM)
    limits = found.lower[0], found.upper[0]
    np.testing.assert_allclose(limits, expected["ci95"], rtol=CLOSED_FORM)
    np.testing.assert_allclose(found.p_value[0], expected["p_two_sided"], rtol=CLOSED_FORM)


@pytest.mark.parametrize("result", _results("survival"))
@pytest.mark.parametrize("group", [0, 1])
def test_kaplan_meier(result, group):
    (time, event, arm, used), *_ = _survival(result)
    expected = result["expected"][f"km_group{group}"]
    found = kaplan_meier(time, event, used & (arm == group), jnp.asarray(expected["times"], float))
    np.testing.assert_allclose(found.survival[0], expected["survival"], rtol=CLOSED_FORM)
    np.testing.assert_allclose(found.standard_error[0], expected["greenwood_se"], rtol=CLOSED_FORM)
    np.testing.assert_allclose(found.lower[0], expected["lower_loglog"], rtol=CLOSED_FORM)
    np.testing.assert_allclose(found.upper[0], expected["upper_loglog"], rtol=CLOSED_FORM)
    np.testing.assert_array_equal(found.at_risk[0], expected["n_risk"])
    np.testing.assert_allclose(found.median[0], expected["quantiles_25_50_75"][1])


@pytest.mark.parametrize("result", _results("binary"))
def test_risk_differences(result):
    data, spec, expected = _columns(result), result["spec"], result["expected"]
    arm = _treated(data, spec["arm"], spec["reference"])
    response = _trial(data[spec["response"]] == "1")
    _, stratum = np.unique(data[spec["stratum"]], return_inverse=True)
    arrays = (response, arm, _everyone(data))

    pooled = risk_difference_mantel_haenszel(*arrays, _trial(stratum), strata=STRATA)
    sato = expected["mantel_haenszel_rd_sato"]
    np.testing.assert_allclose(pooled.estimate[0], sato["estimate"], rtol=CLOSED_FORM)
    np.testing.assert_allclose(pooled.standard_error[0], sato["se"], rtol=CLOSED_FORM)

    score = risk_difference_miettinen_nurminen(*arrays)
    answer = expected["miettinen_nurminen_rd"]
    # The answers' own bounds come from a root search.
    np.testing.assert_allclose((score.lower[0], score.upper[0]), answer["ci95"], rtol=ITERATED)
    np.testing.assert_allclose(score.estimate[0], answer["estimate"], rtol=CLOSED_FORM)

    hybrid = risk_difference_newcombe(*arrays)
    limits = expected["newcombe_hybrid_score"]["ci95"]
    np.testing.assert_allclose((hybrid.lower[0], hybrid.upper[0]), limits, rtol=CLOSED_FORM)
    error = expected["wald_rd"]["se"]
    np.testing.assert_allclose(hybrid.standard_error[0], error, rtol=CLOSED_FORM)
