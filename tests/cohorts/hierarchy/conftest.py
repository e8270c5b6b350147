"""Populations of the one-compartment model, as a config describes them."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from cohorts.hierarchy import HierarchySpec, population_of
from cohorts.population import Population
from insilico import models
from insilico.config import Name

VOCABULARY = {
    "weight": Name("number", unit="kg"),
    "sex": Name("category", categories=("male", "female")),
    "smoker": Name("flag"),
}
CONFIG: dict[str, Any] = {
    "population": {
        "absorption_rate": {"typical": "1.5 1/h"},
        "clearance": {
            "typical": {"kind": "log_normal", "median": "2.8 L/h", "sd": 1.0},
            "covariates": {"weight": {"kind": "power", "centre": "70 kg", "coefficient": 0.75}},
            "between_subject": {"kind": "log_normal", "sd": {"kind": "half_normal", "scale": 0.5}},
        },
        "central_volume": {
            "typical": "32000 mL",
            "between_subject": {"kind": "log_normal", "sd": "20 %"},
        },
    },
    "residual": {"concentration": {"kind": "additive", "sd": "0.5 mg/L"}},
}


@pytest.fixture
def config() -> dict[str, Any]:
    return copy.deepcopy(CONFIG)


@pytest.fixture(scope="session")
def read() -> Callable[..., Population]:
    """The population of a config."""

    def read(config: dict[str, Any], vocabulary: Any = VOCABULARY) -> Population:
        spec = HierarchySpec.model_validate_json(json.dumps(config))
        return population_of(spec, models.get("one_compartment"), vocabulary)

    return read
