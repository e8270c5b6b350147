"""Addressed randomness: every draw's key is folded from what the draw is for.

A key depends on (seed, purpose, population, trial, subject, name or nominal time) and on nothing
else, so adding an arm, a visit, a covariate or a shard leaves all other draws as they were.
"""

import jax
from jaxtyping import Array, Int, Integer, Key

from insilico import devices as _devices  # noqa: F401  (float64 before anything is drawn)
from insilico.hashing import name_hash


def purpose_key(seed: int | Int[Array, ""], purpose: str) -> Key[Array, ""]:
    """The root key of all draws made for one purpose (`"covariates"`, `"residual error"`, …)."""
    return jax.random.fold_in(jax.random.key(seed), name_hash(purpose))


def address(key: Key[Array, ""], *indices: int | Integer[Array, ""]) -> Key[Array, ""]:
    """The key at an address: the integers folded in, in turn."""
    for index in indices:
        key = jax.random.fold_in(key, index)
    return key


def subject_keys(
    key: Key[Array, ""],
    population: Int[Array, " subjects"],
    trial: Int[Array, " subjects"],
    subject: Int[Array, " subjects"],
) -> Key[Array, " subjects"]:
    """One key a subject, addressed by its population draw, its trial and its number there."""
    return jax.vmap(address, in_axes=(None, 0, 0, 0))(key, population, trial, subject)


__all__ = ["address", "name_hash", "purpose_key", "subject_keys"]
