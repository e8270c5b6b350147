"""Small joint densities whose answers are known in other ways."""

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from insilico.devices import QUICKLY

quickly = functools.partial(jax.jit, compiler_options=QUICKLY)
"""`jax.jit` for programs that run a few times."""


class Predicted(NamedTuple):
    mean: Array
    sd: Array
    status: Array


class Data(NamedTuple):
    """`at`: (records, …, subjects), where; `value`, `measured`: (records, subjects); `component`:
    (subjects,), of a mixture, where it is known."""

    at: Any
    value: Any
    measured: Any
    component: Any = None


@dataclasses.dataclass(frozen=True, eq=False)
class Normal:
    """What all stand-ins share: normal effects about `theta[:K]`, sds exp(`theta[K:2K]`), and
    values that are normal about their means."""

    subjects: int
    effects: tuple[str, ...] = ("first", "second")
    components: int = 1

    def by_component(self, data: Data) -> tuple[Any, Any]:
        raise AssertionError("not asked for without a mixture")

    def log_prior(self, theta: Array, data: Data) -> Array:
        return -0.5 * jnp.sum(jnp.square(theta - 0.1))

    def log_effects(self, theta: Array, x: Array, data: Data) -> Array:
        location, log_sd = self.location(theta), theta[2:4, None]
        standard = (x - location) / jnp.exp(log_sd)
        return jnp.sum(-0.5 * jnp.square(standard) - log_sd - 0.5 * math.log(2.0 * math.pi), axis=0)

    def location(self, theta: Array) -> Array:
        return theta[:2, None]

    def log_likelihood(self, predicted: Predicted, data: Data) -> Array:
        mean, sd, status = predicted
        standard = (data.value - mean) / sd
        each = -0.5 * jnp.square(standard) - jnp.log(sd) - 0.5 * math.log(2.0 * math.pi)
        return jnp.where(
            status == 0, jnp.sum(jnp.where(data.measured, each, 0.0), axis=0), -jnp.inf
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Linear(Normal):
    """Values normal about a linear function of the effects: `at` is (records, K, subjects)."""

    def predicted(
        self, theta: Array, x: Array, data: Data, derivative: str | None = None
    ) -> Predicted:
        mean = jnp.einsum("rks,ks->rs", data.at, x)
        return Predicted(
            mean, jnp.full_like(mean, 1.0) * jnp.exp(theta[4]), jnp.zeros(self.subjects, int)
        )

    def log_marginal(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """In closed form: the values of a subject are normal together."""
        seen = data.measured.T
        # A record without a value is as one of its own variance 1 that is met exactly.
        design = np.where(seen[..., None], np.moveaxis(data.at, -1, 0), 0.0)
        away = np.where(seen, data.value.T - design @ theta[:2], 0.0)
        covariance = design @ np.diag(np.exp(2.0 * theta[2:4])) @ np.swapaxes(design, 1, 2)
        own = np.where(seen, np.exp(2.0 * theta[4]), 1.0)
        covariance += own[:, :, None] * np.eye(seen.shape[1])
        square = np.einsum("sr,sr->s", away, np.linalg.solve(covariance, away[..., None])[..., 0])
        volume = np.linalg.slogdet(covariance).logabsdet
        return -0.5 * (square + volume + math.log(2.0 * math.pi) * seen.sum(axis=1))


@dataclasses.dataclass(frozen=True, eq=False)
class Mixture(Linear):
    """The linear model in two components: in the second the first effect lies `theta[5]` further
    on, and the logit of its share is `theta[6]`."""

    components: int = 2

    def by_component(self, data: Data) -> tuple[Any, Any]:
        both = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf], axis=-1), data)
        component = jnp.repeat(jnp.arange(2), self.subjects)
        lanes = dataclasses.replace(self, subjects=2 * self.subjects)
        return lanes, both._replace(component=component)

    def log_effects(self, theta: Array, x: Array, data: Data) -> Array:
        second = data.component == 1
        moved = x - jnp.array([[1.0], [0.0]]) * jnp.where(second, theta[5], 0.0)
        share = jax.nn.log_sigmoid(jnp.where(second, theta[6], -theta[6]))
        return share + super().log_effects(theta, moved, data)

    def of_components(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """Share times marginal likelihood, in closed form, as logarithms, (2, subjects)."""
        moved = theta + np.array([theta[5], *np.zeros(len(theta) - 1)])
        shares = -np.logaddexp(0.0, [theta[6], -theta[6]])
        each = [Linear.log_marginal(self, of, data) for of in (theta, moved)]
        return shares[:, None] + np.stack(each)

    def log_marginal(self, theta: np.ndarray, data: Data) -> np.ndarray:
        return np.logaddexp(*self.of_components(theta, data))


@dataclasses.dataclass(frozen=True, eq=False)
class Decay(Normal):
    """Values that decay in time, with proportional error: exp(x[0]) exp(-exp(x[1]) t).

    There is no solution where x[0] is above `highest`.
    """

    highest: float = np.inf

    def predicted(
        self, theta: Array, x: Array, data: Data, derivative: str | None = None
    ) -> Predicted:
        mean = jnp.exp(x[0] - jnp.exp(x[1]) * data.at)
        status = jnp.where(x[0] > self.highest, 1, 0)
        mean = jnp.where(status == 0, mean, 1.0)
        return Predicted(mean, jnp.exp(theta[4]) * mean, status)


def linear(subjects: int = 4, records: int = 5) -> tuple[Linear, np.ndarray, Data]:
    """Subjects of a linear model, the last with a value less, and population parameters."""
    rng = np.random.default_rng(1)
    at = rng.normal(size=(records, 2, subjects))
    measured = np.ones((records, subjects), bool)
    measured[-1, -1] = False
    data = Data(at, rng.normal(size=(records, subjects)), measured)
    return Linear(subjects), np.array([0.3, -0.2, -0.4, 0.1, -0.6]), data


def mixture(subjects: int = 6, apart: float = 3.0) -> tuple[Mixture, np.ndarray, Data]:
    """Subjects of the linear mixture, every third of the second component."""
    _, theta, data = linear(subjects)
    theta = np.array([*theta, apart, np.log(0.5)])
    rng = np.random.default_rng(4)
    x = theta[:2, None] + np.exp(theta[2:4, None]) * rng.normal(size=(2, subjects))
    x[0] += apart * (np.arange(subjects) % 3 == 2)
    noise = np.exp(theta[4]) * rng.normal(size=data.value.shape)
    data = data._replace(value=np.einsum("rks,ks->rs", data.at, x) + noise)
    return Mixture(subjects), theta, data


def decay(subjects: int = 5, records: int = 6, **changes: Any) -> tuple[Decay, np.ndarray, Data]:
    """Subjects of the decay model, and the population parameters that they are drawn from."""
    rng = np.random.default_rng(2)
    theta = np.array([1.0, -0.5, np.log(0.4), np.log(0.5), np.log(0.2)])
    x = theta[:2, None] + np.exp(theta[2:4, None]) * rng.normal(size=(2, subjects))
    at = np.broadcast_to(np.linspace(0.2, 4.0, records)[:, None], (records, subjects))
    mean = np.exp(x[0] - np.exp(x[1]) * at)
    value = mean * (1.0 + np.exp(theta[4]) * rng.normal(size=mean.shape))
    return Decay(subjects, **changes), theta, Data(at, value, np.ones_like(at, bool))
