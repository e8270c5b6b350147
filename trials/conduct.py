"""The trial as it is run on patients whose outcomes are known: enrolment and randomisation."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from insilico.randomness import address, purpose_key
from trials.allocation import allocation_of
from trials.config import TrialConfig
from trials.enrolment import centre_shares, draw_centres, uniform_accrual
from trials.randomisation import permuted_blocks, simple_randomisation


class Conduct(NamedTuple):
    """Who went where, arrays (trial, subject): group, centre, stratum and time of enrolment (d).

    A group is an arm or, in a crossover, a sequence of arms; see `trials.periods`.
    """

    group: Any
    centre: Any
    stratum: Any
    enrolment_time: Any


def conduct(
    config: TrialConfig,
    population: np.ndarray,
    trial: np.ndarray,
    factors: Mapping[str, np.ndarray],
) -> Conduct:
    """Enrol and randomise every simulated trial.

    **Arguments:**

    - `population`, `trial`: numbers of each simulated trial, (trial,).
    - `factors`: the yes/no factors of randomisation, each (trial, subject).
    """
    factors_in_order = [jnp.asarray(factors[name]) for name in config.trial.randomisation.strata.by]
    result = _conduct(
        _Design.of(config),
        _Numbers.of(config),
        jnp.asarray(population),
        jnp.asarray(trial),
        factors_in_order,
    )
    return Conduct(*(np.asarray(column) for column in result))


class _Design(NamedTuple):
    """What shapes the program."""

    subjects: int
    allocation: tuple[int, ...]
    block_sizes: tuple[int, ...]
    blocked: bool
    by_centre: bool
    centres: int

    @classmethod
    def of(cls, config: TrialConfig) -> _Design:
        spec = config.trial.randomisation
        return cls(
            subjects=config.trial.subjects,
            allocation=allocation_of(config),
            block_sizes=tuple(spec.block_sizes),
            blocked=spec.method == "permuted_blocks",
            by_centre=spec.strata.centre,
            centres=config.trial.centres.count,
        )


class _Numbers(NamedTuple):
    """What one program takes as it comes."""

    seed: Array
    spread: Array
    period: Array

    @classmethod
    def of(cls, config: TrialConfig) -> _Numbers:
        trial = config.trial
        return cls(
            seed=jnp.asarray(config.seed),
            spread=jnp.asarray(trial.centres.spread, float),
            period=jnp.asarray(trial.enrolment.period, float),
        )


@partial(jax.jit, static_argnums=0)
def _conduct(
    design: _Design, given: _Numbers, population: Array, trial: Array, factors: list[Array]
) -> Conduct:
    def keys(purpose: str) -> Array:
        root = purpose_key(given.seed, purpose)
        return jax.vmap(address, in_axes=(None, 0, 0))(root, population, trial)

    def subject_keys(purpose: str) -> Array:
        numbers = jnp.arange(design.subjects)
        each = jax.vmap(address, in_axes=(None, 0))
        return jax.vmap(each, in_axes=(0, None))(keys(purpose), numbers)

    shares = centre_shares(keys("centre sizes"), design.centres, given.spread)
    centre = draw_centres(subject_keys("centre"), shares)
    time = uniform_accrual(subject_keys("enrolment"), given.period)
    stratum = centre if design.by_centre else jnp.zeros_like(centre)
    for factor in factors:
        stratum = 2 * stratum + factor.astype(stratum.dtype)
    enrolled = jnp.ones(stratum.shape, bool)
    if len(design.allocation) == 1:
        group = jnp.zeros_like(stratum)
    elif design.blocked:
        group = permuted_blocks(
            keys("randomisation"),
            stratum,
            enrolled,
            allocation=design.allocation,
            block_sizes=design.block_sizes,
            enrolment_time=time,
        )
    else:
        numbers = jnp.broadcast_to(jnp.arange(design.subjects), stratum.shape)
        group = simple_randomisation(
            keys("randomisation"), numbers, enrolled, allocation=design.allocation
        )
    return Conduct(group, centre, stratum, time)
