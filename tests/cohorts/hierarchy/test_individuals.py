"""Subjects drawn from a population of a config are spread as the config says."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from numpyro import handlers

from cohorts import Cohort, covariates
from cohorts.addressing import addressed
from cohorts.covariates import NOTHING_STATED, state_marginals
from insilico import devices as _devices  # noqa: F401  (double precision)

MANY = 100_000
CLEARANCE = {"typical": "2.8 L/h", "between_subject": {"kind": "log_normal", "sd": 0.3}}
VOLUME = {"typical": "32 L", "between_subject": {"kind": "log_normal", "sd": 0.2}}
RATE = {"typical": "1.5 1/h", "between_subject": {"kind": "log_normal", "sd": 0.6}}


def config(
    rate: Any = RATE, clearance: Any = CLEARANCE, volume: Any = VOLUME, **sections: Any
) -> dict[str, Any]:
    parameters = {"absorption_rate": rate, "clearance": clearance, "central_volume": volume}
    return {"population": parameters, **sections}


def drawn(population: Any, subjects: int = MANY, **covariates: Any) -> dict[str, np.ndarray]:
    """All sites of one draw of the population with that many subjects, and their parameters."""
    model = handlers.trace(handlers.seed(population.hierarchical, 20261128))
    values = {name: jnp.asarray(value) for name, value in covariates.items()}
    sites = model.get_trace(values, population.Options(), subjects)
    return {name: np.asarray(site["value"]) for name, site in sites.items() if "value" in site}


def varying(kind: dict[str, Any], typical: str = "2.8 L/h") -> dict[str, Any]:
    return {"typical": typical, "between_subject": kind}


def test_log_normal_parameters_have_the_stated_median_and_coefficient_of_variation(read):
    found = drawn(read(config()))["clearance"]
    # Of 100,000 subjects: four standard errors of a median, about 0.5 %, and of a CV, 1 %.
    assert np.median(found) == pytest.approx(2.8, rel=0.005)
    cv = math.sqrt(math.expm1(0.3**2))
    assert found.std() / found.mean() == pytest.approx(cv, rel=0.015)


def test_logit_normal_parameters_stay_between_their_bounds(read):
    kind = {"kind": "logit_normal", "lower": "1 L/h", "upper": "4 L/h", "sd": 2.0}
    found = drawn(read(config(clearance=varying(kind))))["clearance"]
    assert found.min() > 1.0 and found.max() < 4.0
    logit = np.log((found - 1.0) / (4.0 - found))
    expected = scipy.stats.norm(math.log(1.8 / 1.2), 2.0)
    assert scipy.stats.kstest(logit, expected.cdf).pvalue > 1e-3


def test_normal_parameters_have_the_stated_sd_in_their_unit(read):
    kind = {"kind": "normal", "sd": "5 mL/min"}
    found = drawn(read(config(clearance=varying(kind))))["clearance"]
    assert scipy.stats.kstest(found, scipy.stats.norm(2.8, 0.3).cdf).pvalue > 1e-3


@pytest.mark.parametrize("shape", [-0.5, 0.0, 1e-7, 0.8])
def test_box_cox_parameters_have_the_quantiles_of_the_transform(read, shape):
    kind = {"kind": "box_cox", "sd": 0.4, "shape": shape}
    found = drawn(read(config(clearance=varying(kind))))["clearance"]
    share = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
    eta = 0.4 * scipy.stats.norm.ppf(share)
    bent = eta if abs(shape) < 1e-6 else np.expm1(shape * eta) / shape
    np.testing.assert_allclose(np.quantile(found, share), 2.8 * np.exp(bent), rtol=0.015)


@pytest.mark.parametrize("shape", [0.0, 1e-6, 9.9e-6, 1.01e-5])
def test_a_box_cox_shape_near_zero_bends_as_the_exact_transform(read, shape):
    kind = {"kind": "box_cox", "sd": 0.4, "shape": shape}
    sites = drawn(read(config(clearance=varying(kind))), subjects=100)
    eta = sites["eta_clearance"]
    bent = np.expm1(shape * eta) / shape if shape else eta
    np.testing.assert_allclose(sites["clearance"], 2.8 * np.exp(bent), rtol=1e-9)


def test_random_effects_are_correlated_as_stated(read):
    matrix = [[1.0, 0.6, -0.3], [0.6, 1.0, 0.2], [-0.3, 0.2, 1.0]]
    names = ["central_volume", "absorption_rate", "clearance"]
    blocks = [{"kind": "known", "of": names, "matrix": matrix}]
    sites = drawn(read(config(correlations=blocks)))
    effects = np.stack([sites[f"eta_{name}"] for name in names])
    np.testing.assert_allclose(np.corrcoef(effects), matrix, atol=0.013)
    np.testing.assert_allclose(effects.std(axis=1), [0.2, 0.6, 0.3], rtol=0.01)


def test_correlations_of_an_lkj_prior_are_those_of_the_drawn_matrix(read):
    names = ["clearance", "central_volume", "absorption_rate"]
    population = read(config(correlations=[{"kind": "lkj", "of": names, "concentration": 1.5}]))
    sites = drawn(population)
    factor = sites["cholesky_clearance_central_volume_absorption_rate"]
    effects = np.stack([sites[f"eta_{name}"] for name in names])
    np.testing.assert_allclose(np.corrcoef(effects), factor @ factor.T, atol=0.013)
    found = sites["correlation_clearance_absorption_rate"]
    assert float(found) == pytest.approx((factor @ factor.T)[2, 0], rel=1e-12)


def test_priors_and_estimates_are_drawn_as_they_are_written(read):
    numbers = {
        "normal": ({"kind": "normal", "mean": 0.1, "sd": 0.2}, scipy.stats.norm(0.1, 0.2)),
        "uniform": ({"kind": "uniform", "low": -1, "high": 2}, scipy.stats.uniform(-1.0, 3.0)),
        "beta": ({"kind": "beta", "a": 2, "b": 3}, scipy.stats.beta(2, 3)),
        "exponential": ({"kind": "exponential", "mean": 0.5}, scipy.stats.expon(scale=0.5)),
        "half_cauchy": ({"kind": "half_cauchy", "scale": 2}, scipy.stats.halfcauchy(scale=2)),
        "estimate": (
            {"kind": "estimate", "value": -0.5, "relative_standard_error": 0.2},
            scipy.stats.norm(-0.5, 0.1),
        ),
    }
    effects = {
        f"covariate_{name}": {"kind": "power", "centre": 1, "coefficient": spec}
        for name, (spec, _) in numbers.items()
    }
    parameter = {
        "typical": {"kind": "estimate", "value": "2.8 L/h", "relative_standard_error": "30 %"},
        "between_subject": {"kind": "log_normal", "sd": {"kind": "half_normal", "scale": 0.5}},
        "covariates": effects,
    }
    vocabulary = {name: covariates.get("iwpc2009").vocabulary["weight"] for name in effects}
    vocabulary = {name: type(of)("number") for name, of in vocabulary.items()}
    population = read(config(clearance=parameter), vocabulary)

    def typical(key: Any) -> Any:
        with addressed(key=key):
            return population.typical_values(population.Options(), population.hyperparameters)

    draws = jax.jit(jax.vmap(typical))(jax.random.split(jax.random.key(7), 20_000))
    expected = {f"covariate_{name}_on_clearance": of for name, (_, of) in numbers.items()}
    expected["sd_clearance"] = scipy.stats.halfnorm(scale=0.5)
    sd = math.sqrt(math.log1p(0.3**2))
    expected["typical_clearance"] = scipy.stats.lognorm(sd, scale=2.8)
    for name, of in expected.items():
        assert scipy.stats.kstest(np.asarray(getattr(draws, name)), of.cdf).pvalue > 1e-3, name


@pytest.mark.parametrize(
    ("covariate", "effect", "expected"),
    [
        ("weight", {"kind": "power", "centre": "70000 g", "coefficient": 0.75},
         [(50 / 70) ** 0.75, 1.0, (90 / 70) ** 0.75]),
        ("weight", {"kind": "exponential", "centre": "70 kg", "coefficient": "0.01 1/kg"},
         [math.exp(-0.2), 1.0, math.exp(0.2)]),
        ("weight", {"kind": "linear", "centre": "70 kg", "coefficient": "0.01 1/kg"},
         [0.8, 1.0, 1.2]),
        ("weight", {"kind": "linear", "centre": "0 kg", "coefficient": "0.01 1/kg"},
         [1.5, 1.7, 1.9]),
        ("weight", {"kind": "exponential", "centre": "0 kg", "coefficient": "0.01 1/kg"},
         [math.exp(0.5), math.exp(0.7), math.exp(0.9)]),
        ("weight", {"kind": "linear", "centre": "70 kg", "coefficient": "0.01 1/g"},
         [0.0, 1.0, 201.0]),
        ("sex", {"kind": "categorical", "reference": "female", "factors": {"male": 1.3}},
         [1.3, 1.0, 1.3]),
        ("smoker", {"kind": "categorical", "reference": "no", "factors": {"yes": 1.5}},
         [1.0, 1.5, 1.0]),
    ],
)  # fmt: skip
def test_covariates_move_the_typical_value_by_their_factor(read, covariate, effect, expected):
    people = {"weight": [50.0, 70.0, 90.0], "sex": [0, 1, 0], "smoker": [0, 1, 0]}
    sites = drawn(
        read(config(clearance={**CLEARANCE, "covariates": {covariate: effect}})),
        subjects=3,
        **{covariate: people[covariate]},
    )
    found = sites["clearance"] / np.exp(sites["eta_clearance"]) / 2.8
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-200)


def test_a_mixture_gives_each_its_share_and_its_own_typical_value(read):
    speed = {"kind": "categorical", "reference": "fast", "factors": {"slow": 0.25}}
    population = read(
        config(
            clearance={**CLEARANCE, "covariates": {"speed": speed}},
            mixtures={"speed": {"kind": "known", "shares": {"fast": "70 %", "slow": "30 %"}}},
        )
    )
    sites = drawn(population)
    slow = sites["speed"] == 1
    assert slow.mean() == pytest.approx(0.3, abs=0.006)
    own = sites["clearance"] / np.exp(sites["eta_clearance"])
    np.testing.assert_allclose(own, np.where(slow, 0.7, 2.8), rtol=1e-12)


@pytest.mark.slow
def test_a_trial_draws_its_subjects_from_the_population(read):
    source = covariates.get("iwpc2009")
    power = {"kind": "power", "centre": "70 kg", "coefficient": 0.75}
    clearance = {
        "typical": {"kind": "estimate", "value": "2.8 L/h", "relative_standard_error": "20 %"},
        "between_subject": {"kind": "log_normal", "sd": 0.3},
        "covariates": {"weight": power},
    }
    error = {"concentration": {"kind": "combined", "sd": "0.1 mg/L", "proportional": 0.2}}
    blocks = [{"kind": "lkj", "of": ["clearance", "central_volume"]}]
    population = read(
        config(clearance=clearance, residual=error, correlations=blocks), source.vocabulary
    )
    cohort = Cohort(
        population=population,
        options=population.Options(),
        source=source,
        criteria=(),
        marginals=state_marginals(source),
        stated=NOTHING_STATED,
    )
    draws, each = 3, 2000
    number = jnp.repeat(jnp.arange(draws), each)
    numbers = cohort.numbers(5, draws)
    zeros = jnp.zeros_like(number)
    subjects, _ = cohort.sample(numbers, 5, number, zeros, jnp.tile(jnp.arange(each), draws))
    typical = cohort.population_parameters(5, draws)
    assert len(np.unique(typical["typical_clearance"])) == draws
    log_ratio = np.log(
        np.asarray(subjects.parameters.clearance)
        / typical["typical_clearance"][np.asarray(number)]
        / (np.asarray(subjects.covariates["weight"]) / 70.0) ** 0.75
    )
    assert scipy.stats.kstest(log_ratio, scipy.stats.norm(0.0, 0.3).cdf).pvalue > 1e-3
    residual = subjects.residual["concentration"]
    assert np.all(residual.sd == 0.1) and np.all(residual.proportional == 0.2)
    assert residual.sd.shape == (draws * each,)
