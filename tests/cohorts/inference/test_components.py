"""Mixtures of subpopulations: marginal likelihoods, modes and posteriors of each component."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from cohorts.inference import (
    Approximation,
    Joint,
    importance,
    individuals,
    marginal,
    marginal_of_draws,
    normal_approximation,
    scores,
)
from cohorts.inference.components import (
    alike,
    apart,
    chosen,
    drawn,
    log_sum,
    probabilities,
    tiled,
    worst,
)
from cohorts.inference.modes import ModeStatus

from .stand_ins import mixture, quickly

KEY = jax.random.key(8)


def test_lanes_are_all_subjects_in_the_first_component_then_in_the_second():
    values = np.array([[1.0, 2.0, 3.0]])
    lanes = tiled(values, 2)
    np.testing.assert_array_equal(lanes, [[1.0, 2.0, 3.0, 1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(apart(lanes, 2), [[[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]])
    own = chosen(np.arange(6.0)[None], np.array([0, 1, 1]))
    np.testing.assert_array_equal(own, [[0.0, 4.0, 5.0]])
    assert tiled(values, 1) is values


def test_sums_and_probabilities_are_bayes_rule_also_where_nothing_is_possible():
    with np.errstate(divide="ignore"):
        each = np.log(np.array([[0.2, 0.5, 0.0, 0.0], [0.6, 0.5, 0.3, 0.0]]))
    for values in (each, jnp.asarray(each)):
        np.testing.assert_allclose(log_sum(values)[:3], np.log([0.8, 1.0, 0.3]), atol=1e-15)
        assert np.isneginf(log_sum(values)[3])
        expected = [[0.25, 0.5, 0.0, 0.5], [0.75, 0.5, 1.0, 0.5]]
        np.testing.assert_allclose(probabilities(values), expected, rtol=1e-14)
    slope = jax.grad(lambda values: jnp.sum(jnp.where(log_sum(values) > -9, log_sum(values), 0.0)))
    np.testing.assert_allclose(slope(jnp.asarray(each))[:, :2], [[0.25, 0.5], [0.75, 0.5]])
    assert np.all(np.isfinite(slope(jnp.asarray(each))))


def test_a_failure_counts_in_a_component_that_a_subject_may_well_belong_to():
    each = np.log(np.array([[0.5, 1.0], [0.5, 1e-9]]))
    np.testing.assert_array_equal(worst(np.array([0, 0, 2, 2]), each), [2, 0])
    np.testing.assert_array_equal(worst(np.array([1, 0]), None), [1, 0])


def test_components_are_drawn_by_their_probabilities():
    probability = np.array([[0.2, 1.0], [0.3, 0.0], [0.5, 0.0]])
    uniform = np.stack([np.linspace(0.0005, 0.9995, 1000)] * 2, axis=1)
    found = drawn(probability[None], uniform)
    shares = [[np.mean(found[:, s] == c) for s in range(2)] for c in range(3)]
    np.testing.assert_allclose(shares, probability, atol=1e-3)


@pytest.mark.parametrize("method", [pytest.param("laplace", marks=pytest.mark.slow), "focei"])
def test_the_marginal_likelihood_and_its_gradient_are_those_of_the_closed_form(method):
    joint, theta, data = mixture()
    found, gradient = quickly(lambda theta: scores(joint, theta, data, method=method))(theta)
    np.testing.assert_allclose(found.of_components, joint.of_components(theta, data), rtol=1e-10)
    np.testing.assert_allclose(found.value, joint.log_marginal(theta, data), rtol=1e-10)
    assert np.all(np.asarray(found.modes.status) == ModeStatus.FOUND)
    for parameter, step in enumerate(1e-4 * np.eye(len(theta))):
        there, back = (joint.log_marginal(theta + s * step, data) for s in (1, -1))
        expected = (there - back) / 2e-4
        # The closed form's differences are good to about the square of the step.
        np.testing.assert_allclose(gradient[parameter], expected, rtol=1e-6, atol=1e-7)


def test_components_that_are_the_same_are_seen_to_be():
    joint, theta, data = mixture()
    assert not alike(joint.of_components(theta, data))
    same = np.where(np.arange(len(theta)) == 5, 0.0, theta)
    assert alike(joint.of_components(same, data))


@pytest.mark.slow
def test_importance_sampling_sums_over_components():
    joint, theta, data = mixture()
    found = importance(joint, theta, data, key=KEY, draws=2000)
    away = found.log_marginal - joint.log_marginal(theta, data)
    assert np.all(np.abs(away) < 4.0 * found.standard_error)
    assert np.all(found.standard_error < 0.05) and np.all(found.pareto_k < 0.7)
    np.testing.assert_allclose(
        softmax(found.of_components, axis=0),
        softmax(joint.of_components(theta, data), axis=0),
        atol=0.02,
    )
    # Proposals of both in turn: the weights of each add up to its probability.
    weights = np.exp(found.log_weights).reshape(2000, 2, joint.subjects).sum(axis=0)
    np.testing.assert_allclose(weights, probabilities(found.of_components), atol=0.01)


def moments(joint: Any, theta: np.ndarray, data: Any, subject: int) -> tuple[Any, Any, Any]:
    """Probabilities of the components, and mean and covariance of the effects in each."""
    seen = data.measured[:, subject]
    design, value = data.at[seen, :, subject], data.value[seen, subject]
    prior, noise = np.diag(np.exp(-2.0 * theta[2:4])), np.exp(-2.0 * theta[4])
    covariance = np.linalg.inv(prior + noise * design.T @ design)
    means = [
        covariance @ (prior @ [theta[0] + moved, theta[1]] + noise * design.T @ value)
        for moved in (0.0, theta[5])
    ]
    share = softmax(joint.of_components(theta, data)[:, subject])
    return share, np.array(means), covariance


@pytest.mark.parametrize("kind", ["laplace", pytest.param("full", marks=pytest.mark.slow)])
def test_posteriors_of_individuals_are_mixtures_of_the_components(kind):
    # Components that lie near each other, so that subjects may belong to both.
    joint, theta, data = mixture(apart=1.0)
    found = individuals(joint, theta, data, kind, key=KEY, draws=2000, proposals=4000)
    assert found.mean is not None and found.covariance is not None and found.draws is not None
    assert found.probability is not None and found.component_of_draws is not None
    exactly = kind == "laplace"
    for subject in range(joint.subjects):
        share, means, within = moments(joint, theta, data, subject)
        # By importance sampling to some standard errors of 4,000 weighted proposals.
        # What is found at rough modes is as near as these.
        atol = 1e-6 if exactly else 0.05
        np.testing.assert_allclose(found.probability[:, subject], share, atol=atol)
        assert found.component[subject] == np.argmax(share)
        np.testing.assert_allclose(found.x[:, subject], means[np.argmax(share)], atol=1e-6)
        mean = share @ means
        away = means - mean
        covariance = within + np.einsum("c,ck,cl->kl", share, away, away)
        sd = np.sqrt(np.diag(covariance))
        np.testing.assert_allclose((found.mean[:, subject] - mean) / sd, 0.0, atol=2 * atol)
        scale = np.outer(sd, sd)
        np.testing.assert_allclose(
            found.covariance[..., subject] / scale, covariance / scale, atol=3 * atol
        )
        # 2,000 draws, to four standard errors.
        of_draws = found.draws[..., subject]
        np.testing.assert_allclose((of_draws.mean(axis=0) - mean) / sd, 0.0, atol=0.09)
        np.testing.assert_allclose(np.cov(of_draws.T) / scale, covariance / scale, atol=0.14)
        second = found.component_of_draws[:, subject] == 1
        assert np.mean(second) == pytest.approx(share[1], abs=0.05)


SUBJECTS = 60
PLAIN = Approximation(draws=400, importance_samples=50)


@pytest.fixture(scope="module")
def fitted() -> Any:
    """A mixture searched from where its components are the same, and from elsewhere."""
    joint, theta, data = mixture(SUBJECTS, apart=2.5)
    same = np.where(np.arange(len(theta)) == 5, 0.0, theta)
    starts = np.stack([same, theta + 0.2, np.where(np.arange(len(theta)) == 5, -1.0, theta)])
    return joint, theta, data, normal_approximation(joint, data, starts, PLAIN, seed=3)


@pytest.mark.slow
def test_the_search_does_not_set_out_where_components_are_the_same(fitted):
    joint, theta, data, found = fitted

    def loss(theta: np.ndarray) -> float:
        log_posterior = np.sum(joint.log_marginal(theta, data)) - 0.5 * np.sum((theta - 0.1) ** 2)
        return -float(log_posterior)

    best = minimize(loss, theta, method="BFGS", options={"gtol": 1e-6})
    assert found.converged and found.indefinite is None and len(found.searches) == 2
    np.testing.assert_allclose(found.maximum.theta, best.x, atol=2e-3)
    assert np.max(found.searches) == found.objective[-1] == pytest.approx(-best.fun, abs=1e-4)
    step = 1e-3 * np.eye(len(theta))
    curvature = [
        [
            loss(best.x + a + b)
            - loss(best.x + a - b)
            - loss(best.x - a + b)
            + loss(best.x - a - b)
            for b in step
        ]
        for a in step
    ]
    expected = np.linalg.inv(np.array(curvature) / 4e-6)
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    np.testing.assert_allclose(found.covariance / scale, expected / scale, atol=5e-3)


@pytest.mark.slow
def test_draws_of_effects_belong_to_components_by_their_probabilities(fitted):
    joint, _, data, found = fitted
    assert found.weights.pareto_k < 0.7 and np.all(found.failed == 0)
    exact = np.sum(joint.log_marginal(found.maximum.theta, data))
    assert abs(found.log_likelihood - exact) < 4.0 * found.standard_error
    for subject in range(0, SUBJECTS, 7):
        # Each draw of the population has its own mixture; standardised by it, all are alike.
        standard = []
        for theta, x in zip(found.theta, found.x[:, :, subject], strict=True):
            share, means, within = moments(joint, theta, data, subject)
            mean = share @ means
            spread = within + np.einsum("c,ck,cl->kl", share, means - mean, means - mean)
            standard.append((x - mean) / np.sqrt(np.diag(spread)))
        # 400 draws, to four standard errors; of squares, whose tails may be heavier, to six.
        np.testing.assert_allclose(np.mean(standard, axis=0), 0.0, atol=0.2)
        np.testing.assert_allclose(np.mean(np.square(standard), axis=0), 1.0, atol=0.45)


@pytest.mark.slow
def test_subjects_are_left_out_of_the_sum_over_components(fitted):
    joint, _, data, found = fitted
    value = marginal_of_draws(joint, found.theta[:5], data)
    expected = [joint.log_marginal(theta, data) for theta in found.theta[:5]]
    np.testing.assert_allclose(value, expected, rtol=1e-8)


SPEED = {
    "kind": "categorical",
    "reference": "fast",
    "factors": {"slow": {"kind": "log_normal", "median": 0.3, "sd": 0.5}},
}
SHARES = {"speed": {"kind": "dirichlet", "concentrations": {"fast": 3, "slow": 1}}}
KNOWN = {
    "absorption_rate": {"typical": "1.5 1/h", "between_subject": None},
    "central_volume": {"typical": "32 L", "between_subject": None},
}


@pytest.fixture(scope="module")
def of_config(oral, weighed) -> Any:
    """One compartment in which clearance varies and is another in the second component, and the
    same without a mixture."""
    clearance = {"clearance": {"covariates": {"speed": SPEED}}}
    joint, data = Joint.of(
        oral(changed={**KNOWN, **clearance}, vocabulary={}, mixtures=SHARES), weighed()
    )
    plain = Joint.of(
        oral(changed={**KNOWN, "clearance": {"covariates": {}}}, vocabulary={}), weighed()
    )
    theta, _ = joint.draw(jax.random.key(3), data)
    return joint, plain, np.asarray(theta), data


FACTOR = "speed_slow_on_clearance"


def test_lanes_have_the_effects_density_of_their_component_with_its_share(of_config):
    joint, _, theta, data = of_config
    theta = jnp.asarray(theta)
    values = {name: np.asarray(of) for name, of in joint.constrained(theta, data).items()}
    lanes, own = joint.by_component(data)
    assert (lanes.subjects, joint.mixtures) == (6, ("speed",))
    np.testing.assert_array_equal(own.belonging["speed"], [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(own.value, np.tile(data.value, 2))
    x = np.linspace(0.0, 2.0, 6)[None]
    centre = np.log(values["typical_clearance"] * np.repeat([1.0, float(values[FACTOR])], 3))
    expected = stats.norm.logpdf(x[0], centre, values["sd_clearance"])
    expected += np.repeat(np.log(values["shares_speed"]), 3)
    np.testing.assert_allclose(lanes.log_effects(theta, jnp.asarray(x), own), expected, rtol=1e-10)


def test_every_combination_of_two_mixtures_is_a_component(oral, weighed):
    wide = {"kind": "categorical", "reference": "lean", "factors": {"wide": 2.0}}
    changed = {
        **KNOWN,
        "clearance": {"covariates": {"speed": SPEED}},
        "central_volume": {**KNOWN["central_volume"], "covariates": {"size": wide}},
    }
    sizes = {"kind": "known", "shares": {"lean": 0.5, "wide": 0.5}}
    joint, data = Joint.of(
        oral(changed=changed, vocabulary={}, mixtures={**SHARES, "size": sizes}), weighed()
    )
    assert joint.components == 4 and joint.mixtures == ("speed", "size")
    found = joint.by_category(np.array([[0.1], [0.2], [0.3], [0.4]]))
    np.testing.assert_allclose(found["speed"], [[0.3], [0.7]])
    np.testing.assert_allclose(found["size"], [[0.4], [0.6]])
    theta, x = joint.draw(KEY, data)
    # Each subject in a component of its own, of which the second and the last are wide.
    own = joint.parameters(theta, x, data, np.array([0, 1, 3]))
    np.testing.assert_allclose(own.central_volume, [32.0, 64.0, 64.0])


@pytest.fixture(scope="module")
def scored(of_config) -> Any:
    joint, _, _, data = of_config
    return quickly(lambda theta: scores(joint, theta, data, method="laplace"))


@pytest.mark.slow
def test_each_component_of_a_config_is_a_population_of_its_own(of_config, scored):
    joint, (plain, own_data), theta, data = of_config
    found, _ = scored(theta)
    values = {name: np.asarray(of) for name, of in joint.constrained(theta, data).items()}
    alone = quickly(lambda theta: marginal(plain, theta, own_data, method="laplace").value)
    typicals = values["typical_clearance"] * np.array([1.0, values[FACTOR]])
    each = []
    for share, typical in zip(values["shares_speed"], typicals, strict=True):
        own = plain.unconstrained({**values, "typical_clearance": typical}, own_data)
        each.append(np.log(share) + alone(own))
    np.testing.assert_allclose(found.of_components, np.stack(each), rtol=1e-9)
    np.testing.assert_allclose(found.value, np.asarray(logsumexp(each, axis=0)), rtol=1e-9)


@pytest.mark.slow
def test_its_scores_are_finite_differences_of_shares_and_factors_too(of_config, scored):
    _, _, theta, _ = of_config
    gradient = scored(theta)[1]
    for parameter, step in enumerate(1e-3 * np.eye(len(theta))):
        # Of fourth order, so that the step may be long enough for rounding.
        near, far = (
            scored(theta + k * step)[0].value - scored(theta - k * step)[0].value for k in (1, 2)
        )
        slope = (8.0 * near - far) / 12e-3
        np.testing.assert_allclose(gradient[parameter], slope, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_sampled_components_are_those_of_quadrature(of_config):
    """Bayes' rule with the integrals over clearance on a fine grid, the concentration by hand."""
    joint, _, _, data = of_config
    # In between the components, so that no subject clearly belongs to one of them.
    values = {
        "typical_clearance": 4.0,
        FACTOR: 0.5,
        "sd_clearance": 0.4,
        "residual_sd_concentration": 1.2,
        "shares_speed": np.array([0.6, 0.4]),
    }
    theta = joint.unconstrained(values, data)
    found = importance(joint, theta, data, key=KEY, draws=4000)
    normal = individuals(joint, theta, data, "laplace", key=KEY, draws=1)
    # The first record is the dose.
    times, rate, volume = np.asarray(data.table.time)[1:, 0], 1.5, 32.0
    for subject, measured in enumerate(np.asarray(data.value)[1:].T):
        each = []
        for share, factor in ((0.6, 1.0), (0.4, 0.5)):
            standard = np.linspace(-8.0, 8.0, 4001)
            clearance = 4.0 * factor * np.exp(0.4 * standard)
            out = clearance[:, None] / volume
            decayed = np.exp(-out * times) - np.exp(-rate * times)
            true = 300.0 / volume * rate / (rate - out) * decayed
            density = np.sum(stats.norm.logpdf(measured, true, 1.2), axis=1)
            density += stats.norm.logpdf(standard)
            each.append(np.log(share) + logsumexp(density) + np.log(standard[1] - standard[0]))
        error = found.standard_error[subject]
        assert abs(found.log_marginal[subject] - logsumexp(each)) < 4.0 * error < 0.1
        probability = softmax(each)
        ours = probabilities(found.of_components)[:, subject]
        np.testing.assert_allclose(ours, probability, atol=4.0 * error)
        # The expansion is not exact, but for one effect with six values it is nearly.
        assert normal.probability is not None
        np.testing.assert_allclose(normal.probability[:, subject], probability, atol=0.02)
