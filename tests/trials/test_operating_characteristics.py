import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import ArrayLike

from trials.analyses import Estimates, Status
from trials.operating_characteristics import (
    assurance,
    operating_characteristics,
    over_populations,
)


def _estimates(estimate, error: ArrayLike = 1.0, p_value: ArrayLike = 0.5, status=None):
    estimate = np.asarray(estimate, float)
    shape = estimate.shape
    error = np.broadcast_to(np.asarray(error, float), shape)
    status = np.zeros(shape, int) if status is None else np.asarray(status)
    fields = (
        estimate,
        error,
        np.full(shape, np.inf),
        estimate - 2 * error,
        estimate + 2 * error,
        np.broadcast_to(np.asarray(p_value, float), shape),
        np.broadcast_to((10, 12), (*shape, 2)),
        np.zeros((*shape, 2)),
        status,
    )
    return Estimates(*map(jnp.asarray, fields))


def test_formulas_are_those_of_morris_table_6():
    generator = np.random.default_rng(1)
    estimate, error = generator.normal(0.3, 1.2, 400), generator.gamma(20, 0.05, 400)
    p_value = generator.random(400)
    truth, n = 0.1, 400
    found = operating_characteristics(_estimates(estimate, error, p_value), truth)
    sd = estimate.std(ddof=1)
    mean_se = np.sqrt(np.mean(error**2))
    squared = (estimate - truth) ** 2
    covered = np.mean(np.abs(estimate - truth) <= 2 * error)
    power = np.mean(p_value < 0.05)
    spread = np.var(error**2, ddof=1) / (4 * n * mean_se**4)
    expected = {
        "mean_estimate": (estimate.mean(), sd / np.sqrt(n)),
        "bias": (estimate.mean() - truth, sd / np.sqrt(n)),
        "empirical_sd": (sd, sd / np.sqrt(2 * (n - 1))),
        "mse": (squared.mean(), squared.std(ddof=1) / np.sqrt(n)),
        "mean_se": (mean_se, mean_se * np.sqrt(spread)),
        "relative_se_error": (
            100 * (mean_se / sd - 1),
            100 * mean_se / sd * np.sqrt(spread + 1 / (2 * (n - 1))),
        ),
        "coverage": (covered, np.sqrt(covered * (1 - covered) / n)),
        "power": (power, np.sqrt(power * (1 - power) / n)),
    }
    for name, numbers in expected.items():
        np.testing.assert_allclose(getattr(found, name), numbers, rtol=1e-12, err_msg=name)
    np.testing.assert_allclose(found.mean_n, [10, 12])


def test_monte_carlo_errors_are_the_scatter_of_repeated_simulations():
    """Each number's standard deviation over 2,000 simulations of 100 trials is its stated error."""
    generator = np.random.default_rng(2)
    shape = (2000, 100)
    estimate = generator.normal(1.0, 1.0, shape)
    error = np.sqrt(generator.chisquare(30, shape) / 30)
    p_value = np.where(estimate > 1.5, 0.01, 0.5)
    found = operating_characteristics(_estimates(estimate, error, p_value), 0.8)
    for name in (
        "power",
        "mean_estimate",
        "bias",
        "empirical_sd",
        "mean_se",
        "relative_se_error",
        "coverage",
        "mse",
    ):
        number = getattr(found, name)
        scatter = np.std(number.value, ddof=1)
        stated = np.sqrt(np.mean(number.mcse**2))
        # The scatter of 2,000 is known to 1.6 %; first-order formulas add a little.
        assert abs(stated / scatter - 1) < 0.06, name


def test_the_truths_own_error_enters_bias_and_mean_squared_error():
    generator = np.random.default_rng(3)
    estimate = generator.normal(0.5, 1.0, 100)
    exact = operating_characteristics(_estimates(estimate), 0.1)
    blurred = operating_characteristics(_estimates(estimate), 0.1, 0.3)
    np.testing.assert_allclose(blurred.bias.mcse, np.hypot(exact.bias.mcse, 0.3), rtol=1e-12)
    slope = 2 * float(exact.bias.value)
    np.testing.assert_allclose(blurred.mse.mcse, np.hypot(exact.mse.mcse, slope * 0.3), rtol=1e-12)
    assert blurred.mean_estimate.mcse == exact.mean_estimate.mcse


def test_failures_are_counted_and_count_against_power_only():
    nan = np.nan
    estimate, p_value = [1.0, 2.0, nan, nan, 3.0], [0.01, 0.2, nan, 0.001, 0.03]
    status = [0, 0, Status.SINGULAR, Status.TOO_FEW, 0]
    found = operating_characteristics(_estimates(estimate, 1.0, p_value, status), 2.0)
    assert (found.trials, found.failures) == (5, 2)
    assert found.statuses.tolist() == [3, 1, 1, 0, 0, 0, 0]
    np.testing.assert_allclose(found.power.value, 2 / 5)
    np.testing.assert_allclose(found.mean_estimate.value, 2.0)
    np.testing.assert_allclose(found.coverage.value, 1.0)


def test_a_number_without_an_estimate_is_a_failure_even_if_its_status_is_ok():
    found = operating_characteristics(_estimates([1.0, np.nan], 1.0, [0.01, 0.01]), 1.0)
    assert found.failures == 1 and found.power.value == 0.5


def test_p_exactly_at_alpha_is_no_success():
    p_value = [0.05, np.nextafter(0.05, 0), 0.0, np.nan, 1.0]
    found = operating_characteristics(_estimates(np.ones(5), 1.0, p_value), 0.0, alpha=0.05)
    np.testing.assert_allclose(found.power.value, 2 / 5)


def test_power_in_the_favourable_direction():
    estimates = _estimates([1.0, -1.0, -2.0, 3.0], 1.0, [0.01, 0.01, 0.01, 0.5])
    up = operating_characteristics(estimates, 0.0, favourable=1)
    down = operating_characteristics(estimates, 0.0, favourable=-1)
    assert up.power.value == down.power.value == 0.75
    assert up.power_favourable.value == 0.25 and down.power_favourable.value == 0.5
    unsaid = operating_characteristics(estimates, 0.0)
    assert unsaid.power.value == 0.75 and np.isnan(unsaid.power_favourable).all()


def test_padding_is_no_trial_and_leading_axes_are_kept():
    estimate = np.array([[1.0, 2.0, 99.0], [4.0, 6.0, 99.0]])
    counted = jnp.array([[True, True, False]] * 2)
    found = operating_characteristics(
        _estimates(estimate, 1.0, 0.01), jnp.array([1.0, 5.0]), counted=counted
    )
    np.testing.assert_allclose(found.bias.value, [0.5, 0.0])
    assert found.trials.tolist() == [2, 2] and found.mean_n.shape == (2, 2)


@pytest.mark.parametrize("status", [[Status.TOO_FEW] * 3, [0, Status.TOO_FEW, Status.TOO_FEW]])
def test_what_too_few_trials_cannot_tell_is_nan(status):
    found = operating_characteristics(_estimates([1.0, np.nan, np.nan], 1.0, 0.01, status), 0.0)
    assert np.isnan(found.empirical_sd.value) and np.isnan(found.bias.mcse)
    assert np.isnan(found.mse.mcse) and found.trials == 3
    np.testing.assert_allclose(found.power.value, np.mean(np.array(status) == 0))


def test_assurance_averages_populations_as_clusters():
    power = jnp.array([0.9, 0.7, 0.2, 0.6])
    found = assurance(power)
    np.testing.assert_allclose(found.value, 0.6)
    np.testing.assert_allclose(found.mcse, np.std(power, ddof=1) / 2)
    assert np.isnan(assurance(jnp.array([0.8])).mcse)


@pytest.mark.optimised
def test_second_call_of_a_shape_compiles_nothing(compilations):
    first, second = (_estimates(np.random.default_rng(seed).normal(size=50)) for seed in (1, 2))
    operating_characteristics(first, 0.1, 0.0, alpha=0.05)
    before = compilations.count
    operating_characteristics(second, 0.2, 0.1, alpha=0.01)
    assert compilations.count == before


def test_trials_of_one_population_share_it_in_the_monte_carlo_error():
    """With draws far apart, their number counts and not that of the trials."""
    draws, trials = 6, 40
    generator = np.random.default_rng(3)
    centre = np.linspace(-1.0, 1.0, draws)
    value = (centre[:, None] + 0.05 * generator.standard_normal((draws, trials))).ravel()
    one = np.ones_like(value)
    estimates = Estimates(
        estimate=jnp.asarray(value),
        standard_error=jnp.asarray(0.3 * one),
        lower=jnp.asarray(value - 0.6),
        upper=jnp.asarray(value + 0.6),
        p_value=jnp.asarray(np.where(np.abs(value) > 0.6, 0.01, 0.5)),
        degrees_of_freedom=jnp.asarray(100 * one),
        n=jnp.ones((draws * trials, 2), int),
        mean=jnp.zeros((draws * trials, 2)),
        status=jnp.zeros(draws * trials, jnp.int32),
    )
    found = over_populations(estimates, 0.0, 0.01, alpha=0.05, draws=draws)
    means = value.reshape(draws, trials).mean(axis=1)
    expected = means.std(ddof=1) / np.sqrt(draws)
    np.testing.assert_allclose(found.mean_estimate.mcse, expected)
    np.testing.assert_allclose(found.bias.mcse, np.hypot(expected, 0.01))
    power = (np.abs(value) > 0.6).reshape(draws, trials).mean(axis=1)
    np.testing.assert_allclose(found.power.mcse, power.std(ddof=1) / np.sqrt(draws))
    alone = over_populations(estimates, 0.0, 0.01, alpha=0.05, draws=1)
    assert float(alone.mean_estimate.mcse) < 0.2 * float(found.mean_estimate.mcse)


def test_draws_that_agree_by_chance_do_not_make_a_share_certain():
    """Three draws of three trials with one success each: as sure as nine independent trials."""
    p_value = [0.01, 0.5, 0.5] * 3
    found = over_populations(_estimates([1.0] * 9, 1.0, p_value), 0.0, 0.01, alpha=0.05, draws=3)
    np.testing.assert_allclose(found.power, (1 / 3, np.sqrt(1 / 3 * 2 / 3 / 9)))
