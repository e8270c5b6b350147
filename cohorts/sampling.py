"""Subjects of a cohort, drawn by address inside compiled programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key
from numpyro import handlers

from cohorts.addressing import addressed
from cohorts.cohort import MAX_ATTEMPTS, Cohort, Numbers, Seed, Subjects
from cohorts.covariates import Keyed
from insilico.programs import quickly
from insilico.randomness import address, name_hash, purpose_key, subject_keys

LANES = 1024
"""Subjects computed side by side, whatever the number asked for: a subject's bits then do not
depend on it."""


def numbers(cohort: Cohort, seed: int, draws: int) -> Numbers:
    """See `Cohort.numbers`."""
    root = purpose_key(seed, "population parameters")
    sites = None if cohort.draws is None else _chosen(cohort.draws, root, draws)

    def typical(draw: Array, sites: Any, hyperparameters: Any) -> Any:
        with addressed(key=address(root, draw)), handlers.substitute(data=sites or {}):
            return cohort.population.typical_values(cohort.options, hyperparameters)

    own = cohort.population.hyperparameter_arrays
    program = quickly(jax.vmap(typical, in_axes=(0, 0, None)))
    drawn = program(jnp.arange(draws), sites, own)
    return Numbers(cohort.marginals, cohort.stated, own, drawn)


def _chosen(posterior: Mapping[str, Any], root: Any, draws: int) -> dict[str, Any]:
    """Draws of a posterior in an order of chance, each once before one comes again."""
    total = len(next(iter(posterior.values())))
    order = jax.random.permutation(address(root, name_hash("order of the posterior")), total)
    place = np.asarray(order)[np.arange(draws) % total]
    return {name: values[place] for name, values in posterior.items()}


def sample(
    cohort: Cohort,
    numbers: Numbers,
    seed: Seed,
    population: Int[Array, " subjects"],
    trial: Int[Array, " subjects"],
    subject: Int[Array, " subjects"],
    occasions: int,
) -> tuple[Subjects, Int[Array, " subjects"]]:
    """See `Cohort.sample`."""
    candidates = subject_keys(purpose_key(seed, "covariates"), population, trial, subject)
    attempts = _attempts(cohort, numbers, candidates)
    individuals = subject_keys(
        purpose_key(seed, "individual parameters"), population, trial, subject
    )

    def one(candidate: Any, individual: Any, population: Array, attempts: Array) -> Subjects:
        accepted = address(candidate, jnp.maximum(attempts - 1, 0))
        typical = jax.tree.map(lambda values: jnp.asarray(values)[population], numbers.typical)
        return _subject(cohort, numbers, accepted, individual, typical, attempts > 0, occasions)

    drawn: Subjects = _in_blocks(jax.vmap(one), candidates, individuals, population, attempts)
    last = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -1), drawn.parameters)
    return drawn._replace(parameters=last), attempts


def _subject(
    cohort: Cohort,
    numbers: Numbers,
    candidate: Any,
    individual: Any,
    typical: Any,
    found: Any,
    occasions: int,
) -> Subjects:
    drawn = cohort.source.draw(Keyed(candidate), numbers.marginals, numbers.stated)
    with addressed(key=individual):
        covariates = cohort.population.recoded(drawn, cohort.vocabulary)
        parameters = cohort.population.parameters(
            typical, covariates, cohort.options, numbers.hyperparameters, occasions
        )
    return Subjects(
        covariates=drawn,
        parameters=jax.tree.map(lambda p: jnp.where(found, p, jnp.nan), parameters),
        residual={
            output: residual.numbers(typical)
            for output, residual in cohort.population.residual.items()
        },
    )


def _attempts(
    cohort: Cohort, numbers: Numbers, keys: Key[Array, " subjects"]
) -> Int[Array, " subjects"]:
    """Number of the first eligible candidate of each key, from 1; 0 where there is none.

    A fixed number of lanes each try the next candidate of their subject; a lane that is done takes
    up the next subject, so that hard cases do not hold up the others.
    """
    n = keys.shape[0]
    if not cohort.criteria:
        return jnp.ones(n, jnp.int32)

    def unfinished(state: tuple[Array, Array, Array, Array]) -> Array:
        return jnp.any(state[0] < n)

    def step(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        subject, attempt, waiting, found = state
        tried = jax.vmap(address)(keys[jnp.minimum(subject, n - 1)], attempt)
        eligible = _eligible(cohort, numbers, tried)
        done = eligible | (attempt == MAX_ATTEMPTS - 1)
        found = found.at[jnp.where(done, subject, n)].set(
            jnp.where(eligible, attempt + 1, 0), mode="drop"
        )
        taken = waiting + jnp.cumsum(done, dtype=jnp.int32) - 1
        return (
            jnp.where(done, taken, subject),
            jnp.where(done, 0, attempt + 1),
            waiting + jnp.sum(done, dtype=jnp.int32),
            found,
        )

    lanes = jnp.arange(LANES, dtype=jnp.int32)
    start = (lanes, jnp.zeros_like(lanes), jnp.int32(LANES), jnp.zeros(n, jnp.int32))
    return jax.lax.while_loop(unfinished, step, start)[3]


def _eligible(cohort: Cohort, numbers: Numbers, keys: Key[Array, " lanes"]) -> Array:
    drawn = cohort.source.sample(keys, numbers.marginals, numbers.stated)
    eligible = jnp.ones(keys.shape[0], bool)
    for criterion in cohort.criteria:
        eligible = eligible & cohort.holds(criterion, drawn)
    return eligible


def _in_blocks(function: Any, *arrays: Array) -> Any:
    """`function` of the arrays, always computed on `LANES` subjects at a time."""
    n = arrays[0].shape[0]
    blocks = -(-n // LANES)
    index = jnp.minimum(jnp.arange(blocks * LANES), n - 1).reshape(blocks, LANES)
    results = jax.lax.map(lambda block: function(*(a[block] for a in arrays)), index)
    return jax.tree.map(lambda r: r.reshape(blocks * LANES, *r.shape[2:])[:n], results)
