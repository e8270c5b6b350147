"""One step of each method: its order, its error estimate, its lanes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from insilico.solve import methods
from insilico.solve.methods.explicit import ExplicitPair


def _field(time, state):
    """Non-autonomous and nonlinear; from (1, 1) at time 0 exactly (1 / (1 + t²), exp(sin t))."""
    decaying, waving = state
    return -2.0 * time * decaying**2, jnp.cos(time) * waving


def _exact(time):
    return 1.0 / (1.0 + time**2), np.exp(np.sin(time))


def _steps(name: str, ends: np.ndarray, steps: int) -> np.ndarray:
    """Both components after equal steps to each lane's own end, (2, lanes)."""
    size = jnp.asarray(ends) / steps
    time, state = 0.0 * size, (1.0 + 0.0 * size, 1.0 + 0.0 * size)
    method = methods.get(name)

    @jax.jit
    def through(time, size, state):
        stepper = method.prepare(_field, time, state)

        def one(_, carry):
            time, state, rates = carry
            trial = stepper.step(time, size, state, rates)
            return time + size, trial.state, trial.rates

        rates = stepper.rates(time, state) if method.reuses_rates else ()
        return jax.lax.fori_loop(0, steps, one, (time, state, rates))[1]

    return np.array(through(time, size, state))


ORDERS = {"tsit5": 5, "dopri8": 8, "rodas4": 4, "rodas5p": 5, "taylor": 10}
COUNTS = {
    "tsit5": (32, 64, 128),
    "dopri8": (6, 9, 12),
    "rodas4": (64, 128, 256),
    "rodas5p": (64, 128, 256),
    "taylor": (8, 12, 16),
}


@pytest.mark.parametrize("name", methods.ADAPTIVE)
def test_each_method_converges_with_its_order(name: str):
    ends = np.array([1.5, 2.0])
    counts = COUNTS[name]
    errors = np.array(
        [np.max(np.abs(_steps(name, ends, count) - _exact(ends)), axis=0) for count in counts]
    )
    orders = np.log(errors[-2] / errors[-1]) / np.log(counts[-1] / counts[-2])
    # Terms of higher order still show, more so with the few large steps of a high order, where
    # they favour a lane by a power or more; a wrong coefficient would leave an order of 1 to 3.
    assert np.all(orders > ORDERS[name] - 0.4), orders
    assert np.all(orders < ORDERS[name] + (0.5 if ORDERS[name] < 6 else 3.0)), orders
    assert errors[-1].max() < 1e-6


@pytest.mark.parametrize("name", methods.ADAPTIVE)
def test_the_error_estimate_falls_with_the_order_that_control_counts_on(name: str):
    method = methods.get(name)
    state = (jnp.ones(1), jnp.ones(1))
    time = jnp.full(1, 0.3)
    stepper = method.prepare(_field, time, state)
    rates = stepper.rates(time, state) if method.reuses_rates else ()
    sizes = np.array([0.1, 0.05]) * (2.0 if method.order > 6 else 0.25)
    estimates = [
        np.max(np.abs(np.array(stepper.step(time, jnp.full(1, size), state, rates).error)))
        for size in sizes
    ]
    order = np.log2(estimates[0] / estimates[1])
    assert abs(order - method.order) < 0.6, order


@pytest.mark.parametrize("name", methods.ADAPTIVE)
def test_the_error_estimate_is_no_smaller_than_a_tenth_of_the_error(name: str):
    """Estimates are of the less exact solution, or of the residual: they are on the safe side."""
    method = methods.get(name)
    for size in (0.1, 0.2, 0.4):
        time = jnp.zeros(1)
        state = (jnp.ones(1), jnp.ones(1))
        stepper = method.prepare(_field, time, state)
        rates = stepper.rates(time, state) if method.reuses_rates else ()
        trial = stepper.step(time, jnp.full(1, size), state, rates)
        error = np.abs(np.array(trial.state)[:, 0] - _exact(size))
        estimate = np.abs(np.array(trial.error))[:, 0]
        assert np.max(estimate) > 0.1 * np.max(error), (size, estimate, error)


@pytest.mark.parametrize("name", [n for n in methods.ADAPTIVE if methods.get(n).reuses_rates])
def test_the_last_stage_is_the_next_steps_first(name: str):
    time, size = jnp.full(1, 0.3), jnp.full(1, 0.2)
    state = (jnp.ones(1), jnp.ones(1))
    method = methods.get(name)
    assert isinstance(method, ExplicitPair)
    stepper = method.prepare(_field, time, state)
    trial = stepper.step(time, size, state, stepper.rates(time, state))
    np.testing.assert_allclose(trial.rates, stepper.rates(time + size, trial.state), rtol=1e-15)


@pytest.mark.optimised
@pytest.mark.parametrize("name", methods.ADAPTIVE)
def test_a_lane_does_not_see_its_neighbour(name: str):
    time, size = jnp.array([0.0, 0.7]), jnp.array([0.1, 0.3])
    state = (jnp.array([1.0, 2.0]), jnp.array([1.0, -1.0]))
    method = methods.get(name)
    stepper = method.prepare(_field, time, state)

    def ended(state) -> np.ndarray:
        rates = stepper.rates(time, state) if method.reuses_rates else ()
        return np.array(stepper.step(time, size, state, rates).state)

    spoilt = tuple(leaf.at[1].set(jnp.nan) for leaf in state)
    np.testing.assert_array_equal(ended(state)[:, 0], ended(spoilt)[:, 0])


def test_an_unknown_method_is_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match="no method 'rk45'; there are tsit5, dopri8"):
        methods.get("rk45")


INTERPOLANT_ORDERS = {"tsit5": 4, "dopri8": 6, "rodas4": 3, "rodas5p": 4, "taylor": 10}


@pytest.mark.parametrize("name", methods.ADAPTIVE)
def test_each_interpolant_converges_with_its_order_and_meets_both_ends(name: str):
    """Within single steps of falling size, one a lane."""
    size = jnp.array([0.4, 0.3, 0.2])
    begin = 0.5 + 0.0 * size
    state = tuple(jnp.asarray(y) + 0.0 * size for y in _exact(np.asarray(begin)))
    method = methods.get(name)

    @jax.jit
    def step(begin, size, state):
        stepper = method.prepare(_field, begin, state)
        rates = stepper.rates(begin, state) if method.reuses_rates else ()
        return stepper.step(begin, size, state, rates, between=(0, 1))

    trial = step(begin, size, state)

    def within(share):
        return [
            start + sum(c * share ** (power + 1) for power, c in enumerate(curve))
            for start, curve in zip(state, trial.between, strict=True)
        ]

    np.testing.assert_allclose(within(1.0), trial.state, rtol=1e-11)
    errors = np.max(
        [
            np.abs(np.array(within(share)) - _exact(np.asarray(begin + share * size)))
            for share in (0.3, 0.5, 0.8)
        ],
        axis=(0, 1),
    )
    slopes = np.log(errors[0] / errors[2]) / np.log(size[0] / size[2])
    # The error of one step goes with one power more than the order; those of high orders are not
    # yet alone at these sizes.
    assert INTERPOLANT_ORDERS[name] + 0.3 < slopes < INTERPOLANT_ORDERS[name] + 3.0, slopes
