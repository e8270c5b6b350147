"""Gompertzian growth with noise has the log-normal law that is derived for it."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from insilico.models.gompertz_noise import MODEL, Parameters
from insilico.randomness import purpose_key, subject_keys
from insilico.solve import Input, Status, Tolerances, schedule, solve

MANY = 20_000
START, DECELERATION, PLATEAU, VOLATILITY = 1.0, 0.1, 20.0, 0.2


def _on(time: float, mean: float, variance: float, kill: float) -> tuple[float, float]:
    """Mean and variance of the logarithm a time later."""
    limit = np.log(PLATEAU) - (kill + VOLATILITY**2 / 2) / DECELERATION
    kept = np.exp(-DECELERATION * time)
    gained = VOLATILITY**2 * (1 - kept**2) / (2 * DECELERATION)
    return limit + (mean - limit) * kept, variance * kept**2 + gained


@pytest.mark.slow
def test_the_logarithm_has_its_closed_form_with_and_without_therapy():
    zeros = jnp.zeros(MANY, int)
    keys = subject_keys(purpose_key(11, "noise"), zeros, zeros, jnp.arange(MANY))
    events, pattern = schedule(MODEL, [Input(10.0, "kill", 0.05)], observe=[5.0, 10.0, 20.3])
    parameters = Parameters(START, DECELERATION, PLATEAU, np.full(MANY, VOLATILITY))
    solution = solve(
        MODEL, parameters, events, pattern, noise=keys, tolerances=Tolerances(step=1 / 64)
    )
    assert np.all(solution.status == Status.OK)
    logs = np.log(solution.outputs.volume)
    law, expected = (np.log(START), 0.0), []
    for time, kill in ((5.0, 0.0), (5.0, 0.0), (10.3, 0.05)):
        law = _on(time, *law, kill)
        expected.append(law)
    means, variances = np.array(expected).T
    # Four standard errors: of the mean 0.009 and less, of the variance 4 % of it.
    assert np.all(np.abs(logs.mean(axis=0) - means) < 4.0 * np.sqrt(variances / MANY))
    assert np.all(np.abs(logs.var(axis=0) / variances - 1.0) < 4.0 * np.sqrt(2.0 / MANY))
    normal = (logs - means) / np.sqrt(variances)
    assert min(stats.kstest(column, "norm").pvalue for column in normal.T) > 1e-3


@pytest.mark.slow
def test_without_noise_it_is_gompertz_law():
    events, pattern = schedule(MODEL, [], observe=[5.0, 30.0])
    zeros = jnp.zeros(1, int)
    keys = subject_keys(purpose_key(11, "noise"), zeros, zeros, zeros)
    solution = solve(
        MODEL,
        Parameters(START, DECELERATION, PLATEAU, 0.0),
        events,
        pattern,
        noise=keys,
        tolerances=Tolerances(step=1 / 256),
    )
    exact = PLATEAU * np.exp(
        np.log(START / PLATEAU) * np.exp(-DECELERATION * np.array([5.0, 30.0]))
    )
    # First order in time: steps of 0.004 of 10 d.
    np.testing.assert_allclose(solution.outputs.volume[0], exact, rtol=1e-3)
