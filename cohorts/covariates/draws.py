"""Where a covariate model's random numbers come from: keys, or a stream for trying a config."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from insilico.hashing import name_hash

if TYPE_CHECKING:
    from jaxtyping import Array, Key


class Draws(Protocol):
    """Random numbers by the name of what they are for: of one subject, or an array of many."""

    def uniform(self, name: str) -> Any:
        """Uniform between 0 and 1."""
        ...

    def truncated_normal(self, name: str, low: Any, high: Any) -> Any:
        """Standard normal, given that it lies between `low` and `high`."""
        ...


class Keyed:
    """The numbers at one subject's key: those that a trial's subjects get."""

    def __init__(self, key: Key[Array, ""]):
        self.key = key

    def uniform(self, name: str) -> Any:
        import jax

        return jax.random.uniform(self._named(name), dtype=float)

    def truncated_normal(self, name: str, low: Any, high: Any) -> Any:
        import jax

        return jax.random.truncated_normal(self._named(name), low, high, dtype=float)

    def _named(self, name: str) -> Key[Array, ""]:
        import jax

        return jax.random.fold_in(self.key, name_hash(name))


class Sampled:
    """The numbers of `n` people who are nobody in particular, without JAX.

    They serve where any sample does: to try a config's criteria, to meet a margin. Each name has a
    stream of its own.
    """

    def __init__(self, seed: int, n: int):
        self.seed = seed
        self.n = n

    def uniform(self, name: str) -> np.ndarray:
        return self._stream(name).random(self.n)

    def truncated_normal(self, name: str, low: Any, high: Any) -> np.ndarray:
        low, high = (np.broadcast_to(limit, (self.n,)) for limit in (low, high))
        stream = self._stream(name)
        drawn = np.empty(self.n)
        left = np.arange(self.n)
        while left.size:
            drawn[left] = stream.standard_normal(left.size)
            left = left[(drawn[left] < low[left]) | (drawn[left] > high[left])]
        return drawn

    def _stream(self, name: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, name_hash(name)])
