"""The sample sites that populations are written with, under NumPyro.

NumPyro and JAX take two seconds to import. Kept here, they wait until a population is sampled, so
that checking a config does not; a population that needs more of them imports them where it does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int


def known(name: str, value: Any) -> Float[Array, ""]:
    """A site whose value is given."""
    jnp, numpyro = _libraries()
    return jnp.asarray(numpyro.deterministic(name, jnp.asarray(value, float)))


def normal(name: str, mean: Any, sd: Any) -> Float[Array, ...]:
    """A normal draw."""
    jnp, numpyro = _libraries()
    return jnp.asarray(numpyro.sample(name, numpyro.distributions.Normal(mean, sd)))


def log_normal(name: str, median: Any, sd: Any) -> Float[Array, ...]:
    """A draw whose logarithm is normal about that of `median`, with standard deviation `sd`."""
    jnp, numpyro = _libraries()
    drawn = numpyro.distributions.LogNormal(jnp.log(median), sd)
    return jnp.asarray(numpyro.sample(name, drawn))


def category(name: str, shares: Any) -> Int[Array, ...]:
    """A draw of a category's code by the `shares` of all."""
    jnp, numpyro = _libraries()
    return jnp.asarray(numpyro.sample(name, numpyro.distributions.Categorical(probs=shares)))


def between_occasions(
    name: str, mean: Any, sd: Any, occasions: int
) -> Float[Array, "occasions ..."]:
    """Independent normal draws about a subject's `mean`, one an occasion, on a new first axis.

    The sites are `<name>_1`, `<name>_2` and so on, so that a draw does not depend on how many
    occasions there are. They are what is drawn itself, not its difference from the subject's: where
    data tell it, a sampler then finds occasions and their subject independent of each other.
    """
    jnp, numpyro = _libraries()
    about = numpyro.distributions.Normal(mean, sd)
    numbers = range(1, occasions + 1)
    draws = [numpyro.sample(f"{name}_{n}", about, infer={"occasion": n}) for n in numbers]
    return jnp.stack(draws)


def of_occasion(values: Any, occasion: Any) -> Float[Array, "stretches ..."]:
    """Of `values` (occasions, …) those of the occasions of these numbers (stretches, …)."""
    jnp, _ = _libraries()
    which = jnp.arange(values.shape[0])[:, None, None]
    # A sum over few occasions: its derivative is one, too, where that of an index scatters.
    return jnp.sum(jnp.where(which == occasion, values[:, None], 0.0), axis=0)


def _libraries() -> tuple[Any, Any]:
    importlib.import_module("insilico.devices")  # float64 before anything is drawn
    return importlib.import_module("jax.numpy"), importlib.import_module("numpyro")
