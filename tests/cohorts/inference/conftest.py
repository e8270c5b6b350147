"""Small models with closed forms, and one of the textbooks."""

from typing import Any

import numpy as np
import numpyro
import pytest
from numpyro import distributions as dist


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
