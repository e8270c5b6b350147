"""Individual modes: each subject's own maximum, whoever is solved beside it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from cohorts.inference import Search, individual_modes, linearised
from cohorts.inference.expansions import expand_exactly, expand_expected, log_density
from cohorts.inference.modes import SEARCH, Modes, ModeStatus
from cohorts.inference.subject_blocks import for_block, in_blocks

from .stand_ins import decay, linear, quickly


def modes_of(joint: Any, theta: Any, data: Any, search: Search = SEARCH) -> Modes:
    return quickly(lambda theta, data: individual_modes(joint, theta, data, search=search))(
        theta, data
    )


def test_modes_are_those_that_scipy_finds_for_each_subject_alone():
    joint, theta, data = decay()
    modes = modes_of(joint, theta, data)
    assert np.all(np.asarray(modes.status) == ModeStatus.FOUND)
    density = quickly(lambda x: log_density(joint, jnp.asarray(theta), x, data))
    for subject in range(joint.subjects):

        def loss(own: np.ndarray, subject: int = subject) -> float:
            x = np.array(modes.x)
            x[:, subject] = own
            return -float(density(x)[subject])

        found = minimize(loss, theta[:2], method="Nelder-Mead", options={"xatol": 1e-8})
        np.testing.assert_allclose(modes.x[:, subject], found.x, atol=1e-5)
        assert float(modes.log_density[subject]) >= -found.fun - 1e-10


def test_the_gradient_is_zero_at_a_mode():
    joint, theta, data = decay(40)
    modes = modes_of(joint, theta, data)
    here = quickly(lambda x: expand_exactly(joint, jnp.asarray(theta), x, data))(modes.x)
    np.testing.assert_allclose(here.gradient, 0.0, atol=1e-6)
    np.testing.assert_allclose(here.value, modes.log_density, rtol=1e-12)


@pytest.mark.optimised
def test_a_subject_among_many_is_as_alone():
    joint, theta, data = decay(100)
    block = for_block(joint)

    def of_block(theta: Any, data: Any) -> tuple[Any, Any]:
        found = individual_modes(block, theta, data)
        return found.x, found.iterations

    run = in_blocks(of_block)
    x, iterations = run(theta, data)
    for subject in (0, 63, 99):
        own = jax.tree.map(lambda leaf, s=subject: leaf[..., s : s + 1], data)
        alone, its = run(theta, own)
        np.testing.assert_array_equal(alone[:, 0], x[:, subject])
        assert its[0] == iterations[subject]


@pytest.mark.slow
def test_impossible_starts_are_left_and_impossible_subjects_are_told():
    # Without a solution above 0.9: the centre, at 1, is no place to set out from.
    joint, theta, data = decay(highest=0.9)
    modes = modes_of(joint, theta, data, Search(starts=8))
    status = np.asarray(modes.status)
    assert np.all(status != ModeStatus.NO_START)
    assert np.all(np.isfinite(modes.x)) and np.all(np.isfinite(modes.log_density))
    # Some subjects have their mode below; others would come to rest above.
    free = modes_of(decay()[0], theta, data)
    below = np.asarray(free.x[0]) < 0.85
    assert np.any(below) and np.all(status[below] == ModeStatus.FOUND)
    np.testing.assert_allclose(modes.x[:, below], free.x[:, below], atol=1e-6)
    impossible = modes_of(decay(highest=-np.inf)[0], theta, data)
    assert np.all(np.asarray(impossible.status) == ModeStatus.NO_START)
    assert np.all(np.isfinite(impossible.x)) and np.all(np.isneginf(impossible.log_density))


def test_too_few_iterations_are_told():
    modes = modes_of(*decay(), Search(iterations=2, starts=1))
    assert np.all(np.asarray(modes.status) == ModeStatus.NOT_CONVERGED)
    assert np.all(np.asarray(modes.iterations) == 2)


def test_modes_far_from_the_data_are_found():
    """Measurements far from any prediction, about which Gauss and Newton's steps alone swing."""
    joint, theta, data = decay(64)
    rng = np.random.default_rng(3)
    data = data._replace(value=data.value + rng.normal(size=data.value.shape))
    modes = modes_of(joint, theta, data, Search(starts=1))
    assert np.all(np.asarray(modes.status) == ModeStatus.FOUND)


@pytest.mark.parametrize("make", [pytest.param(linear, marks=pytest.mark.slow), decay])
def test_the_expected_information_is_the_mean_of_the_exact_one(make):
    """Over measurements that the model itself predicts: by simulation, to four standard errors."""
    joint, theta, data = make(1)
    theta = jnp.asarray(theta)
    x = theta[:2, None]
    expected = quickly(lambda x: expand_expected(joint, theta, x, data))(x)
    predicted = joint.predicted(theta, x, data, "forward")
    noise = jax.random.normal(jax.random.key(0), (4000, *predicted.mean.shape))

    def exact(noise: Any) -> Any:
        measured = data._replace(value=predicted.mean + predicted.sd * noise)
        return expand_exactly(joint, theta, x, measured).information[..., 0]

    sampled = quickly(jax.vmap(exact))(noise)
    error = jnp.std(sampled, axis=0) / np.sqrt(len(sampled)) + 1e-9
    assert np.all(np.abs(jnp.mean(sampled, axis=0) - expected.information[..., 0]) < 4.0 * error)
    both = quickly(lambda x: expand_exactly(joint, theta, x, data))(x)
    np.testing.assert_allclose(expected.gradient, both.gradient, rtol=1e-12)


def test_linearised_predictions_of_a_linear_model_are_its_own():
    joint, theta, data = linear()
    x = np.random.default_rng(0).normal(size=(2, joint.subjects))
    found = linearised(joint, jnp.asarray(theta), jnp.asarray(x), data)
    np.testing.assert_allclose(found.slopes, np.moveaxis(data.at, 1, 0), rtol=1e-12)
    np.testing.assert_allclose(found.mean, np.einsum("rks,ks->rs", data.at, x), rtol=1e-12)
    np.testing.assert_allclose(found.sd, np.exp(theta[4]))
    np.testing.assert_allclose(found.eta, x - theta[:2, None], rtol=1e-10)
    expected = np.diag(np.exp(2.0 * theta[2:4]))[..., None]
    np.testing.assert_allclose(found.covariance, np.broadcast_to(expected, (2, 2, 4)), atol=1e-12)
