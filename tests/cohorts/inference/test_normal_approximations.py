"""The normal approximation is exact where it can be, and says where it is not."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from scipy.optimize import minimize

from cohorts.inference import Approximation, ModelError, normal_approximation
from cohorts.inference.marginal_likelihood import Method

from .stand_ins import Linear, linear

pytestmark = pytest.mark.optimised

SUBJECTS = 40
DRAWS = 800
PLAIN = Approximation(draws=DRAWS, importance_samples=0)
LIKELY = PLAIN.model_copy(update={"priors": False})


@pytest.fixture(scope="module")
def made():
    """A linear model with data of its own, the maximum of its closed form, and its curvature."""
    joint, theta, data = linear(SUBJECTS)
    rng = np.random.default_rng(4)
    x = theta[:2, None] + np.exp(theta[2:4, None]) * rng.normal(size=(2, SUBJECTS))
    noise = np.exp(theta[4]) * rng.normal(size=data.value.shape)
    data = data._replace(value=np.einsum("rks,ks->rs", data.at, x) + noise)

    def log_posterior(theta: np.ndarray) -> float:
        return float(np.sum(joint.log_marginal(theta, data)) - 0.5 * np.sum((theta - 0.1) ** 2))

    found = minimize(lambda t: -log_posterior(t), theta, method="BFGS", options={"gtol": 1e-6})
    step = 1e-3 * np.eye(len(theta))
    curvature = (
        -np.array(
            [
                [
                    log_posterior(found.x + a + b)
                    - log_posterior(found.x + a - b)
                    - log_posterior(found.x - a + b)
                    + log_posterior(found.x - a - b)
                    for b in step
                ]
                for a in step
            ]
        )
        / 4e-6
    )
    return joint, theta, data, found.x, np.linalg.inv(curvature), log_posterior


@pytest.fixture(scope="module")
def focei(made):
    joint, theta, data, *_ = made
    return normal_approximation(joint, data, theta[None], PLAIN, seed=3)


def test_it_stands_at_the_maximum_with_the_curvature_of_the_closed_form(made, focei):
    _, _, _, maximum, covariance, _ = made
    assert focei.converged and focei.indefinite is None and focei.free == ()
    errors = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose((focei.maximum.theta - maximum) / errors, 0.0, atol=2e-3)
    scale = np.outer(errors, errors)
    np.testing.assert_allclose(focei.covariance / scale, covariance / scale, atol=2e-3)


def test_the_objective_rises_to_the_maximum(made, focei):
    *_, maximum, _, log_posterior = made
    assert np.all(np.diff(focei.objective) > 0.0)
    # The stand-in's prior is a density up to its constant, which both leave out.
    assert focei.objective[-1] == pytest.approx(log_posterior(maximum), abs=1e-4)


def test_draws_of_the_population_are_those_of_the_normal_distribution(made, focei):
    _, _, _, maximum, covariance, _ = made
    factor = np.linalg.cholesky(covariance)
    standard = np.linalg.solve(factor, (focei.theta - maximum).T)
    # Five means of so many draws, and twenty-five products: each within four standard errors.
    np.testing.assert_allclose(standard.mean(axis=1), 0.0, atol=4.0 / np.sqrt(DRAWS))
    np.testing.assert_allclose(np.cov(standard), np.eye(5), atol=4.0 * np.sqrt(2.0 / DRAWS))


def test_their_densities_are_those_of_the_closed_form(made, focei):
    *_, log_posterior = made
    expected = [log_posterior(theta) for theta in focei.theta[:20]]
    np.testing.assert_allclose(focei.log_target[:20], expected, atol=1e-6)
    factor = np.linalg.cholesky(focei.covariance)
    away = np.linalg.solve(factor, (focei.theta - focei.maximum.theta).T)
    np.testing.assert_allclose(focei.log_proposal, -0.5 * np.sum(away**2, axis=0), atol=1e-8)


def test_effects_go_with_their_own_draw_of_the_population(made, focei):
    """Given the population's draw, a subject's effects are normal, of known mean and covariance."""
    _, _, data, *_ = made
    standard = []
    for theta, x in zip(focei.theta[:200], focei.x[:200], strict=True):
        for subject in range(0, SUBJECTS - 1, 10):  # the last has a value less
            design = data.at[:, :, subject]
            precision = design.T @ design / np.exp(2 * theta[4]) + np.diag(np.exp(-2 * theta[2:4]))
            pull = design.T @ data.value[:, subject] / np.exp(2 * theta[4])
            mean = np.linalg.solve(precision, pull + theta[:2] / np.exp(2 * theta[2:4]))
            standard.append(np.linalg.cholesky(precision).T @ (x[:, subject] - mean))
    standard = np.array(standard)
    assert np.all(focei.failed == 0)
    np.testing.assert_allclose(standard.mean(axis=0), 0.0, atol=4.0 / np.sqrt(len(standard)))
    np.testing.assert_allclose(
        np.cov(standard.T), np.eye(2), atol=4.0 * np.sqrt(2.0 / len(standard))
    )


def test_weights_stand_for_the_posterior(made, focei):
    """Weighted means are those of other draws, from a wider normal distribution."""
    _, _, _, maximum, covariance, log_posterior = made
    assert focei.weights.pareto_k < 0.7
    assert 0.2 * DRAWS < focei.weights.effective < DRAWS
    wide = np.random.default_rng(8).multivariate_normal(maximum, 2.0 * covariance, size=500)
    away = wide - maximum
    log = np.array([log_posterior(theta) for theta in wide])
    log += 0.25 * np.einsum("dp,pq,dq->d", away, np.linalg.inv(covariance), away)
    weights = np.exp(log - log.max())
    expected = weights @ wide / weights.sum()
    errors = np.sqrt(np.diag(covariance))
    # Each are worth some two hundred draws: three standard errors of a difference of their means.
    np.testing.assert_allclose((focei.weights.mean(focei.theta) - expected) / errors, 0.0, atol=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["laplace", "focei"])
def test_importance_sampling_finds_the_same_for_a_linear_model(made, focei, method: Method):
    joint, theta, data, *_ = made
    settings = PLAIN.model_copy(update={"importance_samples": 200})
    found = normal_approximation(joint, data, theta[None], settings, seed=3, method=method)
    np.testing.assert_allclose(found.theta, focei.theta, atol=1e-4)
    expected = np.sum(joint.log_marginal(found.maximum.theta, data))
    assert abs(found.log_likelihood - expected) < 4.0 * found.standard_error
    # The same draws of the effects for all, so that most of the error is common to them.
    np.testing.assert_allclose(np.std(found.log_target - focei.log_target), 0.0, atol=0.2)
    assert found.weights.pareto_k < 0.7


@pytest.mark.slow
@dataclasses.dataclass(frozen=True, eq=False)
class Skewed(Linear):
    """With a prior whose left tail is exponential, and far longer than the right one."""

    def log_prior(self, theta: Array, data: Any) -> Array:
        return 0.05 * jnp.sum(theta - jnp.exp(theta))


def test_a_posterior_that_is_not_normal_is_told(made):
    """Without values the posterior is the prior: largest at 0, with a curvature of 0.05."""
    _, theta, data, *_ = made
    nothing = data._replace(measured=np.zeros_like(data.measured))
    found = normal_approximation(Skewed(SUBJECTS), nothing, theta[None], PLAIN, seed=1)
    assert found.converged and found.indefinite is None
    np.testing.assert_allclose(found.maximum.theta, 0.0, atol=0.01)
    np.testing.assert_allclose(found.covariance, np.eye(5) / 0.05, atol=0.5)
    assert found.weights.pareto_k > 0.7


@pytest.mark.slow
def test_what_runs_to_its_bound_is_told(made):
    """By maximum likelihood, subjects whose data are nearer to each other in their second effect
    than noise would have them."""
    joint, theta, data, *_ = made
    second = data.at[:, 1]
    x = theta[:2, None] + np.array([[0.7], [0.0]]) * np.random.default_rng(4).normal(
        size=(2, SUBJECTS)
    )
    noise = 0.5 * np.random.default_rng(5).normal(size=data.value.shape)
    noise -= second * np.sum(noise * second, axis=0) / np.sum(second**2, axis=0)
    alike = data._replace(value=np.einsum("rks,ks->rs", data.at, x) + noise)
    bounded = np.array([0, 0, 1, 1, 1], bool)
    found = normal_approximation(joint, alike, theta[None], LIKELY, seed=1, bounded=bounded)
    assert found.free == (3,)
    assert np.all(np.isfinite(found.theta))


def test_without_a_possible_start_it_says_why(made):
    joint, theta, data, *_ = made
    impossible = data._replace(value=np.full_like(data.value, np.inf))
    with pytest.raises(ModelError, match="nowhere to set out.*40 subjects is not finite"):
        normal_approximation(joint, impossible, np.stack([theta, theta]), PLAIN, seed=1)


def test_an_approximation_of_other_data_compiles_nothing(made, focei, compilations):
    joint, theta, data, *_ = made
    before = compilations.count
    other = data._replace(value=data.value + 0.1)
    again = normal_approximation(joint, other, theta[None] + 0.1, PLAIN, seed=4)
    assert again.converged and compilations.count == before


def test_many_subjects_have_fewer_proposals_each():
    """So that what a check takes does not go with the number of subjects beyond some."""
    assert [Approximation().proposals(subjects) for subjects in (1, 40, 136, 1000)] == [
        100, 100, 29, 20,
    ]  # fmt: skip
    assert Approximation(importance_samples=0).proposals(40) == 0
    assert Approximation(importance_samples=300).proposals(1000) == 300
