"""How much prior and posterior have in common, and what moves the posterior."""

import numpy as np
import pytest
from scipy.stats import norm

from cohorts.diagnosis import overlap, power_scaling
from cohorts.diagnosis.prior_sensitivity import warnings_of

DRAWS = 4000


def exact(one, other) -> float:
    grid = np.linspace(-30.0, 30.0, 400_001)
    return float(np.trapezoid(np.minimum(one.pdf(grid), other.pdf(grid)), grid))


@pytest.mark.parametrize(
    ("prior", "posterior"),
    [
        ((0, 1), (0, 1)),
        ((0, 1), (1, 1)),
        ((0, 2), (0.5, 0.4)),
        ((0, 1), (6, 0.5)),
        ((0, 5), (1, 0.2)),
    ],
)
def test_the_overlap_of_normals_is_the_integral_of_the_smaller_density(prior, posterior):
    rng = np.random.default_rng(11)
    one, other = norm(*prior), norm(*posterior)
    found = overlap(one.rvs(DRAWS, random_state=rng), other.rvs(DRAWS, random_state=rng))
    # Kernel density estimates of 4,000 draws: some hundredths.
    assert found == pytest.approx(exact(one, other), abs=0.04)


def test_two_normals_one_sd_apart_have_twice_the_tail_beyond_half_in_common():
    assert exact(norm(0, 1), norm(1, 1)) == pytest.approx(2 * norm.cdf(-0.5), rel=1e-6)


def test_positive_parameters_have_the_overlap_of_their_logarithms():
    rng = np.random.default_rng(12)
    prior, posterior = rng.normal(0.0, 1.0, DRAWS), rng.normal(0.5, 0.3, DRAWS)
    expected = overlap(prior, posterior)
    assert overlap(np.exp(prior), np.exp(posterior)) == pytest.approx(expected, abs=0.02)


def test_a_parameter_that_is_the_same_in_both_overlaps_fully():
    assert overlap(np.ones(10), np.ones(10)) == 1.0


def conjugate(prior_mean: float, prior_sd: float, data: np.ndarray):
    """Sensitivity of the mean of normal data with sd 1, by draws of the exact posterior."""
    precision = 1.0 / prior_sd**2 + len(data)
    mean = (prior_mean / prior_sd**2 + data.sum()) / precision
    draws = np.random.default_rng(13).normal(mean, precision**-0.5, DRAWS)
    return power_scaling(
        {"mean": draws},
        norm.logpdf(draws, prior_mean, prior_sd),
        norm.logpdf(data[None], draws[:, None], 1.0),
    )["mean"]


DATA = np.array([4.1, 5.3, 4.8, 5.6, 5.2])


def test_a_prior_that_the_data_contradict_is_a_conflict():
    found = conjugate(0.0, 1.0, DATA)
    assert found.finding == "conflict" and found.prior > 0.05 and found.likelihood > 0.05
    (said,) = warnings_of({"mean": found})
    assert said.startswith("prior and data both move") and said.endswith(": mean")


def test_a_weak_prior_is_none():
    found = conjugate(0.0, 10.0, DATA)
    assert found.finding == "" and found.prior < 0.05 < found.likelihood
    assert warnings_of({"mean": found}) == ()


def test_a_prior_that_decides_alone_is_told():
    """Narrow about 5, which the five values with sd 1 hardly move."""
    found = conjugate(5.0, 0.05, DATA)
    assert found.prior > found.likelihood and found.likelihood < 0.05


def test_draws_at_which_somebody_is_impossible_do_not_count():
    draws = np.random.default_rng(14).normal(size=1000)
    prior, likelihood = norm.logpdf(draws), norm.logpdf(draws[:, None] - np.array([[0.1, 0.2]]))
    expected = power_scaling({"x": draws}, prior, likelihood)["x"]
    more = np.append(draws, 9.0)
    found = power_scaling(
        {"x": more}, np.append(prior, -1.0), np.vstack([likelihood, [[-np.inf, 0.0]]])
    )["x"]
    assert found == pytest.approx(expected)
