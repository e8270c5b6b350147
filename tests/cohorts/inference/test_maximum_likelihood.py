"""The maximum of the marginal likelihood, and standard errors there."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from cohorts.inference import covariance, maximise, standard_errors
from cohorts.inference.maximum_likelihood import Covariance

from .stand_ins import decay, linear

pytestmark = pytest.mark.optimised

SUBJECTS = 30


@pytest.fixture(scope="module")
def made():
    """A linear model with data of its own, and where scipy finds the maximum of its closed form."""
    joint, theta, data = linear(SUBJECTS)
    rng = np.random.default_rng(4)
    x = theta[:2, None] + np.exp(theta[2:4, None]) * rng.normal(size=(2, SUBJECTS))
    noise = np.exp(theta[4]) * rng.normal(size=data.value.shape)
    data = data._replace(value=np.einsum("rks,ks->rs", data.at, x) + noise)

    def loss(theta: np.ndarray) -> float:
        return -float(np.sum(joint.log_marginal(theta, data)))

    found = minimize(loss, theta, method="BFGS", options={"gtol": 1e-6})
    return joint, theta, data, found, loss


@pytest.fixture(scope="module")
def fitted(made):
    joint, theta, data, _, _ = made
    return maximise(joint, data, theta + 0.3)


def test_the_maximum_is_that_of_the_closed_form(made, fitted):
    _, _, _, found, _ = made
    assert fitted.converged
    np.testing.assert_allclose(fitted.theta, found.x, atol=1e-4)
    assert fitted.log_likelihood == pytest.approx(-found.fun, abs=1e-7)
    assert fitted.iterations < 40


def test_with_a_prior_its_density_is_part_of_what_is_maximal(made):
    joint, theta, data, _, loss = made
    with_prior = maximise(joint, data, theta, prior=True)
    found = minimize(lambda t: loss(t) + 0.5 * np.sum((t - 0.1) ** 2), theta, method="BFGS")
    np.testing.assert_allclose(with_prior.theta, found.x, atol=1e-4)
    assert with_prior.log_likelihood == pytest.approx(-loss(with_prior.theta), rel=1e-10)


def test_standard_errors_are_those_of_the_closed_forms_derivatives(made, fitted):
    joint, _, data, _, _ = made
    step = 1e-3 * np.eye(len(fitted.theta))

    def at(move: np.ndarray) -> np.ndarray:
        return joint.log_marginal(fitted.theta + move, data)

    scores = np.stack([(at(s) - at(-s)) / 2e-3 for s in step])
    s_matrix = scores @ scores.T
    r_matrix = -np.array(
        [
            [np.sum(at(a + b) - at(a - b) - at(b - a) + at(-a - b)) / 4e-6 for b in step]
            for a in step
        ]
    )
    inverse = np.linalg.inv(r_matrix)
    expected: dict[Covariance, np.ndarray] = {
        "hessian": inverse,
        "scores": np.linalg.inv(s_matrix),
        "sandwich": inverse @ s_matrix @ inverse,
    }
    for kind, matrix in expected.items():
        found = covariance(joint, data, fitted, kind=kind)
        np.testing.assert_allclose(found, matrix, rtol=1e-3, atol=1e-6)


def test_standard_errors_of_named_parameters_go_by_the_delta_method():
    def constrained(theta, factor):
        return {"volume": jnp.exp(theta[0]), "both": theta * factor}

    found = standard_errors(constrained, np.array([1.0, 0.5]), 2.0, np.diag([0.04, 0.09]))
    np.testing.assert_allclose(found["volume"], 0.2 * np.e)
    np.testing.assert_allclose(found["both"], [0.4, 0.6])


def test_what_the_data_do_not_determine_is_told(made, fitted):
    joint, _, data, _, _ = made
    nothing = data._replace(measured=np.zeros_like(data.measured))
    with pytest.raises(ValueError, match="matrix S .* not positive definite"):
        covariance(joint, nothing, fitted, kind="scores")


def test_a_second_fit_compiles_nothing(made, fitted, compilations):
    joint, theta, data, _, _ = made
    maximise(joint, data, theta + 0.1, iterations=3)
    before = compilations.count
    maximise(joint, data._replace(value=data.value + 0.1), theta + 0.1, iterations=3)
    assert compilations.count == before


@pytest.mark.slow
def test_an_impossible_start_is_told(made):
    joint, theta, data = decay(2, highest=-np.inf)
    with pytest.raises(ValueError, match="the log likelihood of 2 subjects is not finite"):
        maximise(joint, data, theta)
