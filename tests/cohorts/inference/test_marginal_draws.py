"""Draws of a posterior as coordinates, and the density of their prior."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from cohorts.inference import (
    Joint,
    coordinates_of_draws,
    log_prior_of_draws,
    marginal_of_draws,
)


def test_the_prior_of_draws_is_that_of_the_parameters_and_not_of_their_coordinates(oral, weighed):
    number = {"kind": "log_normal", "median": "2.8 L/h", "sd": 1.0}
    typical = {"absorption_rate": "1 1/h", "central_volume": "32 L", "clearance": number}
    changed = {name: {"typical": of, "between_subject": None} for name, of in typical.items()}
    joint, data = Joint.of(oral(changed=changed), weighed())
    draws = {
        "typical_clearance": np.array([2.0, 3.0, 5.0]),
        "residual_sd_concentration": np.array([0.2, 0.7, 1.1]),
    }
    assert set(joint.sites) == set(draws)
    theta = coordinates_of_draws(joint, draws, data)
    np.testing.assert_allclose(np.exp(theta), np.stack([draws[n] for n in joint.sites], axis=1))
    # The half-normal prior's scale is that of `oral`, 1 mg/L.
    expected = stats.lognorm.logpdf(draws["typical_clearance"], 1.0, scale=2.8)
    expected += stats.halfnorm.logpdf(draws["residual_sd_concentration"], scale=1.0)
    np.testing.assert_allclose(log_prior_of_draws(joint, theta, data), expected, rtol=1e-10)
    jacobian = float(joint.log_prior(jnp.asarray(theta[0]), data)) - expected[0]
    assert jacobian == pytest.approx(theta[0].sum())


def test_without_random_effects_the_marginal_likelihood_is_the_likelihood(oral, table):
    known = {"absorption_rate": "1 1/h", "clearance": "3 L/h", "central_volume": "30 L"}
    changed = {
        name: {"typical": of, "between_subject": None, "covariates": {}}
        for name, of in known.items()
    }
    joint, data = Joint.of(oral(changed=changed, vocabulary={}), table(((4.0,), (5.0,)), (8.0,)))
    assert joint.effects == ()
    sd = np.array([0.5, 1.0, 2.0])
    found = marginal_of_draws(joint, np.log(sd)[:, None], data)
    true = 300.0 / (30.0 * (1.0 - 0.1)) * (np.exp(-0.8) - np.exp(-8.0))
    expected = stats.norm.logpdf(np.array([4.0, 5.0]), true, sd[:, None])
    np.testing.assert_allclose(found, expected, rtol=1e-9)
