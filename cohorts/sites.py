"""The sample sites that populations are written with, under NumPyro.

NumPyro takes most of a second to import. Kept here, it waits until a population is sampled, so that
checking a config does not wait for it; a population that needs more of NumPyro imports it itself.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float


def known(name: str, value: float) -> Float[Array, ""]:
    """A site whose value is given."""
    import numpyro

    return jnp.asarray(numpyro.deterministic(name, jnp.asarray(value)))


def normal(name: str, mean: Any, sd: Any) -> Float[Array, "..."]:
    """A normal draw."""
    import numpyro

    return jnp.asarray(numpyro.sample(name, numpyro.distributions.Normal(mean, sd)))


def log_normal(name: str, median: Any, sd: Any) -> Float[Array, "..."]:
    """A draw whose logarithm is normal about that of `median`, with standard deviation `sd`."""
    import numpyro

    drawn = numpyro.distributions.LogNormal(jnp.log(median), sd)
    return jnp.asarray(numpyro.sample(name, drawn))
