"""Variability between occasions: marginal likelihoods in closed form, and what occasions are."""

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from numpyro import handlers
from scipy.stats import multivariate_normal

from cohorts import CohortError
from cohorts.data import DataSpec, PatientData, read_patients
from cohorts.hierarchy import HierarchySpec, population_of
from cohorts.inference import Joint, centring, marginal, model_of, scores
from cohorts.population import Population
from insilico import models

MODEL = models.get("one_compartment")
OCCASIONS = (2, 1, 3, 2)
"""Of each subject."""


def population(mixtures: Any = None, **parameters: Any) -> Population:
    """Numbers that are known, but for these parameters."""
    content = {
        "mixtures": mixtures or {},
        "population": {
            "absorption_rate": {"typical": "1.5 1/h"},
            "clearance": {"typical": "2.8 L/h"},
            "central_volume": {"typical": "32 L"},
            **parameters,
        },
        "residual": {
            "concentration": {"kind": "log_additive", "sd": {"kind": "half_normal", "scale": 0.5}}
        },
    }
    spec = HierarchySpec.model_validate_json(json.dumps(content))
    return population_of(spec, MODEL, {})


def patients(frame: pd.DataFrame, occasion: str | None = "OCC") -> PatientData:
    columns = {
        "subject": "ID",
        "time": "TIME",
        "measured": "DV",
        "amount": "AMT",
        "event": "EVID",
        "compartment": "CMT",
        "occasion": occasion,
    }
    spec = {
        "file": "made up",
        "columns": columns,
        "units": {"time": "h", "amount": "mg"},
        "outputs": {"concentration": {"unit": "mg/L"}},
    }
    return read_patients(MODEL, DataSpec.model_validate_json(json.dumps(spec)), frame)


def measured(times: Any, values: Any, occasions: Any, compartment: int = 2) -> pd.DataFrame:
    """A dose of 100 mg at the start of each occasion, before which nothing is left; `values`, of
    subjects a list of those of their occasions, at `times` after it."""
    rows = []
    for subject, number in enumerate(occasions):
        for occasion in range(number):
            at = 24.0 * occasion
            dose = 1 if occasion == 0 else 4
            rows.append((subject + 1, at, np.nan, 100.0, dose, compartment, occasion + 1))
            rows += [
                (subject + 1, at + time, value, 0.0, 0, compartment, occasion + 1)
                for time, value in zip(times, values[subject][occasion], strict=True)
            ]
    return pd.DataFrame(rows, columns=["ID", "TIME", "DV", "AMT", "EVID", "CMT", "OCC"])


AT_ONCE = 1e-7 * np.arange(1, 4)
"""So short a time after a dose that concentrations are the dose over the volume."""

VOLUME = {
    "typical": {"kind": "log_normal", "median": "32 L", "sd": 1.0},
    "between_subject": {"kind": "log_normal", "sd": {"kind": "half_normal", "scale": 0.5}},
    "between_occasion": {"sd": {"kind": "half_normal", "scale": 0.3}},
}


@pytest.fixture(scope="module")
def linear() -> tuple[Joint, Any, np.ndarray]:
    """Logarithms of concentrations that are linear in eta and kappa, and those logarithms."""
    rng = np.random.default_rng(3)
    logs = np.log(100 / 30) + rng.normal(0.0, 0.4, (len(OCCASIONS), max(OCCASIONS), len(AT_ONCE)))
    frame = measured(AT_ONCE, np.exp(logs), OCCASIONS)
    joint, data = Joint.of(population(central_volume=VOLUME), patients(frame))
    return joint, data, logs


def log_marginal(theta: np.ndarray, names: tuple[str, ...], logs: np.ndarray) -> np.ndarray:
    """In closed form: all logarithms of a subject are normal together."""
    return log_marginal_of(dict(zip(names, np.exp(theta), strict=True)), logs)


def log_marginal_of(value: Any, logs: np.ndarray) -> np.ndarray:
    """The same by the values of the parameters."""
    result = []
    for number, own in zip(OCCASIONS, logs, strict=True):
        y = own[:number].ravel()
        occasion = np.repeat(np.arange(number), len(AT_ONCE))
        covariance = value["sd_central_volume"] ** 2 * np.ones((len(y), len(y)))
        covariance += value["occasion_sd_central_volume"] ** 2 * (occasion[:, None] == occasion)
        covariance += value["residual_sd_concentration"] ** 2 * np.eye(len(y))
        mean = np.full(len(y), np.log(100.0 / value["typical_central_volume"]))
        # The density of a value is that of its logarithm over the value.
        result.append(multivariate_normal(mean, covariance).logpdf(y) - np.sum(y))
    return np.array(result)


THETA = {
    "typical_central_volume": 30.0,
    "sd_central_volume": 0.3,
    "occasion_sd_central_volume": 0.2,
    "residual_sd_concentration": 0.1,
}


@pytest.mark.slow
def test_the_marginal_likelihood_of_a_linear_model_is_exact(linear, quickly):
    joint, data, logs = linear
    theta = joint.unconstrained(THETA, data)
    found = quickly(lambda theta: marginal(joint, theta, data).value)(theta)
    # What is left of 1e-7 h of elimination, and of the search for the modes.
    exact = log_marginal(np.asarray(theta), joint.names, logs)
    np.testing.assert_allclose(found, exact, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["laplace", "focei"])
def test_so_is_its_gradient_by_either_method(linear, method, quickly):
    joint, data, logs = linear
    theta = joint.unconstrained(THETA, data)
    found, gradient = quickly(lambda theta: scores(joint, theta, data, method=method))(theta)
    exact = log_marginal(np.asarray(theta), joint.names, logs)
    np.testing.assert_allclose(found.value, exact, atol=1e-6)
    for place in range(len(theta)):
        step = 1e-5 * np.eye(len(theta))[place]
        there, back = (
            log_marginal(np.asarray(theta) + move, joint.names, logs) for move in (step, -step)
        )
        np.testing.assert_allclose(gradient[place], (there - back) / 2e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["laplace", "focei"])
def test_so_is_that_of_a_mixture_of_linear_models(linear, method, quickly):
    """Volumes of two subpopulations, each log-normal between subjects and between occasions."""
    _, _, logs = linear
    factors = {"large": {"kind": "log_normal", "median": 1.5, "sd": 0.5}}
    size = {"kind": "categorical", "reference": "small", "factors": factors}
    mixed = population(
        {"size": {"kind": "dirichlet", "concentrations": {"small": 2, "large": 2}}},
        central_volume={**VOLUME, "covariates": {"size": size}},
        # So slow that nothing is left of it after 1e-7 h.
        clearance={"typical": "1e-6 L/h"},
    )
    joint, data = Joint.of(mixed, patients(measured(AT_ONCE, np.exp(logs), OCCASIONS)))
    shares = {"shares_size": np.array([0.7, 0.3]), "size_large_on_central_volume": 1.4}
    theta = joint.unconstrained({**THETA, **shares}, data)

    def exact(theta: Any) -> np.ndarray:
        value = {name: np.asarray(of) for name, of in joint.constrained(theta, data).items()}
        large = value["typical_central_volume"] * value["size_large_on_central_volume"]
        each = (value, {**value, "typical_central_volume": large})
        both = [log_marginal_of(of, logs) for of in each] + np.log(value["shares_size"])[:, None]
        return np.logaddexp(*both)

    found, gradient = quickly(lambda theta: scores(joint, theta, data, method=method))(theta)
    np.testing.assert_allclose(found.value, exact(theta), rtol=1e-8)
    for place in range(len(theta)):
        step = 1e-5 * np.eye(len(theta))[place]
        slope = (exact(theta + step) - exact(theta - step)) / 2e-5
        np.testing.assert_allclose(gradient[place], slope, rtol=1e-6, atol=1e-7)


@pytest.mark.slow
def test_what_a_subject_lacks_touches_nothing(linear, quickly):
    joint, data, _ = linear
    assert joint.effects == (
        "log_central_volume",
        *(f"log_central_volume_{number}" for number in (1, 2, 3)),
    )
    theta, x = joint.unconstrained(THETA, data), 0.1 * jnp.ones((4, 4))

    def likelihood(x: Any) -> Any:
        return jnp.sum(joint.log_likelihood(joint.predicted(theta, x, data), data))

    gradient = quickly(jax.grad(likelihood))(x)
    there = np.arange(3)[:, None] < np.array(OCCASIONS)
    np.testing.assert_array_equal(np.asarray(gradient[1:]) != 0.0, there)
    # What is the subject's own is seen in its occasions alone.
    np.testing.assert_array_equal(gradient[0], 0.0)
    # What nothing is known of is sampled as a standard normal number.
    shares = centring(joint, data, seed=1)
    for number in range(3):
        share = shares[f"log_central_volume_{number + 1}"]
        assert np.all(share[there[number]] > 0.5)
        np.testing.assert_allclose(share[~there[number]], 0.0, atol=1e-12)


ORAL_TIMES = np.array([0.5, 1.0, 2.0, 5.0, 9.0, 20.0])


@pytest.fixture(scope="module")
def oral_values() -> np.ndarray:
    """Made up of two subjects in two occasions each."""
    rng = np.random.default_rng(5)
    clearance = 2.8 * np.exp(rng.normal(0.0, 0.3, (2, 2, 1)))
    k = clearance / 32.0
    fall = np.exp(-k * ORAL_TIMES) - np.exp(-1.5 * ORAL_TIMES)
    return 100 / 32 * 1.5 / (1.5 - k) * fall * np.exp(rng.normal(0.0, 0.1, (2, 2, 6)))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["closed_form", "tsit5"])
def test_occasions_of_a_subject_who_is_like_all_others_are_as_many_subjects(
    oral_values, method, quickly
):
    """Without variability between subjects, nothing says whose occasions they are."""
    typical = {"kind": "log_normal", "median": "2.8 L/h", "sd": 1.0}
    sd = {"kind": "half_normal", "scale": 0.5}
    frames = (
        measured(ORAL_TIMES, oral_values, (2, 2), 1),
        measured(ORAL_TIMES, oral_values.reshape(4, 1, 6), (1, 1, 1, 1), 1),
    )
    variability = (
        {"between_occasion": {"sd": sd}},
        {"between_subject": {"kind": "log_normal", "sd": sd}},
    )
    found = []
    for frame, varying in zip(frames, variability, strict=True):
        joint, data = Joint.of(
            population(clearance={"typical": typical, **varying}), patients(frame), method=method
        )
        theta = jnp.log(jnp.array([2.5, 0.25, 0.12]))
        assert [name.removeprefix("occasion_") for name in joint.names] == [
            "typical_clearance",
            "sd_clearance",
            "residual_sd_concentration",
        ]
        found.append(
            quickly(lambda theta, joint=joint, data=data: marginal(joint, theta, data))(theta).value
        )
    together, apart = found
    np.testing.assert_allclose(together, apart.reshape(2, 2).sum(axis=1), rtol=1e-6)


@pytest.mark.slow
def test_gradients_of_the_joint_density_are_differences(oral_values, quickly):
    varying = {
        "clearance": {**VOLUME, "typical": {"kind": "log_normal", "median": "2.8 L/h", "sd": 1.0}},
        "central_volume": VOLUME,
    }
    frame = measured(ORAL_TIMES, oral_values, (2, 1), 1)
    joint, data = Joint.of(population(**varying), patients(frame))
    theta, x = joint.draw(jax.random.key(2), data)
    gradient = quickly(jax.grad(joint.log_density, (0, 1)))(theta, x, data)
    value = quickly(joint.log_density)
    rng = np.random.default_rng(0)
    for _ in range(3):
        along = rng.normal(size=theta.shape), rng.normal(size=x.shape)
        there, back = (
            float(value(theta + step * along[0], x + step * along[1], data))
            for step in (1e-5, -1e-5)
        )
        slope = sum(float(jnp.sum(g * a)) for g, a in zip(gradient, along, strict=True))
        assert (there - back) / 2e-5 == pytest.approx(slope, rel=1e-6)


@pytest.mark.slow
def test_without_kappa_everything_is_as_without_occasions(oral_values, quickly):
    between = {name: VOLUME[name] for name in ("typical", "between_subject")}
    frame = measured(ORAL_TIMES, oral_values, (2, 2), 1)
    found = []
    for varying in (VOLUME, between):
        joint, data = Joint.of(population(central_volume=varying), patients(frame))
        theta = joint.unconstrained(THETA, data)
        x = jnp.tile(jnp.log(jnp.array([30.0, 40.0])), (len(joint.effects), 1))
        found.append(quickly(lambda x, j=joint, t=theta, d=data: j.predicted(t, x, d).mean)(x))
    np.testing.assert_allclose(*found, rtol=1e-12)


def test_a_numpyro_model_has_a_site_of_each_occasion(linear):
    joint, data, _ = linear

    def sites(data: Any) -> dict[str, Any]:
        found = handlers.trace(handlers.seed(model_of(joint), 0)).get_trace(data)
        return {name: site["value"] for name, site in found.items() if "value" in site}

    found = jax.eval_shape(sites, data)
    for name in ("kappa_central_volume", "central_volume_by_occasion"):
        assert found[name].shape == (3, 4)
    for name in ("log_central_volume", "log_central_volume_2", "central_volume"):
        assert found[name].shape == (4,)


def test_data_have_to_tell_occasions_apart():
    frame = measured(AT_ONCE, np.ones((2, 2, 3)), (2, 2))
    with pytest.raises(CohortError, match="population varies between them .central_volume."):
        Joint.of(population(central_volume=VOLUME), patients(frame, occasion=None))
    with pytest.raises(CohortError, match="second occasion of some subject"):
        Joint.of(population(central_volume=VOLUME), patients(frame.assign(OCC=1)))
    # Patients of a population that is known need not tell.
    once = patients(frame.assign(OCC=1))
    joint, _ = Joint.of(population(central_volume=VOLUME), once, learned_from=False)
    assert joint.occasions == 1
