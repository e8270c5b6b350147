"""Sampler of an estimated joint covariate model: one subject's covariates from one key.

The chain is the one that `scripts/estimate_covariates.py` estimates: ancestry, sex and age from a
joint table; genotypes given ancestry; height and weight given those three, with correlated
residuals; then a chain of regressions. Each covariate's random number comes from a key folded from
the subject's key and the covariate's name, and is turned into a value by the inverse of its
conditional distribution: adding a covariate leaves all others as they were, and changing a margin
moves a subject's value as little as that allows.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from cohorts.covariates._terms import WEIGHT_REFERENCE, Linear
from cohorts.covariates.draws import Draws, Keyed, Sampled
from insilico.arrays import library_of
from insilico.config import Name
from insilico.vocabulary import exp, maximum, minimum, sqrt, where

if TYPE_CHECKING:
    from jaxtyping import Array, Key

Covariates = dict[str, Any]
"""By name, one subject's number or code, or an array of many subjects'."""


class Marginals(NamedTuple):
    """What a trial's own margins make of the table; from `CovariateModel.marginals`."""

    ancestry: Float[np.ndarray, " ancestry"]
    """Cumulative shares."""
    sex: Float[np.ndarray, "ancestry sex"]
    """Cumulative shares given ancestry."""
    age: Float[np.ndarray, "ancestry sex edges"]
    """Distribution function of age at the edges, given ancestry and sex; linear in between."""
    age_edges: Float[np.ndarray, " edges"]
    """yr; repeated at the end to keep one shape whatever is stated."""
    offsets: dict[str, Float[np.ndarray, " categories"]]
    """Added to the scores of each regression's categories."""


class Stated(NamedTuple):
    """Covariates that the source does not have, as a trial states them; drawn independently."""

    constants: dict[str, Float[np.ndarray, ""]]
    shares: dict[str, Float[np.ndarray, " categories"]]
    """Cumulative shares; a flag has the categories no, yes."""


NOTHING_STATED = Stated({}, {})


class CovariateModel:
    """A joint covariate model, read from the numbers that were estimated.

    **Arguments:**

    - `estimated`: the parsed JSON of `cohorts/covariates/<name>.json`.

    Holds only constants; `sample` is pure and may be jitted.
    """

    def __init__(self, estimated: Mapping[str, Any]):
        self.name: str = estimated["name"]
        self.title: str = estimated["title"]
        self.source: str = estimated["source"]
        self.notes: tuple[str, ...] = tuple(estimated["notes"])
        self.estimated = estimated
        table = estimated["ancestry_sex_age"]
        self.table = np.asarray(table["probabilities"], float)
        self.age_edges = np.asarray(table["age_edges"], float)
        self._genotypes = {g["name"]: g for g in estimated["genotypes"]}
        self._regressions = {r["name"]: r for r in estimated["regressions"]}
        self.categories: dict[str, tuple[str, ...]] = {
            "ancestry": tuple(estimated["ancestry"]),
            "sex": tuple(estimated["sex"]),
            **{n: tuple(g["categories"]) for n, g in self._genotypes.items()},
            **{n: tuple(r["categories"]) for n, r in self._regressions.items()},
        }
        body = estimated["body_size"]
        self._cut = float(body["residual_cut"])
        self._power = float(body["weight"]["power"])
        self._mean_height = Linear(body["height"]["coefficients"], self.categories)
        self._mean_weight = Linear(body["weight"]["coefficients"], self.categories)
        self.predictors = {
            n: Linear(r["coefficients"], self.categories) for n, r in self._regressions.items()
        }

    @property
    def regressed(self) -> tuple[str, ...]:
        """Covariates drawn from regressions, in the order of the chain."""
        return tuple(self._regressions)

    @functools.cached_property
    def vocabulary(self) -> dict[str, Name]:
        """Name, kind, unit and categories of every covariate, in the order of the chain."""
        described = self.estimated["descriptions"]
        number = {"age": "yr", "height": "cm", "weight": "kg"}
        names: dict[str, Name] = {}
        order = ("ancestry", "sex", "age", *self._genotypes, "height", "weight", *self._regressions)
        for name in order:
            if name in number:
                names[name] = Name("number", unit=number[name], description=described[name])
            elif self.categories[name] == ("no", "yes"):
                names[name] = Name("flag", description=described[name])
            else:
                names[name] = Name(
                    "category", categories=self.categories[name], description=described[name]
                )
        names["bmi"] = Name("number", unit="kg/m^2", description="body mass index")
        names["bsa"] = Name(
            "number", unit="m^2", description="body surface area, DuBois and DuBois 1916"
        )
        return names

    def sample(
        self, keys: Key[Array, " subjects"], marginals: Marginals, stated: Stated = NOTHING_STATED
    ) -> Covariates:
        """Covariates of the subjects that own `keys`: by name, arrays (subjects,).

        Numbers are float64 in the vocabulary's unit; categories and flags are int32 codes.
        """
        import jax

        def one(key: Key[Array, ""], marginals: Marginals, stated: Stated) -> Covariates:
            return self.draw(Keyed(key), marginals, stated)

        return jax.vmap(one, in_axes=(0, None, None))(keys, marginals, stated)

    def people(
        self, seed: int, n: int, marginals: Marginals, stated: Stated = NOTHING_STATED
    ) -> dict[str, np.ndarray]:
        """Covariates of `n` people who are nobody in particular, without JAX; see `Sampled`."""
        drawn = self.draw(Sampled(seed, n), marginals, stated)
        return {name: np.broadcast_to(value, (n,)) for name, value in drawn.items()}

    def draw(
        self, draws: Draws, marginals: Marginals, stated: Stated = NOTHING_STATED
    ) -> Covariates:
        """Covariates from the random numbers of one subject, or of many in arrays."""
        ancestry = choose(draws.uniform("ancestry"), marginals.ancestry)
        sex = choose(draws.uniform("sex"), _row(marginals.sex, ancestry))
        distribution = _row(marginals.age, ancestry, sex)
        age = _inverse(draws.uniform("age"), distribution, marginals.age_edges)
        values: Covariates = {"ancestry": ancestry, "sex": sex, "age": age}
        for name, table in self._genotypes.items():
            cumulative = np.cumsum(np.asarray(table["probabilities"]), axis=1)
            values[name] = choose(draws.uniform(name), _row(cumulative, ancestry))
        values["height"], values["weight"] = self._body_size(draws, values)
        for name, predictor in self.predictors.items():
            scores = predictor(values)
            scores = scores if len(scores) > 1 else [0.0, *scores]
            shares = _softmax([s + marginals.offsets[name][k] for k, s in enumerate(scores)])
            values[name] = _category(draws.uniform(name), shares)
        values["bmi"] = values["weight"] / (values["height"] / 100.0) ** 2
        values["bsa"] = 0.007184 * values["weight"] ** 0.425 * values["height"] ** 0.725
        for name, cumulative in stated.shares.items():
            values[name] = choose(draws.uniform(name), cumulative)
        for name, constant in stated.constants.items():
            values[name] = constant
        return values

    def _body_size(self, draws: Draws, values: Covariates) -> tuple[Any, Any]:
        body = self.estimated["body_size"]
        cell = values["ancestry"], values["sex"]
        height_sd = _row(np.asarray(body["height"]["residual_sd"], float), *cell)
        weight_sd = _row(np.asarray(body["weight"]["residual_sd"], float), *cell)
        correlations = np.asarray(body["residual_correlation"]["values"], float)
        correlation = _row(correlations, values["ancestry"])
        own = sqrt(1.0 - correlation**2)
        cut = self._cut
        of_height = draws.truncated_normal("height", -cut, cut)
        shared = correlation * of_height
        # The cut is on weight's residual as a whole, whatever height has put into it already.
        of_weight = shared + own * draws.truncated_normal(
            "weight", (-cut - shared) / own, (cut - shared) / own
        )
        height = self._mean_height(values)[0] + height_sd * of_height
        transformed = self._mean_weight(values)[0] + weight_sd * of_weight
        weight = WEIGHT_REFERENCE * (1.0 + self._power * transformed) ** (1.0 / self._power)
        return height, weight


def _row(table: Any, *indices: Any) -> Any:
    """The rows of a table at these codes."""
    return library_of(table, *indices).asarray(table)[indices]


def choose(uniform: Any, cumulative: Any) -> Any:
    """The category in whose share a uniform number falls; shares along the last axis."""
    return (uniform[..., None] >= cumulative[..., :-1]).sum(axis=-1, dtype=np.int32)


def _category(uniform: Any, shares: list[Any]) -> Any:
    """The same from the shares themselves, one a category."""
    code, below = 0, 0.0
    for share in shares[:-1]:
        below = below + share
        code = code + where(uniform >= below, np.int32(1), np.int32(0))
    return code


def _inverse(uniform: Any, distribution: Any, edges: Any) -> Any:
    """Where a distribution function that is linear between `edges` takes the value `uniform`."""
    low, high = distribution[..., :-1], distribution[..., 1:]
    rise, uniform = high - low, uniform[..., None]
    part = (uniform - low) / where(rise > 0.0, rise, np.inf)
    passed = where(rise > 0.0, minimum(maximum(part, 0.0), 1.0), where(uniform >= low, 1.0, 0.0))
    return edges[0] + (passed * (edges[1:] - edges[:-1])).sum(axis=-1)


def _softmax(scores: list[Any]) -> list[Any]:
    largest = functools.reduce(maximum, scores)
    weights = [exp(score - largest) for score in scores]
    total = functools.reduce(lambda a, b: a + b, weights)
    return [weight / total for weight in weights]
