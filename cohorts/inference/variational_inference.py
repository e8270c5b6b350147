"""A posterior as the normal distribution that is nearest to it: stochastic variational inference.

Of the normal distributions of a family, on the unconstrained coordinates, the one with the largest
evidence lower bound (ELBO), which is estimated by a few draws a step (Kucukelbir A, Tran D,
Ranganath R, Gelman A, Blei DM. Automatic differentiation variational inference. J Mach Learn Res
2017; 18:14). Families and bound are NumPyro's, the steps Adam's (Kingma and Ba, arXiv:1412.6980).

Steps are as long as brings the bound further; where its own noise hides whether they do, shorter
ones follow. The last ones' mean is the result (Dhaka et al., Adv Neural Inf Process Syst 2020;
33:10961-10973, who found it to be steadier than the last of them).

Coordinates are measured from a start on the posterior's edge in the standard deviations found there
(`cohorts.inference.starts`), so that one length of steps suits them all.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float
from numpyro import distributions, handlers
from numpyro.infer import SVI, Trace_ELBO, autoguide, init_to_value

from cohorts.inference import starts
from cohorts.inference.density import Data, Density, NumpyroModel, Position
from cohorts.inference.pareto_smoothing import Weights
from cohorts.inference.settings import Approximation
from insilico.programs import shared
from insilico.randomness import address, purpose_key
from insilico.solve.blocks import compiler_options

BLOCK = 100
"""Steps of one call of the compiled program, whose mean bound is one point of the search."""

COMPARED = 3
"""Blocks whose mean bound is compared with that of as many before."""

NOISE = 2.0
"""Standard errors of their difference that a gain has to exceed to count as one."""

LEAST_GAIN = 0.01
"""Of the bound (nats), which counts as none even where there is no noise."""

SHORTER = 3.0
"""Factor by which steps are shortened, and how often before the last ones."""
TIMES = 4

FIRST_SCALE = 0.3
"""Standard deviation of the first distribution, in those found at the start."""

IMPOSSIBLE = -1e10
"""Log density that a point counts by where it has none, which no distribution can afford."""

AT_ONCE = 64
"""Draws whose densities are computed side by side."""

Family = Literal["multivariate_normal", "low_rank", "diagonal"]
MOST: dict[Family, int] = {"multivariate_normal": 200, "low_rank": 2000}
"""Dimensions up to which `auto` takes a family: the first has as many numbers as a matrix of them,
the second as many as their number times its root."""

_GUIDES = {
    "multivariate_normal": autoguide.AutoMultivariateNormal,
    "low_rank": autoguide.AutoLowRankMultivariateNormal,
    "diagonal": autoguide.AutoDiagonalNormal,
}
_SITE = "coordinates"


class VariationalApproximation(NamedTuple):
    """A normal distribution in the place of the posterior, draws of it, and their weights.

    - `family`: which, and `dimension`: of how many coordinates.
    - `position`: by site, (draws, …), unconstrained.
    - `objective`: (blocks,), the mean ELBO of each `BLOCK` steps, without the constants that
      NumPyro leaves out. `converged`: whether the shortest steps gained nothing any more.
    - `steps`: how many were taken; `skipped`: those without a finite gradient.
    - `log_target`, `log_proposal`: (draws,), and the `weights` that follow.
    """

    family: Family
    dimension: int
    position: dict[str, np.ndarray]
    objective: Float[np.ndarray, " blocks"]
    converged: bool
    steps: int
    skipped: int
    log_target: Float[np.ndarray, " draws"]
    log_proposal: Float[np.ndarray, " draws"]
    weights: Weights


def variational(
    model: NumpyroModel,
    data: Data,
    settings: Approximation | None = None,
    *,
    seed: int,
    watch: Callable[[int, float], None] | None = None,
) -> VariationalApproximation:
    """Approximate the posterior of a NumPyro model.

    **Arguments:**

    - `model`, `data`: as for `cohorts.inference.sample`. Programs are kept for the model likewise.
    - `settings`: `draws`, `steps`, `particles`, `rate` and `guide`; of its families `auto` takes
      the first of `MOST` that has room for the model's dimension, else `diagonal`.
    - `watch`: called after each block with the number of steps and the ELBO.

    Raises `ModelError` where the model has no continuous site, or no point of finite density.
    """
    settings = settings or Approximation()
    data = jax.tree.map(jnp.asarray, dict(data))
    density = Density.of(model, data)
    root = purpose_key(seed, "variational inference")
    found = starts.find(density, data, 1, address(root, 0))
    first = jax.tree.map(lambda leaf: leaf[0], found.position)
    location, unravel = ravel_pytree(first)
    scale = jnp.sqrt(ravel_pytree(found.variances)[0])
    family = _family(settings.guide, len(location))
    given = (data, location, scale)
    program = _program(density, family, settings.particles)
    state = program.begin()
    objective: list[float] = []
    tail: list[Any] = []
    stage: list[_Block] = []
    shortened, skipped, converged = 0, 0, False
    while BLOCK * len(objective) < settings.steps:
        rate = settings.rate / SHORTER**shortened
        key = address(root, 1, len(objective))
        state, losses, mean, lost = program.go_on(
            state, jnp.asarray(rate), key, data, location, scale
        )
        losses = np.asarray(losses)
        skipped += int(lost)
        stage.append(_Block.of(-losses))
        objective.append(stage[-1].mean)
        if watch is not None:
            watch(BLOCK * len(objective), objective[-1])
        if shortened == TIMES:
            tail.append(mean)
        if _at_rest(stage):
            if shortened == TIMES:
                converged = True
                break
            shortened, stage = shortened + 1, []
    last = jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *tail) if tail else mean
    draws, log_proposal, log_target = program.draw(
        last, address(root, 2), *given, np.zeros(settings.draws)
    )
    log_target, log_proposal = np.asarray(log_target), np.asarray(log_proposal)
    return VariationalApproximation(
        family=family,
        dimension=len(location),
        position=jax.tree.map(np.asarray, jax.vmap(unravel)(draws)),
        objective=np.array(objective),
        converged=converged,
        steps=BLOCK * len(objective),
        skipped=skipped,
        log_target=log_target,
        log_proposal=log_proposal,
        weights=Weights.of(log_target, log_proposal),
    )


class _Block(NamedTuple):
    """The mean of the bound over a block's steps, and its standard error."""

    mean: float
    error: float

    @classmethod
    def of(cls, bounds: np.ndarray) -> _Block:
        # A step that meets a point without a density says nothing of the others.
        usual = bounds[np.isfinite(bounds) & (bounds > IMPOSSIBLE / 1e3)]
        if len(usual) < 2:
            return cls(-math.inf, math.inf)
        return cls(float(np.mean(usual)), float(np.std(usual, ddof=1) / math.sqrt(len(usual))))


def _at_rest(stage: list[_Block]) -> bool:
    """Whether the last blocks gained no more over those before than their noise may be."""
    if len(stage) < 2 * COMPARED:
        return False
    before, after = stage[-2 * COMPARED : -COMPARED], stage[-COMPARED:]
    gain = sum(block.mean for block in after) - sum(block.mean for block in before)
    noise = math.sqrt(sum(block.error**2 for block in (*before, *after)))
    return not gain / COMPARED > max(NOISE * noise / COMPARED, LEAST_GAIN)


def _family(wanted: Literal["auto"] | Family, dimension: int) -> Family:
    if wanted != "auto":
        return wanted
    for family, most in MOST.items():
        if dimension <= most:
            return family
    return "diagonal"


class _Program(NamedTuple):
    """The compiled functions of one density and family.

    - `begin()`: the state before the first step.
    - `go_on(state, rate, key, data, location, scale)`: the state `BLOCK` steps later, the loss of
      each, the mean of their parameters, and how many had no finite gradient.
    - `draw(parameters, key, data, location, scale, like)`: as many draws (draws, D) as `like` has
      numbers, their log density there, and that of the posterior.
    """

    begin: Callable[[], Any]
    go_on: Callable[..., Any]
    draw: Callable[..., Any]


@functools.lru_cache(maxsize=16)
def _program(density: Density, family: Family, particles: int) -> _Program:
    like = {name: jnp.zeros(shape) for name, shape in density.shapes.items()}
    zero, unravel = ravel_pytree(like)
    guide, parameters, constrained = _guide(family, len(zero))
    adam, bound = optax.scale_by_adam(), Trace_ELBO(num_particles=particles)

    def log_density(z: Array, data: Data, location: Array, scale: Array) -> Array:
        with handlers.block():
            position: Position = unravel(location + scale * z)
            potential = density.potential(position, data)
        return jnp.sum(jnp.log(scale)) - potential

    def model(data: Data, location: Array, scale: Array) -> None:
        improper = distributions.ImproperUniform(
            distributions.constraints.real_vector, (), (len(zero),)
        )
        z = numpyro.sample(_SITE, improper)
        found = log_density(jnp.asarray(z), data, location, scale)
        numpyro.factor("density", jnp.where(jnp.isfinite(found), found, IMPOSSIBLE))

    def begin() -> Any:
        return parameters, adam.init(parameters)

    def go_on(state: Any, rate: Array, key: Any, *given: Any) -> Any:
        def step(number: Array, carry: Any) -> Any:
            parameters, moments, losses, total, lost = carry
            loss, slopes = jax.value_and_grad(
                lambda p: bound.loss(address(key, number), constrained(p), model, guide, *given)
            )(parameters)
            direction, after = adam.update(slopes, moments)
            finite = jnp.isfinite(ravel_pytree(slopes)[0]).all()
            moved = jax.tree.map(lambda p, d: p - rate * d, parameters, direction)
            parameters, moments = jax.tree.map(
                lambda new, old: jnp.where(finite, new, old),
                (moved, after),
                (parameters, moments),
            )
            total = jax.tree.map(jnp.add, total, parameters)
            return parameters, moments, losses.at[number].set(loss), total, lost + ~finite

        parameters, moments = state
        nothing = jax.tree.map(jnp.zeros_like, parameters)
        start = (parameters, moments, jnp.zeros(BLOCK), nothing, jnp.asarray(0))
        parameters, moments, losses, total, lost = jax.lax.fori_loop(0, BLOCK, step, start)
        mean = jax.tree.map(lambda leaf: leaf / BLOCK, total)
        return (parameters, moments), losses, mean, lost

    def draw(parameters: Any, key: Any, data: Data, location: Array, scale: Array, like: Array):
        distribution = guide.get_posterior(constrained(parameters))
        z = distribution.sample(key, like.shape)
        proposal = distribution.log_prob(z).reshape(len(like), -1).sum(1)
        target = jax.lax.map(lambda z: log_density(z, data, location, scale), z, batch_size=AT_ONCE)
        return location + scale * z, proposal, target

    options = compiler_options()
    compiled = functools.partial(jax.jit, compiler_options=options)
    return _Program(begin, shared(compiled(go_on), options), shared(compiled(draw), options))


@functools.lru_cache(maxsize=16)
def _guide(family: Family, dimension: int) -> tuple[Any, Any, Any]:
    """NumPyro's guide on that many coordinates, its unconstrained parameters at first, and what
    makes them those that it takes."""

    # It learns its dimension of a model; the real one would be computed for that.
    def stand_in(*given: Any) -> None:
        normal = distributions.Normal(jnp.zeros(dimension), 1.0)
        numpyro.sample(_SITE, normal.to_event(1))

    origin = init_to_value(values={_SITE: jnp.zeros(dimension)})
    guide = _GUIDES[family](stand_in, init_loc_fn=origin, init_scale=FIRST_SCALE)
    whole = SVI(stand_in, guide, optax.sgd(1.0), Trace_ELBO())
    state = whole.init(jax.random.key(0))
    return guide, whole.optim.get_params(state.optim_state), whole.constrain_fn
