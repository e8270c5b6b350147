"""Draws that several tests look at."""

import jax
import numpy as np
import pytest

from cohorts import covariates


@pytest.fixture(scope="session")
def model() -> covariates.CovariateModel:
    return covariates.get("iwpc2009")


@pytest.fixture(scope="session")
def people(model: covariates.CovariateModel):
    """Covariates of the same 200,000 people under given margins, in one compiled program."""
    sample = jax.jit(model.sample)
    keys = jax.random.split(jax.random.key(20100401), 200_000)

    def people(marginals: covariates.Marginals) -> dict[str, np.ndarray]:
        return {name: np.asarray(value) for name, value in sample(keys, marginals).items()}

    return people


@pytest.fixture(scope="session")
def drawn(model: covariates.CovariateModel, people) -> dict[str, np.ndarray]:
    """The people with the source's own margins."""
    return people(covariates.state_marginals(model))
