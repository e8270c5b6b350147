"""Calibration holds for a model that made its data, and fails for one that did not."""

from typing import Any

import numpy as np
import numpyro
import pytest
from numpyro import distributions as dist
from scipy import stats

from cohorts.inference.simulation_based_calibration import rank_datasets, simulator, uniform_p_value


def normal(y: Any, x: Any) -> None:
    """A mean and a log standard deviation of ten normal observations."""
    mean = numpyro.sample("mean", dist.Normal(0, 2))
    sd = numpyro.sample("sd", dist.LogNormal(0, 0.5))
    with numpyro.plate("observation", x.shape[0]):
        numpyro.sample("y", dist.Normal(mean, sd), obs=y)


def overconfident(y: Any, x: Any) -> None:
    """The same, by somebody who takes pairs of equal measurements for independent ones."""
    mean = numpyro.sample("mean", dist.Normal(0, 2))
    sd = numpyro.sample("sd", dist.LogNormal(0, 0.5))
    with numpyro.plate("observation", x.shape[0]):
        numpyro.sample("y", dist.Normal(mean, sd / 2**0.5), obs=y)


DATA = {"x": np.zeros(10), "y": np.zeros(10)}


@pytest.mark.slow
def test_ranks_are_uniform_where_the_model_made_the_data() -> None:
    found = rank_datasets(normal, simulator(normal, DATA, ["y"]), seed=1)
    assert found.uneven() == {}
    assert found.divergences == 0
    assert found.ranks["mean"].shape == (256,) and found.ranks["mean"].max() <= found.draws


@pytest.mark.slow
def test_ranks_are_not_where_it_did_not() -> None:
    found = rank_datasets(overconfident, simulator(normal, DATA, ["y"]), seed=1)
    assert "sd" in found.uneven()


def test_uniform_p_values_are_those_of_pearsons_test() -> None:
    ranks = np.random.default_rng(1).integers(0, 64, (500, 3))
    counts = np.stack([np.bincount(column // 4, minlength=16) for column in ranks.T])
    np.testing.assert_allclose(uniform_p_value(ranks, 63), stats.chisquare(counts, axis=1).pvalue)


def test_numbers_that_leave_bins_unequal_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 16.*draws=100"):
        rank_datasets(normal, simulator(normal, DATA, ["y"]), seed=1, draws=100)
