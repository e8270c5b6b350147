"""Bands, tests and coverage of ranks are what they say, of uniform ranks and of others."""

import numpy as np
import pytest
from scipy import stats

from cohorts.diagnosis.ranks import (
    binomial_interval,
    coverage,
    ecdf_difference,
    ecdf_p_values,
    holm,
    in_words,
    ranks_of_correlated,
    simultaneous_band,
)

DATASETS, DRAWS = 100, 79


@pytest.fixture(scope="module")
def uniform() -> np.ndarray:
    """Ranks of 4,000 parameters of right fits."""
    return np.random.default_rng(1).integers(0, DRAWS + 1, (DATASETS, 4000))


def test_uniform_ranks_stay_in_a_band_as_often_as_it_says(uniform):
    """Within four standard errors of 95 %, and never where a band's own counts allow it less."""
    band = simultaneous_band(DATASETS, DRAWS, 0.95)
    difference = ecdf_difference(uniform, DRAWS)
    inside = (difference >= band.low[:, None] - 1e-12) & (difference <= band.high[:, None] + 1e-12)
    stayed = inside.all(axis=0)
    assert abs(stayed.mean() - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 4000)
    # The p-value is the band told another way.
    np.testing.assert_array_equal(stayed, ecdf_p_values(uniform, DRAWS) >= 0.05)


def test_p_values_of_the_ecdf_are_below_a_level_as_often_as_that_says(uniform):
    p_values = ecdf_p_values(uniform, DRAWS)
    for level in (0.01, 0.1, 0.5):
        assert abs((p_values < level).mean() - level) < 4 * np.sqrt(level * (1 - level) / 4000)


@pytest.mark.parametrize(
    "draw, words",
    [
        (lambda rng: rng.beta(3.0, 3.0, DATASETS), "too wide"),
        (lambda rng: rng.beta(0.4, 0.4, DATASETS), "too narrow"),
        (lambda rng: rng.beta(2.0, 1.0, DATASETS), "too low"),
        (lambda rng: rng.beta(1.0, 2.0, DATASETS), "too high"),
    ],
)
def test_posteriors_that_are_wrong_are_found_and_told(draw, words):
    ranks = np.floor(draw(np.random.default_rng(2)) * (DRAWS + 1)).astype(int)
    assert ecdf_p_values(ranks[:, None], DRAWS)[0] < 0.005
    assert in_words(ranks, DRAWS) == words


def test_ranks_of_correlated_draws_are_those_of_an_autoregression():
    """Two draws, correlated by r, lie on one side of what made the data as often as two normal
    numbers, correlated by (1 + r) / 2, have one sign: 2/3 without r, as uniform ranks do."""
    effective = np.array([2.0, 2.0 / 3.0])
    ranks = ranks_of_correlated(effective, 2, 40_000)
    share = effective / 2
    r = (1 - share) / (1 + share)
    wanted = 0.5 + np.arcsin((1 + r) / 2) / np.pi
    found = (ranks != 1).mean(axis=1)
    assert np.all(np.abs(found - wanted) < 4 * np.sqrt(wanted * (1 - wanted) / 40_000))


def test_correlated_draws_make_ranks_uneven():
    independent = ranks_of_correlated(np.full(DATASETS, float(DRAWS)), DRAWS, 1000)
    assert (ecdf_p_values(independent, DRAWS) < 0.05).mean() < 0.08
    few = ranks_of_correlated(np.full(DATASETS, 4.0), DRAWS, 1000)
    assert (ecdf_p_values(few, DRAWS) < 0.05).mean() > 0.5


def test_intervals_cover_as_often_as_their_ranks_have_it(uniform):
    """Of 80 ranks the four intervals take 40, 64, 72 and 76."""
    found = coverage(uniform, DRAWS, (0.5, 0.8, 0.9, 0.95))
    np.testing.assert_allclose(found.expected, [0.5, 0.8, 0.9, 0.95])
    error = np.sqrt(found.expected * (1 - found.expected) / uniform.size)
    assert np.all(np.abs(found.found.mean(axis=1) - found.expected) < 4 * error)
    covered = (found.low <= found.expected[:, None]) & (found.expected[:, None] <= found.high)
    # The exact interval is at least as wide as it says.
    assert np.all(covered.mean(axis=1) >= 0.95 - 4 * np.sqrt(0.95 * 0.05 / 4000))


def test_binomial_intervals_are_scipys():
    low, high = binomial_interval(np.array([0, 3, 50, 100]), 100, 0.95)
    for hits, ends in zip((0, 3, 50, 100), zip(low, high, strict=True), strict=True):
        wanted = stats.binomtest(hits, 100).proportion_ci(0.95, method="exact")
        np.testing.assert_allclose(ends, (wanted.low, wanted.high), atol=1e-12)


def test_holms_p_values_are_those_of_his_example():
    """By hand: factors 4, 3, 2, 1 in the order of size, and never less than the one before."""
    found = holm(np.array([0.01, 0.04, 0.03, 0.005]))
    np.testing.assert_allclose(found, [0.03, 0.06, 0.06, 0.02])
