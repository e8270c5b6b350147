"""The No-U-Turn sampler on all chains at once, adaptation included, one block of iterations a call.

Trees, leapfrog steps and adaptation are NumPyro's; here they run for all chains side by side, in
one program whose arguments are the state of the chains, the target acceptance and the data. So a
run is a sequence of calls with nothing hidden between them, which can be stopped and gone on with
anywhere, and a second run of the same model compiles nothing.

Hoffman MD, Gelman A. The No-U-Turn sampler. J Mach Learn Res. 2014;15:1593-1623; with multinomial
sampling of Betancourt M. arXiv:1701.02434. Windows of warmup as Stan's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int, Key
from numpyro.infer import hmc_util
from numpyro.infer.hmc import momentum_generator

from cohorts.inference.density import Data, Density, Position
from insilico.programs import shared
from insilico.randomness import address
from insilico.solve.blocks import compiler_options

BLOCK = 64
"""Iterations that one call can do; it holds their results."""


class Plan(NamedTuple):
    """What the compiled program of a run depends on besides its density.

    - `warmup`: iterations of adaptation; the windows follow from it.
    - `max_tree_depth`: largest depth of a trajectory's tree.
    - `dense`: names of the sites whose covariances the metric holds; of others it has variances.
    """

    warmup: int
    max_tree_depth: int
    dense: tuple[str, ...]

    @property
    def blocks(self) -> Any:
        """Dense blocks of the metric, as NumPyro wants them."""
        return [self.dense] if self.dense else []


class Chains(NamedTuple):
    """State of the chains; all arrays have a leading axis (chains,).

    - `position`, `potential`, `gradient`: where each chain is, minus the log density and its
      derivative there.
    - `adaptation`: NumPyro's state of the adaptation: step size, metric and what they follow from.
    - `key`: each chain's key; iterations fold their number in.
    """

    position: Position
    potential: Float[Array, " chains"]
    gradient: Position
    adaptation: Any
    key: Key[Array, " chains"]


class Statistics(NamedTuple):
    """What is remembered of an iteration, (…,), named as ArviZ does.

    - `lp`: log density without constraints, up to the constant that the model leaves out.
    - `energy`: total energy of the draw.
    - `acceptance_rate`: mean acceptance probability along the trajectory.
    - `n_steps`, `tree_depth`: leapfrog steps, each one gradient; depth of the tree of them.
    - `diverging`: the energy grew by more than 1000 along the trajectory, or had no value.
    - `failed`: it had no value: a solve failed there, or numbers overflowed.
    """

    lp: Float[Array, ...]
    energy: Float[Array, ...]
    acceptance_rate: Float[Array, ...]
    step_size: Float[Array, ...]
    n_steps: Int[Array, ...]
    tree_depth: Int[Array, ...]
    diverging: Bool[Array, ...]
    failed: Bool[Array, ...]


_TYPES = (float, float, float, float, int, int, bool, bool)


class Block(NamedTuple):
    """Results of up to `BLOCK` iterations: arrays (BLOCK, chains, …), of which the first count."""

    position: Position
    statistics: Statistics


def no_iterations(position: Position, room: int) -> Block:
    """Room for the results of iterations, all zero; `position` is that of all chains."""
    chains = jax.tree.leaves(position)[0].shape[0]
    return Block(
        jax.tree.map(lambda leaf: jnp.zeros((room, *leaf.shape)), position),
        Statistics(*(jnp.zeros((room, chains), dtype) for dtype in _TYPES)),
    )


@functools.partial(jax.jit, static_argnames="plan")
def begin(
    plan: Plan,
    position: Position,
    potential: Float[Array, " chains"],
    gradient: Position,
    keys: Key[Array, " chains"],
    variances: Position | None = None,
) -> Chains:
    """Chains that stand at given points, before any adaptation.

    `variances`, like `position` without its leading axis, are a first guess of the posterior's.
    """

    def one(position: Position, potential: Array, gradient: Position, key: Array) -> Chains:
        start, _ = _adapter(plan, 0.9)
        at = hmc_util.IntegratorState(position, None, potential, gradient)
        metric = None if variances is None else _diagonal(plan, variances)
        adaptation = start(at, key, FIRST_STEP, inverse_mass_matrix=metric)
        # The types that an iteration gives, so that one program serves the first and all others.
        adaptation = jax.tree.map(
            lambda leaf: jax.lax.convert_element_type(leaf, jnp.result_type(leaf)),
            adaptation._replace(rng_key=None),
        )
        return Chains(position, potential, gradient, adaptation, key)

    return jax.vmap(one)(position, potential, gradient, keys)


FIRST_STEP = 0.1
"""Step size of the very first iteration, from which the adaptation goes on."""


def _diagonal(plan: Plan, variances: Position) -> dict[tuple[str, ...], Array]:
    """A diagonal metric in NumPyro's blocks, each flattened as NumPyro does."""
    rest = tuple(sorted(set(variances) - set(plan.dense)))
    blocks = {}
    for names in (plan.dense, rest):
        if names:
            flat = jnp.concatenate([jnp.ravel(variances[name]) for name in names])
            blocks[names] = jnp.diag(flat) if names is plan.dense else flat
    return blocks


@functools.lru_cache(maxsize=32)
def program(
    density: Density, plan: Plan, own_data: bool = False
) -> Callable[..., tuple[Chains, Block]]:
    """The compiled function `(chains, first, count, target, data)` of a block of iterations.

    - `first`: number of its first iteration, from 0; those below `plan.warmup` adapt.
    - `count`: how many, at most `BLOCK`.
    - `target`: acceptance rate to adapt to.
    - `data`: of the model; with `own_data` its arrays have a leading axis (chains,).

    Returns the chains after it, and its results.
    """

    def block(
        chains: Chains, first: Array, count: Array, target: Array, data: Data
    ) -> tuple[Chains, Block]:
        def step(chain: Chains, iteration: Array, data: Data) -> tuple[Chains, Statistics]:
            return _iteration(density, plan, chain, iteration, target, data)

        steps = jax.vmap(step, in_axes=(0, None, 0 if own_data else None))

        def body(index: Array, carry: tuple[Chains, Block]) -> tuple[Chains, Block]:
            chains, results = carry
            chains, statistics = steps(chains, first + index, data)
            new = Block(chains.position, statistics)
            return chains, jax.tree.map(lambda r, v: r.at[index].set(v), results, new)

        nothing = no_iterations(chains.position, BLOCK)
        return jax.lax.fori_loop(0, count, body, (chains, nothing))

    options = compiler_options()
    return shared(jax.jit(block, compiler_options=options), options)


def _iteration(
    density: Density, plan: Plan, chain: Chains, iteration: Array, target: Array, data: Data
) -> tuple[Chains, Statistics]:
    """One trajectory of one chain, and what the adaptation learns from it."""
    key_momentum, key_tree = jax.random.split(address(chain.key, iteration))
    adapted = chain.adaptation
    kinetic = hmc_util.euclidean_kinetic_energy
    momentum = momentum_generator(chain.position, adapted.mass_matrix_sqrt, key_momentum)
    _, leapfrog = hmc_util.velocity_verlet(lambda z: density.potential(z, data), kinetic)

    def marked(*arguments: Any) -> Any:
        # A point without a density ends its trajectory and is never moved to, so its gradient is
        # free to say what ended it.
        new = leapfrog(*arguments)
        gradient = jax.tree.map(
            lambda g: jnp.where(jnp.isfinite(new.potential_energy), g, jnp.nan), new.z_grad
        )
        return new._replace(z_grad=gradient)

    tree = hmc_util.build_tree(
        marked,
        kinetic,
        hmc_util.IntegratorState(chain.position, momentum, chain.potential, chain.gradient),
        adapted.inverse_mass_matrix,
        adapted.step_size,
        key_tree,
        max_tree_depth=plan.max_tree_depth,
    )
    acceptance = tree.sum_accept_probs / tree.num_proposals
    ends = jax.tree.leaves((tree.z_left_grad, tree.z_right_grad))
    failed = functools.reduce(jnp.logical_or, [jnp.any(jnp.isnan(end)) for end in ends])
    statistics = Statistics(
        lp=-tree.z_proposal_pe,
        energy=tree.z_proposal_energy,
        acceptance_rate=acceptance,
        step_size=adapted.step_size,
        n_steps=tree.num_proposals,
        tree_depth=jnp.asarray(tree.depth),
        diverging=tree.diverging,
        failed=failed & tree.diverging,
    )
    _, adapt = _adapter(plan, target)
    at = hmc_util.IntegratorState(tree.z_proposal, None, tree.z_proposal_pe, tree.z_proposal_grad)
    adaptation = jax.lax.cond(
        iteration < plan.warmup,
        lambda: adapt(iteration, acceptance, at, adapted),
        lambda: adapted,
    )
    new = Chains(at.z, at.potential_energy, at.z_grad, adaptation, chain.key)
    return new, statistics


def _adapter(plan: Plan, target: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    return hmc_util.warmup_adapter(plan.warmup, dense_mass=plan.blocks, target_accept_prob=target)
