"""Time-to-event estimators (Kaplan-Meier, log-rank, Cox, restricted mean) on the same trials."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter, KaplanMeierFitter
from lifelines.statistics import logrank_test
from lifelines.utils import restricted_mean_survival_time
from statsmodels.duration.hazard_regression import PHReg
from statsmodels.duration.survfunc import survdiff

from trials.analyses import (
    Status,
    hazard_ratio,
    in_batches,
    kaplan_meier,
    log_rank,
    restricted_mean_difference,
)

TRIALS, SUBJECTS = 50, 80


@pytest.fixture(scope="module")
def data(draw_trials):
    return draw_trials(TRIALS, SUBJECTS, effect=0.7, seed=11)


@pytest.fixture(scope="module")
def arrays(data):
    return [jnp.asarray(array) for array in (data.time, data.event, data.arm, data.used)]


def _frame(data, trial):
    rows = data.used[trial]
    return pd.DataFrame(
        {
            name: getattr(data, name)[trial][rows]
            for name in ("time", "event", "arm", "baseline", "stratum")
        }
    )


def _one(time, event, arm):
    """One trial, padded to the shape of the others so that it shares their programs."""

    def padded(column, dtype):
        array = np.zeros((TRIALS, SUBJECTS), dtype)
        array[0, : len(column)] = column
        return jnp.asarray(array)

    return (
        padded(time, float),
        padded(event, bool),
        padded(arm, int),
        padded([True] * len(arm), bool),
    )


@pytest.mark.parametrize(
    ("stratified", "covariate"),
    [
        (False, False),
        (True, True),
        pytest.param(True, False, marks=pytest.mark.slow),
        pytest.param(False, True, marks=pytest.mark.slow),
    ],
)
def test_cox_equals_statsmodels_in_every_trial(data, arrays, covariate, stratified):
    found = hazard_ratio(
        *arrays,
        jnp.asarray(data.baseline)[..., None] if covariate else None,
        jnp.asarray(data.stratum) if stratified else None,
    )
    assert np.all(found.status == Status.OK)
    for trial in range(TRIALS):
        frame = _frame(data, trial)
        columns = ["arm", "baseline"] if covariate else ["arm"]
        expected = PHReg(
            frame["time"],
            frame[columns],
            status=frame["event"].astype(int),
            ties="efron",
            strata=frame["stratum"] if stratified else None,
        ).fit(disp=0)
        error = np.sqrt(np.diag(expected.cov_params()))[0]
        # statsmodels stops its iterations at a gradient of 1e-5 or so.
        np.testing.assert_allclose(found.estimate[trial], expected.params[0], atol=2e-6)
        np.testing.assert_allclose(found.standard_error[trial], error, rtol=2e-6)


@pytest.mark.filterwarnings("ignore")  # lifelines' own, of pandas and datetime
def test_cox_equals_lifelines(data, arrays):
    found = hazard_ratio(*arrays, jnp.asarray(data.baseline)[..., None], None)
    for trial in range(5):
        frame = _frame(data, trial).drop(columns="stratum")
        options = {"precision": 1e-14}
        fitted = CoxPHFitter().fit(frame, "time", "event", fit_options=options)
        error = np.sqrt(fitted.variance_matrix_.to_numpy()[0, 0])
        np.testing.assert_allclose(found.estimate[trial], fitted.params_["arm"], atol=1e-8)
        np.testing.assert_allclose(found.standard_error[trial], error, rtol=1e-8)


@pytest.mark.filterwarnings("ignore")  # lifelines' own, of pandas
def test_log_rank_equals_lifelines_in_every_trial(data, arrays):
    found = log_rank(*arrays)
    for trial in range(TRIALS):
        frame = _frame(data, trial)
        one, zero = (frame[frame["arm"] == arm] for arm in (1, 0))
        expected = logrank_test(one["time"], zero["time"], one["event"], zero["event"])
        np.testing.assert_allclose(found.p_value[trial], expected.p_value, rtol=1e-8)


def test_stratified_log_rank_equals_statsmodels_in_every_trial(data, arrays):
    found = log_rank(*arrays, jnp.asarray(data.stratum))
    for trial in range(TRIALS):
        frame = _frame(data, trial)
        _, expected = survdiff(
            frame["time"].to_numpy(),
            frame["event"].to_numpy().astype(int),
            frame["arm"].to_numpy(),
            strata=frame["stratum"].to_numpy(),
        )
        np.testing.assert_allclose(found.p_value[trial], expected, rtol=1e-8)


def test_kaplan_meier_equals_lifelines_in_every_trial(data, arrays):
    time, event, arm, used = arrays
    at = np.array([0.5, 3.0, 7.0, 12.0])
    found = kaplan_meier(time, event, used & (arm == 1), jnp.asarray(at))
    for trial in range(TRIALS):
        frame = _frame(data, trial).query("arm == 1")
        fitted = KaplanMeierFitter().fit(frame["time"], frame["event"])
        expected = fitted.survival_function_at_times(at).to_numpy()
        np.testing.assert_allclose(found.survival[trial], expected, atol=1e-12)
        at_risk = [(frame["time"] >= t).sum() for t in at]
        np.testing.assert_array_equal(found.at_risk[trial], at_risk)
        survival = expected[2]
        limits = fitted.confidence_interval_.loc[:7.0].iloc[-1].to_numpy()
        if 0 < survival < 1:
            # lifelines' normal quantile has nine digits or so in its log-log limits.
            np.testing.assert_allclose(
                (found.lower[trial, 2], found.upper[trial, 2]), limits, atol=1e-8
            )


def test_kaplan_meier_is_unknown_beyond_a_censored_last_time():
    time, event, _, used = _one([1, 2, 3], [1, 0, 0], [0, 0, 0])
    at = jnp.array([0.5, 1.0, 3.0, 3.5])
    found = kaplan_meier(time, event, used, at)
    np.testing.assert_allclose(found.survival[0], [1, 2 / 3, 2 / 3, np.nan])
    found = kaplan_meier(time, jnp.ones_like(event), used, at)
    np.testing.assert_allclose(found.survival[0], [1, 2 / 3, 0, 0])


def test_median_rests_in_the_middle_of_a_flat_step():
    time, event, _, used = _one([1, 2, 4, 9], [1, 1, 1, 1], [0] * 4)
    assert kaplan_meier(time, event, used, jnp.arange(4.0)).median[0] == 3.0
    time, event, _, used = _one([1, 2, 4, 9], [1, 0, 0, 0], [0] * 4)
    assert np.isnan(kaplan_meier(time, event, used, jnp.arange(4.0)).median[0])


@pytest.mark.slow
def test_restricted_mean_equals_lifelines_in_every_trial(data, arrays):
    found = restricted_mean_difference(*arrays, horizon=10.0)
    assert np.all(found.status == Status.OK)
    for trial in range(TRIALS):
        frame = _frame(data, trial)
        for arm in (0, 1):
            group = frame[frame["arm"] == arm]
            fitted = KaplanMeierFitter().fit(group["time"], group["event"])
            expected = restricted_mean_survival_time(fitted, t=10.0)
            np.testing.assert_allclose(found.mean[trial, arm], expected, rtol=1e-9)


def test_restricted_mean_without_censoring_is_the_mean_of_the_capped_times():
    generator = np.random.default_rng(1)
    time, arm = generator.exponential(5, 80), np.repeat([0, 1], 40)
    found = restricted_mean_difference(*_one(time, np.ones(80), arm), horizon=6.0)
    capped = np.minimum(time, 6.0)
    means = [capped[arm == a].mean() for a in (0, 1)]
    np.testing.assert_allclose(found.mean[0], means, rtol=1e-12)
    # Uncensored, Greenwood's variance is the plain (biased) variance of the capped times over n.
    error = np.sqrt(sum(capped[arm == a].var() / 40 for a in (0, 1)))
    np.testing.assert_allclose(found.standard_error[0], error, rtol=1e-10)


def test_restricted_mean_needs_follow_up_to_the_horizon():
    time, event, arm = [1, 5, 9, 2, 4, 9], [1, 0, 0, 1, 1, 0], [0, 0, 0, 1, 1, 1]
    reached = restricted_mean_difference(*_one(time, event, arm), horizon=9.0)
    beyond = restricted_mean_difference(*_one(time, event, arm), horizon=9.5)
    assert reached.status[0] == Status.OK and beyond.status[0] == Status.SHORT_FOLLOW_UP
    assert np.all(np.isnan(beyond.mean[0]))


def test_an_arm_without_events_has_no_hazard_ratio_but_a_log_rank_test():
    arrays = _one([3, 4, 5, 6, 7, 8], [1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1])
    assert hazard_ratio(*arrays, None, None).status[0] == Status.NO_EVENTS
    assert log_rank(*arrays).status[0] == Status.OK
    nobody = arrays[0], jnp.zeros_like(arrays[1]), *arrays[2:]
    assert log_rank(*nobody).status[0] == Status.NO_EVENTS


def test_a_hazard_ratio_that_runs_off_is_not_converged():
    """All treated fail before the first control: the likelihood rises for ever."""
    arrays = _one([1, 2, 3, 4, 5, 6, 7, 8], [1] * 8, [1] * 4 + [0] * 4)
    assert hazard_ratio(*arrays, None, None).status[0] == Status.NOT_CONVERGED


def test_an_arm_confounded_with_a_covariate_or_stratum_is_singular():
    time, event, arm, used = _one([1, 2, 3, 4, 5, 6], [1] * 6, [0, 1, 0, 1, 0, 1])
    by_column = hazard_ratio(time, event, arm, used, 2.0 * arm[..., None], None)
    by_stratum = hazard_ratio(time, event, arm, used, None, arm)
    assert by_column.status[0] == by_stratum.status[0] == Status.SINGULAR


def test_large_effects_and_covariates_far_from_zero_converge():
    generator = np.random.default_rng(3)
    arm = np.tile([0, 1], (TRIALS, SUBJECTS // 2))
    covariate = 1e4 + 100 * generator.normal(size=arm.shape)
    time = generator.exponential(size=arm.shape) / np.exp(3.0 * arm + 0.02 * (covariate - 1e4))
    everyone = jnp.ones(arm.shape, bool)
    found = hazard_ratio(
        jnp.asarray(time),
        everyone,
        jnp.asarray(arm),
        everyone,
        jnp.asarray(covariate)[..., None],
        None,
    )
    assert np.all(found.status == Status.OK)
    # The maximum likelihood estimate itself is biased away from 0, by about 1 / events.
    mcse = found.standard_error.mean() / np.sqrt(TRIALS)
    assert abs(found.estimate.mean() - 3.0) < 3 * mcse + 3.0 / SUBJECTS


def test_error_rate_and_coverage_are_nominal():
    generator = np.random.default_rng(4)
    shape = (5000, SUBJECTS)
    stratum = generator.integers(0, 3, shape)
    arm = generator.integers(0, 2, shape)
    time = generator.exponential(10 / (1.0 + stratum))
    censored = generator.uniform(5, 20, shape)
    arrays = (np.minimum(time, censored), time <= censored, arm, np.ones(shape, bool))
    three_mcse = 3 * np.sqrt(0.05 * 0.95 / 5000)
    for found, slack in (
        (in_batches(log_rank, *arrays, stratum, width=TRIALS), 0.0),
        (in_batches(hazard_ratio, *arrays, None, stratum, width=TRIALS), 0.0),
        # With 40 subjects an arm, z instead of t costs the restricted mean half a point.
        (in_batches(restricted_mean_difference, *arrays, horizon=5.0, width=TRIALS), 0.005),
    ):
        assert np.all(found.status == Status.OK)
        assert abs(np.mean(found.p_value < 0.05) - 0.05) < three_mcse + slack
        covered = np.mean((found.lower <= 0) & (found.upper >= 0))
        assert abs(covered - 0.95) < three_mcse + slack
