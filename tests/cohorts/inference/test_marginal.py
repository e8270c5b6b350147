"""The marginal likelihood: exact where it can be, and its gradient."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cohorts.inference import marginal, objective_function_value, scores
from cohorts.inference.marginal_likelihood import Method

from .stand_ins import decay, linear, quickly

METHODS: tuple[Method, ...] = ("laplace", "focei")


def scores_of(joint: Any, theta: Any, data: Any, method: Method = "laplace") -> Any:
    return quickly(lambda theta: scores(joint, theta, data, method=method))(jnp.asarray(theta))


@pytest.mark.parametrize("method", METHODS)
def test_it_is_exact_for_linear_models(method):
    joint, theta, data = linear()
    found = quickly(lambda theta: marginal(joint, theta, data, method=method))(theta)
    np.testing.assert_allclose(found.value, joint.log_marginal(theta, data), rtol=1e-10)
    assert np.all(found.definite)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_scores_are_finite_differences(method):
    joint, theta, data = decay()
    value = quickly(lambda theta: marginal(joint, theta, data, method=method).value)
    found, gradient = scores_of(joint, theta, data, method)
    np.testing.assert_allclose(found.value, value(theta), rtol=1e-12)
    for parameter, step in enumerate(1e-3 * np.eye(len(theta))):
        # Of fourth order, so that the step may be long enough for rounding.
        near, far = (value(theta + k * step) - value(theta - k * step) for k in (1, 2))
        slope = (8.0 * near - far) / 12e-3
        np.testing.assert_allclose(gradient[parameter], slope, rtol=1e-6, atol=1e-7)


@pytest.mark.slow
def test_it_is_differentiated_forwards_and_backwards():
    joint, theta, data = decay()

    def total(theta: Any) -> Any:
        return jnp.sum(marginal(joint, theta, data).value)

    expected = jnp.sum(scores_of(joint, theta, data, "focei")[1], axis=1)
    np.testing.assert_allclose(quickly(jax.grad(total))(theta), expected, rtol=1e-12)
    np.testing.assert_allclose(quickly(jax.jacfwd(total))(theta), expected, rtol=1e-12)


def test_scores_are_exact_for_linear_models():
    joint, theta, data = linear()
    _, gradient = scores_of(joint, theta, data)
    for parameter, step in enumerate(1e-4 * np.eye(len(theta))):
        there, back = (joint.log_marginal(theta + s * step, data) for s in (1, -1))
        np.testing.assert_allclose(gradient[parameter], (there - back) / 2e-4, rtol=1e-6)


def test_a_subject_without_a_solution_is_impossible_and_without_gradient():
    found, gradient = scores_of(*decay(highest=-np.inf))
    assert np.all(np.isneginf(found.value)) and np.all(gradient == 0.0)


def test_the_objective_function_lacks_the_constant_of_the_measured_values():
    assert objective_function_value(-0.5 * 10 * np.log(2.0 * np.pi), 10) == pytest.approx(0.0)
