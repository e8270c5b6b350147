import jax.numpy as jnp
import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from trials.analyses import Status, in_batches, indicator_columns, mean_difference

TRIALS, SUBJECTS, STRATA = 50, 70, 5


def _columns(data):
    strata = indicator_columns(jnp.asarray(data.stratum), STRATA)
    return jnp.concatenate([jnp.asarray(data.baseline)[..., None], strata], axis=-1)


def _own_fit(data, columns, trial):
    """statsmodels' least squares of one trial (pseudo-inverse, so it takes redundant columns)."""
    rows = data.used[trial]
    treated = (data.arm[trial] == 1).astype(float)
    design = np.column_stack([treated, np.ones(SUBJECTS), columns[trial]])[rows]
    return sm.OLS(data.value[trial][rows], design).fit()


@pytest.mark.parametrize("robust", [False, True])
def test_every_trial_equals_its_own_fit(draw_trials, robust):
    data = draw_trials(TRIALS, SUBJECTS, effect=2.0, seed=1, strata=STRATA)
    columns = np.asarray(_columns(data))
    found = mean_difference(
        jnp.asarray(data.value), jnp.asarray(data.arm), jnp.asarray(data.used), columns,
        robust=robust, level=0.9,
    )  # fmt: skip
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


def test_without_columns_it_is_the_two_sample_t_test(draw_trials):
    from scipy import stats

    data = draw_trials(8, 30, effect=1.0, seed=2)
    found = mean_difference(*map(jnp.asarray, (data.value, data.arm, data.used)))
    for trial in range(8):
        groups = [data.value[trial][data.used[trial] & (data.arm[trial] == a)] for a in (1, 0)]
        expected = stats.ttest_ind(*groups)
        np.testing.assert_allclose(found.p_value[trial], expected.pvalue, rtol=1e-10)


def test_any_pair_of_several_arms_shares_one_model(draw_trials):
    data = draw_trials(4, 90, effect=1.0, seed=3)
    arm = np.random.default_rng(0).integers(0, 3, data.arm.shape)
    found = mean_difference(
        *map(jnp.asarray, (data.value, arm, data.used)), arms=3, treatment=2, reference=1
    )
    for trial in range(4):
        rows = data.used[trial]
        design = np.eye(3)[arm[trial][rows]]
        expected = sm.OLS(data.value[trial][rows], design).fit().t_test([0, -1, 1])
        np.testing.assert_allclose(found.estimate[trial], expected.effect[0], rtol=1e-11)
        np.testing.assert_allclose(found.standard_error[trial], expected.sd[0, 0], rtol=1e-11)


def test_a_contrast_survives_the_absence_of_a_third_arm(draw_trials):
    data = draw_trials(3, 60, effect=1.0, seed=4)
    two = mean_difference(*map(jnp.asarray, (data.value, data.arm, data.used)))
    three = mean_difference(
        *map(jnp.asarray, (data.value, data.arm + 1, data.used)), arms=3, treatment=2, reference=1
    )
    assert np.all(three.status == Status.OK) and np.all(three.n[:, 0] == 0)
    np.testing.assert_allclose(three.estimate, two.estimate, rtol=1e-12)
    np.testing.assert_allclose(three.p_value, two.p_value, rtol=1e-12)


def test_subjects_alone_in_their_stratum_leave_the_robust_error_finite(draw_trials):
    data = draw_trials(1, 40, effect=1.0, seed=5, strata=1)
    stratum = np.zeros((1, 40), int)
    alone = np.flatnonzero(data.used[0])[0]
    stratum[0, alone] = 1
    columns = indicator_columns(jnp.asarray(stratum), 2)
    with_it = mean_difference(
        *map(jnp.asarray, (data.value, data.arm, data.used)), columns, robust=True
    )
    used = data.used.copy()
    used[0, alone] = False
    without = mean_difference(*map(jnp.asarray, (data.value, data.arm, used)), robust=True)
    np.testing.assert_allclose(with_it.standard_error, without.standard_error, rtol=1e-11)
    assert with_it.degrees_of_freedom == without.degrees_of_freedom


def test_status_names_what_is_wrong_and_spoils_no_other_trial():
    value = jnp.asarray(np.random.default_rng(6).normal(size=(5, 12)))
    arm = jnp.tile(jnp.array([0, 1]), (5, 6))
    used = jnp.ones((5, 12), bool)
    used = used.at[1].set(False)  # nobody
    used = used.at[2].set(arm[2] == 0)  # nobody treated
    value = value.at[3].set(0.1)  # everybody the same
    columns = jnp.zeros((5, 12, 1)).at[4, :, 0].set(arm[4])  # stratum is the arm
    found = mean_difference(value, arm, used, columns)
    assert found.status.tolist() == [
        Status.OK, Status.TOO_FEW, Status.TOO_FEW, Status.NO_VARIATION, Status.SINGULAR,
    ]  # fmt: skip
    assert np.all(np.isnan(found.p_value[1:])) and np.all(np.isnan(found.estimate[1:]))
    alone = mean_difference(value[:1], arm[:1], used[:1], columns[:1])
    np.testing.assert_allclose(found.p_value[0], alone.p_value[0], rtol=1e-13)


def test_no_residual_freedom_is_too_few():
    value = jnp.array([[1.0, 2.0, 4.0, 3.0]])
    columns = jnp.array([[[0.0, 1], [1, 0], [3, 5], [0, 0]]])
    found = mean_difference(value, jnp.array([[0, 1, 0, 1]]), jnp.ones((1, 4), bool), columns)
    assert found.status[0] == Status.TOO_FEW


@settings(max_examples=30, deadline=None)
@given(shift=st.floats(-1e3, 1e3), scale=st.floats(0.01, 100), seed=st.integers(0, 99))
def test_location_and_scale_of_the_outcome_pass_through(draw_trials, shift, scale, seed):
    data = draw_trials(2, 30, effect=1.0, seed=seed)
    rest = map(jnp.asarray, (data.arm, data.used))
    arm, used = rest
    plain = mean_difference(jnp.asarray(data.value), arm, used)
    moved = mean_difference(jnp.asarray(shift + scale * data.value), arm, used)
    np.testing.assert_allclose(moved.estimate, scale * plain.estimate, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(moved.p_value, plain.p_value, rtol=1e-7)


def test_error_rate_and_coverage_are_nominal():
    """5,000 trials of 60 in unequal strata: normal errors make the t-interval exact."""
    generator = np.random.default_rng(7)
    shape = (5000, 60)
    stratum = generator.choice(4, shape, p=[0.5, 0.3, 0.15, 0.05])
    arm = generator.integers(0, 2, shape)
    value = 2.0 * stratum + generator.normal(size=shape)
    found = in_batches(
        mean_difference, value, arm, np.ones(shape, bool),
        indicator_columns(jnp.asarray(stratum), 4), width=1000,
    )  # fmt: skip
    assert np.all(found.status == Status.OK)
    three_mcse = 3 * np.sqrt(0.05 * 0.95 / 5000)
    assert abs(np.mean(found.p_value < 0.05) - 0.05) < three_mcse
    assert abs(np.mean((found.lower <= 0) & (found.upper >= 0)) - 0.95) < three_mcse


def test_robust_interval_covers_where_variances_differ_and_the_classical_does_not():
    generator = np.random.default_rng(8)
    shape = (5000, 60)
    arm = np.tile(np.arange(60) < 15, (5000, 1)).astype(int)  # few treated, and noisy
    value = generator.normal(size=shape) * np.where(arm == 1, 3.0, 1.0)
    arrays = (jnp.asarray(value), jnp.asarray(arm), jnp.ones(shape, bool))
    covered = {
        robust: np.mean(np.abs(fit.estimate) <= fit.upper - fit.estimate)
        for robust in (False, True)
        for fit in [mean_difference(*arrays, robust=robust)]
    }
    # HC3 is approximate (15 treated subjects, df of the pooled model): within 1.5 points.
    assert abs(covered[True] - 0.95) < 0.015
    assert covered[False] < 0.85
