"""Paired risks: published intervals, McNemar's test, the restricted maximum by its slope."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm
from statsmodels.stats.contingency_tables import mcnemar

from trials.analyses import Status, crossover_risk_difference

MOST = 170


def crossovers(tables):
    """Trials from their pairs (both, treatment alone, reference alone, neither), padded."""
    shape = (len(tables), MOST, 2)
    response, arm, used = np.zeros(shape, bool), np.zeros(shape, int), np.zeros(shape, bool)
    for trial, (both, first, second, neither) in enumerate(tables):
        treated = np.repeat([True, True, False, False], (both, first, second, neither))
        compared = np.repeat([True, False, True, False], (both, first, second, neither))
        order = np.arange(len(treated)) % 2
        response[trial, : len(treated), 0] = np.where(order, treated, compared)
        response[trial, : len(treated), 1] = np.where(order, compared, treated)
        arm[trial, : len(treated)] = np.stack([order, 1 - order], axis=-1)
        used[trial, : len(treated)] = True
    return jnp.asarray(response), jnp.asarray(arm), jnp.asarray(used)


TABLES = [(1, 1, 7, 12), (59, 6, 16, 80), (10, 0, 0, 12), (0, 20, 0, 0), (5, 9, 2, 4), (0, 1, 0, 0)]


@pytest.fixture(scope="module")
def found():
    return crossover_risk_difference(*crossovers(TABLES))


def test_intervals_are_the_published_ones(found):
    # Airway reactivity before and after transplantation (Bentur 2009), and response before and
    # after consolidation (Cavo 2012), as in R's contingencytables 3.0 and Fagerland, Lydersen &
    # Laake, Stat Med 2014;33:2850-2875.
    published = [(-0.2857, -0.517, -0.026), (-0.0621, -0.1240, -0.0054)]
    for trial, numbers in enumerate(published):
        ours = [float(column[trial]) for column in (found.estimate, found.lower, found.upper)]
        np.testing.assert_allclose(ours, numbers, atol=5.1e-4 if trial == 0 else 5.1e-5)
    assert float(found.p_value[1]) == pytest.approx(0.033006, abs=5e-7)


def test_the_test_of_no_difference_is_mcnemar_s(found):
    for trial in (0, 1, 4):
        both, first, second, neither = TABLES[trial]
        table = [[both, first], [second, neither]]
        expected: Any = mcnemar(table, exact=False, correction=False)
        assert float(found.p_value[trial]) == pytest.approx(expected.pvalue, rel=1e-10)
    assert float(found.p_value[2]) == 1.0
    assert found.n[:5].tolist() == [[sum(table)] * 2 for table in TABLES[:5]]
    shares = [[(both + second) / 161, (both + first) / 161] for both, first, second, _ in TABLES]
    np.testing.assert_allclose(found.mean[1], shares[1], rtol=1e-12)


def test_bounds_are_where_the_score_meets_the_quantile(found):
    for trial in (0, 1, 4):
        both, first, second, neither = TABLES[trial]
        pairs = both + first + second + neither
        for bound, quantile in ((found.lower, 1.959964), (found.upper, -1.959964)):
            difference = float(bound[trial])

            def slope(alone, difference=difference, first=first, second=second, pairs=pairs):
                """Of the log likelihood by the share of responses under the reference alone."""
                rest = (pairs - first - second) / (1 - 2 * alone - difference)
                return first / (alone + difference) + second / alone - 2 * rest

            ends = max(0.0, -difference) + 1e-12, (1 - difference) / 2 - 1e-12
            alone: Any = brentq(slope, *ends, xtol=1e-15)
            spread = np.sqrt(pairs * (2 * alone + difference * (1 - difference)))
            score = (first - second - pairs * difference) / spread
            assert score == pytest.approx(quantile, abs=1e-6)


def test_intervals_exist_at_the_edges_and_single_pairs_do_not(found):
    assert found.status.tolist() == [Status.OK] * 5 + [Status.TOO_FEW]
    assert -0.2 < found.lower[2] < 0 < found.upper[2] < 0.2
    # All 20 pairs respond to the treatment alone: z² is n (1 - difference) / (1 + difference).
    squared = 1.959964**2
    assert found.upper[3] == pytest.approx(1.0)
    assert found.lower[3] == pytest.approx((20 - squared) / (20 + squared), rel=1e-6)
    assert np.isnan(found.p_value[5])


def test_pairs_need_both_arms():
    response, arm, used = crossovers(TABLES)
    used = used.at[4, :3, 1].set(False)
    found = crossover_risk_difference(response, arm, used)
    assert found.n[4].tolist() == [17, 17]


def test_against_a_margin_test_and_interval_agree_and_err_as_alpha_says():
    random = np.random.default_rng(8)
    trials, pairs, margin = 3000, 120, -0.1
    # Shares of pairs with a true difference at the margin: 0.08 - 0.18.
    which = random.choice(4, (trials, pairs), p=[0.5, 0.08, 0.18, 0.24])
    treated, compared = np.isin(which, (0, 1)), np.isin(which, (0, 2))
    response = jnp.asarray(np.stack([treated, compared], axis=-1))
    arm = jnp.broadcast_to(jnp.array([1, 0]), response.shape)
    used = jnp.ones(response.shape, bool)
    margins = jnp.array([margin, jnp.inf])
    found = crossover_risk_difference(response, arm, used, level=0.9, margins=margins)
    shown = np.asarray(found.p_value < 0.05)
    np.testing.assert_array_equal(shown, found.lower > margin)
    assert shown.mean() == pytest.approx(norm.sf(1.645), abs=3.5 * np.sqrt(0.05 * 0.95 / trials))
