"""Ratios of geometric means: least squares trial by trial, and the exact power of equivalence."""

import math

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import integrate, stats

from trials.analyses import (
    Status,
    crossover_geometric_mean_ratio,
    crossover_mean_difference,
    geometric_mean_ratio,
    in_batches,
)

MARGINS = jnp.log(jnp.array([0.8, 1.25]))
EQUIVALENCE = {"level": 0.9, "margins": MARGINS}


def crossovers(trials, subjects, sequences, *, ratio, cv, seed=1, missing=0.0):
    """Values, arms and which are used of crossovers, (trial, subject, period)."""
    random = np.random.default_rng(seed)
    sequences = np.array(sequences)
    arm = sequences[np.arange(subjects) % len(sequences)]
    arm = np.broadcast_to(arm, (trials, *arm.shape))
    within = math.sqrt(math.log1p(cv**2))
    logarithm = (
        math.log(ratio) * (arm == 1)
        + 0.3 * np.arange(arm.shape[-1])
        + random.normal(4, 0.5, (trials, subjects, 1))
        + random.normal(0, within, arm.shape)
    )
    used = random.random(arm.shape) >= missing
    return np.where(used, np.exp(logarithm), np.nan), arm, used


def parallel(trials, subjects, *, ratio, cv, seed=1):
    """Values, arms and which are used of trials with two groups, (trial, subject)."""
    random = np.random.default_rng(seed)
    arm = np.broadcast_to(np.arange(subjects) % 2, (trials, subjects))
    spread = math.sqrt(math.log1p(cv**2))
    logarithm = math.log(ratio) * arm + random.normal(4, spread, arm.shape)
    return np.exp(logarithm), arm, np.ones(arm.shape, bool)


def exact_power(ratio, cv, error, freedom, alpha=0.05, margins=(0.8, 1.25)):
    """Power of two one-sided t tests, integrated over the estimated standard deviation.

    `error`: the estimate's standard error over the standard deviation of a logarithm.
    """
    error *= math.sqrt(math.log1p(cv**2))
    quantile = stats.t.ppf(1 - alpha, freedom)
    low, high = (math.log(margin / ratio) / error for margin in margins)

    def given(estimated):
        room = stats.norm.cdf(high - quantile * estimated) - stats.norm.cdf(
            low + quantile * estimated
        )
        # The estimated over the true one is chi over the root of its degrees of freedom.
        density = stats.chi.pdf(estimated * math.sqrt(freedom), freedom) * math.sqrt(freedom)
        return max(room, 0.0) * density

    widest = (high - low) / 2 / quantile
    return integrate.quad(given, 0, widest, epsabs=1e-10, limit=200)[0]


def test_the_exact_power_is_that_of_published_tables():
    # PowerTOST 1.5 (Labes, Schütz, Lang), power.TOST with margins 80 to 125 %, ratio 95 %.
    crossover = {(0.20, 24): 0.8960, (0.30, 40): 0.8158}
    for (cv, subjects), published in crossover.items():
        found = exact_power(0.95, cv, math.sqrt(2 / subjects), subjects - 2)
        assert found == pytest.approx(published, abs=5.1e-5)


@pytest.mark.parametrize(
    ("cv", "subjects"), [(0.2, 24), pytest.param(0.3, 40, marks=pytest.mark.slow)]
)
def test_crossovers_have_the_power_that_theory_gives(cv, subjects):
    trials = 4000
    drawn = crossovers(trials, subjects, [[1, 0], [0, 1]], ratio=0.95, cv=cv)
    found = in_batches(crossover_geometric_mean_ratio, *map(jnp.asarray, drawn), **EQUIVALENCE)
    power = exact_power(0.95, cv, math.sqrt(2 / subjects), subjects - 2)
    error = math.sqrt(power * (1 - power) / trials)
    assert np.mean(found.p_value < 0.05) == pytest.approx(power, abs=3.5 * error)
    inside = (found.lower > MARGINS[0]) & (found.upper < MARGINS[1])
    np.testing.assert_array_equal(inside, found.p_value < 0.05)


def test_parallel_trials_have_the_power_that_theory_gives():
    trials, subjects = 4000, 70
    drawn = parallel(trials, subjects, ratio=0.95, cv=0.25)
    found = in_batches(geometric_mean_ratio, *map(jnp.asarray, drawn), **EQUIVALENCE)
    power = exact_power(0.95, 0.25, math.sqrt(4 / subjects), subjects - 2)
    error = math.sqrt(power * (1 - power) / trials)
    assert 0.5 < power < 0.95
    assert np.mean(found.p_value < 0.05) == pytest.approx(power, abs=3.5 * error)


def test_at_a_margin_no_more_than_alpha_of_trials_succeed():
    drawn = crossovers(4000, 24, [[1, 0], [0, 1]], ratio=1.25, cv=0.15)
    found = in_batches(crossover_geometric_mean_ratio, *map(jnp.asarray, drawn), **EQUIVALENCE)
    assert np.mean(found.p_value < 0.05) == pytest.approx(0.05, abs=3.5 * math.sqrt(0.05 / 4000))


SEQUENCES = [[[1, 0], [0, 1]], [[0, 1, 2], [1, 2, 0], [2, 0, 1]], [[1, 0, 1, 0], [0, 1, 0, 1]]]


@pytest.mark.parametrize(
    "sequences",
    [
        pytest.param(SEQUENCES[0], id="2x2"),
        pytest.param(SEQUENCES[1], id="3x3", marks=pytest.mark.slow),
        pytest.param(SEQUENCES[2], id="replicate"),
    ],
)
def test_a_crossover_is_least_squares_with_an_effect_of_every_subject(sequences):
    drawn = crossovers(3, 12, sequences, ratio=0.9, cv=0.2, missing=0.15)
    arms = 1 + int(np.max(sequences))
    found = crossover_geometric_mean_ratio(*map(jnp.asarray, drawn), arms=arms, level=0.9)
    value, arm, used = drawn
    for trial in range(3):
        subject, period = np.nonzero(used[trial])
        frame = pd.DataFrame(
            {
                "y": np.log(value[trial][subject, period]),
                "subject": subject,
                "period": period,
                "arm": arm[trial][subject, period],
            }
        )
        fit = smf.ols("y ~ C(subject) + C(period) + C(arm)", frame).fit()
        assert float(found.degrees_of_freedom[trial]) == fit.df_resid
        lower, upper = fit.conf_int(0.1).loc["C(arm)[T.1]"]
        theirs = [fit.params["C(arm)[T.1]"], fit.bse["C(arm)[T.1]"], lower, upper]
        ours = [found.estimate, found.standard_error, found.lower, found.upper]
        np.testing.assert_allclose([float(o[trial]) for o in ours], theirs, rtol=1e-10, atol=1e-12)
        assert float(found.p_value[trial]) == pytest.approx(fit.pvalues["C(arm)[T.1]"], rel=1e-9)


def test_a_difference_in_means_within_subjects_is_that_of_paired_values_by_sequence():
    """Two periods: half the difference of the sequences' mean differences between periods."""
    value, arm, used = crossovers(2, 10, [[1, 0], [0, 1]], ratio=0.8, cv=0.3)
    value = value - 1.0  # some below zero, which have no logarithm
    used = used.copy()
    used[0, 3, 1] = False
    found = crossover_mean_difference(*map(jnp.asarray, (value, arm, used)), level=0.9)
    for trial in range(2):
        whole = used[trial].all(axis=1)
        apart = (value[trial, :, 0] - value[trial, :, 1])[whole]
        first = arm[trial, whole, 0] == 1
        _, p = stats.ttest_ind(apart[first], apart[~first])
        expected = (apart[first].mean() - apart[~first].mean()) / 2
        assert float(found.estimate[trial]) == pytest.approx(expected, rel=1e-10)
        assert float(found.p_value[trial]) == pytest.approx(p, rel=1e-9)
        taken = value[trial][whole]
        means = [taken[arm[trial][whole] == number].mean() for number in (0, 1)]
        np.testing.assert_allclose(found.mean[trial], means, rtol=1e-12)


def test_two_groups_are_a_t_test_of_logarithms():
    value, arm, used = parallel(2, 20, ratio=0.8, cv=0.3)
    found = geometric_mean_ratio(*map(jnp.asarray, (value, arm, used)))
    for trial in range(2):
        groups = [np.log(value[trial][arm[trial] == number]) for number in (1, 0)]
        _, expected = stats.ttest_ind(*groups)
        assert float(found.p_value[trial]) == pytest.approx(expected, rel=1e-10)
        means = [np.exp(groups[1].mean()), np.exp(groups[0].mean())]
        np.testing.assert_allclose(found.mean[trial], means, rtol=1e-12)


def test_what_has_no_logarithm_or_no_partner_is_left_out():
    value, arm, used = crossovers(1, 12, [[1, 0], [0, 1]], ratio=1.0, cv=0.2)
    value[0, 0, 0], used[0, 1, 1] = 0.0, False
    found = crossover_geometric_mean_ratio(*map(jnp.asarray, (value, arm, used)))
    assert found.n.tolist() == [[10, 10]]
    alone = crossover_geometric_mean_ratio(*(jnp.asarray(c[:, 2:]) for c in (value, arm, used)))
    np.testing.assert_allclose(found.estimate, alone.estimate, rtol=1e-12)


def test_crossovers_that_cannot_be_analysed_say_why():
    value, arm, used = crossovers(4, 6, [[1, 0], [0, 1]], ratio=1.0, cv=0.2)
    arm = arm.copy()
    arm[0] = [1, 0]  # everybody in one order
    used[1, 1:] = False
    value[2] = 2.0
    found = crossover_geometric_mean_ratio(*map(jnp.asarray, (value, arm, used)), **EQUIVALENCE)
    statuses = [Status.SINGULAR, Status.TOO_FEW, Status.NO_VARIATION, Status.OK]
    assert found.status.tolist() == statuses
    assert np.isnan(found.p_value[:3]).all() and np.isfinite(found.p_value[3])
