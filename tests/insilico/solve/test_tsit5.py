"""One step of Tsitouras' pair."""

import jax.numpy as jnp
import numpy as np
import pytest

from insilico.solve import tsit5


def _field(time, state):
    """Non-autonomous and nonlinear; from (1, 1) at time 0 exactly (1 / (1 + t²), exp(sin t))."""
    decaying, waving = state
    return -2.0 * time * decaying**2, jnp.cos(time) * waving


def _exact(time):
    return 1.0 / (1.0 + time**2), np.exp(np.sin(time))


@pytest.fixture(scope="module")
def errors() -> np.ndarray:
    """Largest error at each lane's own end after 16, 32, 64 and 128 equal steps: (runs, lanes)."""
    ends = jnp.array([1.5, 2.0])
    found = []
    for steps in (16, 32, 64, 128):
        size = ends / steps
        time, state = jnp.zeros(2), (jnp.ones(2), jnp.ones(2))
        rates = _field(time, state)
        for _ in range(steps):
            step = tsit5.step(_field, time, size, state, rates)
            time, state, rates = time + size, step.state, step.rates
        found.append(np.max(np.abs(np.array(state) - _exact(np.array(ends))), axis=0))
    return np.array(found)


def test_the_method_is_of_order_five(errors: np.ndarray):
    orders = np.log2(errors[:-1] / errors[1:])
    # Each halving gains 2^5; higher-order terms still show at these step sizes.
    assert np.all(np.abs(orders[-1] - 5.0) < 0.25), orders
    assert errors[-1].max() < 1e-9


def test_the_embedded_error_estimate_is_of_order_five_in_the_step():
    state = (jnp.ones(1), jnp.ones(1))
    time = jnp.full(1, 0.3)
    rates = _field(time, state)
    sizes = np.array([0.1, 0.05, 0.025])
    estimates = np.array(
        [
            np.abs(np.array(tsit5.step(_field, time, jnp.full(1, size), state, rates).error))[:, 0]
            for size in sizes
        ]
    )
    orders = np.log2(estimates[:-1] / estimates[1:])
    assert np.all(np.abs(orders - 5.0) < 0.5), orders


def test_the_last_stage_is_the_next_steps_first():
    time, size = jnp.full(1, 0.3), jnp.full(1, 0.2)
    state = (jnp.ones(1), jnp.ones(1))
    step = tsit5.step(_field, time, size, state, _field(time, state))
    np.testing.assert_array_equal(step.rates, _field(time + size, step.state))


def test_a_lane_does_not_see_its_neighbour():
    time, size = jnp.array([0.0, 0.7]), jnp.array([0.1, 0.3])
    state = (jnp.array([1.0, 2.0]), jnp.array([1.0, -1.0]))
    both = tsit5.step(_field, time, size, state, _field(time, state))
    spoilt = tuple(leaf.at[1].set(jnp.nan) for leaf in state)
    other = tsit5.step(_field, time, size, spoilt, _field(time, spoilt))
    np.testing.assert_array_equal(np.array(both.state)[:, 0], np.array(other.state)[:, 0])


def test_a_step_is_accepted_when_its_error_is_within_tolerance_and_finite():
    lanes = 4
    one = jnp.ones(lanes)
    # In units of the tolerance 1e-3 (absolute part zero): 0.5, 0.99, 1.01 and not finite.
    error = jnp.array([0.5e-3, 0.99e-3, 1.01e-3, jnp.nan])
    trial = tsit5.Step((one,), (one,), (error,))
    squares = tsit5.squared_error((one,), trial, jnp.float64(1e-3), (0.0 * one,))
    factor = tsit5.factor(squares)
    assert (squares <= 1.0).tolist() == [True, True, False, False]
    assert factor[0] > 1.0 > factor[3]
    assert factor[2] < 1.0
    assert np.all(np.isfinite(factor))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_the_step_factor_is_close_to_the_error_to_the_power_minus_a_fifth(dtype):
    # Errors for which the factor is not clipped: the norm is the error itself here.
    norm = jnp.exp(jnp.linspace(jnp.log(1e-4), jnp.log(1e3), 1000)).astype(dtype)
    one = jnp.ones_like(norm)
    trial = tsit5.Step((one,), (one,), (norm,))
    factor = tsit5.factor(tsit5.squared_error((one,), trial, dtype(1.0), (0.0 * one,)))
    exact = tsit5.SAFETY * norm ** (-1.0 / tsit5.ORDER)
    # The bit trick promises 7 %.
    assert factor.dtype == dtype
    np.testing.assert_allclose(factor, exact, rtol=0.07)


def test_the_first_step_size_is_finite_and_positive_even_where_nothing_moves():
    state = (jnp.array([0.0, 0.0, 5.0, 1e-9]),)
    rates = (jnp.array([0.0, 3.0, -2.0, 1e6]),)
    size = tsit5.first_size(state, rates, jnp.float64(1e-6), (jnp.full(4, 1e-8),))
    assert np.all(np.isfinite(size)) and np.all(size > 0)
    # A component of size 5 falling by 2 a unit of time: a tenth of 2.5.
    np.testing.assert_allclose(size[2], 0.25, rtol=1e-6)
