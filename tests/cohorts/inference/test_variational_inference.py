"""Variational inference finds posteriors that are normal, and says which are not."""

import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
from numpyro import distributions as dist

from cohorts.inference import Approximation, variational

pytestmark = pytest.mark.optimised

FEW = Approximation(draws=2000, particles=8)


def regression(x, y) -> None:
    """Normal data about a line: a posterior that is normal, and correlated."""
    coefficients = numpyro.sample("coefficients", dist.Normal(0, 3).expand([2]).to_event(1))
    with numpyro.plate("observation", y.shape[0]):
        numpyro.sample("y", dist.Normal(x @ coefficients, 0.5), obs=y)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(1)
    # Far from their mean, so that intercept and slope go against each other.
    x = np.stack([np.ones(20), rng.normal(1.5, 0.7, size=20)], axis=1)
    return {"x": x, "y": x @ np.array([1.0, -2.0]) + 0.5 * rng.normal(size=20)}


@pytest.fixture(scope="module")
def closed(data):
    precision = data["x"].T @ data["x"] / 0.25 + np.eye(2) / 9.0
    return np.linalg.solve(precision, data["x"].T @ data["y"] / 0.25), precision


@pytest.fixture(scope="module")
def found(data):
    return variational(regression, data, FEW, seed=1)


def test_it_finds_the_mean_and_covariance_of_a_normal_posterior(found, closed):
    mean, precision = closed
    covariance = np.linalg.inv(precision)
    draws = found.position["coefficients"]
    assert found.family == "multivariate_normal" and found.dimension == 2 and found.converged
    errors = np.sqrt(np.diag(covariance))
    # Monte Carlo errors of 2,000 draws are 0.02 and 0.03; the search comes as near.
    np.testing.assert_allclose((draws.mean(axis=0) - mean) / errors, 0.0, atol=0.1)
    np.testing.assert_allclose(
        np.cov(draws.T) / np.outer(errors, errors), covariance / np.outer(errors, errors), atol=0.15
    )


def test_its_draws_are_as_good_as_the_posteriors(found):
    assert found.weights.pareto_k < 0.5
    assert found.weights.effective > 0.95 * 2000


def test_its_bound_is_the_evidence_where_the_posterior_is_normal(data, found):
    x, y = data["x"], data["y"]
    covariance = 9.0 * x @ x.T + 0.25 * np.eye(20)
    evidence = -0.5 * (
        y @ np.linalg.solve(covariance, y) + np.linalg.slogdet(2.0 * np.pi * covariance)[1]
    )
    bound = np.mean(found.log_target - found.log_proposal)
    assert bound == pytest.approx(evidence, abs=0.01)
    assert bound < evidence + 1e-6 or found.weights.effective > 1990


@pytest.mark.slow
def test_without_covariances_it_finds_the_variances_given_the_others(data, closed):
    """Of a normal posterior the nearest diagonal one has the inverses of its precisions."""
    settings = FEW.model_copy(update={"guide": "diagonal"})
    found = variational(regression, data, settings, seed=1)
    draws = found.position["coefficients"]
    np.testing.assert_allclose(draws.var(axis=0) * np.diag(closed[1]), 1.0, atol=0.2)
    # So that it is narrower than the posterior, which its weights show.
    assert found.weights.pareto_k > 0.5


@pytest.mark.slow
def test_a_family_of_low_rank_finds_it_too(data, closed):
    settings = FEW.model_copy(update={"guide": "low_rank"})
    found = variational(regression, data, settings, seed=1)
    covariance = np.linalg.inv(closed[1])
    errors = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(
        np.cov(found.position["coefficients"].T) / np.outer(errors, errors),
        covariance / np.outer(errors, errors),
        atol=0.15,
    )


def test_a_second_run_compiles_nothing(data, found, compilations):
    before = compilations.count
    again = variational(regression, {**data, "y": data["y"] + 1.0}, FEW, seed=2)
    assert compilations.count == before
    assert again.position["coefficients"].mean() != found.position["coefficients"].mean()


def test_the_same_seed_gives_the_same_draws(data, found):
    again = variational(regression, data, FEW, seed=1)
    np.testing.assert_array_equal(again.position["coefficients"], found.position["coefficients"])


def test_a_search_that_is_cut_short_says_so(data):
    settings = FEW.model_copy(update={"steps": 200})
    found = variational(regression, data, settings, seed=1)
    assert not found.converged and found.steps == 200


@pytest.mark.slow
def test_a_posterior_with_a_heavy_tail_is_told(schools, schools_data):
    found = variational(schools, {k: jnp.asarray(v) for k, v in schools_data.items()}, FEW, seed=1)
    # How much the schools differ may be nothing: normal draws of its logarithm do not reach there.
    assert found.dimension == 10
    assert found.weights.pareto_k > 0.3
