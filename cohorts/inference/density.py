"""A NumPyro model with its data as the density of a point without constraints."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key
from numpyro.distributions import biject_to, constraints
from numpyro.handlers import seed, substitute, trace
from numpyro.infer import init_to_median
from numpyro.infer.util import potential_energy

from insilico import devices as _devices  # noqa: F401  (float64 before anything is traced)

NumpyroModel = Callable[..., Any]
Data = Mapping[str, Any]
"""Keyword arguments of the model: pytrees of arrays."""

Position = dict[str, Array]
"""A point without constraints: of each latent site the real numbers that its value is made of."""


class Sites(NamedTuple):
    """The sites of a model at one point.

    - `values`: of latent and deterministic sites, constrained.
    - `log_likelihood`: log density of each observed site and each factor, of the site's shape.
    """

    values: dict[str, Array]
    log_likelihood: dict[str, Array]


@dataclasses.dataclass(frozen=True, eq=False)
class Density:
    """Log density, with the Jacobian of the transforms, of one model for data of one shape.

    `Density.of` gives the same object for the same model and shapes, so that programs compiled for
    it are found again.
    """

    model: NumpyroModel
    shapes: dict[str, tuple[int, ...]]
    """Of each latent site's part of a position."""
    in_plates: tuple[str, ...]
    """The latent sites that lie in plates, such as random effects. In an order that does not change
    from process to process, by which a program that goes through them is found again."""
    dims: dict[str, tuple[str | None, ...]]
    """Names of a site's axes: those of the plates that it lies in, else None."""

    @classmethod
    def of(cls, model: NumpyroModel, data: Data) -> Density:
        """The density of a model with its data.

        Raises `ModelError` where the model has no continuous latent site, or discrete ones.
        """
        return _density(model, Shapes.of(data))

    def potential(self, position: Position, data: Data) -> Float[Array, ""]:
        """Minus the log density. Where it has no value, as after a failed solve, infinity."""
        potential = potential_energy(self.model, (), dict(data), position)
        return jnp.where(jnp.isnan(potential), jnp.inf, potential)

    def log_scales(self, position: Position, data: Data) -> Float[Array, ""]:
        """Sum of the logarithms of the scales of all sites in plates that have a scale.

        Added to the log density, it gives that of coordinates in which these sites are standard. A
        density has no upper bound where the scale of a whole plate may vanish; this one has.
        """
        total = jnp.zeros(())
        with trace() as found:
            potential_energy(self.model, (), dict(data), position)
        for name in self.in_plates:
            site = found[name]
            of = site["fn"]
            while hasattr(of, "base_dist"):
                of = of.base_dist
            scale = getattr(of, "scale", None)
            if scale is not None and of.support is constraints.real:
                total += jnp.sum(jnp.broadcast_to(jnp.log(scale), jnp.shape(site["value"])))
        return total

    def sites(self, position: Position, data: Data) -> Sites:
        """Everything that the model says at a point."""

        def value(site: dict[str, Any]) -> Array | None:
            if site["type"] != "sample" or site["name"] not in position:
                return None
            return biject_to(site["fn"].support)(position[site["name"]])

        found = trace(seed(substitute(self.model, substitute_fn=value), 0)).get_trace(**data)
        values, log_likelihood = {}, {}
        for name, site in found.items():
            if name in self.shapes or site["type"] == "deterministic":
                values[name] = site["value"]
            elif site["type"] == "sample" and site["is_observed"]:
                log_likelihood[name] = site["fn"].log_prob(site["value"])
        return Sites(values, log_likelihood)

    def unconstrained(self, values: Mapping[str, Array], data: Data) -> Position:
        """The position at which the latent sites have these values."""
        found = trace(substitute(seed(self.model, 0), data=dict(values))).get_trace(**data)
        return {n: biject_to(found[n]["fn"].support).inv(values[n]) for n in self.shapes}

    def prior_point(self, key: Key[Array, ""], data: Data) -> Position:
        """A point where the prior has its mass: of each site the median of three draws.

        Uniform between -2 and 2, without constraints, where a site's prior is improper.
        """
        found = _drawn(self.model, key, data)
        return {n: biject_to(found[n]["fn"].support).inv(found[n]["value"]) for n in self.shapes}


class ModelError(ValueError):
    """A model cannot be sampled; the text says which site and why."""


class Shapes(NamedTuple):
    """Structure, shapes and types of data: what a program is compiled for."""

    structure: Hashable
    leaves: tuple[tuple[tuple[int, ...], Any], ...]

    @classmethod
    def of(cls, data: Data) -> Shapes:
        leaves, structure = jax.tree.flatten(dict(data))
        return cls(structure, tuple((jnp.shape(x), jax.dtypes.result_type(x)) for x in leaves))

    def abstract(self) -> dict[str, Any]:
        """Data that has these shapes and no numbers."""
        leaves = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in self.leaves]
        return jax.tree.unflatten(self.structure, leaves)


def _drawn(model: NumpyroModel, key: Key[Array, ""], data: Data) -> dict[str, dict[str, Any]]:
    drawing = substitute(seed(model, key), substitute_fn=init_to_median(num_samples=3))
    return trace(drawing).get_trace(**data)


@functools.lru_cache(maxsize=32)
def _density(model: NumpyroModel, shapes: Shapes) -> Density:
    found: dict[str, dict[str, Any]] = {}

    def position(data: dict[str, Any]) -> Position:
        found.update(_drawn(model, jax.random.key(0), data))
        return {
            name: biject_to(site["fn"].support).inv(site["value"])
            for name, site in found.items()
            if _is_latent(site) and not site["fn"].support.is_discrete
        }

    # Abstractly, since the operations of a solve one by one would take seconds.
    parts = jax.eval_shape(position, shapes.abstract())
    discrete = [n for n, site in found.items() if _is_latent(site) and n not in parts]
    if discrete:
        raise ModelError(
            f"sites {', '.join(discrete)} are discrete and unobserved; sum them out of the model"
        )
    if not parts:
        raise ModelError("the model has no unobserved site to sample")
    return Density(
        model,
        shapes={name: part.shape for name, part in parts.items()},
        in_plates=tuple(name for name in sorted(parts) if found[name]["cond_indep_stack"]),
        dims={name: _dims(site) for name, site in found.items() if "cond_indep_stack" in site},
    )


def _is_latent(site: dict[str, Any]) -> bool:
    return site["type"] == "sample" and not site["is_observed"]


def _dims(site: dict[str, Any]) -> tuple[str | None, ...]:
    """The plates of each axis of a site's value."""
    events = site["fn"].event_dim if site["type"] == "sample" else 0
    plates = {frame.dim - events: frame.name for frame in site["cond_indep_stack"]}
    return tuple(plates.get(axis) for axis in range(-jnp.ndim(site["value"]), 0))
