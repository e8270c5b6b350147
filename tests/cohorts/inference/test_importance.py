"""Importance sampling against quadrature, closed forms, and proposals that do not fit."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from scipy.special import logsumexp

from cohorts.inference import Joint, importance, marginal
from cohorts.inference.expansions import log_density

from .stand_ins import Data, Normal, Predicted, decay, linear, quickly

KEY = jax.random.key(5)
TYPICAL = {
    "typical_absorption_rate": 1.5,
    "typical_clearance": 2.8,
    "typical_central_volume": 32.0,
    "sd_absorption_rate": 0.5,
    "sd_clearance": 0.3,
    "sd_central_volume": 0.2,
}


@pytest.mark.slow
def test_it_agrees_with_quadrature():
    joint, theta, data = decay(3)
    found = importance(joint, theta, data, key=KEY, draws=4000)
    # On a grid of a hundredth of the effects' spread, far beyond where the density is.
    grids = [
        c + np.exp(s) * np.linspace(-6, 6, 301) for c, s in zip(theta[:2], theta[2:4], strict=True)
    ]
    cell = np.log(np.prod([grid[1] - grid[0] for grid in grids]))
    first, second = (np.ravel(each) for each in np.meshgrid(*grids))
    wide = dataclasses.replace(joint, subjects=len(first))
    for subject in range(joint.subjects):
        own = jax.tree.map(lambda leaf, s=subject: leaf[..., s : s + 1], data)
        density = log_density(wide, jnp.asarray(theta), jnp.stack([first, second]), own, None)
        expected = logsumexp(density) + cell
        assert abs(found.log_marginal[subject] - expected) < 4.0 * found.standard_error[subject]
    assert np.all(found.standard_error < 0.02) and np.all(found.pareto_k < 0.5)


def test_it_agrees_with_the_closed_form_of_linear_models():
    joint, theta, data = linear()
    found = importance(joint, theta, data, key=KEY, draws=2000)
    away = found.log_marginal - joint.log_marginal(theta, data)
    assert np.all(np.abs(away) < 4.0 * found.standard_error)


@pytest.mark.slow
def test_a_subjects_draws_do_not_depend_on_the_others():
    joint, theta, data = decay(3)
    found = importance(joint, theta, data, key=KEY, draws=50)
    first = jax.tree.map(lambda leaf: leaf[..., :1], data)
    alone = importance(dataclasses.replace(joint, subjects=1), theta, first, key=KEY, draws=50)
    np.testing.assert_array_equal(alone.x[..., 0], found.x[..., 0])
    # Draws are added up in another order.
    assert alone.log_marginal[0] == pytest.approx(found.log_marginal[0], rel=1e-13)


@pytest.mark.slow
@dataclasses.dataclass(frozen=True, eq=False)
class Heavy(Normal):
    """Effects whose density falls as slowly as a distribution's can, but with a sharp mode."""

    def log_effects(self, theta: Array, x: Array, data: Data) -> Array:
        return -0.55 * jnp.sum(jnp.log1p(1e4 * x**2), axis=0)

    def predicted(
        self, theta: Array, x: Array, data: Data, derivative: str | None = None
    ) -> Predicted:
        nothing = jnp.zeros((1, self.subjects))
        return Predicted(nothing, nothing + 1.0, jnp.zeros(self.subjects, int))


def test_weights_that_cannot_be_trusted_are_told():
    data = Data(np.zeros((1, 2)), np.zeros((1, 2)), np.zeros((1, 2), bool))
    found = importance(Heavy(2), np.zeros(5), data, key=KEY, draws=2000)
    assert np.all(found.pareto_k > 0.7)


@pytest.mark.slow
def test_subjects_without_a_solution_are_impossible():
    joint, theta, data = decay(2, highest=-np.inf)
    found = importance(joint, theta, data, key=KEY, draws=50)
    assert np.all(np.isneginf(found.log_marginal)) and np.all(np.isposinf(found.pareto_k))
    assert not np.any(np.isnan(found.log_weights))


@pytest.mark.slow
def test_a_population_of_a_config_with_values_below_the_limit_is_sampled(oral, weighed):
    """One compartment with combined error: FOCEI and sampling tell the same marginal likelihood."""
    values = (
        (4.1, 6.3, 8.2, 7.0, 5.1, -1.5),
        (3.2, 5.9, 7.1, 6.6, 5.0, 1.9),
        (-2.0, 3, 5, 6, 4, -1),
    )
    combined = {"concentration": {"kind": "combined", "sd": "0.3 mg/L", "proportional": 0.15}}
    joint, data = Joint.of(oral(combined), weighed(values))
    theta = joint.unconstrained(TYPICAL, data)
    found = importance(joint, theta, data, key=KEY, draws=500, method="focei")
    approximate = quickly(lambda theta: marginal(joint, theta, data).value)(theta)
    assert np.all(found.pareto_k < 0.7)
    np.testing.assert_allclose(found.log_marginal, approximate, atol=0.1)
