"""Sampler of an estimated joint covariate model: one subject's covariates from one key.

The chain is the one that `scripts/estimate_covariates.py` estimates: ancestry, sex and age from a
joint table; genotypes given ancestry; height and weight given those three, with correlated
residuals; then a chain of regressions. Each covariate's random number comes from a key folded from
the subject's key and the covariate's name, and is turned into a value by the inverse of its
conditional distribution: adding a covariate leaves all others as they were, and changing a margin
moves a subject's value as little as that allows.
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, Shaped

from cohorts.covariates._terms import WEIGHT_REFERENCE, Linear
from insilico.config import Name
from insilico.randomness import name_hash

Covariates = dict[str, Shaped[Array, "..."]]


class Marginals(NamedTuple):
    """What a trial's own margins make of the table; from `CovariateModel.marginals`."""

    ancestry: Float[Array, " ancestry"]
    """Cumulative shares."""
    sex: Float[Array, "ancestry sex"]
    """Cumulative shares given ancestry."""
    age: Float[Array, "ancestry sex edges"]
    """Distribution function of age at the edges, given ancestry and sex; linear in between."""
    age_edges: Float[Array, " edges"]
    """yr; repeated at the end to keep one shape whatever is stated."""
    offsets: dict[str, Float[Array, " categories"]]
    """Added to the scores of each regression's categories."""


class Stated(NamedTuple):
    """Covariates that the source does not have, as a trial states them; drawn independently."""

    constants: dict[str, Float[Array, ""]]
    shares: dict[str, Float[Array, " categories"]]
    """Cumulative shares; a flag has the categories no, yes."""


NOTHING_STATED = Stated({}, {})


class CovariateModel:
    """A joint covariate model, read from the numbers that were estimated.

    **Arguments:**

    - `estimated`: the parsed JSON of `cohorts/covariates/<name>.json`.

    Holds only constants; `sample` and `sample_one` are pure, may be jitted and vmapped.
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
        return jax.vmap(self.sample_one, in_axes=(0, None, None))(keys, marginals, stated)

    def sample_one(
        self, key: Key[Array, ""], marginals: Marginals, stated: Stated = NOTHING_STATED
    ) -> Covariates:
        """One subject's covariates: by name, scalars."""
        ancestry = _choose(_uniform(key, "ancestry"), marginals.ancestry)
        sex = _choose(_uniform(key, "sex"), marginals.sex[ancestry])
        age = _inverse(_uniform(key, "age"), marginals.age[ancestry, sex], marginals.age_edges)
        values: Covariates = {"ancestry": ancestry, "sex": sex, "age": age}
        for name, table in self._genotypes.items():
            cumulative = jnp.asarray(np.cumsum(np.asarray(table["probabilities"]), axis=1))
            values[name] = _choose(_uniform(key, name), cumulative[ancestry])
        values["height"], values["weight"] = self._body_size(key, values)
        for name, predictor in self.predictors.items():
            scores = predictor(values)
            scores = scores if len(scores) > 1 else [jnp.zeros(()), *scores]
            shares = _softmax([s + marginals.offsets[name][k] for k, s in enumerate(scores)])
            values[name] = _choose(_uniform(key, name), jnp.cumsum(jnp.stack(shares)))
        values["bmi"] = values["weight"] / (values["height"] / 100.0) ** 2
        values["bsa"] = 0.007184 * values["weight"] ** 0.425 * values["height"] ** 0.725
        for name, cumulative in stated.shares.items():
            values[name] = _choose(_uniform(key, name), cumulative)
        for name, constant in stated.constants.items():
            values[name] = constant
        return values

    def _body_size(self, key: Key[Array, ""], values: Covariates) -> tuple[Array, Array]:
        body = self.estimated["body_size"]
        cell = values["ancestry"], values["sex"]
        height_sd = jnp.asarray(body["height"]["residual_sd"])[cell]
        weight_sd = jnp.asarray(body["weight"]["residual_sd"])[cell]
        correlation = jnp.asarray(body["residual_correlation"]["values"])[values["ancestry"]]
        own = jnp.sqrt(1.0 - correlation**2)
        cut = self._cut
        of_height = jax.random.truncated_normal(_named(key, "height"), -cut, cut, dtype=jnp.float64)
        shared = correlation * of_height
        # The cut is on weight's residual as a whole, whatever height has put into it already.
        of_weight = shared + own * jax.random.truncated_normal(
            _named(key, "weight"), (-cut - shared) / own, (cut - shared) / own, dtype=jnp.float64
        )
        height = self._mean_height(values)[0] + height_sd * of_height
        transformed = self._mean_weight(values)[0] + weight_sd * of_weight
        weight = WEIGHT_REFERENCE * (1.0 + self._power * transformed) ** (1.0 / self._power)
        return height, weight


def _named(key: Key[Array, ""], name: str) -> Key[Array, ""]:
    return jax.random.fold_in(key, name_hash(name))


def _uniform(key: Key[Array, ""], name: str) -> Float[Array, ""]:
    return jax.random.uniform(_named(key, name), dtype=jnp.float64)


def _choose(uniform: Float[Array, ""], cumulative: Float[Array, " categories"]) -> Int[Array, ""]:
    return jnp.sum(uniform >= cumulative[:-1], dtype=jnp.int32)


def _inverse(
    uniform: Float[Array, ""], distribution: Float[Array, " edges"], edges: Float[Array, " edges"]
) -> Float[Array, ""]:
    """Where a distribution function that is linear between `edges` takes the value `uniform`."""
    rise = distribution[1:] - distribution[:-1]
    part = (uniform - distribution[:-1]) / jnp.where(rise > 0.0, rise, jnp.inf)
    passed = jnp.where(rise > 0.0, jnp.clip(part, 0.0, 1.0), uniform >= distribution[:-1])
    return edges[0] + jnp.sum(passed * (edges[1:] - edges[:-1]))


def _softmax(scores: list[Array]) -> list[Array]:
    largest = functools.reduce(jnp.maximum, scores)
    weights = [jnp.exp(score - largest) for score in scores]
    total = functools.reduce(jnp.add, weights)
    return [weight / total for weight in weights]
