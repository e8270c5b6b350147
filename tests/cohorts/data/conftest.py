"""Tables written to files, and specs as a config states them."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cohorts.data import DataSpec, PatientData, read_patients
from insilico import models
from insilico.model import Model

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
GOOD = """ID,TIME,DV,AMT,EVID,WT,SEX
1,0,.,100,1,70,male
1,1,5.1,.,0,70,male
1,8,2.5,.,0,70,male
2,0,.,120,1,62.5,female
2,1,6.4,.,0,62.5,female
2,8,3.0,.,0,62.5,female
"""


def described(**changed: Any) -> DataSpec:
    """The plain spec with other sections; those that are sections are merged into it."""
    stated = copy.deepcopy(STATED)
    for name, value in changed.items():
        merged = isinstance(value, dict) and name in ("columns", "units")
        stated[name] = stated[name] | value if merged else value
    return DataSpec.model_validate_json(json.dumps(stated))


@pytest.fixture(scope="session")
def model() -> Model:
    return models.get("one_compartment")


@pytest.fixture
def read(tmp_path: Path, model: Model) -> Callable[..., PatientData]:
    """`read(text, **changed)`: the patients of a csv file, by the plain spec with changes."""

    def read(text: str | bytes = GOOD, model: Model = model, **changed: Any) -> PatientData:
        content = text if isinstance(text, bytes) else text.encode()
        (tmp_path / changed.get("file", "table.csv")).write_bytes(content)
        return read_patients(model, described(**changed), folder=tmp_path)

    return read


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
