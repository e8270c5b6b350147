"""The joint density: against a model written by hand, by parts, and its derivatives."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.infer.util import log_density

from cohorts.inference import Joint, model_of
from insilico.solve import Status

LKJ = [{"of": ["clearance", "central_volume"], "kind": "lkj", "concentration": 2.0}]


def by_hand(weights: Any, times: Any, values: Any, dose: float) -> None:
    """Theophylline's usual model, with the closed form and a multivariate normal."""
    ka = numpyro.sample("typical_absorption_rate", dist.LogNormal(np.log(1.5), 1.0))
    cl = numpyro.sample("typical_clearance", dist.LogNormal(np.log(2.8), 1.0))
    v = numpyro.sample("typical_central_volume", dist.LogNormal(np.log(32.0), 1.0))
    sds = [
        numpyro.sample(f"sd_{name}", dist.HalfNormal(0.5))
        for name in ("absorption_rate", "clearance", "central_volume")
    ]
    error = numpyro.sample("residual_sd_concentration", dist.HalfNormal(1.0))
    factor: Any = numpyro.sample(
        "cholesky_clearance_central_volume", dist.LKJCholesky(2, concentration=2.0)
    )
    with numpyro.plate("subject", len(weights)):
        log_ka: Any = numpyro.sample("log_absorption_rate", dist.Normal(jnp.log(ka), sds[0]))
        location = jnp.stack(
            [jnp.log(cl) + 0.75 * jnp.log(weights / 70.0), jnp.full(len(weights), jnp.log(v))], -1
        )
        scale = jnp.stack(sds[1:])[:, None] * factor
        both: Any = numpyro.sample("both", dist.MultivariateNormal(location, scale_tril=scale))
    rate, clearance, volume = jnp.exp(log_ka), jnp.exp(both[:, 0]), jnp.exp(both[:, 1])
    k = clearance / volume
    fall = jnp.exp(-k * times[:, None]) - jnp.exp(-rate * times[:, None])
    mean = dose * rate / (volume * (rate - k)) * fall
    numpyro.sample("measured", dist.Normal(mean, error), obs=values)


@pytest.mark.parametrize("method", ["closed_form", "tsit5"])
def test_the_density_is_that_of_a_model_written_by_hand(method, oral, weighed):
    patients = weighed()
    joint, data = Joint.of(oral(correlations=LKJ), patients, method=method)
    theta, x = joint.draw(jax.random.key(3), data)
    values = joint.constrained(theta)
    effects = dict(zip(joint.effects, x, strict=True))
    both = jnp.stack([effects["log_clearance"], effects["log_central_volume"]], -1)
    arguments = (
        data.covariates["weight"], data.table.time[1:, 0], data.value[1:], 300.0,
    )  # fmt: skip
    expected, _ = log_density(by_hand, arguments, {}, {**values, **effects, "both": both})
    jacobian = joint.log_prior(theta) - _constrained_prior(joint, theta)
    # The method of steps is as exact as its tolerances.
    assert float(joint.log_density(theta, x, data)) == pytest.approx(
        float(expected + jacobian), rel=1e-12 if method == "closed_form" else 1e-5
    )


def _constrained_prior(joint: Joint, theta: jax.Array) -> Any:
    values = joint.constrained(theta)
    return log_density(joint.population.typical_values, (joint.options,), {}, values)[0]


def test_the_numpyro_model_has_the_same_density(oral, weighed):
    joint, data = Joint.of(oral(correlations=LKJ), weighed())
    theta, x = joint.draw(jax.random.key(4), data)
    values = {**joint.constrained(theta), **dict(zip(joint.effects, x, strict=True))}
    found, sites = log_density(model_of(joint), (data,), {}, values)
    jacobian = joint.log_prior(theta) - _constrained_prior(joint, theta)
    assert float(found + jacobian) == pytest.approx(float(joint.log_density(theta, x, data)))
    np.testing.assert_allclose(
        sites["log_likelihood"]["value"],
        joint.log_likelihood(joint.predicted(theta, x, data), data),
    )
    assert sites["failed_solves"]["value"] == 0


@pytest.mark.parametrize("method", ["closed_form", "tsit5"])
def test_gradients_are_finite_differences(method, oral, weighed):
    joint, data = Joint.of(oral(correlations=LKJ), weighed(), method=method)
    theta, x = joint.draw(jax.random.key(5), data)
    density = jax.jit(lambda theta, x: joint.log_density(theta, x, data))
    gradient = jax.jit(jax.grad(lambda theta, x: joint.log_density(theta, x, data), (0, 1)))
    rng = np.random.default_rng(0)
    of_theta, of_x = gradient(theta, x)
    for _ in range(4):
        along = rng.normal(size=theta.shape), rng.normal(size=x.shape)
        step = 1e-5
        there, back = (density(theta + s * along[0], x + s * along[1]) for s in (step, -step))
        slope = float(jnp.sum(of_theta * along[0]) + jnp.sum(of_x * along[1]))
        assert float(there - back) / (2 * step) == pytest.approx(slope, rel=1e-6)


def test_chains_on_lanes_have_the_density_and_gradient_of_each_alone(oral, weighed):
    joint, data = Joint.of(oral(), weighed(), method="tsit5")
    both = jax.value_and_grad(joint.log_density, (0, 1))
    thetas, xs = jax.vmap(lambda key: joint.draw(key, data))(jax.random.split(jax.random.key(1), 3))
    values, gradients = jax.jit(jax.vmap(both, in_axes=(0, 0, None)))(thetas, xs, data)
    for chain, (theta, x) in enumerate(zip(thetas, xs, strict=True)):
        value, gradient = jax.jit(both)(theta, x, data)
        assert float(values[chain]) == pytest.approx(float(value), rel=1e-13)
        for found, alone in zip(gradients, gradient, strict=True):
            np.testing.assert_allclose(found[chain], alone, rtol=1e-9, atol=1e-9)


def test_forward_derivatives_are_those_in_reverse(oral, weighed):
    joint, data = Joint.of(oral(), weighed(), method="tsit5")
    theta, x = joint.draw(jax.random.key(5), data)
    back = jax.grad(lambda x: joint.log_density(theta, x, data))(x)
    forth = jax.jacfwd(lambda x: joint.log_density(theta, x, data, "forward"))(x)
    np.testing.assert_allclose(forth, back, rtol=1e-7, atol=1e-9)


def test_a_failed_solve_is_impossible_counted_and_without_derivative(oral, weighed):
    joint, data = Joint.of(oral(), weighed(), method="tsit5")
    theta, x = joint.draw(jax.random.key(2), data)
    x = x.at[joint.effects.index("log_absorption_rate"), 1].set(800.0)

    def likelihood(theta: Any, x: Any) -> Any:
        return joint.log_likelihood(joint.predicted(theta, x, data), data)

    found = likelihood(theta, x)
    assert np.isneginf(found[1]) and np.all(np.isfinite(found[np.array([0, 2])]))
    status = np.asarray(joint.predicted(theta, x, data).status)
    assert status[1] != Status.OK and np.sum(status != Status.OK) == 1
    gradient = jax.grad(lambda x: jnp.sum(jnp.where(jnp.isfinite(found), likelihood(theta, x), 0)))
    assert np.all(gradient(x)[:, 1] == 0.0) and np.all(np.isfinite(gradient(x)))
    values = {**joint.constrained(theta), **dict(zip(joint.effects, x, strict=True))}
    _, sites = log_density(model_of(joint), (data,), {}, values)
    assert sites["failed_solves"]["value"] == 1


def test_random_effects_can_be_centred_in_part(oral, weighed):
    joint, data = Joint.of(oral(), weighed())
    share = {"log_clearance": 0.0, "log_central_volume": np.array([0.2, 0.5, 0.9])}
    trace = handlers.trace(handlers.seed(model_of(joint, share), 0)).get_trace(data)
    sampled = {name for name, site in trace.items() if site["type"] == "sample"}
    assert {"log_clearance_decentered", "log_central_volume_decentered", "log_absorption_rate"} <= (
        sampled
    )
    with pytest.raises(ValueError, match="log_clearence.*there are log_absorption_rate"):
        model_of(joint, {"log_clearence": 0.0})


def test_other_data_of_the_same_layout_compile_nothing(oral, weighed, table):
    joint, data = Joint.of(oral(), weighed())
    theta, x = joint.draw(jax.random.key(2), data)
    density = jax.jit(joint.log_density)
    first = density(theta, x, data)
    again = joint.data(
        weighed(tuple(tuple(2.0 * v for v in row) for row in weighed().measured.value[1:].T))
    )
    assert float(density(theta, x, again)) != float(first)
    assert density._cache_size() == 1  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValueError, match="another layout"):
        joint.data(weighed(((1.0,), (2.0,), (3.0,)), (2.0,)))
