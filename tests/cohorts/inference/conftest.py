"""Small models with closed forms, patients, and populations that several tests look at."""

import functools
import json
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import numpyro
import pandas as pd
import pytest
from numpyro import distributions as dist

from cohorts.data import Kind, Measured, PatientData
from cohorts.hierarchy import HierarchySpec, population_of
from cohorts.population import Population
from insilico import models
from insilico.config import Name
from insilico.devices import QUICKLY
from insilico.solve import read_records


@pytest.fixture(scope="session")
def quickly() -> Callable[..., Any]:
    """`jax.jit` for programs that run a few times."""
    return functools.partial(jax.jit, compiler_options=QUICKLY)


WEIGHTS = (60.0, 72.0, 85.0)
TIMES = (0.5, 1.0, 2.0, 4.0, 8.0, 24.0)
VALUES = (
    (4.1, 6.3, 8.2, 7.0, 5.1, 1.4),
    (3.2, 5.9, 7.1, 6.6, 5.0, 1.9),
    (1.9, 3.0, 5.2, 5.9, 4.4, 0.9),
)
WEIGHT = {"weight": Name("number", unit="kg")}


@pytest.fixture(scope="session")
def table() -> Callable[..., PatientData]:
    """Subjects who took 300 mg at time 0 and were measured afterwards.

    `values`: of each subject at each of `times`, or the limit of quantification with a minus sign.
    """

    def table(
        values: Any = VALUES,
        times: Any = TIMES,
        *,
        model: str = "one_compartment",
        outputs: tuple[str, ...] = ("concentration",),
        dose: float = 300.0,
        **covariates: tuple[Any, Name],
    ) -> PatientData:
        structural = models.get(model)
        subjects, records = len(values), 1 + len(times) * len(outputs)
        at = np.concatenate([[0.0], np.repeat(times, len(outputs))])
        frame = pd.DataFrame(
            {
                "ID": np.repeat(np.arange(1, subjects + 1), records),
                "TIME": np.tile(at, subjects),
                "AMT": np.tile([dose] + [0.0] * (records - 1), subjects),
                "EVID": np.tile([1] + [0] * (records - 1), subjects),
                "CMT": 1,
            }
        )
        given = np.zeros((records, subjects))
        given[1:] = np.reshape(values, (subjects, records - 1)).T
        number = np.zeros((records, subjects), int)
        number[1:] = np.tile(np.arange(len(outputs)), len(times))[:, None]
        kind = np.where(given < 0.0, Kind.CENSORED, Kind.VALUE)
        kind[0] = Kind.NOTHING
        limit = np.where(kind == Kind.CENSORED, -given, 0.0)
        records = read_records(structural, frame)
        return PatientData(
            model=structural,
            records=records,
            subjects=records.patients,
            outputs=outputs,
            measured=Measured(np.abs(given), number, kind, limit),
            covariates={name: np.asarray(each) for name, (each, _) in covariates.items()},
            vocabulary={name: of for name, (_, of) in covariates.items()},
            frame=frame,
        )

    return table


ORAL = {
    "absorption_rate": {
        "typical": {"kind": "log_normal", "median": "1.5 1/h", "sd": 1.0},
        "between_subject": {"kind": "log_normal", "sd": {"kind": "half_normal", "scale": 0.5}},
    },
    "clearance": {
        "typical": {"kind": "log_normal", "median": "2.8 L/h", "sd": 1.0},
        "covariates": {"weight": {"kind": "power", "centre": "70 kg", "coefficient": 0.75}},
        "between_subject": {"kind": "log_normal", "sd": {"kind": "half_normal", "scale": 0.5}},
    },
    "central_volume": {
        "typical": {"kind": "log_normal", "median": "32 L", "sd": 1.0},
        "between_subject": {"kind": "log_normal", "sd": {"kind": "half_normal", "scale": 0.5}},
    },
}
ADDITIVE = {"concentration": {"kind": "additive", "sd": {"kind": "half_normal", "scale": "1 mg/L"}}}


@pytest.fixture(scope="session")
def oral() -> Callable[..., Population]:
    """A population of the one-compartment model, with changes."""

    def oral(
        residual: Any = ADDITIVE,
        *,
        vocabulary: Any = WEIGHT,
        changed: dict[str, dict[str, Any]] | None = None,
        **sections: Any,
    ) -> Population:
        parameters = {name: dict(ORAL[name]) for name in ORAL}
        for name, fields in (changed or {}).items():
            parameters[name] |= fields
        content = {"population": parameters, "residual": residual, **sections}
        spec = HierarchySpec.model_validate_json(json.dumps(content))
        return population_of(spec, models.get("one_compartment"), vocabulary)

    return oral


@pytest.fixture(scope="session")
def weighed(table: Callable[..., PatientData]) -> Callable[..., PatientData]:
    """The same subjects with their weights."""

    def weighed(*arguments: Any, **changes: Any) -> PatientData:
        return table(*arguments, **changes, weight=(WEIGHTS, WEIGHT["weight"]))

    return weighed


def normal_mean(y: Any) -> None:
    """Unknown mean of normal data with standard deviation 1; the posterior is normal."""
    mean = numpyro.sample("mean", dist.Normal(0, 2))
    with numpyro.plate("observation", y.shape[0]):
        numpyro.sample("y", dist.Normal(mean, 1), obs=y)


def eight_schools(y: Any, sigma: Any) -> None:
    """Rubin's eight schools, effects as multiples of their standard deviation."""
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    tau = numpyro.sample("tau", dist.HalfCauchy(5))
    with numpyro.plate("school", y.shape[0]):
        effect = numpyro.sample("effect", dist.Normal(0, 1))
        theta = numpyro.deterministic("theta", mu + tau * effect)
        numpyro.sample("y", dist.Normal(theta, sigma), obs=y)


@pytest.fixture(scope="session")
def conjugate() -> Any:
    return normal_mean


@pytest.fixture(scope="session")
def schools() -> Any:
    return eight_schools


@pytest.fixture(scope="session")
def schools_data() -> dict[str, np.ndarray]:
    return {
        "y": np.array([28.0, 8, -3, 7, -1, 1, 18, 12]),
        "sigma": np.array([15.0, 10, 16, 11, 9, 11, 10, 18]),
    }
