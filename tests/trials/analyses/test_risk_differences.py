import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import norm
from statsmodels.stats.proportion import confint_proportions_2indep, proportions_chisquare

from trials.analyses import (
    Status,
    in_batches,
    risk_difference_mantel_haenszel,
    risk_difference_miettinen_nurminen,
    risk_difference_newcombe,
)


def _tables(data, trial):
    """Responders and subjects of arms 1 and 0."""
    groups = [data.used[trial] & (data.arm[trial] == arm) for arm in (1, 0)]
    return [(int(data.response[trial][rows].sum()), int(rows.sum())) for rows in groups]


def _table(responders, subjects):
    """One trial from its 2 × 2 table (treatment, reference), padded to the others' shape."""
    (x1, x0), (n1, n0) = responders, subjects
    response, arm, used = (np.zeros((50, 60), dtype) for dtype in (bool, int, bool))
    response[0, : n1 + n0] = np.concatenate([np.arange(n1) < x1, np.arange(n0) < x0])
    arm[0, :n1] = 1
    used[0, : n1 + n0] = True
    return jnp.asarray(response), jnp.asarray(arm), jnp.asarray(used)


def test_newcombe_equals_statsmodels_in_every_trial(draw_trials):
    data = draw_trials(50, 60, effect=0.8, seed=1)
    found = risk_difference_newcombe(*map(jnp.asarray, (data.response, data.arm, data.used)))
    for trial in range(50):
        (x1, n1), (x0, n0) = _tables(data, trial)
        expected = confint_proportions_2indep(x1, n1, x0, n0, method="newcomb", compare="diff")
        np.testing.assert_allclose((found.lower[trial], found.upper[trial]), expected, atol=1e-12)
        chi_square = proportions_chisquare([x1, x0], [n1, n0])
        np.testing.assert_allclose(found.p_value[trial], chi_square[1], rtol=1e-9)


def _score_by_search(x1, n1, x0, n0, difference):
    """The score statistic with the restricted likelihood maximised numerically."""

    def loss(p0):
        p1 = p0 + difference
        successes = x1 * np.log(p1) + x0 * np.log(p0)
        return -successes - (n1 - x1) * np.log1p(-p1) - (n0 - x0) * np.log1p(-p0)

    bounds = max(0, -difference) + 1e-12, min(1, 1 - difference) - 1e-12
    p0 = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
    p1 = p0 + difference
    variance = (p1 * (1 - p1) / n1 + p0 * (1 - p0) / n0) * (n1 + n0) / (n1 + n0 - 1)
    return (x1 / n1 - x0 / n0 - difference) / np.sqrt(variance)


def test_miettinen_nurminen_bounds_are_where_the_score_meets_the_quantile(draw_trials):
    """Not compared with statsmodels: its restricted estimate is off where arms differ in size."""
    data = draw_trials(50, 60, effect=0.8, seed=2)
    arrays = [jnp.asarray(array) for array in (data.response, data.arm, data.used)]
    found = risk_difference_miettinen_nurminen(*arrays, level=0.9)
    for trial in range(50):
        (x1, n1), (x0, n0) = _tables(data, trial)
        for bound, score in ((found.lower, norm.ppf(0.95)), (found.upper, norm.ppf(0.05))):
            searched = _score_by_search(x1, n1, x0, n0, float(bound[trial]))
            # A numerical maximum is known to the square root of the precision, about 1e-8.
            np.testing.assert_allclose(searched, score, atol=1e-6)


def test_score_test_and_interval_agree(draw_trials):
    data = draw_trials(400, 60, effect=0.9, seed=3)
    arrays = (data.response, data.arm, data.used)
    found = in_batches(risk_difference_miettinen_nurminen, *arrays, width=50, level=0.95)
    outside = (found.lower > 0) | (found.upper < 0)
    np.testing.assert_array_equal(outside, found.p_value < 0.05)
    assert 0 < outside.sum() < 400


@pytest.mark.parametrize(
    "estimator", [risk_difference_newcombe, risk_difference_miettinen_nurminen]
)
@pytest.mark.parametrize("responders", [(0, 0), (10, 12), (10, 0), (0, 12), (3, 0)])
def test_score_intervals_exist_at_the_edges(estimator, responders):
    found = estimator(*_table(responders, (10, 12)))
    difference = responders[0] / 10 - responders[1] / 12
    assert found.status[0] == Status.OK
    # At a risk difference of ±1 the bound is the end of the scale, met up to rounding.
    assert -1 - 1e-12 <= found.lower[0] <= difference + 1e-12
    assert difference - 1e-12 <= found.upper[0] <= 1 + 1e-12
    assert found.upper[0] - found.lower[0] > 0.2
    if difference == 0:
        assert found.p_value[0] == 1


def test_mantel_haenszel_equals_the_formula_stratum_by_stratum(draw_trials):
    data = draw_trials(50, 60, effect=0.5, seed=4)
    arrays = map(jnp.asarray, (data.response, data.arm, data.used, data.stratum))
    found = risk_difference_mantel_haenszel(*arrays, strata=5)
    for trial in range(50):
        numerator = weight = p = q = 0.0
        for stratum in range(5):
            rows = data.used[trial] & (data.stratum[trial] == stratum)
            treated, control = (rows & (data.arm[trial] == arm) for arm in (1, 0))
            n1, n0 = int(treated.sum()), int(control.sum())
            if n1 == 0 or n0 == 0:
                continue
            x1, x0 = data.response[trial][treated].sum(), data.response[trial][control].sum()
            total = n1 + n0
            numerator += (x1 * n0 - x0 * n1) / total
            weight += n1 * n0 / total
            p += (n1**2 * x0 - n0**2 * x1 + n1 * n0 * (n0 - n1) / 2) / total**2
            q += (x1 * (n0 - x0) + x0 * (n1 - x1)) / (2 * total)
        estimate = numerator / weight
        np.testing.assert_allclose(found.estimate[trial], estimate, rtol=1e-11)
        error = np.sqrt((estimate * p + q) / weight**2)
        np.testing.assert_allclose(found.standard_error[trial], error, rtol=1e-11)


def test_mantel_haenszel_in_one_stratum_is_the_plain_difference():
    response, arm, used = _table((7, 3), (10, 12))
    found = risk_difference_mantel_haenszel(response, arm, used, jnp.zeros_like(arm), strata=5)
    np.testing.assert_allclose(found.estimate[0], 7 / 10 - 3 / 12, rtol=1e-13)


def test_mantel_haenszel_failures_are_told_apart():
    response, arm, used = _table((0, 0), (10, 12))
    stratum = jnp.zeros_like(arm)
    assert risk_difference_mantel_haenszel(response, arm, used, stratum, strata=5).status[0] == (
        Status.NO_VARIATION
    )
    response, arm, used = _table((7, 3), (10, 12))
    confounded = risk_difference_mantel_haenszel(response, arm, used, arm, strata=5)
    assert confounded.status[0] == Status.SINGULAR and np.isnan(confounded.p_value[0])


def test_error_rate_and_coverage_are_nominal():
    generator = np.random.default_rng(5)
    shape = (5000, 300)
    stratum = generator.integers(0, 6, shape)
    arm = generator.integers(0, 2, shape)
    response = generator.random(shape) < 0.2 + 0.1 * stratum
    arrays = [jnp.asarray(a) for a in (response, arm, np.ones(shape, bool), stratum)]
    three_mcse = 3 * np.sqrt(0.05 * 0.95 / 5000)
    for found in (
        risk_difference_mantel_haenszel(*arrays, strata=6),
        risk_difference_miettinen_nurminen(*arrays[:3]),
        risk_difference_newcombe(*arrays[:3]),
    ):
        assert abs(np.mean(found.p_value < 0.05) - 0.05) < three_mcse
        assert abs(np.mean((found.lower <= 0) & (found.upper >= 0)) - 0.95) < three_mcse
