"""Weights are the exponential tilt that meets the targets, or a compromise where none does."""

import numpy as np
import pytest

from cohorts.summaries.conflicts import Optimum, conflicts, in_words
from cohorts.summaries.reweighting import Statistics, reweight

N = 2000
Z = np.random.default_rng(1).normal(size=N)
Z = (Z - Z.mean()) / Z.std()
EVERYBODY = np.ones(N, bool)


def means(values: list[float], errors: list[float], of: list[np.ndarray]):
    """Targets that are means of some numbers of the patients."""

    def evaluate(weights: np.ndarray) -> Statistics:
        found = np.array([weights @ x for x in of])
        influence = np.array([x - m for x, m in zip(of, found, strict=True)])
        return Statistics(found - values, influence, np.diag(np.square(errors)))

    return evaluate


def test_a_mean_is_met_and_the_weights_are_its_exponential_tilt():
    found = reweight(means([0.5], [1e-6], [Z]), EVERYBODY)
    assert found.converged
    assert found.weights @ Z == pytest.approx(0.5, abs=1e-6)
    # Of a standard normal variable the tilt to the mean 0.5 is exp(0.5 z): the same within what
    # 2000 patients tell.
    slope, intercept = np.polyfit(Z, np.log(found.weights), 1)
    np.testing.assert_allclose(np.log(found.weights), slope * Z + intercept, atol=1e-6)
    assert slope == pytest.approx(0.5, abs=0.05)
    # and the divergence is half the square of the shift.
    assert found.objective == pytest.approx(0.125, abs=0.02)


def test_an_error_leaves_part_of_the_way():
    """Between 0 and the target as the variances of both ask for: 1 and that of the target."""
    error = 0.5
    found = reweight(means([0.5], [error], [Z]), EVERYBODY)
    assert found.weights @ Z == pytest.approx(0.5 / (1 + error**2), abs=0.02)


def test_what_bends_is_met_as_well():
    """A standard deviation, which is linear in weights only to first order."""

    def evaluate(weights: np.ndarray) -> Statistics:
        mean = weights @ Z
        squares = np.square(Z - mean)
        sd = np.sqrt(weights @ squares)
        influence = (squares - sd**2) / (2 * sd)
        return Statistics(np.array([sd - 0.7]), influence[None], np.array([[1e-8]]))

    found = reweight(evaluate, EVERYBODY)
    assert found.converged
    assert abs(found.statistics.deviation[0]) < 1e-4
    # A normal variable with that sd: the tilt is exp(-c z²), c = (1 / 0.7² - 1) / 2.
    curvature = np.polyfit(Z, np.log(found.weights), 2)[0]
    assert curvature == pytest.approx(-(1 / 0.49 - 1) / 2, rel=0.1)


def test_who_was_not_solved_has_no_weight():
    some = np.arange(N) % 2 == 0
    found = reweight(means([0.5], [1e-6], [Z]), some)
    assert np.all(found.weights[~some] == 0.0)
    assert found.weights.sum() == pytest.approx(1.0)
    assert found.effective < some.sum()


def test_a_target_out_of_reach_leaves_everybody_a_weight():
    """Weight 0 is of those who were not solved; and there are targets that nobody comes near."""
    some = np.arange(N) % 2 == 0
    found = reweight(means([1e4], [1.0], [Z]), some)
    assert found.effective == pytest.approx(1.0, abs=1e-3)
    assert np.argmax(found.weights) == np.argmax(np.where(some, Z, -np.inf))
    assert np.array_equal(found.weights > 0.0, some)


def test_two_targets_that_contradict_each_other_are_named():
    other = np.random.default_rng(2).normal(size=N)
    evaluate = means([0.6, 0.0, 0.2], [0.05, 0.05, 0.05], [Z, Z, other])
    whole = reweight(evaluate, EVERYBODY)
    # A compromise in the middle.
    assert whole.weights @ Z == pytest.approx(0.3, abs=0.01)

    def refit(included: np.ndarray) -> Optimum:
        part = reweight(evaluate, EVERYBODY, included)
        return Optimum(part.statistics.deviation / 0.05, part.objective)

    found = conflicts(refit, 3)
    assert [(pair.first, pair.second) for pair in found.pairs] == [(0, 1)]
    # 0.6 apart, in the standard error of a difference; the plausible range adds a little.
    assert found.distance[0] == pytest.approx(0.6 / (0.05 * np.sqrt(2)), rel=0.1)
    assert found.distance[2] < 1.0
    (words,) = in_words(found, ["one", "two", "three"])
    assert "“one” and “two” cannot be met together" in words
    assert "6.0 standard errors below it" in words


def test_a_target_that_only_the_plausible_range_forbids_is_named_alone():
    evaluate = means([6.0], [0.05], [Z])  # nobody is above 4

    def refit(included: np.ndarray) -> Optimum:
        part = reweight(evaluate, EVERYBODY, included)
        return Optimum(part.statistics.deviation / 0.05, part.objective)

    found = conflicts(refit, 1)
    assert not found.pairs
    (words,) = in_words(found, ["far"])
    assert "“far” lies" in words and "plausible range" in words
