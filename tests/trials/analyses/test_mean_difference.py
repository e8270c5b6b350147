from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from trials.analyses import Status, in_batches, indicator_columns, mean_difference

# Every test analyses this shape with six columns (zeros where it has fewer), so that they share
# their compiled programs.
TRIALS, SUBJECTS, STRATA, COLUMNS = 50, 70, 5, 6


def _analyse(data, columns=None, *, robust=False, level=0.95, **arms):
    if columns is None:
        columns = np.zeros((*data.value.shape, 0))
    missing = COLUMNS - columns.shape[-1]
    columns = np.pad(np.asarray(columns), [(0, 0), (0, 0), (0, missing)])
    options = {"arms": 2, "treatment": 1, "reference": 0, "robust": robust, "level": level, **arms}
    return in_batches(
        mean_difference, data.value, data.arm, data.used, columns, width=TRIALS, **options
    )


def _columns(data):
    strata = indicator_columns(jnp.asarray(data.stratum), STRATA)
    return np.concatenate([data.baseline[..., None], strata], axis=-1)


def _own_fit(data, columns, trial):
    """Least squares of one trial by statsmodels (pseudo-inverse, so it takes redundant columns)."""
    rows = data.used[trial]
    treated = (data.arm[trial] == 1).astype(float)
    design = np.column_stack([treated, np.ones(SUBJECTS), columns[trial]])[rows]
    return sm.OLS(data.value[trial][rows], design).fit()


@pytest.fixture(scope="module")
def data(draw_trials):
    return draw_trials(TRIALS, SUBJECTS, effect=2.0, seed=1, strata=STRATA)


@pytest.mark.filterwarnings("ignore:The design matrix is rank-deficient")
@pytest.mark.parametrize("robust", [False, True])
def test_every_trial_equals_its_own_fit(data, robust):
    columns = _columns(data)
    found = _analyse(data, columns, robust=robust, level=0.9)
    assert np.all(found.status == Status.OK)
    for trial in range(TRIALS):
        expected = _own_fit(data, columns, trial)
        error = expected.HC3_se[0] if robust else expected.bse[0]
        np.testing.assert_allclose(found.estimate[trial], expected.params[0], rtol=1e-10)
        np.testing.assert_allclose(found.standard_error[trial], error, rtol=1e-10)
        assert found.degrees_of_freedom[trial] == expected.df_resid
        if not robust:
            np.testing.assert_allclose(found.p_value[trial], expected.pvalues[0], rtol=1e-8)
            interval = found.lower[trial], found.upper[trial]
            np.testing.assert_allclose(interval, expected.conf_int(0.1)[0], rtol=1e-9)
        for arm in (0, 1):
            belongs = data.used[trial] & (data.arm[trial] == arm)
            assert found.n[trial, arm] == belongs.sum()
            np.testing.assert_allclose(found.mean[trial, arm], data.value[trial][belongs].mean())


def test_nearly_collinear_covariates_keep_their_digits(data):
    """Correlation 1 - 1e-7 and a mean of 1e4 standard deviations: where naive sums lose all."""
    noise = np.random.default_rng(2).normal(size=data.value.shape)
    first = data.baseline + 1e5
    columns = np.stack([first, first + 0.005 * noise], axis=-1)
    found = _analyse(data, columns)
    for trial in range(10):
        expected = _own_fit(data, columns - 1e5, trial)
        np.testing.assert_allclose(found.estimate[trial], expected.params[0], rtol=1e-8)
        np.testing.assert_allclose(found.standard_error[trial], expected.bse[0], rtol=1e-8)


def test_without_columns_it_is_the_two_sample_t_test(data):
    found = _analyse(data)
    for trial in range(TRIALS):
        groups = [data.value[trial][data.used[trial] & (data.arm[trial] == a)] for a in (1, 0)]
        expected = sm.stats.ttest_ind(*groups)[1]
        np.testing.assert_allclose(found.p_value[trial], expected, rtol=1e-9)


def test_no_columns_need_no_array(data):
    arrays = [jnp.asarray(array) for array in (data.value, data.arm, data.used)]
    np.testing.assert_array_equal(mean_difference(*arrays).n, _analyse(data).n)
    np.testing.assert_allclose(mean_difference(*arrays).p_value, _analyse(data).p_value, rtol=1e-10)


def test_any_pair_of_several_arms_shares_one_model(data):
    arm = np.random.default_rng(0).integers(0, 3, data.arm.shape)
    found = _analyse(data._replace(arm=arm), arms=3, treatment=2, reference=1)
    for trial in range(10):
        rows = data.used[trial]
        design = np.eye(3)[arm[trial][rows]]
        expected = sm.OLS(data.value[trial][rows], design).fit().t_test([0, -1, 1])
        np.testing.assert_allclose(found.estimate[trial], expected.effect[0], rtol=1e-10)
        np.testing.assert_allclose(found.standard_error[trial], expected.sd[0, 0], rtol=1e-10)


def test_a_contrast_survives_the_absence_of_a_third_arm(data):
    two = _analyse(data)
    three = _analyse(data._replace(arm=data.arm + 1), arms=3, treatment=2, reference=1)
    assert np.all(three.status == Status.OK) and np.all(three.n[:, 0] == 0)
    np.testing.assert_allclose(three.estimate, two.estimate, rtol=1e-10)
    np.testing.assert_allclose(three.p_value, two.p_value, rtol=1e-9)


def test_subjects_alone_in_their_stratum_leave_the_robust_error_finite(data):
    alone = np.argmax(data.used, axis=1)[:, None]
    stratum = np.zeros(data.arm.shape, int)
    np.put_along_axis(stratum, alone, 1, axis=1)
    with_it = _analyse(data, indicator_columns(jnp.asarray(stratum), 2), robust=True)
    used = data.used.copy()
    np.put_along_axis(used, alone, False, axis=1)
    without = _analyse(data._replace(used=used), robust=True)
    np.testing.assert_allclose(with_it.standard_error, without.standard_error, rtol=1e-10)
    np.testing.assert_array_equal(with_it.degrees_of_freedom, without.degrees_of_freedom)


def test_status_names_what_is_wrong_and_spoils_no_other_trial(data):
    value, used = data.value.copy(), data.used.copy()
    columns = np.zeros((TRIALS, SUBJECTS, 1))
    used[1] = False  # nobody
    used[2] &= data.arm[2] == 0  # nobody treated
    value[3] = 0.1  # everybody the same
    columns[4, :, 0] = data.arm[4]  # stratum is the arm
    columns[5, :, 0] = np.arange(SUBJECTS)
    used[5] = np.cumsum(used[5]) <= 4  # four subjects, but three columns and an intercept
    columns = np.concatenate([columns, columns**2], axis=-1)
    found = _analyse(data._replace(value=value, used=used), columns)
    assert found.status[:6].tolist() == [
        Status.OK,
        Status.TOO_FEW,
        Status.TOO_FEW,
        Status.NO_VARIATION,
        Status.SINGULAR,
        Status.TOO_FEW,
    ]
    assert np.all(np.isnan(found.p_value[1:6])) and np.all(np.isnan(found.estimate[1:6]))
    plain = _analyse(data)
    np.testing.assert_array_equal(found.p_value[6:], plain.p_value[6:])


@settings(max_examples=25, deadline=None)
@given(shift=st.floats(-1e3, 1e3), scale=st.floats(0.01, 100))
def test_location_and_scale_of_the_outcome_pass_through(data, shift, scale):
    plain = _analyse(data)
    moved = _analyse(data._replace(value=shift + scale * data.value))
    np.testing.assert_allclose(moved.estimate, scale * plain.estimate, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(moved.p_value, plain.p_value, rtol=1e-7)


class _Simulated(NamedTuple):
    value: np.ndarray
    arm: np.ndarray
    used: np.ndarray


def test_error_rate_and_coverage_are_nominal():
    """5,000 trials of 70 in unequal strata: normal errors make the t-interval exact."""
    generator = np.random.default_rng(7)
    shape = (5000, SUBJECTS)
    stratum = generator.choice(4, shape, p=[0.5, 0.3, 0.15, 0.05])
    arm = generator.integers(0, 2, shape)
    value = 2.0 * stratum + generator.normal(size=shape)
    trials = _Simulated(value, arm, np.ones(shape, bool))
    found = _analyse(trials, indicator_columns(jnp.asarray(stratum), 4))
    assert np.all(found.status == Status.OK)
    three_mcse = 3 * np.sqrt(0.05 * 0.95 / 5000)
    assert abs(np.mean(found.p_value < 0.05) - 0.05) < three_mcse
    assert abs(np.mean((found.lower <= 0) & (found.upper >= 0)) - 0.95) < three_mcse


def test_robust_interval_covers_where_variances_differ_and_the_classical_does_not():
    generator = np.random.default_rng(8)
    shape = (3000, SUBJECTS)
    arm = np.tile(np.arange(SUBJECTS) < 18, (shape[0], 1)).astype(int)  # few treated, and noisy
    value = generator.normal(size=shape) * np.where(arm == 1, 3.0, 1.0)
    trials = _Simulated(value, arm, np.ones(shape, bool))
    covered = {}
    for robust in (False, True):
        found = _analyse(trials, robust=robust)
        covered[robust] = np.mean((found.lower <= 0) & (found.upper >= 0))
    # HC3 is approximate (18 treated subjects, df of the pooled model): within 1.5 points.
    assert abs(covered[True] - 0.95) < 0.015
    assert covered[False] < 0.85
