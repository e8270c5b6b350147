"""A posterior as the normal distribution that is nearest to it: stochastic variational inference.

Of the normal distributions of a family, on the unconstrained coordinates, the one with the largest
evidence lower bound (ELBO), which is estimated by a few draws a step (Kucukelbir A, Tran D,
Ranganath R, Gelman A, Blei DM. Automatic differentiation variational inference. J Mach Learn Res
2017; 18:14). The families are those of NumPyro's guides; the gradient is that of where the draws
lie (Roeder, Wu and Duvenaud, Adv Neural Inf Process Syst 2017; 30:6925-6934), which has no noise
where the posterior is one of the family; the steps are Adam's (Kingma and Ba, arXiv:1412.6980).

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
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key
from numpyro.distributions import biject_to
from numpyro.infer import autoguide

from cohorts.inference import starts
from cohorts.inference.density import Data, Density, NumpyroModel, Position
from cohorts.inference.pareto_smoothing import Weights
from cohorts.inference.settings import Approximation
from insilico.programs import quickly, shared
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


class VariationalApproximation(NamedTuple):
    """A normal distribution in the place of the posterior, draws of it, and their weights.

    - `family`: which, and `dimension`: of how many coordinates.
    - `position`: by site, (draws, …), unconstrained.
    - `objective`: (blocks,), the mean ELBO of each `BLOCK` steps. `converged`: whether the shortest
      ones gained nothing any more.
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
    location, _ = ravel_pytree(first)
    scale = jnp.sqrt(ravel_pytree(found.variances)[0])
    family = _family(settings.guide, len(location))
    program = _program(density, family, settings.particles)
    given = (data, location, scale)
    search = _search(program, settings, address(root, 1), given, watch)
    position, log_proposal, log_target = program.draw(
        search.parameters, address(root, 2), *given, np.zeros(settings.draws)
    )
    log_target, log_proposal = np.asarray(log_target), np.asarray(log_proposal)
    return VariationalApproximation(
        family=family,
        dimension=len(location),
        position=jax.tree.map(np.asarray, position),
        objective=np.array([block.mean for block in search.blocks]),
        converged=search.converged,
        steps=BLOCK * len(search.blocks),
        skipped=search.skipped,
        log_target=log_target,
        log_proposal=log_proposal,
        weights=Weights.of(log_target, log_proposal),
    )


class _Search(NamedTuple):
    """How a search went: the parameters that it ends with, and the bound of every block."""

    parameters: Any
    blocks: list[_Block]
    converged: bool
    skipped: int


def _search(
    program: _Program,
    settings: Approximation,
    key: Key[Array, ""],
    given: tuple[Any, ...],
    watch: Callable[[int, float], None] | None,
) -> _Search:
    """Steps, shorter and shorter ones, until the shortest gain nothing any more."""
    state, mean = program.begin(), None
    blocks: list[_Block] = []
    last: list[Any] = []
    skipped = since = shortened = 0
    while BLOCK * len(blocks) < settings.steps:
        rate = jnp.asarray(settings.rate / SHORTER**shortened)
        state, bounds, mean, lost = program.go_on(state, rate, address(key, len(blocks)), *given)
        blocks.append(_Block.of(np.asarray(bounds)))
        skipped += int(lost)
        if watch is not None:
            watch(BLOCK * len(blocks), blocks[-1].mean)
        if shortened == TIMES:
            last.append(mean)
        if not _at_rest(blocks[since:]):
            continue
        if shortened == TIMES:
            average = jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *last)
            return _Search(average, blocks, True, skipped)
        shortened, since = shortened + 1, len(blocks)
    return _Search(mean, blocks, False, skipped)


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
    - `go_on(state, rate, key, data, location, scale)`: the state `BLOCK` steps later, the bound of
      each, the mean of their parameters, and how many had no finite gradient.
    - `draw(parameters, key, data, location, scale, like)`: as many draws as `like` has
      numbers, by site, their log density there, and that of the posterior.
    """

    begin: Callable[[], Any]
    go_on: Callable[..., Any]
    draw: Callable[..., Any]


@functools.lru_cache(maxsize=16)
def _program(density: Density, family: Family, particles: int) -> _Program:
    like = {name: jnp.zeros(shape) for name, shape in density.shapes.items()}
    zero, unravel = ravel_pytree(like)
    dimension, adam = len(zero), optax.scale_by_adam()

    def log_density(z: Array, data: Data, location: Array, scale: Array) -> Array:
        return jnp.sum(jnp.log(scale)) - density.potential(unravel(location + scale * z), data)

    def bound(parameters: Any, key: Any, *given: Any) -> Array:
        z = _distribution(family, parameters).sample(key, (particles,))
        target = jax.vmap(lambda z: log_density(z, *given))(z)
        target = jnp.where(jnp.isfinite(target), target, IMPOSSIBLE)
        # Only by where the draws lie: that its own density changes, too, adds noise and no more.
        held = _distribution(family, jax.lax.stop_gradient(parameters))
        return jnp.mean(target - _log_prob(held, z))

    def begin() -> Any:
        parameters = _first(family, dimension)
        return parameters, adam.init(parameters)

    def go_on(state: Any, rate: Array, key: Any, *given: Any) -> Any:
        def step(number: Array, carry: Any) -> Any:
            parameters, moments, bounds, total, lost = carry
            value, slopes = jax.value_and_grad(bound)(parameters, address(key, number), *given)
            direction, after = adam.update(slopes, moments)
            finite = jnp.isfinite(ravel_pytree(slopes)[0]).all()
            moved = jax.tree.map(lambda p, d: p + rate * d, parameters, direction)
            parameters, moments = jax.tree.map(
                lambda new, old: jnp.where(finite, new, old),
                (moved, after),
                (parameters, moments),
            )
            total = jax.tree.map(jnp.add, total, parameters)
            return parameters, moments, bounds.at[number].set(value), total, lost + ~finite

        parameters, moments = state
        nothing = jax.tree.map(jnp.zeros_like, parameters)
        start = (parameters, moments, jnp.zeros(BLOCK), nothing, jnp.asarray(0))
        parameters, moments, bounds, total, lost = jax.lax.fori_loop(0, BLOCK, step, start)
        mean = jax.tree.map(lambda leaf: leaf / BLOCK, total)
        return (parameters, moments), bounds, mean, lost

    def draw(
        parameters: Any, key: Any, data: Data, location: Array, scale: Array, like: Array
    ) -> tuple[Position, Array, Array]:
        distribution = _distribution(family, parameters)
        z = distribution.sample(key, like.shape)
        # The last batch is filled up: left as it is, it would be compiled once more.
        at_once = min(len(z), AT_ONCE)
        numbers = jnp.minimum(jnp.arange(-(-len(z) // at_once) * at_once), len(z) - 1)
        batch = jax.vmap(lambda z: log_density(z, data, location, scale))
        target = jax.lax.map(batch, z[numbers.reshape(-1, at_once)]).reshape(-1)[: len(z)]
        return jax.vmap(unravel)(location + scale * z), _log_prob(distribution, z), target

    options = compiler_options()
    compiled = functools.partial(jax.jit, compiler_options=options)
    return _Program(
        quickly(begin), shared(compiled(go_on), options), shared(compiled(draw), options)
    )


def _first(family: Family, dimension: int) -> dict[str, Array]:
    """The parameters of a family's first distribution, unconstrained, by NumPyro's names."""
    first = {"auto_loc": jnp.zeros(dimension)}
    even = jnp.full(dimension, FIRST_SCALE)
    if family == "multivariate_normal":
        return first | {"auto_scale_tril": _transform(family).inv(jnp.diag(even))}
    if family == "low_rank":
        # None of the covariances at first would be as good as any: a saddle, not to be set out at.
        rank = round(math.sqrt(dimension))
        factor = 0.1 * jax.random.normal(jax.random.key(0), (dimension, rank)) / math.sqrt(rank)
        first |= {"auto_cov_factor": factor}
    return first | {"auto_scale": _transform(family).inv(even)}


def _distribution(family: Family, parameters: dict[str, Array]) -> Any:
    """The family's distribution with these parameters."""
    name = "auto_scale_tril" if family == "multivariate_normal" else "auto_scale"
    given = {**parameters, name: _transform(family)(parameters[name])}
    return _guide(family).get_posterior(given)


def _log_prob(distribution: Any, z: Float[Array, "draws D"]) -> Float[Array, " draws"]:
    """Of draws; NumPyro's diagonal family has a density for each coordinate."""
    return distribution.log_prob(z).reshape(len(z), -1).sum(1)


def _transform(family: Family) -> Any:
    """What makes numbers without constraints the scales of a family."""
    guide: Any = _guide(family)
    matrix = family == "multivariate_normal"
    return biject_to(guide.scale_tril_constraint if matrix else guide.scale_constraint)


@functools.cache
def _guide(family: Family) -> Any:
    """NumPyro's guide. It is asked for distributions alone, for which it needs no model."""
    return _GUIDES[family](lambda: None)
