"""The verdict on an approximation says what is wrong in words."""

import numpy as np
import pytest
import xarray as xr

from cohorts.diagnosis import condition_number, judge_approximation
from cohorts.inference import Weights

DRAWS = 1000


@pytest.fixture
def posterior() -> xr.Dataset:
    rng = np.random.default_rng(1)
    return xr.Dataset(
        {
            "typical": (("chain", "draw"), rng.normal(2.0, 0.1, size=(1, DRAWS))),
            "known": (("chain", "draw"), np.full((1, DRAWS), 3.0)),
            "both": (("chain", "draw", "both_dim_0"), rng.normal(size=(1, DRAWS, 2))),
        }
    )


def weights(of: np.ndarray) -> Weights:
    return Weights.of(of, np.zeros(len(of)))


def test_good_draws_pass_and_every_number_that_varies_is_in_the_table(posterior):
    log = 0.1 * np.random.default_rng(2).normal(size=DRAWS)
    found = judge_approximation(posterior, weights(log))
    assert found.passed and found.reasons == ()
    assert list(found.table["parameter"].values) == ["typical", "both[0]", "both[1]"]
    at = found.table.sel(parameter="typical")
    assert float(at["estimate"]) == pytest.approx(2.0, abs=0.02)
    assert float(at["relative_standard_error"]) == pytest.approx(0.05, abs=0.005)


def test_estimates_stand_in_place_of_medians_where_there_are_some(posterior):
    found = judge_approximation(
        posterior,
        weights(np.zeros(DRAWS)),
        (),
        {"typical": np.array(1.9), "both": np.array([0.5, 1.5])},
        {"typical": np.array(0.2), "both": np.array([0.1, 0.3])},
    )
    assert list(found.table["estimate"].values) == [1.9, 0.5, 1.5]
    assert list(found.table["standard_error"].values) == [0.2, 0.1, 0.3]


def test_weighted_means_are_those_of_the_weights(posterior):
    draws = posterior["typical"].values[0]
    # The weights of a normal distribution half a standard deviation further.
    log = (draws - 2.0) / 0.1 * 0.5
    found = judge_approximation(posterior, weights(log)).table.sel(parameter="typical")
    assert float(found["weighted_mean"]) == pytest.approx(2.05, abs=0.01)
    assert float(found["weighted_sd"]) == pytest.approx(0.1, abs=0.01)


def test_weights_with_a_heavy_tail_fail(posterior):
    # Pareto distributed with a shape of 1: their mean does not exist.
    log = -np.log(np.random.default_rng(3).uniform(size=DRAWS))
    found = judge_approximation(posterior, weights(log))
    assert not found.passed
    assert "Pareto k is" in found.reasons[0] and "method: nuts" in found.reasons[0]


def test_draws_that_are_wider_than_the_posterior_fail_although_their_weights_have_no_tail(
    posterior,
):
    # The posterior is a tenth as wide as the draws: no weight is large, and k is small.
    standard = (posterior["typical"].values[0] - 2.0) / 0.1
    found = judge_approximation(posterior, weights(-0.5 * 99.0 * standard**2))
    assert found.table["pareto_k"].item() < 0.7
    assert not found.passed
    (reason,) = found.reasons
    assert (
        "typical 1.99 ± 0.0987 (by weights 2 ± 0.00961)" in reason
        and "both" not in reason
        and "method: nuts" in reason
    )


def test_draws_that_are_all_impossible_fail(posterior):
    found = judge_approximation(posterior, weights(np.full(DRAWS, -np.inf)))
    assert not found.passed and found.table["pareto_k"].item() == np.inf


def test_reasons_of_the_search_come_first(posterior):
    found = judge_approximation(posterior, weights(np.zeros(DRAWS)), ["it did not come to rest"])
    assert found.reasons == ("it did not come to rest",)


def test_the_condition_number_is_of_the_correlations():
    errors = np.diag([1e-3, 10.0])
    covariance = errors @ np.array([[1.0, 0.8], [0.8, 1.0]]) @ errors
    assert condition_number(covariance) == pytest.approx(1.8 / 0.2)
