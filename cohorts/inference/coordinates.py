"""Vectors of unconstrained coordinates, and the sites of a NumPyro model that they stand for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
from numpyro.distributions import biject_to
from numpyro.distributions.transforms import IdentityTransform


class Coordinates(NamedTuple):
    """Where the value of a site comes from in a vector of unconstrained coordinates.

    `shape` is that of the site's unconstrained value, without the subjects' axis; `occasion` the
    number of the occasion that it is of, from 1, if it is of one. Of a population's parameter whose
    bounds are numbers of its prior, `transform` has those of the population that was looked at.
    """

    name: str
    shape: tuple[int, ...]
    start: int
    transform: Any
    occasion: int | None = None

    @property
    def stop(self) -> int:
        """The place after its last coordinate."""
        return self.start + math.prod(self.shape)

    @property
    def bounded(self) -> bool:
        """Whether the site's value has a bound, at infinity of the coordinates."""
        return not isinstance(self.transform, IdentityTransform)

    @property
    def names(self) -> list[str]:
        """Of each coordinate: the site's, with an index where it has several."""
        if not self.shape:
            return [self.name]
        indices = itertools.product(*map(range, self.shape))
        return [f"{self.name}[{', '.join(map(str, index))}]" for index in indices]


def sampled(sites: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The sites of a trace that are sampled on a continuous scale."""
    return [site for site in _unobserved(sites) if not site["fn"].support.is_discrete]


def categories(sites: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The sites of a trace that are drawn from a list."""
    return [site for site in _unobserved(sites) if site["fn"].support.is_discrete]


def _unobserved(sites: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [site for site in sites.values() if site["type"] == "sample" and not site["is_observed"]]


def coordinates_of(sites: Iterable[Mapping[str, Any]], batch: int) -> list[Coordinates]:
    """The coordinates of sites whose values have `batch` leading axes of subjects."""
    result: list[Coordinates] = []
    start = 0
    for site in sites:
        transform = biject_to(site["fn"].support)
        shape = jnp.shape(transform.inv(site["value"]))[batch:]
        occasion = site["infer"].get("occasion")
        result.append(Coordinates(site["name"], shape, start, transform, occasion))
        start = result[-1].stop
    return result


def combinations(sites: Iterable[Mapping[str, Any]]) -> list[dict[str, int]]:
    """Every combination of the codes of such sites; without any there is one, of none."""
    codes = {site["name"]: site["fn"].enumerate_support(expand=False).size for site in sites}
    return [
        dict(zip(codes, each, strict=True))
        for each in itertools.product(*map(range, codes.values()))
    ]
