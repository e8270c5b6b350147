"""Residual error: how it scatters, how likely a value is, and that neither is ever NaN."""

import itertools
import math
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from cohorts import Residual, ResidualNumbers
from cohorts.residual import Kind, autocorrelated, log_density, log_probability_below
from insilico.devices import QUICKLY

NUMBERS = ResidualNumbers(sd=0.3, proportional=0.2, exponent=0.7)
STANDARD_DEVIATIONS = {
    "additive": lambda f: 0.3,
    "proportional": lambda f: 0.3 * f,
    "combined": lambda f: math.hypot(0.3, 0.2 * f),
    "combined_linear": lambda f: 0.3 + 0.2 * f,
    "log_additive": lambda f: 0.3,
    "power": lambda f: 0.3 * f**0.7,
}


def likelihood(kind: Any, value: float, true: float, numbers: ResidualNumbers = NUMBERS) -> Any:
    """Log density of a measured value."""
    residual = Residual(kind, "sd")
    scaled = jnp.asarray(residual.scaled(value))
    mean, sd = jnp.asarray(residual.scaled(true)), jnp.asarray(residual.spread(true, numbers))
    return log_density(scaled, mean, sd) - (scaled if residual.logarithmic else 0.0)


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize(("value", "true"), [(1.7, 2.0), (0.4, 0.05), (30.0, 25.0)])
def test_the_log_density_is_scipys(kind, value, true):
    sd = STANDARD_DEVIATIONS[kind](true)
    if kind == "log_additive":
        expected = scipy.stats.lognorm.logpdf(value, sd, scale=true)
    else:
        expected = scipy.stats.norm.logpdf(value, true, sd)
    assert float(likelihood(kind, value, true)) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_measured_values_scatter_as_their_density_says(kind):
    residual, draws = Residual(kind, "sd"), np.array([-1.5, 0.7])
    values = residual.measured(np.full(2, 4.0), draws, NUMBERS)
    scatter = (residual.scaled(values) - residual.scaled(4.0)) / draws
    np.testing.assert_allclose(scatter, STANDARD_DEVIATIONS[kind](4.0), rtol=1e-13)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_the_probability_of_a_value_below_the_limit_is_the_integral_of_the_density(kind):
    residual, true, limit = Residual(kind, "sd"), 1.2, 0.8
    found = log_probability_below(
        jnp.asarray(residual.scaled(limit)),
        jnp.asarray(residual.scaled(true)),
        jnp.asarray(residual.spread(true, NUMBERS)),
    )
    start = 0.0 if kind == "log_additive" else -20.0
    expected, _ = scipy.integrate.quad(
        lambda value: math.exp(likelihood(kind, value, true)),
        start,
        limit,
        points=[limit - 0.5],
        epsabs=1e-13,
    )
    assert math.exp(found) == pytest.approx(expected, rel=1e-9)


def test_a_limit_far_below_the_true_value_has_a_finite_probability_and_slope():
    slope = jax.grad(lambda mean: log_probability_below(jnp.array(0.0), mean, jnp.array(0.1)))
    mean = jnp.array(20.0)
    assert np.isfinite(float(log_probability_below(jnp.array(0.0), mean, jnp.array(0.1))))
    assert float(slope(mean)) == pytest.approx(-20.0 / 0.1**2, rel=1e-3)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_what_cannot_be_is_impossible_and_never_nan(kind):
    residual = Residual(kind, "sd")

    def both(value: Any, true: Any, sd: Any) -> Any:
        numbers = ResidualNumbers(sd, sd, jnp.asarray(0.7))
        scaled, mean = residual.scaled(value), residual.scaled(true)
        spread = residual.spread(true, numbers)
        return log_density(scaled, mean, spread), log_probability_below(scaled, mean, spread)

    values, trues = [-1.0, 0.0, 3.0, math.inf, math.nan], [-2.0, 0.0, 2.0, math.inf, math.nan]
    cases = np.array(list(itertools.product(values, trues, [0.0, 0.5])))
    of_each = jax.vmap(lambda *case: (both(*case), jax.jacrev(both, (1, 2))(*case)))
    found, slopes = jax.jit(of_each, compiler_options=QUICKLY)(*cases.T)
    wrong = np.any(np.isnan(found), axis=0)
    wrong |= np.isfinite(cases[:, 1]) & np.any(np.isnan(slopes), axis=(0, 1))
    assert not wrong.any(), f"value, true, sd: {cases[wrong]}"


def test_a_true_value_of_zero_is_below_any_limit_where_its_error_vanishes_with_it():
    for kind in ("proportional", "log_additive"):
        residual = Residual(kind, "sd")
        limit = jnp.asarray(residual.scaled(0.5))
        mean, sd = residual.scaled(jnp.array(0.0)), residual.spread(jnp.array(0.0), NUMBERS)
        assert float(log_probability_below(limit, mean, sd)) == 0.0


def test_autocorrelated_draws_are_standard_normal_with_the_stated_correlation():
    times = jnp.array([0.0, 1.0, 1.5, 4.0])
    draws = jax.random.normal(jax.random.key(1), (4, 200_000))
    found = np.asarray(autocorrelated(draws, times, jnp.full(200_000, 0.4)))
    expected = np.exp(-0.4 * np.abs(times[:, None] - times))
    # The error of a correlation of 200,000 pairs is at most 0.0022: four of these.
    np.testing.assert_allclose(np.cov(found), expected, atol=0.01)


def test_the_numbers_are_those_that_the_description_names():
    class Typical(NamedTuple):
        additive: float
        relative: float

    residual = Residual("combined", "additive", proportional="relative")
    assert residual.numbers(Typical(0.3, 0.2)) == ResidualNumbers(0.3, 0.2)
