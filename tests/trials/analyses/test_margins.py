"""Tests against margins: their power by closed forms, their p-values and intervals alike."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from trials.analyses import (
    crossover_mean_difference,
    hazard_ratio,
    mean_difference,
    restricted_mean_difference,
    risk_difference_mantel_haenszel,
    risk_difference_miettinen_nurminen,
)
from trials.operating_characteristics import operating_characteristics

TRIALS = 3000


def two_groups(each, *, difference, sd, seed=1):
    """Values, arms and which are used of normal data, (trial, subject)."""
    random = np.random.default_rng(seed)
    arm = np.broadcast_to(np.arange(2 * each) % 2, (TRIALS, 2 * each))
    value = 7.0 + difference * arm + random.normal(0, sd, arm.shape)
    return jnp.asarray(value), jnp.asarray(arm), jnp.ones(arm.shape, bool)


def power_of_one_sided(distance, error, freedom, alpha):
    """Of a t test whose margin lies `distance` below the true difference: non-central t."""
    return stats.nct.sf(stats.t.ppf(1 - alpha, freedom), freedom, distance / error)


def test_non_inferiority_has_the_power_of_the_textbook():
    # Chow, Shao & Wang, Sample Size Calculations in Clinical Research, example 3.2.4: a standard
    # deviation of 0.1, a margin of -0.05, no true difference and 50 subjects a group have a power
    # of 80 % at a one-sided 5 % (as in R's TrialSize::TwoSampleMean.NIS, by the normal).
    error = 0.1 * math.sqrt(2 / 50)
    assert stats.norm.sf(stats.norm.ppf(0.95) - 0.05 / error) == pytest.approx(0.80, abs=0.005)
    exact = power_of_one_sided(0.05, error, 98, 0.05)
    found = mean_difference(
        *two_groups(50, difference=0, sd=0.1), level=0.9, margins=jnp.array([-0.05, jnp.inf])
    )
    mcse = math.sqrt(exact * (1 - exact) / TRIALS)
    assert np.mean(found.p_value < 0.05) == pytest.approx(exact, abs=3.5 * mcse)
    np.testing.assert_array_equal(found.lower > -0.05, found.p_value < 0.05)


def test_superiority_by_a_margin_is_the_same_test_on_the_other_side():
    data = two_groups(50, difference=-1.0, sd=1.2, seed=2)
    found = mean_difference(*data, level=0.95, margins=jnp.array([-jnp.inf, -0.3]))
    exact = power_of_one_sided(0.7, 1.2 * math.sqrt(2 / 50), 98, 0.025)
    mcse = math.sqrt(exact * (1 - exact) / TRIALS)
    assert np.mean(found.p_value < 0.025) == pytest.approx(exact, abs=3.5 * mcse)
    value, arm, _ = data
    first, second = np.asarray(value[0]), np.asarray(arm[0])
    groups = first[second == 1] + 0.3, first[second == 0]
    _, expected = stats.ttest_ind(*groups, alternative="less")
    assert float(found.p_value[0]) == pytest.approx(expected, rel=1e-10)


def test_at_the_margin_trials_err_as_often_as_alpha_says():
    """By a truth at the margin, and by a margin that is moved to the truth."""
    margins = jnp.array([-0.05, jnp.inf])
    settings = {"alpha": 0.025, "margins": margins}
    at, elsewhere = (
        operating_characteristics(
            mean_difference(*two_groups(50, difference=true, sd=0.1), level=0.95, margins=margins),
            true,
            **settings,
        )
        for true in (-0.05, 0.02)
    )
    mcse = math.sqrt(0.025 * 0.975 / TRIALS)
    assert float(at.power.value) == pytest.approx(0.025, abs=3.5 * mcse)
    assert float(at.type_i_error.value) == float(at.power.value)
    # The same draws, moved by the difference.
    assert float(elsewhere.type_i_error.value) == float(at.power.value)
    assert float(elsewhere.power.value) > 0.9
    without = mean_difference(*two_groups(50, difference=0.0, sd=0.1))
    assert np.isnan(operating_characteristics(without, 0.0).type_i_error.value)


def test_equivalence_errs_at_either_margin():
    margins = jnp.array([-0.06, 0.06])
    found = mean_difference(*two_groups(50, difference=0.06, sd=0.1), level=0.9, margins=margins)
    told = operating_characteristics(found, 0.06, alpha=0.05, margins=margins)
    mcse = math.sqrt(0.05 * 0.95 / TRIALS)
    assert float(told.power.value) == pytest.approx(0.05, abs=3.5 * mcse)
    # Of the error at the upper margin, which is the power, and that at the lower the larger.
    assert float(told.power.value) <= float(told.type_i_error.value)
    assert float(told.type_i_error.value) == pytest.approx(0.05, abs=3.5 * mcse)


def test_the_score_test_against_a_margin_is_farrington_and_manning_s(draw_trials):
    data = draw_trials(50, 60, effect=0.4, seed=6)
    who = [jnp.asarray(array) for array in (data.response, data.arm, data.used)]
    found = risk_difference_miettinen_nurminen(*who, level=0.9, margins=jnp.array([-0.1, jnp.inf]))
    np.testing.assert_array_equal(found.lower > -0.1, found.p_value < 0.05)
    assert 0 < np.sum(found.p_value < 0.05) < 50
    both = risk_difference_miettinen_nurminen(*who, level=0.9, margins=jnp.array([-0.1, 0.4]))
    inside = (found.lower > -0.1) & (found.upper < 0.4)
    np.testing.assert_array_equal(inside, both.p_value < 0.05)
    at_zero = risk_difference_miettinen_nurminen(*who, margins=jnp.array([0.0, jnp.inf]))
    two_sided = risk_difference_miettinen_nurminen(*who).p_value
    one_sided = np.where(found.estimate > 0, two_sided / 2, 1 - two_sided / 2)
    np.testing.assert_allclose(at_zero.p_value, one_sided, atol=1e-12)


@pytest.mark.slow
def test_every_estimator_has_tests_and_intervals_that_agree(draw_trials):
    data = draw_trials(60, 60, effect=0.4, seed=7)
    response, time, event, arm, used, stratum, value = (
        jnp.asarray(array)
        for array in (
            data.response,
            data.time,
            data.event,
            data.arm,
            data.used,
            np.where(data.used, data.stratum, 0),
            data.value,
        )
    )
    margins = jnp.array([-0.3, 0.8])
    settings = {"level": 0.9, "margins": margins}
    arms = jnp.broadcast_to(jnp.array([[0, 1], [1, 0]])[jnp.arange(30) % 2], (60, 30, 2))
    found = [
        risk_difference_mantel_haenszel(response, arm, used, stratum, strata=5, **settings),
        hazard_ratio(time, event, arm, used, **settings),
        restricted_mean_difference(time, event, arm, used, horizon=9.0, **settings),
        crossover_mean_difference(
            value.reshape(60, 30, 2), arms, used.reshape(60, 30, 2), **settings
        ),
    ]
    for each in found:
        inside = (each.lower > -0.3) & (each.upper < 0.8)
        np.testing.assert_array_equal(inside, each.p_value < 0.05)
    assert 0 < np.sum(found[0].p_value < 0.05) < 60
