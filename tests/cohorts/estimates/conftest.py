"""A run's files as NONMEM 7.5 writes them, and nlmixr2's estimates."""

import json
from pathlib import Path
from typing import Any

import pytest

FILES = Path(__file__).with_name("files")


@pytest.fixture
def ext() -> str:
    """A run of two estimations, the second with standard errors."""
    return (FILES / "run12.ext").read_text()


@pytest.fixture
def cov() -> str:
    """The covariance matrix of its second estimation."""
    return (FILES / "run12.cov").read_text()


@pytest.fixture
def nlmixr2() -> dict[str, Any]:
    """Two correlated effects, the covariance matrix of the thetas alone."""
    return json.loads((FILES / "fit.json").read_text())
