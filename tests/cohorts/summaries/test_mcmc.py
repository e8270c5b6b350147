"""The posterior of a population, given summaries, where it has a closed form.

Subjects have a constant level, normal about a typical one, so that statistics are linear in the
population's parameters and the fixed random numbers of the virtual patients.
"""

import json
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from cohorts.hierarchy import HierarchySpec, population_of
from cohorts.inference import Sampling, sample
from cohorts.inference.density import Density
from cohorts.summaries import mcmc
from cohorts.summaries.arms import Arm
from cohorts.summaries.comparing import Comparison, Published
from cohorts.summaries.targets import Quantity as Of
from cohorts.summaries.targets import Target
from cohorts.summaries.virtual import VirtualCohort
from insilico.devices import QUICKLY
from insilico.model import Model, Quantity
from insilico.vocabulary import Value

N = 200
ARMS = [Arm("only", "only", (), None, True)]


class State(NamedTuple):
    level: Annotated[Value, Quantity("1", "level")]


class Parameters(NamedTuple):
    level: Annotated[Value, Quantity("1", "level")]


class Outputs(NamedTuple):
    level: Annotated[Value, Quantity("1", "level")]


MODEL = Model(
    name="level",
    title="A constant level",
    citation="none",
    State=State,
    Parameters=Parameters,
    Outputs=Outputs,
    initial=lambda p: State(p.level),
    derivative=lambda time, state, p, inputs: State(0.0 * state.level),
    outputs=lambda time, state, p: Outputs(state.level),
    propagate=lambda duration, state, p, rates: state,
    method="closed_form",
)


def target(statistic: str, value: float, error: float = np.nan, **changes) -> Target:
    of = Of("level", "value", (1.0,), None, 0.0, False, "1", "h")
    found = Target(statistic, 0, of, statistic, value, "", error, np.nan, -1)
    return found._replace(**changes)


def calibrated(targets: list[Target], sd: float | dict):
    """The comparison with these targets, what its density depends on, and the random numbers."""
    spec = {
        "level": {
            "typical": {"kind": "normal", "mean": 0, "sd": 2},
            "between_subject": {"kind": "normal", "sd": sd},
        }
    }
    described = HierarchySpec.model_validate_json(json.dumps({"population": spec}))
    population = population_of(described, MODEL, {})
    cohort, events = VirtualCohort.of(population, population.Options(), MODEL, ARMS, targets, N)
    patients = cohort.draw({}, 3, "virtual patients", ARMS)
    given = mcmc.Given(patients, events, Published.of(targets))
    z = np.asarray(patients.effects["level"])
    return Comparison(cohort, tuple(targets), smooth=True), given, z


def potentials(comparison: Comparison, given: mcmc.Given, points: dict[str, np.ndarray]):
    """Minus the log density at points, and its derivatives."""
    density = Density.of(mcmc.model_of(comparison), {"given": given})
    of_one = jax.value_and_grad(lambda z, g: density.potential(z, {"given": g}))
    program = jax.jit(jax.vmap(of_one, in_axes=(0, None)), compiler_options=QUICKLY)
    value, slope = program(points, given)
    return np.asarray(value), {name: np.asarray(of) for name, of in slope.items()}


AT = np.array([-0.5, 0.7, 1.4])


@pytest.fixture(scope="module")
def of_mean():
    comparison, given, z = calibrated([target("mean", 1.5, 0.1)], 1.0)
    return *potentials(comparison, given, {"typical_level": AT}), z


def test_the_density_of_a_mean_is_that_of_a_normal_variable(of_mean):
    value, slope, z = of_mean
    variance = 0.1**2 + np.var(z) / N
    expected = -norm.logpdf(AT, 0, 2) - norm.logpdf(1.5, AT + z.mean(), np.sqrt(variance))
    # The matrix of one correlation has 1e-9 added to it.
    np.testing.assert_allclose(value, expected, rtol=1e-8)
    by_typical = AT / 4 + (AT + z.mean() - 1.5) / variance
    np.testing.assert_allclose(slope["typical_level"], by_typical, rtol=1e-8)


@pytest.mark.slow
def test_a_mean_of_the_same_subjects_twice_says_no_more_than_once(of_mean):
    later = Of("level", "value", (2.0,), None, 0.0, False, "1", "h")
    twice = [
        target("mean", 1.5, 0.1, group=0),
        target("mean", 1.5, 0.1, group=0, quantity=later, name="later"),
    ]
    comparison, given, _ = calibrated(twice, 1.0)
    value, slope = potentials(comparison, given, {"typical_level": AT})
    # The constant differs, and so does a part of the 1e-9 that keeps the matrix regular.
    np.testing.assert_allclose(np.diff(value), np.diff(of_mean[0]), rtol=1e-6)
    np.testing.assert_allclose(slope["typical_level"], of_mean[1]["typical_level"], rtol=1e-6)


def test_standard_errors_of_so_many_subjects_are_those_of_a_normal_sample():
    """Of a standard deviation of 2 in 25 subjects: of the mean 2 / 5, of the sd 2 / sqrt(50)."""
    targets = [target("mean", 0.5, subjects=25.0), target("sd", 2.0, subjects=25.0, group=-2)]
    comparison, given, z = calibrated(targets, {"kind": "half_normal", "scale": 3})
    points = {"typical_level": np.array([0.3]), "sd_level": np.log([2.0])}
    value = potentials(comparison, given, points)[0]
    x = 0.3 + 2.0 * z
    centred = x - x.mean()
    errors = np.array(
        [
            x.std() / 5,
            np.std((centred**2 - x.var()) / (2 * x.std())) / 5,
        ]
    )
    # In 200 patients' spread.
    np.testing.assert_allclose(errors, [2 / 5, 2 / np.sqrt(50)], rtol=0.2)
    influence = np.stack([centred, (centred**2 - x.var()) / (2 * x.std())])
    covariance = np.diag(errors**2) + influence @ influence.T / N**2
    off = np.array([x.mean() - 0.5, x.std() - 2.0])
    half_normal = norm.logpdf(2.0, 0, 3) + np.log(2) + np.log(2.0)  # with the Jacobian of exp
    log_density = (
        norm.logpdf(0.3, 0, 2)
        + half_normal
        - 0.5 * off @ np.linalg.solve(covariance, off)
        - 0.5 * np.log(np.linalg.det(2 * np.pi * covariance))
    )
    np.testing.assert_allclose(value, [-log_density], rtol=1e-8)


@pytest.mark.slow
def test_a_mixture_s_shares_weight_what_its_components_give():
    described = HierarchySpec.model_validate_json(
        json.dumps(
            {
                "population": {
                    "level": {
                        "typical": 1,
                        "covariates": {
                            "kind_of": {
                                "kind": "categorical",
                                "reference": "a",
                                "factors": {"b": 3},
                            }
                        },
                        "between_subject": {"kind": "normal", "sd": 0.5},
                    }
                },
                "mixtures": {"kind_of": {"kind": "dirichlet", "concentrations": {"a": 2, "b": 2}}},
            }
        )
    )
    population = population_of(described, MODEL, {})
    targets = [target("mean", 1.5, 0.1)]
    cohort, _ = VirtualCohort.of(population, population.Options(), MODEL, ARMS, targets, N)
    patients = cohort.draw({}, 3, "virtual patients", ARMS)
    from numpyro import handlers

    shares = {"shares_kind_of": jnp.array([0.75, 0.25])}
    with handlers.block(), handlers.substitute(data=shares):
        # Shares as they are put in.
        typical = population.typical_values(population.Options(), patients.hyperparameters)
        parameters, weights = cohort.parameters(typical, patients)
    z = np.asarray(patients.effects["level"])
    np.testing.assert_allclose(np.sum(weights), 1.0, rtol=1e-12)
    expected = 0.75 * np.mean(1 + 0.5 * z) + 0.25 * np.mean(3 + 0.5 * z)
    np.testing.assert_allclose(np.sum(weights * parameters.level), expected, rtol=1e-12)


@pytest.mark.slow
def test_the_sampled_posterior_is_the_closed_form():
    comparison, given, z = calibrated([target("mean", 1.5, 0.1)], 1.0)
    settings = Sampling(chains=4, warmup=300, draws=1000)
    drawn = sample(mcmc.model_of(comparison), {"given": given}, settings, seed=5)
    draws = drawn.tree["posterior"]["typical_level"].to_numpy()
    variance = 0.1**2 + np.var(z) / N
    precision = 1 / 4 + 1 / variance
    mean, sd = (1.5 - z.mean()) / variance / precision, precision**-0.5
    # 4000 draws with an effective number of a third of that: five Monte-Carlo errors.
    assert draws.mean() == pytest.approx(mean, abs=5 * sd / np.sqrt(1300))
    assert draws.std() == pytest.approx(sd, rel=5 / np.sqrt(2 * 1300))


@pytest.mark.slow
def test_targets_that_no_parameter_meets_are_named():
    from cohorts.summaries.conflicts import in_words
    from cohorts.summaries.running import conflicts_of_posterior
    from insilico.runs import Stages

    targets = [
        target("mean", 1.5, 0.1, name="one"),
        target("mean", 0.9, 0.1, name="two", group=-2),
        target("sd", 1.0, 0.1, name="three", group=-3),
    ]
    comparison, given, z = calibrated(targets, {"kind": "half_normal", "scale": 3})
    settings = Sampling(chains=2, warmup=200, draws=200)
    drawn = sample(mcmc.model_of(comparison), {"given": given}, settings, seed=5)
    posterior = drawn.tree["posterior"].to_dataset()
    covariance = np.diag([0.01, 0.01, 0.01])
    found = conflicts_of_posterior(
        comparison, given, posterior, covariance[None], np.full((1, 3), 0.1), Stages()
    )
    assert [(pair.first, pair.second) for pair in found.pairs] == [(0, 1)]
    # 0.6 apart in the standard error of a difference; the prior of the mean adds next to nothing.
    assert found.distance[0] == pytest.approx(0.6 / (0.1 * np.sqrt(2)), rel=0.05)
    # The standard deviation has its prior against it, of its logarithm, and that of the typical
    # level, which has to make up for the mean of the random numbers.
    sds = np.linspace(0.5, 6.0, 100_001)
    prior = sds**2 / 18 - np.log(sds) + 0.5 * (1.2 - sds * z.mean()) ** 2 / (4 + 0.1**2 / 2)
    both = prior + 0.5 * ((sds * np.std(z) - 1.0) / 0.1) ** 2
    expected = np.sqrt(2 * (both.min() - prior.min()))
    assert found.distance[2] == pytest.approx(expected, rel=1e-3)
    assert "“one” and “two” cannot be met together" in in_words(found, ["one", "two", "three"])[0]
