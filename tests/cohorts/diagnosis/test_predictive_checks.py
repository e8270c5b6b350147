"""Visual predictive checks show a model that is right as right, and one that is wrong as wrong."""

import numpy as np
import pytest

from cohorts.diagnosis import prediction_corrected, time_bins, visual_predictive_check

TIMES = np.tile([0.5, 1.0, 2.0, 4.0, 8.0, 24.0], 60)
NO_LIMIT = np.full(TIMES.shape, -np.inf)


def simulated(replicates: int, seed: int, scale: float = 1.0) -> np.ndarray:
    """Log-normal subjects around an exponential decline, (replicates, observations)."""
    random = np.random.default_rng(seed)
    subjects = np.repeat(random.normal(0, 0.3, (replicates, 60)), 6, axis=1)
    residual = random.normal(0, 0.1, (replicates, TIMES.size))
    return scale * 10 * np.exp(-0.1 * TIMES + subjects + residual)


def check(observed: np.ndarray, limit: np.ndarray = NO_LIMIT, replicates: int = 400):
    return visual_predictive_check(
        TIMES, observed, observed < limit, limit, simulated(replicates, 1), time_bins(TIMES)
    )


def test_bins_are_the_nominal_times_of_a_protocol():
    bins = time_bins(TIMES)
    assert [set(TIMES[bins == b]) for b in range(6)] == [{t} for t in sorted(set(TIMES))]


def test_scattered_times_are_cut_where_they_are_sparse():
    random = np.random.default_rng(3)
    centres = np.array([1.0, 5.0, 12.0, 30.0])
    times = np.concatenate([c + random.uniform(-0.2, 0.2, 25) for c in centres])
    bins = time_bins(times, most=4)
    assert np.array_equal(bins, np.repeat(np.arange(4), 25))


def test_few_observations_make_few_bins():
    assert time_bins(np.array([0.0, 1.0, 2.0])).max() == 0
    assert time_bins(np.array([4.0])).tolist() == [0]


def test_a_right_model_covers_what_was_observed_about_as_often_as_it_says():
    shares = [check(simulated(1, seed)[0]).covered() for seed in range(100, 140)]
    # 40 data sets of 18 percentiles at 90 %: the percentiles of a data set are correlated, so the
    # standard error is that of 40, not of 720, values.
    assert np.mean(shares) == pytest.approx(0.9, abs=3 * np.std(shares) / np.sqrt(40) + 0.01)


def test_a_model_that_is_a_fifth_off_is_seen():
    found = check(simulated(1, 100, scale=1.4)[0])
    assert (found.observed[1] > found.upper[1]).all()


def test_what_lies_below_the_limit_is_not_shown_but_counted():
    limit = np.full(TIMES.shape, 1.0)
    found = check(simulated(1, 100)[0], limit)
    last = found.time == 24.0
    assert found.censored[last] > 0.5
    assert np.isnan(found.observed[:2, last]).all()
    assert found.censored_lower[last] <= found.censored[last] <= found.censored_upper[last]
    first = found.time == 0.5
    assert found.censored[first] == 0.0
    assert np.isfinite(found.observed[:, first]).all()


def test_correction_takes_differences_of_dose_out():
    random = np.random.default_rng(5)
    dose = np.repeat(random.choice([50.0, 500.0], 60), 6)
    predicted = dose / 10 * np.exp(-0.1 * TIMES)
    values = predicted * np.exp(random.normal(0, 0.1, TIMES.size))
    bins = time_bins(TIMES)
    corrected = prediction_corrected(values, predicted, bins)
    for b in range(6):
        assert np.std(np.log(values[bins == b])) > 0.8
        assert np.std(np.log(corrected[bins == b])) == pytest.approx(0.1, rel=0.4)
    logarithms = prediction_corrected(np.log(values), np.log(predicted), bins, logarithmic=True)
    # The median of logarithms is the logarithm of the median up to what averages two middle ones.
    for b in range(6):
        assert np.std(logarithms[bins == b]) == pytest.approx(np.std(np.log(corrected[bins == b])))
