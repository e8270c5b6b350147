"""Covariates that change within subjects and act on parameters: against formulas of our own."""

import json
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from cohorts import CohortError
from cohorts.data import DataSpec, nonmem_spec, read_patients, to_nonmem
from cohorts.hierarchy import HierarchySpec, population_of
from cohorts.inference import Joint
from insilico import models

MODEL = models.get("one_compartment")
DATA = {
    "file": "made up",
    "columns": {
        "subject": "ID",
        "time": "TIME",
        "measured": "DV",
        "amount": "AMT",
        "event": "EVID",
        "occasion": "OCC",
    },
    "units": {"time": "h", "amount": "mg"},
    "doses_into": "central",
    "outputs": {"concentration": {"unit": "mg/L"}},
    "covariates": {
        "weight": {"column": "WT", "unit": "kg", "changes": "locf"},
        "formulation": {"column": "FORM", "categories": ["old", "new"], "changes": "locf"},
    },
}
TIMES = np.array([2.0, 10.0, 26.0, 40.0])
WEIGHTS = np.array([[70.0, 70, 70, 84, 84, 84], [50.0, 65, 65, 65, 65, 65]])
"""Of each record: a dose at 0 h, two observations, a dose at 24 h, two observations. The second
subject's weight changes with an observation."""
NEW = np.array([0, 0, 0, 1, 1, 1])


def table() -> pd.DataFrame:
    parts = []
    for subject, weight in enumerate(WEIGHTS, start=1):
        part = pd.DataFrame({"TIME": [0.0, *TIMES[:2], 24.0, *TIMES[2:]], "WT": weight})
        part["EVID"] = [1, 0, 0, 1, 0, 0]
        part["AMT"], part["DV"] = np.where(part["EVID"] == 1, 100.0, 0.0), 1.0
        part["OCC"], part["FORM"] = 1 + NEW, np.where(NEW, "new", "old")
        part.insert(0, "ID", subject)
        parts.append(part)
    whole = pd.concat(parts, ignore_index=True)
    # A cell that says nothing is as the one above it.
    whole.loc[4, "WT"] = np.nan
    return whole


def patients(**changes: Any):
    return read_patients(MODEL, DataSpec.model_validate_json(json.dumps(DATA | changes)), table())


def population(clearance: Any, volume: Any = None, model: Any = MODEL, known: Any = None):
    content = {
        "population": {
            "absorption_rate": {"typical": "1 1/h"},
            "clearance": {"typical": "2 L/h", **clearance},
            "central_volume": {"typical": "30 L", **(volume or {})},
        },
        "residual": {"concentration": {"kind": "additive", "sd": "1 mg/L"}},
    }
    spec = HierarchySpec.model_validate_json(json.dumps(content))
    return population_of(spec, model, patients().vocabulary if known is None else known)


def concentrations(clearance: np.ndarray, volume: np.ndarray) -> np.ndarray:
    """Of one subject at `TIMES`, by what clearance and volume are from each record on."""
    times = np.array([0.0, *TIMES[:2], 24.0, *TIMES[2:]])
    amount, found = 100.0, []
    for record in range(1, 6):
        rate = clearance[record - 1] / volume[record - 1]
        amount *= np.exp(-rate * (times[record] - times[record - 1]))
        amount += 100.0 * (record == 3)
        found.append(amount / volume[record])
    return np.array(found)[[0, 1, 3, 4]]


def predicted(found: Any, x: Any) -> np.ndarray:
    """(subjects, times)."""
    joint, data = Joint.of(found, patients())
    mean = np.asarray(joint.predicted(jnp.zeros(0), jnp.asarray(x), data, None).mean)
    return mean[[1, 2, 4, 5]].T


POWER = {"kind": "power", "centre": "70 kg", "coefficient": 0.75}
LINEAR = {"kind": "linear", "centre": "70 kg", "coefficient": "0.01 1/kg"}
FORM = {"kind": "categorical", "reference": "old", "factors": {"new": 1.5}}


def test_a_parameter_goes_with_its_covariate_from_record_to_record():
    """The random effect of a subject stays; what is sampled is about its first record."""
    between = {"kind": "log_normal", "sd": 0.3}
    found = population(
        {"covariates": {"weight": POWER}, "between_subject": between},
        {"covariates": {"formulation": FORM}},
    )
    eta = np.array([0.2, -0.4])
    x = np.log(2.0 * (WEIGHTS[:, 0] / 70.0) ** 0.75) + eta
    clearance = 2.0 * (WEIGHTS / 70.0) ** 0.75 * np.exp(eta)[:, None]
    volume = 30.0 * np.where(NEW, 1.5, 1.0)
    expected = [concentrations(own, volume) for own in clearance]
    np.testing.assert_allclose(predicted(found, x[None]), expected, rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["normal", "logit_normal"])
def test_random_effects_stay_on_their_scale(kind):
    between = {
        "normal": {"kind": "normal", "sd": "0.3 L/h"},
        "logit_normal": {"kind": "logit_normal", "sd": 0.3, "lower": "1 L/h", "upper": "5 L/h"},
    }[kind]
    found = population({"covariates": {"weight": LINEAR}, "between_subject": between})
    eta = np.array([0.2, -0.4])
    typical = 2.0 * (1.0 + 0.01 * (WEIGHTS - 70.0))
    if kind == "normal":
        x, clearance = typical[:, 0] + eta, typical + eta[:, None]
    else:
        logit = np.log((typical - 1.0) / (5.0 - typical))
        x, clearance = logit[:, 0] + eta, 1.0 + 4.0 / (1.0 + np.exp(-logit - eta[:, None]))
    expected = [concentrations(own, np.full(6, 30.0)) for own in clearance]
    np.testing.assert_allclose(predicted(found, x[None]), expected, rtol=1e-10)


@pytest.mark.slow
def test_occasions_and_covariates_go_together():
    between = {"kind": "log_normal", "sd": 0.3}
    found = population(
        {
            "covariates": {"weight": POWER},
            "between_subject": between,
            "between_occasion": {"sd": 0.2},
        },
        {"between_occasion": {"sd": 0.1}},
    )
    joint, _ = Joint.of(found, patients())
    about = np.log(2.0 * (WEIGHTS[:, 0] / 70.0) ** 0.75)
    own = about + np.array([0.2, -0.4])
    kappas = {"clearance": np.array([[0.1, 0.3], [-0.2, 0.4]]), "central_volume": np.eye(2) / 5}
    rows = {
        "log_clearance": own,
        **{f"log_clearance_{n + 1}": own + kappas["clearance"][n] for n in range(2)},
        **{
            f"log_central_volume_{n + 1}": np.log(30.0) + kappas["central_volume"][n]
            for n in range(2)
        },
    }
    x = np.stack([rows[name] for name in joint.effects])
    clearance = np.exp(own[:, None] + kappas["clearance"][NEW].T)
    clearance *= (WEIGHTS / WEIGHTS[:, :1]) ** 0.75
    volume = 30.0 * np.exp(kappas["central_volume"][NEW].T)
    expected = [concentrations(*each) for each in zip(clearance, volume, strict=True)]
    np.testing.assert_allclose(predicted(found, x), expected, rtol=1e-10)


def test_an_exported_table_has_what_changes_and_is_read_again():
    data = patients()
    assert data.covariates["weight"].tolist() == [70.0, 50.0]
    assert data.changing["weight"].tolist() == WEIGHTS.ravel().tolist()
    exported = to_nonmem(data)
    again = read_patients(MODEL, nonmem_spec(data, "made up"), exported)
    assert again.changing["weight"].tolist() == WEIGHTS.ravel().tolist()
    assert again.changing["formulation"].tolist() == [*NEW, *NEW]
    one = data.selected([2])
    assert one.changing["weight"].tolist() == WEIGHTS[1].tolist()


def test_a_published_population_says_that_it_takes_none_that_change():
    import dataclasses

    found = dataclasses.replace(population({"covariates": {"weight": POWER}}), changing=False)
    with pytest.raises(CohortError, match="must be constant for each subject"):
        Joint.of(found, patients())
