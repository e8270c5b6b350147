"""Prediction errors are standard normal for the right model, and tell of the wrong one."""

import numpy as np
import pytest

from cohorts.diagnosis import normality, prediction_errors

SUBJECT = np.repeat(np.arange(80), 5)
NO_LIMIT = np.full(SUBJECT.shape, -np.inf)


def data_sets(replicates: int, seed: int, mean: float = 0.0, sd: float = 0.3) -> np.ndarray:
    """Correlated observations within a subject, somewhat skewed, (replicates, observations)."""
    random = np.random.default_rng(seed)
    own = np.repeat(random.normal(0, 1, (replicates, 80)), 5, axis=1)
    return np.exp(mean + sd * (own + 0.5 * random.normal(size=(replicates, SUBJECT.size))))


def errors(observed: np.ndarray, limit: np.ndarray = NO_LIMIT):
    return prediction_errors(observed, observed < limit, limit, data_sets(1000, 1), SUBJECT, seed=7)


def test_they_are_standard_normal_where_the_model_is_right():
    p_values = [normality(errors(data_sets(1, seed)[0]).npde).together for seed in range(10, 30)]
    # Uniform or larger (Bonferroni): 20 draws all above 0.001 but for 2 % of all sets of seeds.
    assert min(p_values) > 0.001
    assert np.mean(np.array(p_values) < 0.05) <= 0.2


def test_decorrelation_takes_the_subject_out():
    found = errors(data_sets(1, 10)[0])

    def correlation(values: np.ndarray) -> float:
        pairs = values.reshape(80, 5)
        return float(np.corrcoef(pairs[:, 0], pairs[:, 1])[0, 1])

    assert correlation(found.npd) > 0.6
    assert abs(correlation(found.npde)) < 0.3


@pytest.mark.parametrize(("wrong", "which"), [({"mean": 0.3}, "mean"), ({"sd": 0.5}, "variance")])
def test_a_wrong_model_is_found_out(wrong, which):
    found = normality(errors(data_sets(1, 10, **wrong)[0]).npde)
    assert getattr(found, which) < 0.001
    assert found.together < 0.003


def test_values_below_the_limit_are_spread_over_what_is_below():
    limit = np.full(SUBJECT.shape, 1.0)
    observed = data_sets(1, 10)[0]
    found = errors(observed, limit)
    assert np.isfinite(found.npde).all()
    assert normality(found.npde).together > 0.001
    # What the censored values were does not matter.
    hidden = np.where(observed < 1.0, 1e-9, observed)
    np.testing.assert_array_equal(errors(hidden, limit).npde, found.npde)


def test_an_observation_beyond_all_simulations_has_an_error_that_they_can_tell():
    observed = data_sets(1, 10)[0]
    observed[0] = 1e9
    found = errors(observed)
    assert found.npd[0] > 3.0
    assert np.isfinite(found.npde).all()
