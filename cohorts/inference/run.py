"""One run of the sampler: block after block of iterations, told and kept on the way."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro

from cohorts.diagnosis import convergence
from cohorts.inference import layout, nuts, starts
from cohorts.inference.checkpoints import Checkpoint, CheckpointError, Saved
from cohorts.inference.density import Data, Density, Position
from cohorts.inference.settings import TARGETS, Sampling
from insilico.programs import quickly
from insilico.randomness import address, purpose_key

if TYPE_CHECKING:
    import os

    import xarray as xr

BLOCK_SECONDS = 1.0
"""About how long a call of the compiled program takes: how often progress is told."""

CHECKPOINT_SHARE = 0.05
"""Most of the time that writing checkpoints may take."""

LOOKS = 10
"""How often in the course of the draws it is looked whether trajectories diverged, so that draws
that will be done again end early. They are numbers of iterations, not of calls, which depend on the
machine's speed."""


class Progress(NamedTuple):
    """How far a run has come.

    - `done`, `total`: iterations of each chain, of which the first `warmup` are not kept.
    - `target`: target acceptance of this run.
    - `divergences`: among the kept iterations so far, in all chains.
    - `step_size`: of each chain, (chains,).
    """

    done: int
    total: int
    warmup: int
    target: float
    divergences: int
    step_size: np.ndarray


class History(NamedTuple):
    """Iterations so far: arrays (iterations, chains, …)."""

    position: Position
    statistics: nuts.Statistics

    def joined(self, block: nuts.Block, count: int) -> History:
        """With the first `count` results of a block."""
        return jax.tree.map(
            lambda old, new: np.concatenate([old, np.asarray(new)[:count]]), self, History(*block)
        )


@dataclasses.dataclass
class Spent:
    """What a run has taken so far, in all chains, draws that were done again included.

    - `starting`: gradients for finding starts. `steps`: leapfrog steps. `failed`: trajectories that
      ended where the density has no value. `seconds`: of iterations.
    """

    starting: int = 0
    steps: int = 0
    failed: int = 0
    seconds: float = 0.0


class Run:
    """One run on its way: the state of its chains, its iterations so far, what it was told."""

    def __init__(
        self,
        density: Density,
        data: Data,
        settings: Sampling,
        seed: int,
        folder: str | os.PathLike[str] | None,
        progress: Callable[[Progress], Any] | None,
    ):
        self.density, self.data, self.settings, self.seed = density, data, settings, seed
        self.progress = progress
        dense = sorted(set(density.shapes).difference(density.in_plates)) if settings.dense else []
        self.plan = nuts.Plan(settings.warmup, settings.max_tree_depth, tuple(dense))
        self.total = settings.warmup + settings.draws
        self.layout = layout.choose(density, data, settings)
        self._program = (
            nuts.apart(density, self.plan, self.layout.devices)
            if self.layout.apart
            else nuts.together(density, self.plan)
        )
        self.checkpoint = None
        if folder is not None:
            self.checkpoint = Checkpoint(Path(folder), self._identity())
        wanted = settings.target_acceptance
        self.target = TARGETS[0] if wanted == "auto" else wanted
        self.told: list[str] = []
        self.spent = Spent()
        self.chains: nuts.Chains
        self.history: History

    @property
    def done(self) -> int:
        """Iterations so far."""
        return self.history.statistics.lp.shape[0]

    @property
    def _looks(self) -> list[int]:
        """The numbers of iterations at which divergences are looked for; the last is the end."""
        return [
            self.plan.warmup + -(-self.settings.draws * look // LOOKS)
            for look in range(1, LOOKS + 1)
        ]

    @property
    def _diverged(self) -> int:
        """Divergences among the kept iterations so far, in all chains."""
        return int(np.sum(self.history.statistics.diverging[self.plan.warmup :]))

    def start(self) -> None:
        """Take the state from the checkpoint, or find where to start; compile the program."""
        saved = self.checkpoint and self.checkpoint.read()
        if saved:
            self._resume(saved)
        else:
            root = purpose_key(self.seed, "sampler")
            found = starts.find(self.density, self.data, self.settings.chains, address(root, 0))
            self.spent.starting = found.gradients
            keys = jax.vmap(lambda chain: address(root, 1, chain))(jnp.arange(self.settings.chains))
            self.chains = nuts.begin(
                self.plan, found.position, found.potential, found.gradient, keys, found.variances
            )
            self.history = self._blank()
        self.chains, _ = self._block(0)

    def go_on(self) -> None:
        """Iterate to the end, telling and keeping the state from time to time."""
        count = 1
        written = time.perf_counter()
        pause = 0.0
        while self.done < self.total:
            if self.done in self._looks and (diverged := self._diverged):
                drawn = (self.done - self.plan.warmup) * self.settings.chains
                self._shorten(f"{diverged} of the first {drawn} trajectories diverged")
            next_look = min(look for look in self._looks if look > self.done)
            count = min(count, nuts.BLOCK, next_look - self.done)
            began = time.perf_counter()
            self.chains, block = jax.block_until_ready(self._block(count))
            now = time.perf_counter()
            self.history = self.history.joined(block, count)
            self.spent.seconds += now - began
            self.spent.steps += int(np.sum(self.history.statistics.n_steps[-count:]))
            self.spent.failed += int(np.sum(self.history.statistics.failed[-count:]))
            if self.checkpoint and (now - written >= pause or self.done == self.total):
                self._write()
                written = time.perf_counter()
                pause = (written - now) / CHECKPOINT_SHARE
            self._tell()
            count = max(1, min(2 * count, int(count * BLOCK_SECONDS / (now - began))))

    def shorten_steps(self, tree: xr.DataTree) -> bool:
        """Draw again with the next target acceptance if the draws ask for it; whether they do.

        Chains go on from where they are, with their metric, and adapt their step size before they
        draw.
        """
        why = convergence.steps_too_long(convergence.judge(tree).table)
        return why is not None and self._shorten(why)

    def _shorten(self, why: str) -> bool:
        """Go back to where step sizes adapt, with the next target acceptance, if there is one."""
        if self.settings.target_acceptance != "auto":
            return False
        higher = [target for target in TARGETS if target > self.target]
        if not higher:
            return False
        self.told.append(f"target acceptance raised from {self.target} to {higher[0]}: {why}")
        self.target = higher[0]
        keys = jax.vmap(lambda key: address(key, self.total + len(self.told)))(self.chains.key)
        self.chains = nuts.settle_again(self.plan, self.chains, keys)
        self.history = jax.tree.map(lambda part: part[: self.plan.settling], self.history)
        return True

    def _block(self, count: int) -> tuple[nuts.Chains, nuts.Block]:
        return self._program(
            self.chains,
            jnp.asarray(self.done),
            jnp.asarray(count),
            jnp.asarray(self.target),
            self.data,
        )

    def _tell(self) -> None:
        if self.progress is None:
            return
        statistics = self.history.statistics
        self.progress(
            Progress(
                done=self.done,
                total=self.total,
                warmup=self.plan.warmup,
                target=self.target,
                divergences=self._diverged,
                step_size=np.asarray(statistics.step_size[-1]),
            )
        )

    def _blank(self) -> History:
        """No iterations."""
        position = self._template().position
        shape = (self.settings.chains,)
        plain = jax.eval_shape(lambda: nuts.no_iterations(position, 0, shape))
        return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), History(*plain))

    def _identity(self) -> dict[str, Any]:
        digest = hashlib.sha256()
        for leaf in jax.tree.leaves(self.data):
            digest.update(np.asarray(leaf).tobytes())
        return {
            "settings": self.settings.model_dump(),
            "seed": self.seed,
            "sites": {name: list(shape) for name, shape in self.density.shapes.items()},
            "data": digest.hexdigest()[:16],
            "versions": [jax.__version__, numpyro.__version__],
        }

    def _write(self) -> None:
        assert self.checkpoint is not None
        note = {
            "target": self.target,
            "told": self.told,
            "spent": dataclasses.asdict(self.spent),
        }
        self.checkpoint.write(note, {"chains": self.chains, "history": self.history})

    def _resume(self, saved: Saved) -> None:
        self.target, self.told = saved.note["target"], saved.note["told"]
        self.spent = Spent(**saved.note["spent"])
        like = {"chains": self._template(), "history": self._blank()}
        tree = saved.tree(like)
        self.chains, self.history = jax.tree.map(jnp.asarray, tree["chains"]), tree["history"]
        # Neither the identity nor the sites' shapes tell a model whose equations have changed.
        potential = self._potential(self.chains.position)
        if not np.allclose(potential, self.chains.potential, rtol=1e-9, atol=1e-9):
            raise CheckpointError(
                f"{saved.path}: the model has changed since the checkpoint was written: minus "
                f"its log density at the chains was {np.asarray(self.chains.potential)} and is "
                f"{np.asarray(potential)} now; remove the checkpoint to start anew"
            )

    def _potential(self, position: Position) -> np.ndarray:
        """Minus the log density where each chain is, (chains,)."""
        potential = quickly(jax.vmap(self.density.potential, in_axes=(0, None)))
        return np.asarray(potential(position, self.data))

    def _template(self) -> nuts.Chains:
        """The structure of the chains' state."""
        chains = self.settings.chains
        position = {
            name: jnp.zeros((chains, *shape)) for name, shape in self.density.shapes.items()
        }
        keys = jax.random.split(jax.random.key(0), chains)
        return jax.eval_shape(
            lambda *start: nuts.begin(self.plan, *start),
            position,
            jnp.zeros(chains),
            position,
            keys,
        )
