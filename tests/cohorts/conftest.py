"""Draws that several tests look at."""

import jax
import numpy as np
import pytest

from cohorts import covariates


@pytest.fixture(scope="session")
def model() -> covariates.CovariateModel:
    return covariates.get("iwpc2009")


@pytest.fixture(scope="session")
def drawn(model: covariates.CovariateModel) -> dict[str, np.ndarray]:
    """Covariates of 200,000 people with the source's own margins."""
    keys = jax.random.split(jax.random.key(20100401), 200_000)
    values = jax.jit(model.sample)(keys, covariates.state_marginals(model))
    return {name: np.asarray(value) for name, value in values.items()}
