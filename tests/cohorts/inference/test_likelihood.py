"""Likelihoods of records: censored, autocorrelated, of several outputs, of a mixture."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
import scipy.stats
from numpyro import handlers

from cohorts import CohortError, Residual
from cohorts.inference import Data, Joint, model_of
from cohorts.inference.impossible import impossible
from cohorts.inference.likelihood import log_likelihood, observed
from cohorts.inference.patients import values_before
from cohorts.inference.predictive import Predictive, at_centre
from insilico.config import Name
from insilico.solve import Status

OUTPUTS = ("concentration", "central")
TIMES = (1.0, 2.0, 5.0, 9.0)
VALUES = (
    (5.0, 3.0, -1.5, 4.0, 2.0, -1.0, 1.2, 0.5),
    (4.0, 2.0, 3.5, 1.0, -1.0, 2.0, 0.7, -0.25),
)
"""Of two subjects, both outputs at each time; a minus sign before a limit of quantification."""


class Typical(NamedTuple):
    sd: float = 0.8
    relative: float = 0.3
    rate: float = 0.4


def likelihood(residuals: Any, true: Any, data: Any, typical: Any = None) -> Any:
    """Of the same true value of the outputs at all records."""
    outputs = tuple(jnp.full_like(data.value, value) for value in true)
    status = jnp.full(data.value.shape[1], int(Status.OK))
    predicted = observed(residuals, typical or Typical(), outputs, status, data)
    return log_likelihood(residuals, predicted, data)


@pytest.fixture
def data(table, oral):
    def data(values: Any = VALUES) -> Any:
        patients = table(values, TIMES, outputs=OUTPUTS)
        error = {
            "concentration": {"kind": "additive", "sd": "1 mg/L"},
            "central": {"kind": "additive", "sd": "1 mg"},
        }
        population = oral(error, vocabulary={}, changed={"clearance": {"covariates": {}}})
        return Joint.of(population, patients)[1]

    return data


@pytest.mark.slow
def test_each_output_has_its_own_error_and_values_below_the_limit_their_probability(data):
    residuals = {
        "concentration": Residual("combined", "sd", "relative"),
        "central": Residual("log_additive", "sd"),
    }
    found = likelihood(residuals, (2.0, 1.5), data())
    sd = math.hypot(0.8, 0.3 * 2.0)
    for subject, values in enumerate(VALUES):
        expected = 0.0
        for value in values[0::2]:
            of_value = scipy.stats.norm.logpdf(value, 2.0, sd)
            expected += of_value if value > 0 else scipy.stats.norm.logcdf(-value, 2.0, sd)
        for value in values[1::2]:
            of_value = scipy.stats.lognorm.logpdf(value, 0.8, scale=1.5)
            expected += (
                of_value if value > 0 else scipy.stats.lognorm.logcdf(-value, 0.8, scale=1.5)
            )
        assert float(found[subject]) == pytest.approx(expected, rel=1e-12)


def test_autocorrelated_errors_are_multivariate_normal(data):
    values = np.abs(VALUES)
    residuals = {
        "concentration": Residual("proportional", "relative", autocorrelation="rate"),
        "central": Residual("additive", "sd"),
    }
    found = likelihood(residuals, (2.0, 1.5), data(values))
    times = np.asarray(TIMES)
    correlation = np.exp(-0.4 * np.abs(times[:, None] - times))
    for subject in range(2):
        concentration, central = values[subject, 0::2], values[subject, 1::2]
        covariance: Any = 0.6**2 * correlation
        together = scipy.stats.multivariate_normal(np.full(4, 2.0), covariance)
        expected = together.logpdf(concentration)
        expected += np.sum(scipy.stats.norm.logpdf(central, 1.5, 0.8))
        assert float(found[subject]) == pytest.approx(expected, rel=1e-12)


def test_the_value_before_is_the_last_of_the_same_output_that_was_measured():
    output = np.array([[0], [1], [0], [0], [1]])
    kind = np.array([[1], [1], [2], [1], [1]])
    np.testing.assert_array_equal(values_before(output, kind)[:, 0], [-1, -1, 0, 0, 1])


@pytest.mark.slow
def test_derivatives_with_autocorrelation_are_finite_differences(data):
    records = data(np.abs(VALUES))
    residuals = {
        "concentration": Residual("combined", "sd", "relative", autocorrelation="rate"),
        "central": Residual("additive", "sd"),
    }

    def total(numbers: Any) -> Any:
        return jnp.sum(likelihood(residuals, (numbers[3], 1.5), records, Typical(*numbers[:3])))

    at = jnp.array([0.8, 0.3, 0.4, 2.0])
    gradient = np.asarray(jax.grad(total)(at))
    for index in range(4):
        there, back = (float(total(at.at[index].add(step))) for step in (1e-6, -1e-6))
        assert gradient[index] == pytest.approx((there - back) / 2e-6, rel=1e-6)


@pytest.mark.slow
def test_a_mixture_is_the_sum_over_its_components(oral, weighed, quickly):
    speed = {"kind": "categorical", "reference": "fast", "factors": {"slow": 0.25}}
    weight = {"kind": "power", "centre": "70 kg", "coefficient": 0.75}
    changed = {"clearance": {"covariates": {"weight": weight, "speed": speed}}}
    shares = {"kind": "dirichlet", "concentrations": {"fast": 3, "slow": 1}}
    joint, data = Joint.of(oral(changed=changed, mixtures={"speed": shares}), weighed())
    plain, plain_data = Joint.of(oral(), weighed())
    theta, x = joint.draw(jax.random.key(3), data)
    values = joint.constrained(theta, data)
    of_plain = plain.unconstrained(values, plain_data)
    assert joint.components == 2 and joint.effects == plain.effects

    def together(joint: Joint, theta: Any, x: Any, data: Data) -> Any:
        predicted = joint.predicted(theta, x, data)
        return joint.log_likelihood(predicted, data), joint.membership(predicted, data)

    of_plain_data, nothing = quickly(functools.partial(together, plain))(of_plain, x, plain_data)
    assert nothing == {}
    # Given its own clearance it is all the same to a subject's data who it belongs to, and not to
    # that clearance.
    log_clearance = np.asarray(x[joint.effects.index("log_clearance")])
    centre = math.log(values["typical_clearance"]) + 0.75 * np.log(data.covariates["weight"] / 70.0)
    sd = float(values["sd_clearance"])
    of_fast, of_slow = (
        scipy.stats.norm.logpdf(log_clearance, centre + shift, sd) for shift in (0, math.log(0.25))
    )
    fast, slow = np.log(values["shares_speed"])
    found, membership = quickly(functools.partial(together, joint))(theta, x, data)
    both = np.logaddexp(fast + of_fast, slow + of_slow)
    np.testing.assert_allclose(found, of_plain_data + both - of_fast, rtol=1e-10)
    shares = np.exp([fast + of_fast - both, slow + of_slow - both])
    np.testing.assert_allclose(membership["speed"], shares, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(
        joint.log_effects(theta, x, data), plain.log_effects(of_plain, x, plain_data), rtol=1e-12
    )


@pytest.mark.slow
def test_the_numpyro_model_of_a_mixture_says_who_belongs_where(oral, weighed):
    speed = {"kind": "categorical", "reference": "fast", "factors": {"slow": 0.01}}
    shares = {"kind": "known", "shares": {"fast": 0.5, "slow": 0.5}}
    changed = {"clearance": {"typical": "2.8 L/h", "covariates": {"speed": speed}}}
    population = oral(changed=changed, mixtures={"speed": shares}, vocabulary={})
    joint, data = Joint.of(population, weighed())
    typical = {"log_clearance": 2.8, "log_central_volume": 32.0, "log_absorption_rate": 1.5}
    values = {name: jnp.full(3, math.log(value)) for name, value in typical.items()}
    values["residual_sd_concentration"] = jnp.array(1.0)
    with handlers.seed(rng_seed=0), handlers.substitute(data=values):
        sites = handlers.trace(model_of(joint)).get_trace(data)
    assert sites["speed"]["type"] == "deterministic"
    assert [frame.name for frame in sites["speed"]["cond_indep_stack"]] == ["subject"]
    assert list(sites["speed"]["value"]) == [0, 0, 0]
    assert np.all(sites["probability_speed"]["value"][0] > 0.99)
    np.testing.assert_allclose(sites["probability_speed"]["value"].sum(axis=0), 1.0, rtol=1e-12)
    # One alone is as slow as the others of its kind.
    values["log_clearance"] = jnp.log(jnp.array([2.8, 0.028, 2.8]))
    with handlers.seed(rng_seed=0), handlers.substitute(data=values):
        sites = handlers.trace(model_of(joint)).get_trace(data)
    assert list(sites["speed"]["value"]) == [0, 1, 0]
    np.testing.assert_allclose(sites["eta_clearance"]["value"], 0.0, atol=1e-12)


@pytest.mark.slow
def test_a_subject_is_predicted_as_one_of_the_component_that_it_belongs_to(oral, weighed):
    # Clearance does not vary within the components, so that the data alone say who belongs where.
    speed = {"kind": "categorical", "reference": "slow", "factors": {"fast": 100}}
    shares = {"kind": "known", "shares": {"fast": 0.5, "slow": 0.5}}
    clearance = {"typical": "2.8 L/h", "between_subject": None}
    known = {"clearance": {**clearance, "covariates": {"speed": speed}}}
    joint, data = Joint.of(
        oral(changed=known, mixtures={"speed": shares}, vocabulary={}), weighed()
    )
    typical = {"log_central_volume": 32.0, "log_absorption_rate": 1.5}
    values = {name: jnp.full(3, math.log(value)) for name, value in typical.items()}
    values["residual_sd_concentration"] = jnp.array(1.0)
    with handlers.seed(rng_seed=0), handlers.substitute(data=values):
        sites = handlers.trace(model_of(joint)).get_trace(data)
    assert list(sites["speed"]["value"]) == [1, 1, 1]
    draws = {
        name: np.asarray(site["value"])[None] for name, site in sites.items() if "value" in site
    }
    alone = Joint.of(
        oral(changed={"clearance": {**clearance, "covariates": {}}}, vocabulary={}), weighed()
    )
    expected = Predictive(*alone).individual(draws).values
    np.testing.assert_allclose(Predictive(joint, data).individual(draws).values, expected)
    assert np.all(np.isfinite(Predictive(joint, data).typical(draws).values))


def test_a_typical_subject_belongs_to_the_largest_component():
    shares = jnp.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])
    with at_centre(), numpyro.plate("subject", 2):
        of_components: Any = numpyro.distributions.Categorical(probs=shares)
        found = numpyro.sample("speed", of_components)
    assert np.asarray(found).tolist() == [1, 0]


def test_values_that_no_parameters_explain_are_named(oral, table):
    proportional = {"concentration": {"kind": "proportional", "sd": 0.2}}
    # Drug is in the depot at time 0, and none of it in the blood.
    patients = table(((0.1, 1.0), (0.1, 2.0)), (0.0, 2.0))
    population = oral(proportional, vocabulary={}, changed={"clearance": {"covariates": {}}})
    joint, data = Joint.of(population, patients)
    found = impossible(joint, data, seed=1)
    np.testing.assert_array_equal(found.values, [[False, False], [True, True], [False, False]])
    assert not found.subjects.any()
    words = found.words(patients.subjects, joint, data)
    assert "concentration of subject 1 at 0 h, concentration of subject 2 at 0 h" in words
    assert "additive part" in words


def test_what_does_not_fit_is_told_at_once(oral, weighed, table):
    logarithmic = {"concentration": {"kind": "log_additive", "sd": 0.2, "autocorrelation": "1 1/h"}}
    with pytest.raises(CohortError) as caught:
        Joint.of(oral(logarithmic), table(((0.0, 1.0), (-1.0, 2.0)), (1.0, 2.0)))
    lines = str(caught.value).splitlines()
    assert lines == [
        "config needs the covariate weight, which the data lacks",
        "residual.concentration: log_additive error has no values at or below 0; found 1 of them; "
        "leave them out, take them for below the limit of quantification, or choose another error",
        "residual.concentration: autocorrelation needs values, not limits; found 1 below the limit "
        "of quantification; leave autocorrelation out",
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "two_compartment"}, "config is a population of the model one_compartment, but "
         "the data were read for two_compartment"),
        ({"outputs": ("central",)}, "residual: lacks the residual error of the measured output "
         "central; allowed: concentration"),
        ({"times": (1.0, 1.0)}, "autocorrelation cannot explain two values at one time; found "
         "subject 1"),
        ({"weight": ((70.0, math.nan), Name("number", unit="kg"))},
         "covariates.weight: must be known of every subject; found missing values"),
        ({"weight": ((70.0, 80.0), Name("number", unit="g"))},
         "config needs weight as a number in 'kg'; found a number in 'g'"),
    ],
)  # fmt: skip
def test_a_thing_that_does_not_fit_is_told(oral, table, changes, said):
    known = {"weight": ((70.0, 80.0), Name("number", unit="kg")), "times": (1.0, 2.0)}
    error = {"concentration": {"kind": "additive", "sd": "1 mg/L", "autocorrelation": "1 1/h"}}
    with pytest.raises(CohortError) as caught:
        Joint.of(oral(error), table(((2.0, 1.0), (3.0, 2.0)), **{**known, **changes}))
    assert said in str(caught.value)


def test_a_population_codes_categories_in_its_own_order(oral, table):
    sex = {"kind": "categorical", "reference": "male", "factors": {"female": 0.5}}
    vocabulary = {"sex": Name("category", categories=("male", "female"))}
    population = oral(vocabulary=vocabulary, changed={"clearance": {"covariates": {"sex": sex}}})
    read = Name("category", categories=("female", "male"))
    patients = table(((1.0,), (2.0,), (3.0,)), (2.0,), sex=((0, 1, 0), read))
    np.testing.assert_array_equal(Joint.of(population, patients)[1].covariates["sex"], [1, 0, 1])
