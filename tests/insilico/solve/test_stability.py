"""Derivatives at rest, where the errors of steps do not bound them."""

from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from insilico import models
from insilico.model import Model, Quantity
from insilico.solve import Dose, Status, Tolerances, schedule, solve_traced
from insilico.vocabulary import Value


class State(NamedTuple):
    slow: Annotated[Value, Quantity("1", "returns to its rest slowly")]
    fast: Annotated[Value, Quantity("1", "follows the slow one")]


class Parameters(NamedTuple):
    start: Annotated[Value, Quantity("1", "of both")]
    rest: Annotated[Value, Quantity("1", "where both rest")]
    rate: Annotated[Value, Quantity("1/h", "of the fast one")]
    loss: Annotated[Value, Quantity("1/h", "of the slow one")]


def _derivative(time, state, parameters, inputs):
    del time, inputs
    return State(
        parameters.loss * (parameters.rest - state.slow),
        parameters.rate * (state.slow - state.fast),
    )


RESTING = Model(
    name="resting",
    title="A component that follows another one, which may be at rest",
    citation="none",
    State=State,
    Parameters=Parameters,
    Outputs=State,
    initial=lambda parameters: State(parameters.start, parameters.start),
    derivative=_derivative,
    outputs=lambda time, state, parameters: State(*state),
    time_unit="h",
)

STARTS, RATES, LOSS = np.array([1.0, 3.0]), np.array([5.0, 20.0]), 0.01
OBSERVE = np.array([50.0, 130.0, 300.0])
EXPLICIT = ("tsit5", "dopri8", "taylor")


@pytest.fixture(scope="module")
def course():
    return schedule(RESTING, [], observe=OBSERVE)


def _solved(course, method, derivative, rest):
    """Outputs of two patients, (2, times) each, as a function of where they start."""
    events, pattern = course

    def of(starts):
        parameters = Parameters(starts, jnp.asarray(rest), jnp.asarray(RATES), jnp.full(2, LOSS))
        return solve_traced(
            RESTING,
            parameters,
            events,
            pattern,
            derivative=derivative,
            method=method,
            tolerances=Tolerances(1e-6, 1e-8),
        ).outputs

    return of


@pytest.mark.parametrize(
    ("method", "derivative"),
    [
        *((method, "forward") for method in EXPLICIT),
        ("tsit5", "reverse"),
        *(pytest.param(each, "reverse", marks=pytest.mark.slow) for each in ("dopri8", "taylor")),
    ],
)
def test_at_rest_a_derivative_is_as_exact_as_elsewhere(course, method, derivative):
    """Nothing moves, so that no error bounds the steps; but had it started elsewhere, it would."""
    outputs = _solved(course, method, derivative, rest=STARTS)
    transform = jax.jacrev if derivative == "reverse" else jax.jacfwd
    by_start = jax.jit(transform(lambda starts: outputs(starts).fast))(jnp.asarray(STARTS))
    for patient, rate in enumerate(RATES):
        slow, fast = np.exp(-LOSS * OBSERVE), np.exp(-rate * OBSERVE)
        expected = fast + rate / (rate - LOSS) * (slow - fast)
        # A stable step of these methods is so short beside 1/loss that the slow component is exact.
        np.testing.assert_allclose(by_start[patient, :, patient], expected, rtol=1e-6)


@pytest.mark.parametrize("method", EXPLICIT)
def test_a_solve_for_derivatives_is_as_exact_as_one_for_itself(course, method):
    found = jax.jit(_solved(course, method, "reverse", rest=0.0 * STARTS))(jnp.asarray(STARTS))
    slow = STARTS[:, None] * np.exp(-LOSS * OBSERVE)
    share = RATES / (RATES - LOSS)
    np.testing.assert_allclose(found.slow, slow, rtol=2e-5)
    np.testing.assert_allclose(found.fast, share[:, None] * slow, rtol=2e-5)


def test_an_empty_compartment_in_units_of_a_tiny_tolerance_bounds_no_step():
    model = models.get("one_compartment")
    events, pattern = schedule(model, [Dose(0.0, "depot", 10.0)], observe=[1.0, 20.0])
    tolerances = Tolerances(1e-8, 1e-25)

    @jax.jit
    def pulled(parameters):
        def central(parameters, method):
            found = solve_traced(
                model,
                parameters,
                events,
                pattern,
                derivative="reverse",
                method=method,
                tolerances=tolerances,
            )
            return found.outputs[0].sum(), found.status

        by_steps = jax.value_and_grad(lambda p: central(p, "tsit5"), has_aux=True)(parameters)
        return *by_steps, jax.grad(lambda p: central(p, "closed_form")[0])(parameters)

    (_, status), found, exact = pulled(model.Parameters(*np.array([[1.0], [2.0], [12.0]])))
    assert np.all(status == Status.OK)
    np.testing.assert_allclose(np.stack(found), np.stack(exact), rtol=1e-6)
