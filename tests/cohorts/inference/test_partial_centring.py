"""Effects sampled as themselves, as standard numbers or in between, as NumPyro has them."""

from typing import Any

import jax
import numpy as np
import numpyro
import pytest
from numpyro import distributions as dist
from numpyro import handlers
from numpyro.infer.reparam import LocScaleReparam
from numpyro.infer.util import log_density

from cohorts.inference.partial_centring import SAMPLED, PartlyCentred, standardised

SHARES = np.array([0.0, 0.3, 1.0])
SAMPLES = np.array([-0.7, 0.4, 1.9])


def effects(location: Any, scale: Any) -> None:
    with numpyro.plate("subject", 3):
        numpyro.sample("effect", dist.Normal(location, scale))


def found(reparam: Any, location: Any, scale: Any) -> tuple[Any, Any]:
    """Log density of `SAMPLES`, and the effects that they stand for."""
    model: Any = handlers.reparam(effects, config={"effect": reparam})
    values = {f"effect{SAMPLED}": SAMPLES}
    density, sites = log_density(model, (location, scale), {}, values)
    return density, sites["effect"]["value"]


def test_densities_effects_and_derivatives_are_numpyro_s(quickly):
    def of(reparam: Any) -> tuple[Any, Any]:
        of_density = jax.grad(lambda at: found(reparam, *at)[0])
        of_effects = jax.jacfwd(lambda at: found(reparam, *at)[1])
        at = (0.6, 0.35)
        return found(reparam, *at), (of_density(at), of_effects(at))

    ours, theirs = quickly(lambda: (of(PartlyCentred(SHARES)), of(LocScaleReparam(SHARES))))()
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


def test_what_is_sampled_follows_from_the_effect():
    _, values = found(PartlyCentred(SHARES), 0.6, 0.35)
    back = standardised(values, dist.Normal(0.6, 0.35), SHARES)
    np.testing.assert_allclose(back, SAMPLES, rtol=1e-12)


@pytest.mark.parametrize("scale", [0.0, 1e-320])
def test_a_scale_that_vanishes_leaves_standard_numbers_standard(scale, quickly):
    density, values = quickly(lambda s: found(PartlyCentred(np.zeros(3)), 0.6, s))(scale)
    np.testing.assert_allclose(values, 0.6, rtol=1e-12)
    expected = dist.Normal(0.0, 1.0).log_prob(SAMPLES).sum()
    assert float(density) == pytest.approx(float(expected), rel=1e-12)
