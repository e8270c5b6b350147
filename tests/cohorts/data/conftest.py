"""Tables written to files, and specs as a config states them."""

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pytest

from cohorts.data import DataSpec, PatientData, read_patients
from insilico import models
from insilico.model import Model, Quantity
from insilico.vocabulary import Value

SHARED = Path(__file__).parents[4] / "shared" / "data"

STATED: dict[str, Any] = {
    "file": "table.csv",
    "columns": {
        "subject": "ID",
        "time": "TIME",
        "measured": "DV",
        "amount": "AMT",
        "event": "EVID",
    },
    "units": {"time": "h", "amount": "mg"},
    "outputs": {"concentration": {"unit": "mg/L"}},
}


def described(**changed: Any) -> DataSpec:
    """The plain spec with other sections, without those that are None.

    `columns` and `units` are put over the plain ones.
    """
    stated = copy.deepcopy(STATED)
    for name, value in changed.items():
        merged = isinstance(value, dict) and name in ("columns", "units")
        stated[name] = stated[name] | value if merged else value
    stated = {name: value for name, value in stated.items() if value is not None}
    return DataSpec.model_validate_json(json.dumps(stated))


@pytest.fixture(scope="session")
def model() -> Model:
    return models.get("one_compartment")


class Inputs(NamedTuple):
    effect: Annotated[Value, Quantity("L/h", "added to the clearance")]


@pytest.fixture(scope="session")
def following(model: Model) -> Model:
    """A model with an input, which nobody solves."""
    return dataclasses.replace(model, name="following", Inputs=Inputs)


@pytest.fixture
def read(tmp_path: Path, model: Model) -> Callable[..., PatientData]:
    """`read(text, **changed)`: the patients of a csv file, by the plain spec with changes."""

    def read(text: str | bytes, model: Model = model, **changed: Any) -> PatientData:
        content = text if isinstance(text, bytes) else text.encode()
        (tmp_path / changed.get("file", "table.csv")).write_bytes(content)
        return read_patients(model, described(**changed), folder=tmp_path)

    return read


@pytest.fixture(scope="session")
def assert_same() -> Callable[..., None]:
    """`assert_same(data, other, rtol, but)`: all that a fit looks at, within a relative tolerance,
    is the same."""

    def assert_same(
        data: PatientData, other: PatientData, rtol: float = 0.0, but: tuple[str, ...] = ()
    ) -> None:
        for name in {"subjects", "outputs", "vocabulary"}.difference(but):
            assert getattr(data, name) == getattr(other, name)
        assert data.covariates.keys() == other.covariates.keys()
        assert data.records.columns.interpolations == other.records.columns.interpolations
        pairs = [(data.covariates[name], other.covariates[name]) for name in data.covariates]
        pairs += zip(data.measured, other.measured, strict=True)
        pairs += zip(data.records.columns.values, other.records.columns.values, strict=True)
        for name, array in data.records.columns._asdict().items():
            if isinstance(array, np.ndarray):
                pairs.append((array, getattr(other.records.columns, name)))
        for array, expected in pairs:
            np.testing.assert_allclose(array, expected, rtol=rtol, atol=0)

    return assert_same


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of data from outside."""
    if not SHARED.is_dir():
        pytest.skip(f"shared data are not here: {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def describe() -> Callable[..., DataSpec]:
    """`describe(**changed)`: the plain spec with changes."""
    return described
