"""A posterior, sampled: chains started, warmed up, drawn, kept on disk and labelled."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from cohorts.inference import labels
from cohorts.inference.compilations import counted
from cohorts.inference.density import Data, Density, NumpyroModel
from cohorts.inference.layout import Layout
from cohorts.inference.run import Progress, Run
from cohorts.inference.settings import Sampling

if TYPE_CHECKING:
    import os

    import xarray as xr


class Counts(NamedTuple):
    """What a posterior cost.

    - `gradients`: of the log density, in all chains, starts included.
    - `leapfrog_steps`: those of trajectories, warmup included.
    - `failed`: trajectories that ended where the density has no value, as after a failed solve; the
      chain stayed on the part before.
    - `compilations`, `compile_seconds`: programs that were compiled, and how long that took.
    - `start_seconds`: until the first iteration, compilation included.
    - `sampling_seconds`: of iterations, warmup included, without compilation.
    - `total_seconds`: of everything.
    """

    gradients: int
    leapfrog_steps: int
    failed: int
    compilations: int
    compile_seconds: float
    start_seconds: float
    sampling_seconds: float
    total_seconds: float


@dataclasses.dataclass(frozen=True, eq=False)
class Draws:
    """A sampled posterior.

    - `tree`: ArviZ's groups `posterior`, `sample_stats`, `warmup_sample_stats`, and
      `log_likelihood` of the observed sites and factors.
    - `counts`: what it cost.
    - `told`: what was done without being asked, in words.
    - `layout`: how chains shared the machine.
    """

    tree: xr.DataTree
    counts: Counts
    told: tuple[str, ...]
    layout: Layout


def sample(
    model: NumpyroModel,
    data: Data,
    settings: Sampling | None = None,
    *,
    seed: int,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable[[Progress], Any] | None = None,
    coords: Mapping[str, Any] | None = None,
    dims: Mapping[str, Any] | None = None,
) -> Draws:
    """Draws from the posterior of a NumPyro model.

    **Arguments:**

    - `model`: called as `model(**data)`; its unobserved sites are continuous. Programs are kept for
      it: the same function, or one that equals it, compiles nothing for other data of the same
      shapes.
    - `data`: pytrees of arrays. They are arguments of the compiled program, so that the model may
      look at their shapes but not at their values.
    - `settings`: see `Sampling`. With target acceptance `auto` a run whose steps turn out to have
      been too long (`cohorts.diagnosis.convergence.steps_too_long`) draws again from where it was
      when that showed, once its step size is adapted to the next of `TARGETS`; `told` says so.
    - `seed`: of all randomness; the same seed gives the same draws on the same machine.
    - `checkpoint`: folder in which the run is kept. A run that was stopped goes on there when it is
      called again in the same way, and gives the draws of one that was not.
    - `progress`: called about every second. An exception that it raises stops the run.
    - `coords`, `dims`: names for the axes of sites, as ArviZ takes them.

    Raises `ModelError` where the model has no continuous site, or no point of finite density was
    found, and `CheckpointError` where the folder holds a damaged checkpoint or that of another run.
    """
    begun = time.perf_counter()
    settings = settings or Sampling()
    with counted() as compiled:
        data = jax.tree.map(jnp.asarray, dict(data))
        run = Run(Density.of(model, data), data, settings, seed, checkpoint, progress)
        run.start()
        started = time.perf_counter()
        while True:
            run.go_on()
            tree = labels.tree(run.density, data, *run.history, run.plan, coords, dims)
            if not run.shorten_steps(tree):
                break
    counts = Counts(
        gradients=run.spent.steps + run.spent.starting,
        leapfrog_steps=run.spent.steps,
        failed=run.spent.failed,
        compilations=compiled.count,
        compile_seconds=compiled.seconds,
        start_seconds=started - begun,
        sampling_seconds=run.spent.seconds,
        total_seconds=time.perf_counter() - begun,
    )
    return Draws(tree, counts, tuple(run.told), run.layout)
