"""Simulation-based calibration: whether posteriors cover the parameters that made their data.

Parameters are drawn from the prior, data from the parameters, and the posterior of each data set is
sampled. If model, simulator and sampler agree, the rank of a parameter among its posterior's draws
is uniform, whatever the model. Talts S, Betancourt M, Simpson D, Vehtari A, Gelman A.
arXiv:1804.06788.

All data sets are chains of one compiled program, each with its own data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key
from numpyro.handlers import seed as seeded
from numpyro.handlers import trace

from cohorts.inference import nuts
from cohorts.inference.density import Data, Density, NumpyroModel
from insilico.randomness import address, purpose_key

Simulator = Callable[[Key[Array, ""]], tuple[Mapping[str, Array], Data]]
"""From a key to values of the latent sites, drawn from the prior, and data drawn from those."""

BINS = 16
"""Of ranks, in the test of uniformity; the number of draws kept, and one, is a multiple of it."""

TARGET = 0.9


class Calibration(NamedTuple):
    """Ranks of parameters among their posterior's draws.

    - `ranks`: of each latent site, (data sets, …), from 0 to `draws`.
    - `p_values`: of each site, (…): how often uniform ranks would be as uneven, by chi-square.
    - `divergences`: trajectories that diverged, in all data sets.
    """

    ranks: dict[str, np.ndarray]
    draws: int
    p_values: dict[str, np.ndarray]
    divergences: int

    def uneven(self, level: float = 0.01) -> dict[str, np.ndarray]:
        """P-values of the sites whose ranks are not uniform, at a level for all together."""
        count = sum(np.size(p) for p in self.p_values.values())
        return {n: p for n, p in self.p_values.items() if np.any(p < level / count)}


def simulator(model: NumpyroModel, data: Data, observed: Sequence[str]) -> Simulator:
    """The simulator that a model is itself when it is not told what was observed.

    Args:
        data: what the model is called with; of the arrays named in `observed` nothing is used.
        observed: arguments that the model gives as `obs` to sites of the same names, and that may
            be None.
    """
    unknown = {**data, **dict.fromkeys(observed)}

    def simulate(key: Key[Array, ""]) -> tuple[dict[str, Array], Data]:
        sites = trace(seeded(model, key)).get_trace(**unknown)
        drawn = {n: site["value"] for n, site in sites.items() if site["type"] == "sample"}
        made = {name: drawn.pop(name) for name in observed}
        return drawn, {**data, **made}

    return simulate


def calibrate(
    model: NumpyroModel,
    simulate: Simulator,
    *,
    seed: int,
    datasets: int = 256,
    warmup: int = 200,
    draws: int = 4 * BINS - 1,
    thin: int = 10,
    max_tree_depth: int = 8,
) -> Calibration:
    """Sample the posteriors of simulated data sets, and rank the parameters that made them.

    Chains start at those parameters, which are a draw of their posterior if all is well.

    Args:
        datasets: how many; at least 5 for each of `BINS`.
        draws, thin: how many are kept of each posterior, and every how manyth; correlated draws
            make ranks uneven.

    Raises:
        ValueError: `draws` and one is no multiple of `BINS`, or there are too few data sets.
    """
    if (draws + 1) % BINS or datasets < 5 * BINS:
        raise ValueError(
            f"draws + 1 must be a multiple of {BINS}, and datasets at least {5 * BINS}; found "
            f"draws={draws}, datasets={datasets}"
        )
    root = purpose_key(seed, "calibration")
    keys = jax.vmap(lambda number: address(root, 0, number))(jnp.arange(datasets))
    values, data = jax.jit(jax.vmap(simulate))(keys)
    density = Density.of(model, jax.tree.map(lambda leaf: leaf[0], data))
    plan = nuts.Plan(warmup, max_tree_depth, tuple(sorted(density.shapes)))

    def start(values: Mapping[str, Array], data: Data) -> Any:
        position = density.unconstrained(values, data)
        return position, *jax.value_and_grad(density.potential)(position, data)

    position, potential, gradient = jax.jit(jax.vmap(start))(values, data)
    keys = jax.vmap(lambda number: address(root, 1, number))(jnp.arange(datasets))
    chains = nuts.begin(plan, position, potential, gradient, keys)
    below = {name: np.zeros(np.shape(values[name]), int) for name in density.shapes}
    divergences = 0
    drawn = jax.jit(jax.vmap(lambda z, data: density.sites(z, data).values))
    run = nuts.together(density, plan, own_data=True)
    done = 0
    for kept in range(-1, draws):
        until = warmup + (kept + 1) * thin
        while done < until:
            count = min(nuts.BLOCK, until - done)
            chains, block = run(
                chains, jnp.asarray(done), jnp.asarray(count), jnp.asarray(TARGET), data
            )
            done += count
            if kept >= 0:
                divergences += int(np.sum(block.statistics.diverging[:count]))
        if kept >= 0:
            now = drawn(chains.position, data)
            for name, ranks in below.items():
                ranks += np.asarray(now[name] < values[name])
    p_values = {name: uniform_p_value(ranks, draws) for name, ranks in below.items()}
    return Calibration(below, draws, p_values, divergences)


def uniform_p_value(ranks: np.ndarray, draws: int) -> np.ndarray:
    """Of Pearson's test that ranks from 0 to `draws`, (data sets, …), are uniform."""
    bins = ranks * BINS // (draws + 1)
    counts = np.stack([(bins == number).sum(0) for number in range(BINS)])
    expected = ranks.shape[0] / BINS
    statistic = ((counts - expected) ** 2 / expected).sum(0)
    return np.asarray(jax.scipy.special.gammaincc((BINS - 1) / 2, statistic / 2))
