"""A published population is fitted as it is: the joint density takes it without changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from cohorts.inference import Joint
from cohorts.populations.warfarin_hamberg2010 import CYP2C9, POPULATION, VKORC1, Options
from insilico.config import Name

INR = ((1.1, 2.0), (1.2, 2.6))


@pytest.fixture(scope="module")
def patients(table):
    return table(
        INR,
        (24.0, 96.0),
        model="warfarin_hamberg2010",
        outputs=("inr",),
        dose=15.0,
        age=((55.0, 71.0), Name("number", unit="yr")),
        cyp2c9=((0, 1), Name("category", categories=CYP2C9)),
        vkorc1=((1, 0), Name("category", categories=VKORC1)),
    )


def test_known_typical_values_leave_only_random_effects(patients):
    joint, data = Joint.of(POPULATION, patients)
    assert joint.names == ()
    assert joint.effects == ("eta_clearance", "eta_volume", "eta_half_effect")
    theta = jnp.zeros(0)
    assert float(joint.log_prior(theta, data)) == 0.0
    x = jnp.array([[0.1, -0.2], [0.0, 0.3], [-0.1, 0.2]])
    sds = np.array([[np.sqrt(0.089)], [np.sqrt(0.054)], [0.24]])
    np.testing.assert_allclose(
        joint.log_effects(theta, x, data), scipy.stats.norm.logpdf(x, 0.0, sds).sum(axis=0)
    )


@pytest.mark.slow
def test_the_density_of_published_estimates_has_the_gradient_of_finite_differences(
    patients, quickly
):
    joint, data = Joint.of(POPULATION, patients, Options(parameter_uncertainty="published"))
    # Typical values with a standard error are coordinates, those that were fixed are not.
    assert "half_effect_g" in joint.names and "absorption_rate" not in joint.names
    theta, x = joint.draw(jax.random.key(1), data)
    evaluate = quickly(jax.value_and_grad(joint.log_density, (0, 1)))
    value, (of_theta, of_x) = evaluate(theta, x, data)
    rng = np.random.default_rng(0)
    along = rng.normal(size=theta.shape), rng.normal(size=x.shape)
    there, back = (
        evaluate(theta + step * along[0], x + step * along[1], data)[0] for step in (1e-4, -1e-4)
    )
    slope = float(jnp.sum(of_theta * along[0]) + jnp.sum(of_x * along[1]))
    assert np.isfinite(value)
    # Steps of a solve differ from one point to the next by its tolerances.
    assert float(there - back) / 2e-4 == pytest.approx(slope, rel=1e-4)
