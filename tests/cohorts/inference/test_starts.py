"""Starts lie about the posterior, apart from each other, whatever the prior and its scale."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
from numpyro import distributions as dist
from numpyro.distributions import constraints

from cohorts.inference import ModelError
from cohorts.inference.density import Density
from cohorts.inference.starts import _descend, _on_the_edge, _Value, find


def starts(model: Any, data: Any, chains: int = 4) -> Any:
    data = jax.tree.map(jnp.asarray, data)
    return find(Density.of(model, data), data, chains, jax.random.key(1))


def flat(support: Any, *shape: int) -> Any:
    return dist.ImproperUniform(support, (), shape)


def regression(y: Any, x: Any) -> None:
    """Flat priors, and coefficients that are correlated and of unlike scales."""
    beta: Any = numpyro.sample("beta", flat(constraints.real_vector, 2))
    sigma = numpyro.sample("sigma", flat(constraints.positive))
    numpyro.sample("y", dist.Normal(beta[0] + beta[1] * x, sigma), obs=y)


def test_starts_are_about_the_posterior_and_wider_than_it():
    rng = np.random.default_rng(1)
    x = rng.normal(100.0, 15.0, 400)
    y = 25.0 + 0.6 * x + 18.0 * rng.normal(size=400)
    design = np.column_stack([np.ones(400), x])
    mode = np.linalg.lstsq(design, y)[0]
    precision = design.T @ design / 18.0**2
    found = starts(regression, {"y": y, "x": x}, chains=64)
    away = np.asarray(found.position["beta"]) - mode
    distances = np.einsum("ci,ij,cj->c", away, precision, away)
    # Draws of the posterior would have 2 in the mean; none is out of its reach.
    assert distances.mean() > 2.0 and distances.max() < 100.0
    assert found.gradients < 64 * 4 * 100


@pytest.mark.slow
def test_regions_without_density_are_left():
    def narrow(y: Any) -> None:
        x = numpyro.sample("x", dist.Normal(0, 10))
        numpyro.factor("inside", jnp.where(jnp.abs(x - 1.0) > 1.5, -jnp.inf, -((x - y) ** 2)))

    found = starts(narrow, {"y": 1.0})
    assert np.all(np.isfinite(found.potential))
    assert np.all(np.abs(np.asarray(found.position["x"]) - 1.0) <= 1.5)


@pytest.mark.slow
def test_starts_do_not_fall_into_the_funnel(schools: Any, schools_data: Any):
    def centred(y: Any, sigma: Any) -> None:
        mu = numpyro.sample("mu", dist.Normal(0, 5))
        tau = numpyro.sample("tau", dist.HalfCauchy(5))
        with numpyro.plate("school", y.shape[0]):
            theta = numpyro.sample("theta", dist.Normal(mu, tau))
            numpyro.sample("y", dist.Normal(theta, sigma), obs=y)

    found = starts(centred, schools_data, chains=16)
    # The density is unbounded where tau is 0.
    assert np.median(found.position["tau"]) > np.log(0.05)


def test_no_start_is_told_with_the_parameters():
    def impossible(y: Any) -> None:
        clearance: Any = numpyro.sample("clearance", dist.LogNormal(0, 1))
        numpyro.factor("likelihood", jnp.where(clearance > 0, -jnp.inf, y))

    with pytest.raises(ModelError, match="no point of finite density.*clearance"):
        starts(impossible, {"y": 0.0})


@pytest.mark.slow
def test_scales_that_may_vanish_are_known_however_effects_are_written(schools_data: Any):
    """Effects of a centred model, of one in between, of a standardised one."""

    def model(y: Any, sigma: Any, share: float) -> None:
        tau = numpyro.sample("tau", dist.LogNormal(0, 1))
        with numpyro.plate("school", y.shape[0]):
            numpyro.sample("theta", dist.Normal(0.0, tau**share))

    for share in (1.0, 0.3, 0.0):
        data = jax.tree.map(jnp.asarray, {**schools_data, "share": share})
        at = {"tau": jnp.asarray(-0.7), "theta": jnp.ones(8)}
        found = Density.of(model, data).log_scales(at, data)
        np.testing.assert_allclose(found, 8 * share * -0.7, rtol=1e-12)


@pytest.mark.slow
def test_modes_that_hold_next_to_nothing_are_left_out():
    """Two regions of the same shape: one within reach of the prior, one 12 lower."""

    def two(shift: Any) -> None:
        x = numpyro.sample("x", dist.Normal(0, 4).expand([2]).to_event(1))
        away = jnp.stack([jnp.sum((x - shift) ** 2), jnp.sum((x + shift) ** 2) + 6.0])
        numpyro.factor("likelihood", jax.scipy.special.logsumexp(-2.0 * away))

    found = starts(two, {"shift": jnp.array([3.0, 3.0])}, chains=8)
    assert np.all(np.asarray(found.position["x"]) > 0.0)


def test_a_path_that_is_stuck_is_as_deep_as_it_is_not_as_its_slope_promises():
    """Half of them sit in a hole with a steep slope, and no density around; the others go down."""
    hole = jnp.array([100.0, 100.0])

    def value(z: Any) -> Any:
        distance = jnp.max(jnp.abs(z - hole))
        potential = jnp.where(distance == 0.0, 60.0, jnp.where(distance < 50.0, jnp.inf, z @ z / 2))
        gradient = jnp.where(distance == 0.0, 1e4, z)
        return _Value(potential, gradient, jnp.zeros(()), jnp.zeros(2))

    others = 0.3 * np.random.default_rng(1).normal(size=(3, 2))
    points = jnp.concatenate([jnp.broadcast_to(hole, (4, 2)), jnp.asarray(others)])
    paths, *_ = jax.jit(lambda key: _descend(value, points, key))(jax.random.key(1))
    assert paths.started[:4].any() and (paths.mode[:4][paths.started[:4]] == 60.0).all()
    assert (np.asarray(_on_the_edge(paths, 3)) >= 4).all()
