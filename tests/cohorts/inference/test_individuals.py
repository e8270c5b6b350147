"""The posterior of each subject's effects, against closed forms and against each other."""

import jax
import numpy as np
import pytest

from cohorts.inference import individuals

from .stand_ins import decay, linear

KEY = jax.random.key(6)


def closed_form(theta: np.ndarray, data, subject: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of a subject's effects in a linear model."""
    seen = data.measured[:, subject]
    design = data.at[seen, :, subject]
    prior = np.diag(np.exp(-2.0 * theta[2:4]))
    noise = np.exp(-2.0 * theta[4])
    covariance = np.linalg.inv(prior + noise * design.T @ design)
    pull = prior @ theta[:2] + noise * design.T @ data.value[seen, subject]
    return covariance @ pull, covariance


@pytest.mark.parametrize("kind", [pytest.param("laplace", marks=pytest.mark.slow), "full"])
def test_posteriors_of_linear_models_are_those_of_the_closed_form(kind):
    joint, theta, data = linear()
    found = individuals(joint, theta, data, kind, key=KEY, draws=1000, proposals=4000)
    exactly = kind == "laplace"
    assert found.mean is not None and found.covariance is not None and found.draws is not None
    for subject in range(joint.subjects):
        mean, covariance = closed_form(theta, data, subject)
        sd = np.sqrt(np.diag(covariance))
        np.testing.assert_allclose(found.x[:, subject], mean, atol=1e-6)
        away = (found.mean[:, subject] - mean) / sd
        # Of 4,000 weighted proposals the mean is off by some 0.02 standard deviations.
        assert np.all(np.abs(away) < (1e-6 if exactly else 0.08))
        relative = found.covariance[..., subject] / np.outer(sd, sd)
        expected = covariance / np.outer(sd, sd)
        np.testing.assert_allclose(relative, expected, atol=1e-10 if exactly else 0.12)
        drawn = (found.draws[..., subject] - mean) / sd
        # 1,000 draws, to four standard errors.
        np.testing.assert_allclose(drawn.mean(axis=0), 0.0, atol=0.13)
        np.testing.assert_allclose(np.cov(drawn.T), expected, atol=0.2)
    assert (found.pareto_k is None) == exactly


@pytest.mark.slow
def test_modes_alone_are_those_of_the_normal_approximation():
    joint, theta, data = decay(70)
    modes = individuals(joint, theta, data, "map", key=KEY)
    normal = individuals(joint, theta, data, key=KEY, draws=5)
    np.testing.assert_array_equal(modes.x, normal.x)
    assert modes.draws is None and modes.covariance is None
    assert normal.draws is not None and normal.draws.shape == (5, 2, 70)


@pytest.mark.slow
def test_it_is_averaged_over_draws_of_the_population():
    joint, theta, data = linear()
    thetas = np.stack([theta, theta + 0.4])
    found = individuals(joint, thetas, data, key=KEY, draws=7)
    moments = [closed_form(each, data, 0) for each in thetas]
    means = np.stack([mean for mean, _ in moments])
    between = np.cov(means.T, ddof=0)
    assert found.mean is not None and found.covariance is not None and found.draws is not None
    np.testing.assert_allclose(found.mean[:, 0], means.mean(axis=0), atol=1e-6)
    within = np.mean([covariance for _, covariance in moments], axis=0)
    np.testing.assert_allclose(found.covariance[..., 0], within + between, atol=1e-6)
    assert found.draws.shape == (14, 2, joint.subjects)
