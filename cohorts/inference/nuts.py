"""The No-U-Turn sampler on all chains, adaptation included, one block of iterations a call.

Trees, leapfrog steps and adaptation are NumPyro's; here they run for all chains, side by side or
each alone (`cohorts.inference.layout`), in one program whose arguments are the state of the chains,
the target acceptance and the data. So a run is a sequence of calls with nothing hidden between
them, which can be stopped and gone on with anywhere, and a second run of the same model compiles
nothing.

Hoffman MD, Gelman A. The No-U-Turn sampler. J Mach Learn Res. 2014;15:1593-1623; with multinomial
sampling of Betancourt M. arXiv:1701.02434. Windows of warmup as Stan's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxtyping import Bool, Float, Int, Key
from numpyro.infer import hmc_util
from numpyro.infer.hmc import momentum_generator

from cohorts.inference.density import Data, Density, Position
from insilico.programs import shared
from insilico.randomness import address
from insilico.solve.blocks import compiler_options

BLOCK = 64
"""Iterations that one call can do; it holds their results."""


EARLY_DEPTH = 7
"""Largest depth of a tree before the metric is learned from draws: with a mere guess of it, long
trajectories, which turn only late, cost more than they teach. PyMC has 8 for 200 iterations."""

SETTLING = 50
"""Iterations that a step size takes to adapt to a known metric; as many as end Stan's warmup."""


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

    @property
    def early(self) -> int:
        """The iteration by which the metric is first learned from draws."""
        schedule = hmc_util.build_adaptation_schedule(self.warmup)
        return schedule[1].end + 1 if len(schedule) > 2 else 0

    @property
    def settling(self) -> int:
        """The iteration from which the step size alone is adapted, once the metric is known."""
        return max(0, self.warmup - SETTLING)


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


def no_iterations(position: Position, room: int, chains: tuple[int, ...]) -> Block:
    """Room for the results of iterations, all zero.

    `position` is that of so many `chains`, or of one where there is no axis of them.
    """
    return Block(
        jax.tree.map(lambda leaf: jnp.zeros((room, *leaf.shape)), position),
        Statistics(*(jnp.zeros((room, *chains), dtype) for dtype in _TYPES)),
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


@functools.partial(jax.jit, static_argnames="plan")
def settle_again(plan: Plan, chains: Chains, keys: Key[Array, " chains"]) -> Chains:
    """Chains that have warmed up, to go on from iteration `plan.settling` with other `keys`.

    There they adapt the step size anew, as after a change of the metric, and keep the metric.
    """
    begin, _ = hmc_util.dual_averaging()
    adapted = chains.adaptation
    # As NumPyro does it: ten times the step size is what adaptation leans to at first.
    centre: Any = jnp.log(10.0) + jnp.log(adapted.step_size)
    last = len(hmc_util.build_adaptation_schedule(plan.warmup)) - 1
    again = adapted._replace(
        ss_state=jax.vmap(begin)(centre), window_idx=jnp.full_like(adapted.window_idx, last)
    )
    again = jax.tree.map(lambda new, old: new.astype(old.dtype), again, adapted)
    return chains._replace(adaptation=again, key=keys)


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


Program = Callable[[Chains, Array, Array, Array, Data], tuple[Chains, Block]]
"""A block of iterations, `(chains, first, count, target, data)`.

- `first`: number of its first iteration, from 0; those below `Plan.warmup` adapt.
- `count`: how many, at most `BLOCK`.
- `target`: acceptance rate to adapt to.

Returns the chains after it, and its results.
"""


@functools.lru_cache(maxsize=32)
def together(density: Density, plan: Plan) -> Program:
    """The compiled program in which all chains go side by side."""

    def block(
        chains: Chains, first: Array, count: Array, target: Array, data: Data
    ) -> tuple[Chains, Block]:
        def step(chain: Chains, iteration: Array) -> tuple[Chains, Statistics]:
            return _iteration(density, plan, chain, iteration, target, data)

        steps = jax.vmap(step, in_axes=(0, None))
        return _iterated(steps, chains, first, count, chains.key.shape)

    options = compiler_options()
    return shared(jax.jit(block, compiler_options=options), options)


@functools.lru_cache(maxsize=32)
def apart(density: Density, plan: Plan, devices: int, abreast: int | None = None) -> Program:
    """The compiled program in which each chain goes alone, and waits for no other.

    The first `devices` of the host's have as many chains each, one after the other. A chain meets
    the same instructions whatever their number.

    With `abreast`, chains have data of their own, whose arrays have a leading axis (chains,), and
    in place of each chain go so many side by side, which wait for one another alone.
    """
    mesh = jax.make_mesh(
        (devices,), ("chains",), axis_types=(AxisType.Auto,), devices=jax.local_devices()[:devices]
    )
    split, whole = PartitionSpec("chains"), PartitionSpec()
    group = () if abreast is None else (abreast,)

    def on_device(
        chains: Chains, counts: Array, first: Array, target: Array, data: Data
    ) -> tuple[Chains, Block]:
        def step(chain: Chains, iteration: Array, data: Data) -> tuple[Chains, Statistics]:
            return _iteration(density, plan, chain, iteration, target, data)

        steps = jax.vmap(step, in_axes=(0, None, 0)) if group else step

        def block(own: tuple[Chains, Array, Data | None]) -> tuple[Chains, Block]:
            chain, count, of_group = own
            given = data if of_group is None else of_group

            def all_steps(chain: Chains, iteration: Array) -> tuple[Chains, Statistics]:
                return steps(chain, iteration, given)

            return _iterated(all_steps, chain, first, count, group)

        chains, results = jax.lax.map(block, (chains, counts, data if group else None))
        return chains, jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), results)

    mapped = jax.shard_map(
        on_device,
        mesh=mesh,
        in_specs=(split, split, whole, whole, split if group else whole),
        out_specs=(split, PartitionSpec(None, "chains")),
        check_vma=False,
    )
    options = compiler_options()
    compiled = shared(jax.jit(mapped, compiler_options=options), options)

    def program(
        chains: Chains, first: Array, count: Array, target: Array, data: Data
    ) -> tuple[Chains, Block]:
        (number,) = chains.key.shape
        width = abreast or 1
        # Devices have as many each: what is missing are copies that do nothing.
        rows = devices * -(-number // (width * devices))
        counts = np.where(width * np.arange(rows) < number, np.asarray(count), 0)
        places = np.minimum(np.arange(rows * width), number - 1).reshape(rows, *group)
        filled = group or rows != number
        mine, all_ = NamedSharding(mesh, split), NamedSharding(mesh, whole)
        if filled:
            chains = jax.tree.map(lambda leaf: leaf[places], chains)
        if group:
            data = jax.tree.map(lambda leaf: leaf[places], data)
        found = compiled(
            *jax.device_put((chains, counts), mine),
            *jax.device_put((first, target), all_),
            jax.device_put(data, mine if group else all_),
        )
        # All of it on one device again, where it is no matter how many others there are.
        chains, results = jax.device_put(found, jax.local_devices()[0])
        if group:
            chains = jax.tree.map(lambda leaf: jax.lax.collapse(leaf, 0, 2), chains)
            results = jax.tree.map(lambda leaf: jax.lax.collapse(leaf, 1, 3), results)
        if filled:
            chains = jax.tree.map(lambda leaf: leaf[:number], chains)
            results = jax.tree.map(lambda leaf: leaf[:, :number], results)
        return chains, results

    return program


def _iterated(
    step: Callable[[Chains, Array], tuple[Chains, Statistics]],
    chains: Chains,
    first: Array,
    count: Array,
    shape: tuple[int, ...],
) -> tuple[Chains, Block]:
    """`count` iterations of chains of this shape, () for one."""

    def body(index: Array, carry: tuple[Chains, Block]) -> tuple[Chains, Block]:
        chains, results = carry
        chains, statistics = step(chains, first + index)
        new = Block(chains.position, statistics)
        return chains, jax.tree.map(lambda r, v: r.at[index].set(v), results, new)

    nothing = no_iterations(chains.position, BLOCK, shape)
    return jax.lax.fori_loop(0, count, body, (chains, nothing))


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

    early = min(EARLY_DEPTH, plan.max_tree_depth)
    depths: Any = (
        jnp.where(iteration < plan.early, early, plan.max_tree_depth),
        plan.max_tree_depth,
    )
    tree = hmc_util.build_tree(
        marked,
        kinetic,
        hmc_util.IntegratorState(chain.position, momentum, chain.potential, chain.gradient),
        adapted.inverse_mass_matrix,
        adapted.step_size,
        key_tree,
        max_tree_depth=depths,
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
