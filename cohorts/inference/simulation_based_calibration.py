"""Simulation-based calibration: whether posteriors cover the parameters that made their data.

Parameters are drawn from the prior, data from the parameters, and the posterior of each data set is
sampled. If model, simulator and sampler agree, the rank of a parameter among its posterior's draws
is uniform, whatever the model. Talts S, Betancourt M, Simpson D, Vehtari A, Gelman A.
arXiv:1804.06788.

All data sets are chains of one compiled program, each with its own data.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Key
from numpyro.handlers import seed as seeded
from numpyro.handlers import trace
from scipy import special

from cohorts.inference import nuts
from cohorts.inference.density import Data, Density, NumpyroModel, Position
from cohorts.inference.settings import BINS, LEAST_DATASETS
from insilico.programs import quickly
from insilico.randomness import address, purpose_key

Simulator = Callable[[Key[Array, ""]], tuple[Mapping[str, Array], Data]]
"""From a key to values of the latent sites, drawn from the prior, and data drawn from those."""

Quantities = Callable[[Position, Data], Mapping[str, Array]]
"""From where a chain is and its data to the quantities that are ranked."""

TARGET = 0.95
"""Acceptance rate that chains adapt to. Many wait for the longest trajectory, so that short steps
cost nothing, and posteriors of far draws of a prior are narrow in places."""

DIFFERENCE = 1e-4
"""Of unconstrained coordinates, between the gradients that second derivatives are taken from."""

WIDEST = 3.0
"""Standard deviation that no direction's first guess exceeds, in unconstrained coordinates."""

GROUPS = 8
"""Groups that data sets are cut into, which the host's devices share. Data sets of a group go side
by side and wait for one another alone. Groups do not depend on how many devices there are, so that
ranks do not either."""


class Ranks(NamedTuple):
    """Ranks of parameters among their posterior's draws.

    - `ranks`: of each quantity, (data sets, …), from 0 to `draws`.
    - `p_values`: of each quantity, (…): how often uniform ranks would be as uneven, by chi-square.
    - `divergences`: trajectories that diverged, in all data sets; `saturated`: the share of those
      that ended because their tree may not grow; `iterations`: how many each data set had.
    - `truth`: the values that are ranked, (data sets, …), and `kept`, the draws that they are
      ranked among, (data sets, draws, …).
    - `possible`: whether the density has a value at the parameters that made the data, (all data
      sets,). Those where it has none are in nothing of the above.
    """

    ranks: dict[str, np.ndarray]
    draws: int
    p_values: dict[str, np.ndarray]
    divergences: int
    saturated: float
    iterations: int
    truth: dict[str, np.ndarray]
    kept: dict[str, np.ndarray]
    possible: np.ndarray

    def uneven(self, level: float = 0.01) -> dict[str, np.ndarray]:
        """P-values of the sites whose ranks are not uniform, at a level for all together."""
        count = sum(np.size(p) for p in self.p_values.values())
        return {n: p for n, p in self.p_values.items() if np.any(p < level / count)}


def simulator(model: NumpyroModel, data: Data, observed: Sequence[str]) -> Simulator:
    """The simulator that a model is itself when it is not told what was observed.

    **Arguments:**

    - `data`: what the model is called with; of the arrays named in `observed` nothing is used.
    - `observed`: arguments that the model gives as `obs` to sites of the same names, and that may
      be None.
    """
    unknown = {**data, **dict.fromkeys(observed)}

    def simulate(key: Key[Array, ""]) -> tuple[dict[str, Array], Data]:
        sites = trace(seeded(model, key)).get_trace(**unknown)
        drawn = {n: site["value"] for n, site in sites.items() if site["type"] == "sample"}
        made = {name: drawn.pop(name) for name in observed}
        return drawn, {**data, **made}

    return simulate


def rank_datasets(
    model: NumpyroModel,
    simulate: Simulator,
    *,
    seed: int,
    datasets: int = 256,
    draws: int = 4 * BINS - 1,
    **settings: Any,
) -> Ranks:
    """Sample the posteriors of simulated data sets, and rank the parameters that made them.

    **Arguments:**

    - `datasets`: how many; at least 5 for each of `BINS`.
    - `draws`, `settings`: as for `ranked`.

    Raises `ValueError` as `ranked` does.
    """
    _check(draws, datasets)
    root = purpose_key(seed, "calibration")
    keys = jax.vmap(lambda number: address(root, 0, number))(jnp.arange(datasets))
    values, data = jax.jit(jax.vmap(simulate))(keys)
    density = Density.of(model, jax.tree.map(lambda leaf: leaf[0], data))
    position = jax.jit(jax.vmap(density.unconstrained))(values, data)
    return ranked(density, position, data, seed=seed, draws=draws, **settings)


def ranked(
    density: Density,
    position: Position,
    data: Data,
    *,
    seed: int,
    warmup: int = 200,
    draws: int = 4 * BINS - 1,
    thin: int = 10,
    max_tree_depth: int = 8,
    quantities: Quantities | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Ranks:
    """Sample the posteriors of data sets that are at hand, and rank the parameters that made them.

    Chains start at those parameters, which are a draw of their posterior if all is well.

    **Arguments:**

    - `position`: those parameters, (data sets, …), where the density has them.
    - `data`: arguments of the model; all arrays have a leading axis of data sets.
    - `draws`, `thin`: how many are kept of each posterior, and every how manyth; correlated draws
      make ranks uneven.
    - `quantities`: what is ranked; the latent sites if left out.
    - `progress`: told how many of how many iterations are done.

    Raises `ValueError` where `draws` and one is no multiple of `BINS`, or there are too few data
    sets at whose parameters the density has a value.
    """
    datasets = len(next(iter(position.values())))
    _check(draws, datasets)

    def sites(position: Position, data: Data) -> Mapping[str, Array]:
        found = density.sites(position, data).values
        return {name: found[name] for name in density.shapes}

    around, expand = _around(density)
    at, potential, gradient, curvature = expand(position, data)
    possible = np.isfinite(np.asarray(potential)) & np.isfinite(np.asarray(gradient)).all(axis=1)
    _check(draws, int(possible.sum()))
    factor = jnp.asarray(_factors(curvature))
    everything = {"data": data, "at": at, "factor": factor, "potential": potential}
    if not possible.all():
        everything, gradient = jax.tree.map(lambda leaf: leaf[possible], (everything, gradient))
    root = purpose_key(seed, "calibration")
    keys = jax.vmap(lambda number: address(root, 1, number))(np.flatnonzero(possible))
    plan = nuts.Plan(warmup, max_tree_depth, ())
    chains = nuts.begin(
        plan,
        {"z": np.zeros(gradient.shape)},
        everything["potential"],
        {"z": np.einsum("dij,di->dj", everything["factor"], gradient)},
        keys,
    )
    look = quickly(
        jax.vmap(lambda z, given: (quantities or sites)(around.position(z, given), given["data"]))
    )
    truth = {name: np.asarray(of) for name, of in look(chains.position, everything).items()}
    run = nuts.apart(around, plan, *_layout(int(possible.sum())))
    kept: list[Mapping[str, Any]] = []
    divergences, steps, done, total = 0, [], 0, warmup + draws * thin
    while done < total:
        until = warmup + thin * max(0, 1 + (done - warmup) // thin)
        count = min(nuts.BLOCK, until - done)
        chains, block = run(
            chains, jnp.asarray(done), jnp.asarray(count), jnp.asarray(TARGET), everything
        )
        done += count

        if done > warmup:
            divergences += int(np.sum(block.statistics.diverging[:count]))
            steps.append(np.asarray(block.statistics.n_steps[:count]))
        if done == until and done > warmup:
            kept.append(jax.tree.map(np.asarray, look(chains.position, everything)))
        if progress is not None:
            progress(done, total)
    drawn = {name: np.stack([each[name] for each in kept], axis=1) for name in truth}
    ranks = {name: (drawn[name] < of[:, None]).sum(axis=1) for name, of in truth.items()}
    return Ranks(
        ranks=ranks,
        draws=draws,
        p_values={name: uniform_p_value(of, draws) for name, of in ranks.items()},
        divergences=divergences,
        saturated=float(np.mean(np.concatenate(steps) >= 2**max_tree_depth - 1)),
        iterations=draws * thin,
        truth=truth,
        kept=drawn,
        possible=possible,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Around:
    """A density in coordinates in which its curvature at one point of each data set is the same in
    all directions: there a sampler takes few steps, and its metric may be diagonal.

    Data are `data` of the density, the point `at`, and a `factor`.
    """

    density: Density

    def position(self, position: Position, given: Data) -> Position:
        """The density's own coordinates."""
        shapes = self.density.shapes
        blank = {name: jnp.zeros(shape) for name, shape in shapes.items()}
        return ravel_pytree(blank)[1](given["at"] + given["factor"] @ position["z"])

    def potential(self, position: Position, given: Data) -> Array:
        """Minus the log density, up to a constant."""
        return self.density.potential(self.position(position, given), given["data"])


@functools.lru_cache(maxsize=32)
def _around(density: Density) -> tuple[Around, Callable[[Position, Data], Any]]:
    """What is the same for all data: the coordinates, and the program that finds them.

    Kept for each density, so that programs compiled for it are found again.
    """

    def expand(position: Position, data: Data) -> Any:
        return _expanded(density, position, data)

    return Around(density), quickly(jax.vmap(expand))


def _expanded(
    density: Density, position: Position, data: Data
) -> tuple[Array, Array, Array, Array]:
    """A point as a vector, the potential, its gradient and its second derivatives there.

    The last by differences of gradients: a density may have no others than those in reverse.
    """
    flat, unravel = ravel_pytree(position)
    shifts = DIFFERENCE * jnp.eye(flat.size)
    points = flat + jnp.concatenate([jnp.zeros((1, flat.size)), shifts, -shifts])

    def at(point: Array) -> tuple[Array, Array]:
        value, slope = jax.value_and_grad(density.potential)(unravel(point), data)
        return value, ravel_pytree(slope)[0]

    # One after the other, so that the gradient is compiled once.
    values, slopes = jax.lax.map(at, points)
    up, down = jnp.split(slopes[1:], 2)
    return flat, values[0], slopes[0], (up - down) / (2.0 * DIFFERENCE)


def _factors(curvature: Array) -> np.ndarray:
    """Roots of the covariances of normal posteriors of these second derivatives, (data sets, …).

    What the density does not bend down in counts as if it did, and nothing is wider than `WIDEST`.
    """
    found = np.asarray(curvature)
    # Where a solve fails beside the point nothing is known of the curvature.
    known = np.isfinite(found).all(axis=(1, 2))
    found = np.where(known[:, None, None], found, np.eye(found.shape[1]))
    values, vectors = np.linalg.eigh((found + np.swapaxes(found, 1, 2)) / 2.0)
    return vectors / np.sqrt(np.maximum(np.abs(values), WIDEST**-2))[:, None, :]


def _layout(datasets: int) -> tuple[int, int]:
    """On how many devices data sets go, and how many of them side by side."""
    if jax.default_backend() != "cpu":
        return 1, datasets
    return min(GROUPS, jax.local_device_count()), -(-datasets // GROUPS)


def _check(draws: int, datasets: int) -> None:
    if (draws + 1) % BINS or datasets < LEAST_DATASETS:
        raise ValueError(
            f"draws + 1 must be a multiple of {BINS}, and datasets at least {LEAST_DATASETS}; "
            f"found draws={draws}, datasets={datasets}"
        )


def uniform_p_value(ranks: np.ndarray, draws: int) -> np.ndarray:
    """Of Pearson's test that ranks from 0 to `draws`, (data sets, …), are uniform."""
    bins = ranks * BINS // (draws + 1)
    counts = np.stack([(bins == number).sum(0) for number in range(BINS)])
    expected = ranks.shape[0] / BINS
    statistic = ((counts - expected) ** 2 / expected).sum(0)
    return special.gammaincc((BINS - 1) / 2, statistic / 2)
