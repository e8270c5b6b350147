"""Subjects differ from one occasion to the next as the config says."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from numpyro import handlers

from cohorts import Cohort
from cohorts._faults import CohortError
from cohorts.covariates import NOTHING_STATED, ObservedCovariates
from cohorts.sites import between_occasions

pytestmark = pytest.mark.optimised

MANY = 40_000
RATE = {"typical": "1.5 1/h"}
VOLUME = {"typical": "32 L"}


def config(clearance: Any, **sections: Any) -> dict[str, Any]:
    parameters = {"absorption_rate": RATE, "clearance": clearance, "central_volume": VOLUME}
    return {"population": parameters, **sections}


def drawn(population: Any, occasions: int = 3) -> dict[str, np.ndarray]:
    model = handlers.trace(handlers.seed(population.hierarchical, 20261128))
    sites = model.get_trace({}, population.Options(), MANY, occasions)
    return {name: np.asarray(site["value"]) for name, site in sites.items() if "value" in site}


KINDS = {
    "log_normal": (np.log, np.log(2.8), {}),
    "normal": (lambda value: value, 2.8, {}),
    "logit_normal": (
        lambda value: np.log((value - 1) / (4 - value)),
        np.log(1.8 / 1.2),
        {"lower": "1 L/h", "upper": "4 L/h"},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kappa_is_added_to_what_is_normal_between_subjects(read, kind):
    transformed, location, bounds = KINDS[kind]
    between, within = ("0.2 L/h", "0.1 L/h") if kind == "normal" else (0.2, 0.1)
    population = read(
        config(
            {
                "typical": "2.8 L/h",
                "between_subject": {"kind": kind, "sd": between, **bounds},
                "between_occasion": {"sd": within},
            }
        )
    )
    assert population.between_occasion == ("clearance",)
    sites = drawn(population)
    x = transformed(sites["clearance_by_occasion"])
    assert x.shape == (3, MANY)
    # Variances and covariances of 40,000 subjects, to five standard errors.
    expected = 0.04 + 0.01 * np.eye(3)
    np.testing.assert_allclose(np.cov(x), expected, atol=5 * 0.05 * np.sqrt(2 / MANY))
    assert x.mean() == pytest.approx(location, abs=5 * 0.21 / np.sqrt(MANY))
    own = transformed(sites["clearance"])
    np.testing.assert_allclose(x - own, sites["kappa_clearance"], atol=1e-9)
    assert np.std(sites["eta_clearance"]) == pytest.approx(0.2, rel=0.02)


def test_what_does_not_vary_between_subjects_may_between_occasions(read):
    population = read(config({"typical": "2.8 L/h", "between_occasion": {"sd": 0.3}}))
    sites = drawn(population)
    assert "eta_clearance" not in sites and "clearance" not in sites
    ratio = np.log(sites["clearance_by_occasion"] / 2.8)
    assert scipy.stats.kstest(ratio.ravel(), scipy.stats.norm(0.0, 0.3).cdf).pvalue > 1e-3
    np.testing.assert_allclose(np.corrcoef(ratio), np.eye(3), atol=5 / np.sqrt(MANY))


def test_a_mixture_acts_on_every_occasion(read):
    speed = {"kind": "categorical", "reference": "fast", "factors": {"slow": 0.25}}
    clearance = {
        "typical": "2.8 L/h",
        "covariates": {"speed": speed},
        "between_occasion": {"sd": 0.3},
    }
    shares = {"speed": {"kind": "known", "shares": {"fast": "70 %", "slow": "30 %"}}}
    sites = drawn(read(config(clearance, mixtures=shares)))
    own = sites["clearance_by_occasion"] / np.exp(sites["kappa_clearance"]) / 2.8
    factor = np.where(sites["speed"] == 1, 0.25, 1.0)
    np.testing.assert_allclose(own, np.tile(factor, (3, 1)), rtol=1e-12)


def test_it_is_told_in_words(read):
    clearance = {
        "typical": "2.8 L/h",
        "between_subject": {"kind": "log_normal", "sd": 0.2},
        "between_occasion": {"sd": {"kind": "half_normal", "scale": 0.3}},
    }
    told = read(config(clearance)).assumptions
    assert (
        "clearance: 2.8 L/h; log-normal between subjects, sd 0.2; log-normal between occasions, "
        "sd half-normal (scale 0.3)." in told
    )


@pytest.fixture(scope="module")
def cohort(read) -> Cohort:
    source = ObservedCovariates("nothing", "no covariates", "", {}, {})
    clearance = {
        "typical": "2.8 L/h",
        "between_subject": {"kind": "log_normal", "sd": 0.3},
        "between_occasion": {"sd": 0.15},
    }
    population = read(config(clearance))
    return Cohort(
        population=population,
        options=population.Options(),
        source=source,
        criteria=(),
        marginals=source.table,
        stated=NOTHING_STATED,
    )


@pytest.mark.slow
def test_an_occasion_s_draw_is_what_its_address_says(cohort):
    zeros = jnp.zeros(500, int)
    numbers, subject = cohort.numbers(5), jnp.arange(500)
    two, three = (
        cohort.sample(numbers, 5, zeros, zeros, subject, occasions)[0].parameters
        for occasions in (2, 3)
    )
    assert two.clearance.shape == (2, 500) and two.central_volume.shape == (500,)
    np.testing.assert_array_equal(three.clearance[:2], two.clearance)
    # Others, and in another order, are who they were.
    some = jnp.array([300, 7])
    few = cohort.sample(numbers, 5, zeros[:2], zeros[:2], some, 2)[0].parameters
    np.testing.assert_array_equal(few.clearance, two.clearance[:, some])
    within = np.log(np.asarray(three.clearance)).var(axis=0, ddof=1).mean()
    # A chi-square of 1000 degrees of freedom: to five standard errors.
    assert within == pytest.approx(0.15**2, rel=5 * np.sqrt(2 / 1000))


def test_a_population_that_is_written_in_code_may_vary_alike(read):
    plain = read(config({"typical": "2.8 L/h"}))

    def individual(
        typical: Any, covariates: Any, options: Any, hyperparameters: Any, occasions: int
    ) -> Any:
        own = plain.individual(typical, covariates, options, hyperparameters)
        x = between_occasions("log_clearance", jnp.log(own.clearance), 0.2, occasions)
        return own._replace(clearance=jnp.exp(x))

    population = dataclasses.replace(plain, individual=individual, between_occasion=("clearance",))
    model = handlers.seed(population.hierarchical, 1)
    parameters: Any = model({}, population.Options(), 5, 3)
    assert parameters.clearance.shape == (3, 5)
    assert len(np.unique(parameters.clearance)) == 15


@pytest.mark.parametrize(
    ("between_occasion", "between_subject", "message"),
    [
        ({"sd": -0.1}, None, "between_occasion.sd: must be more than 0"),
        ({"sd": 0.1, "kind": "normal"}, None, "between_occasion.sd: the unit is missing"),
        (
            {"sd": 0.1, "kind": "normal"},
            {"kind": "log_normal", "sd": 0.3},
            "between_occasion.kind: must be that of between_subject, to whose eta kappa is added",
        ),
        (
            {"sd": 0.1, "lower": "1 L/h"},
            {"kind": "log_normal", "sd": 0.3},
            "between_occasion.lower: is for a parameter that varies between occasions alone",
        ),
        (
            {"sd": 0.1, "kind": "logit_normal", "lower": "3 L/h", "upper": "2 L/h"},
            None,
            "between_occasion.upper: must be more than lower",
        ),
        (
            {"sd": 0.1, "kind": "logit_normal", "lower": "3 L/h", "upper": "5 L/h"},
            None,
            "typical: must lie between the bounds of its variability",
        ),
    ],
)
def test_what_cannot_be_is_told(read, between_occasion, between_subject, message):
    clearance: dict[str, Any] = {"typical": "2.8 L/h", "between_occasion": between_occasion}
    if between_subject is not None:
        clearance["between_subject"] = between_subject
    with pytest.raises(CohortError) as caught:
        read(config(clearance))
    assert message in str(caught.value)
