"""Addressed randomness: every draw's key is folded from what the draw is for.

A key depends on (seed, purpose, population, trial, subject, name or nominal time) and on nothing
else, so adding an arm, a visit, a covariate or a shard leaves all other draws as they were.
"""

import hashlib

import jax
from jaxtyping import Array, Int, Key


def name_hash(name: str) -> int:
    """A 31-bit number that stands for `name` in a key, the same in every process."""
    digest = hashlib.blake2s(name.encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little") & 0x7FFFFFFF


def purpose_key(seed: int | Int[Array, ""], purpose: str) -> Key[Array, ""]:
    """The root key of all draws made for one purpose (`"covariates"`, `"residual error"`, …)."""
    return jax.random.fold_in(jax.random.key(seed), name_hash(purpose))


def address(key: Key[Array, ""], *indices: int | Int[Array, ""]) -> Key[Array, ""]:
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
