"""Phenobarbital in neonates, many small doses and two or three values each, against nlme's fit.

nlme 3.1-162 in R 4.2.2, the model of its help page `Phenobarb` (Pinheiro JC, Bates DM.
Mixed-effects models in S and S-PLUS. Springer 2000, section 6.4) by maximum likelihood. Its
approximation of the marginal likelihood is another than FOCEI's, by Lindstrom and Bates.
"""

from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from cohorts.data import DataSpec, read_patients
from cohorts.hierarchy import HierarchySpec, population_of
from cohorts.inference import Joint, maximise
from insilico.models.one_compartment import MODEL

TABLE = Path(__file__).parents[3] / "shared" / "data" / "pkpd" / "phenobarbital_nlme.csv"

VARIES = {"kind": "log_normal", "sd": {"kind": "half_normal", "scale": 0.5}}
POPULATION = {
    "population": {
        "absorption_rate": {"typical": "1 1/h"},
        "clearance": {
            "typical": {"kind": "log_normal", "median": "0.006 L/h", "sd": 1.0},
            "between_subject": VARIES,
        },
        "central_volume": {
            "typical": {"kind": "log_normal", "median": "1.5 L", "sd": 1.0},
            "between_subject": VARIES,
        },
    },
    "residual": {
        "concentration": {"kind": "additive", "sd": {"kind": "half_normal", "scale": "3 mg/L"}}
    },
}
DATA = {
    "file": TABLE.name,
    "columns": {"subject": "Subject", "time": "time", "measured": "conc", "amount": "dose"},
    "units": {"time": "h", "amount": "mg"},
    "doses_into": "central",
    "outputs": {"concentration": {"unit": "mg/L"}},
}


class Found(NamedTuple):
    """An estimate by nlme with its standard error, both of the logarithm."""

    value: float
    error: float


FIXED = {
    "typical_clearance": Found(-5.093242, 0.07955687),
    "typical_central_volume": Found(0.342534, 0.06120168),
}
SPREADS = {
    "sd_clearance": 0.4402102,
    "sd_central_volume": 0.4504399,
    "residual_sd_concentration": 2.7927416,
}
LOG_LIKELIHOOD = -505.4157

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made():
    if not TABLE.exists():
        pytest.skip(f"the data are not there: {TABLE.name} in ../shared")
    patients = read_patients(MODEL, DataSpec.model_validate(DATA), folder=TABLE.parent)
    spec = HierarchySpec.model_validate(POPULATION)
    return Joint.of(population_of(spec, MODEL, {}), patients)


@pytest.fixture(scope="module")
def fitted(made):
    joint, data = made
    start = joint.unconstrained(
        {
            "typical_clearance": 0.0067,
            "typical_central_volume": 1.0,
            "sd_clearance": 0.3,
            "sd_central_volume": 0.3,
            "residual_sd_concentration": 4.0,
        },
        data,
    )
    return maximise(joint, data, np.asarray(start))


def test_estimates_are_nlme_s(made, fitted):
    joint, data = made
    found = joint.constrained(jnp.asarray(fitted.theta), data)
    assert fitted.converged
    for name, (value, error) in FIXED.items():
        # The two approximations differ by half a standard error where two values are all there is.
        assert abs(float(jnp.log(found[name])) - value) < 0.6 * error, name
    for name, value in SPREADS.items():
        assert float(found[name]) == pytest.approx(value, rel=0.03), name


def test_the_log_likelihood_is_nearly_nlme_s(fitted):
    """-505.42 there, -505.24 here; importance sampling says -505.0 with an error of 0.3."""
    assert fitted.log_likelihood == pytest.approx(LOG_LIKELIHOOD, abs=0.5)
