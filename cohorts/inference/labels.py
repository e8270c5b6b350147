"""A run's arrays as ArviZ's groups."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from cohorts.inference.density import Data, Density, Position, Sites
from cohorts.inference.nuts import Plan, Statistics
from insilico.programs import Shared, shared
from insilico.solve.blocks import compiler_options

if TYPE_CHECKING:
    import xarray as xr

LIKELIHOOD = "log_likelihood"
"""A deterministic site of this name goes to the group of this name."""

AT_ONCE = 64
"""Draws whose sites are computed side by side."""


def tree(
    density: Density,
    data: Data,
    position: Position,
    statistics: Statistics,
    plan: Plan,
    coords: Mapping[str, Any] | None = None,
    dims: Mapping[str, Any] | None = None,
) -> xr.DataTree:
    """Groups `posterior`, `sample_stats`, `warmup_sample_stats` and `log_likelihood`.

    **Arguments:**

    - `position`, `statistics`: arrays (iterations, chains, …), of which the first `plan.warmup` are
      not kept.
    - `coords`, `dims`: names for axes, beside those that plates give.
    """
    warmup = plan.warmup
    kept = {name: np.swapaxes(part[warmup:], 0, 1) for name, part in position.items()}
    of_iterations = {n: np.swapaxes(part, 0, 1) for n, part in statistics._asdict().items()}
    deepest = of_iterations["tree_depth"] >= plan.max_tree_depth
    of_iterations["reached_max_treedepth"] = deepest  # ArviZ's name, which its tools look for
    others = {
        "sample_stats": {n: part[:, warmup:] for n, part in of_iterations.items()},
        "warmup_sample_stats": {n: part[:, :warmup] for n, part in of_iterations.items()},
    }
    return tree_of(density, data, kept, others, coords, dims)


def tree_of(
    density: Density,
    data: Data,
    position: Mapping[str, Any],
    others: Mapping[str, Mapping[str, Any]],
    coords: Mapping[str, Any] | None = None,
    dims: Mapping[str, Any] | None = None,
) -> xr.DataTree:
    """Groups `posterior` and `log_likelihood` of draws, arrays (chains, draws, …), and `others`."""
    import arviz_base

    chains, draws = next(iter(position.values())).shape[:2]
    flat = jax.tree.map(lambda part: part.reshape(chains * draws, *part.shape[2:]), position)
    sites = jax.tree.map(
        lambda part: np.asarray(part).reshape(chains, draws, *part.shape[1:]),
        _program(density)(dict(flat), data),
    )
    posterior = dict(sites.values)
    likelihood = dict(sites.log_likelihood)
    if LIKELIHOOD in posterior:
        likelihood[LIKELIHOOD] = posterior.pop(LIKELIHOOD)
    named = {
        name: [axis or f"{name}_dim_{number}" for number, axis in enumerate(axes)]
        for name, axes in density.dims.items()
    }
    return arviz_base.from_dict(
        {
            "posterior": posterior,
            **others,
            **({"log_likelihood": likelihood} if likelihood else {}),
        },
        save_warmup=True,
        coords=dict(coords or {}),
        dims={**named, **(dims or {})},
    )


def ahead(density: Density, data: Data, draws: int) -> None:
    """Begin to compile what `tree_of` takes long to, for so many draws in all."""
    position = {name: np.zeros((draws, *shape)) for name, shape in density.shapes.items()}
    _program(density).ahead(position, data)


@functools.lru_cache(maxsize=32)
def _program(density: Density) -> Shared:
    def sites(positions: Position, data: Data) -> Sites:
        def batch(positions: Position) -> Sites:
            return jax.vmap(lambda z: density.sites(z, data))(positions)

        # The last batch is filled up: left as it is, it would be compiled once more.
        (draws,) = {len(part) for part in jax.tree.leaves(positions)}
        at_once = min(draws, AT_ONCE)
        numbers = jnp.minimum(jnp.arange(-(-draws // at_once) * at_once), draws - 1)
        cut = jax.tree.map(lambda p: p[numbers.reshape(-1, at_once)], positions)
        found = jax.lax.map(batch, cut)
        return jax.tree.map(lambda part: jax.lax.collapse(part, 0, 2)[:draws], found)

    options = compiler_options()
    return shared(jax.jit(sites, compiler_options=options), options)
