"""The joint density: against a model written by hand, by parts, and its derivatives."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.infer.util import log_density

from cohorts.inference import Data, Joint, model_of
from insilico.devices import QUICKLY
from insilico.solve import Status

pytestmark = pytest.mark.optimised

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


class Compiled(NamedTuple):
    """A joint density with its gradient and parts, by one compiled program."""

    joint: Joint
    data: Data
    evaluate: Callable[..., Any]
    """((log density, (log likelihood, status) of each subject), (by theta, by x))."""

    draw: Callable[..., Any]

    def at(self, seed: int) -> tuple[Any, Any]:
        """A draw of `theta` and `x` from the prior."""
        return self.draw(jax.random.key(seed), self.data)


@pytest.fixture(
    scope="module", params=[pytest.param("closed_form", marks=pytest.mark.slow), "tsit5"]
)
def compiled(request: Any, oral: Any, weighed: Any, quickly: Any) -> Compiled:
    joint, data = Joint.of(oral(correlations=LKJ), weighed(), method=request.param)

    def density(theta: Any, x: Any, data: Data) -> Any:
        predicted = joint.predicted(theta, x, data)
        likelihood = joint.log_likelihood(predicted, data)
        effects = joint.log_effects(theta, x, data)
        together = joint.log_prior(theta, data) + jnp.sum(effects + likelihood)
        return together, (likelihood, predicted.status)

    evaluate = quickly(jax.value_and_grad(density, (0, 1), True))
    return Compiled(joint, data, evaluate, quickly(joint.draw))


def sites_of(joint: Joint, theta: Any, x: Any, data: Data) -> dict[str, Any]:
    return {**joint.constrained(theta, data), **dict(zip(joint.effects, x, strict=True))}


def log_jacobian(joint: Joint, theta: Any, data: Data) -> float:
    """Of the transform of the population's parameters."""
    model = joint.population.typical_values

    def difference(theta: Any) -> Any:
        values = joint.constrained(theta, data)
        arguments = joint.options, data.hyperparameters
        return joint.log_prior(theta, data) - log_density(model, arguments, {}, values)[0]

    return float(jax.jit(difference, compiler_options=QUICKLY)(theta))


def test_the_density_is_that_of_a_model_written_by_hand(compiled, quickly):
    joint, data, evaluate, _ = compiled
    theta, x = compiled.at(3)
    effects = dict(zip(joint.effects, x, strict=True))
    both = jnp.stack([effects["log_clearance"], effects["log_central_volume"]], -1)
    arguments = data.covariates["weight"], data.table.time[1:, 0], data.value[1:], 300.0
    values = {**sites_of(joint, theta, x, data), "both": both}
    expected = quickly(lambda values: log_density(by_hand, arguments, {}, values)[0])(values)
    (found, _), _ = evaluate(theta, x, data)
    # The method of steps is as exact as its tolerances.
    tolerance = 1e-12 if joint.method == "closed_form" else 1e-5
    assert float(found) == pytest.approx(
        float(expected) + log_jacobian(joint, theta, data), rel=tolerance
    )


def test_the_numpyro_model_has_the_same_density(compiled, quickly):
    joint, data, evaluate, _ = compiled
    theta, x = compiled.at(4)

    def by_numpyro(data: Data, values: Any) -> Any:
        found, sites = log_density(model_of(joint), (data,), {}, values)
        return found, sites["measured"]["fn"].log_factor, sites["failed_solves"]["value"]

    found, of_subjects, failed = quickly(by_numpyro)(data, sites_of(joint, theta, x, data))
    (expected, (likelihood, _)), _ = evaluate(theta, x, data)
    assert float(found) + log_jacobian(joint, theta, data) == pytest.approx(
        float(expected), rel=1e-12
    )
    np.testing.assert_allclose(of_subjects, likelihood, rtol=1e-12)
    assert failed == 0


def test_gradients_are_finite_differences(compiled):
    theta, x = compiled.at(5)
    _, (of_theta, of_x) = compiled.evaluate(theta, x, compiled.data)
    rng = np.random.default_rng(0)
    for _ in range(4):
        along = rng.normal(size=theta.shape), rng.normal(size=x.shape)
        there, back = (
            compiled.evaluate(theta + step * along[0], x + step * along[1], compiled.data)[0][0]
            for step in (1e-5, -1e-5)
        )
        slope = float(jnp.sum(of_theta * along[0]) + jnp.sum(of_x * along[1]))
        # Steps of a solve differ from one point to the next by its tolerances.
        tolerance = 1e-7 if compiled.joint.method == "closed_form" else 1e-5
        assert float(there - back) / 2e-5 == pytest.approx(slope, rel=tolerance)


@pytest.mark.parametrize("compiled", ["tsit5"], indirect=True)
def test_a_failed_solve_is_impossible_counted_and_without_derivative(compiled):
    theta, x = compiled.at(2)
    x = x.at[compiled.joint.effects.index("log_absorption_rate"), 1].set(800.0)
    (found, (likelihood, status)), (_, of_x) = compiled.evaluate(theta, x, compiled.data)
    assert np.isneginf(found) and np.isneginf(likelihood[1])
    assert np.all(np.isfinite(likelihood[np.array([0, 2])]))
    assert list(np.asarray(status) == Status.OK) == [True, False, True]
    of_effects = jax.grad(lambda x: jnp.sum(compiled.joint.log_effects(theta, x, compiled.data)))(x)
    np.testing.assert_array_equal(of_x[:, 1], of_effects[:, 1])


def test_other_data_of_the_same_layout_compile_nothing(compiled, weighed, compilations):
    joint, data, evaluate, _ = compiled
    theta, x = compiled.at(2)
    (first, _), _ = evaluate(theta, x, data)
    others = joint.data(weighed(2.0 * np.asarray(data.value[1:].T)))
    before = compilations.count
    (second, _), _ = evaluate(theta, x, others)
    assert compilations.count == before and first != second
    with pytest.raises(ValueError, match="another layout"):
        joint.data(weighed(((1.0,), (2.0,), (3.0,)), (2.0,)))


@pytest.mark.parametrize("compiled", ["tsit5"], indirect=True)
@pytest.mark.slow
def test_chains_on_lanes_have_the_density_and_gradient_of_each_alone(compiled, quickly):
    joint, data, evaluate, _ = compiled
    points = [compiled.at(seed) for seed in range(3)]
    thetas, xs = (jnp.stack(each) for each in zip(*points, strict=True))
    together = quickly(
        jax.vmap(jax.value_and_grad(joint.log_density, (0, 1)), in_axes=(0, 0, None))
    )
    values, gradients = together(thetas, xs, data)
    for chain, (theta, x) in enumerate(points):
        (value, _), gradient = evaluate(theta, x, data)
        assert float(values[chain]) == pytest.approx(float(value), rel=1e-13)
        for found, alone in zip(gradients, gradient, strict=True):
            np.testing.assert_allclose(found[chain], alone, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_forward_derivatives_are_those_in_reverse(compiled, quickly):
    joint, data, evaluate, _ = compiled
    theta, x = compiled.at(5)
    _, (_, back) = evaluate(theta, x, data)
    forth = quickly(jax.jacfwd(lambda x, data: joint.log_density(theta, x, data, "forward")))(
        x, data
    )
    np.testing.assert_allclose(forth, back, rtol=1e-7, atol=1e-9)


def test_a_density_that_is_first_met_in_a_compiled_program_serves_others(oral, weighed):
    uniform = {"kind": "uniform", "low": "1 L/h", "high": "5 L/h"}
    joint, data = Joint.of(oral(changed={"clearance": {"typical": uniform}}), weighed())
    at = jnp.full(7, 0.3)
    first = jax.jit(joint.log_prior)(at, data)
    assert len(joint.names) == 7
    second = jax.jit(lambda *given: joint.log_prior(*given) + 1.0)(at, data)
    assert float(second) == float(first) + 1.0


@pytest.mark.slow
def test_random_effects_can_be_centred_in_part(oral, weighed):
    joint, data = Joint.of(oral(), weighed())
    share = {"log_clearance": 0.0, "log_central_volume": np.array([0.2, 0.5, 0.9])}
    trace = handlers.trace(handlers.seed(model_of(joint), 0)).get_trace(data, share)
    sampled = {name for name, site in trace.items() if site["type"] == "sample"}
    assert sampled >= {
        "log_clearance_decentered",
        "log_central_volume_decentered",
        "log_absorption_rate",
    }
    with pytest.raises(ValueError, match="log_clearence.*there are log_absorption_rate"):
        model_of(joint)(data, {"log_clearence": 0.0})


def test_parameters_are_those_that_the_effects_stand_for(oral, weighed):
    joint, data = Joint.of(oral(), weighed())
    theta, x = joint.draw(jax.random.key(6), data)
    found = joint.parameters(theta, x, data)
    for name, effect in zip(joint.effects, x, strict=True):
        np.testing.assert_allclose(getattr(found, name.removeprefix("log_")), jnp.exp(effect))
