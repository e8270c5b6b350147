"""Where chains start: on the edge of the posterior, each from a side of its own.

A path starts at a draw from the prior and goes downhill by BFGS until, by the quadratic that it has
found so far, it is no further above the mode than draws of the posterior are. It does not go on to
the mode, which is no typical point and in hierarchical models may be none at all. From there it
jumps by a draw of the normal distribution with that curvature, made wider, so that chains start
further apart than the posterior is wide and R-hat means something.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from jaxtyping import Bool, Float, Int, Key

from cohorts.inference.density import Data, Density, ModelError, Position
from insilico.programs import shared
from insilico.solve.blocks import compiler_options

PATHS = 4
"""Paths for each chain: those that end far above the others are on no posterior's edge."""

ENOUGH = 0.5
"""Share of the paths whose end is waited for; some prior draws are far away."""

MOST_STEPS = 200
"""Steps of a path; one gradient each."""

REACH = 1.0
"""Longest step, in standard deviations of the curvature found so far, times sqrt(dimension)."""

CALM = 3
"""Steps in a row before which so little must be left to go down that a path has arrived: after the
first, the curvature is known where the path is, and not only where it has been."""

WIDER = 2.0
"""Standard deviations of the jump at the end, in those of the curvature found."""

SUFFICIENT = 1e-4
"""Share of the decrease expected by slope that a step has to bring (Armijo). Nocedal J, Wright SJ.
Numerical Optimization. 2nd ed. Springer; 2006, section 3.1."""


class Starts(NamedTuple):
    """A start for each chain; arrays have a leading axis (chains,).

    - `position`, `potential`, `gradient`: the points, minus the log density there, its derivative.
    - `variances`: a first guess of the posterior's, without that axis.
    - `gradients`: gradients that finding them took.
    """

    position: Position
    potential: Float[Array, " chains"]
    gradient: Position
    variances: Position
    gradients: int


class _Path(NamedTuple):
    """A point on its way down, and then at the end of its jump.

    - `covariance`: inverse of the curvature found so far; `draw`: from the normal distribution with
      that covariance. `size`: the part of a full step, or of the jump, that is tried next.
    - `calm`: steps in a row that had little left to go down. `arrived`: whether these were enough;
      `started`: whether it has jumped as well.
    """

    point: Float[Array, " d"]
    potential: Float[Array, ""]
    gradient: Float[Array, " d"]
    covariance: Float[Array, "d d"]
    draw: Float[Array, " d"]
    size: Float[Array, ""]
    calm: Int[Array, ""]
    arrived: Bool[Array, ""]
    started: Bool[Array, ""]


def find(density: Density, data: Data, chains: int, key: Key[Array, ""]) -> Starts:
    """A start for each of `chains` chains.

    Raises `ModelError` where no point of finite density is found.
    """
    flat, steps = _program(density, chains)(key, data)
    position, potential, gradient, variances = flat
    if not np.all(np.isfinite(potential)):
        at = ", ".join(f"{name} {np.asarray(z[0]).tolist()}" for name, z in position.items())
        raise ModelError(
            f"no point of finite density was found on {chains * PATHS} paths of {MOST_STEPS} steps "
            f"from the prior; the last, without constraints, was {at}: a likelihood that is -inf "
            "or no number there, or a solve that fails, is the likely cause"
        )
    return Starts(position, potential, gradient, variances, int(steps) * chains * PATHS)


@functools.lru_cache(maxsize=32)
def _program(density: Density, chains: int) -> Callable[..., Any]:
    def starts(key: Array, data: Data) -> Any:
        keys = jax.random.split(key, chains * PATHS)
        draws = jax.vmap(lambda k: density.prior_point(k, data))(keys)
        _, unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], draws))
        points = jax.vmap(lambda draw: ravel_pytree(draw)[0])(draws)
        paths, steps = _descend(
            jax.value_and_grad(lambda z: density.potential(unravel(z), data)), points, key
        )
        chosen = _on_the_edge(paths, chains)
        best = jax.tree.map(lambda leaf: leaf[chosen], paths)
        variances = jnp.median(jax.vmap(jnp.diag)(best.covariance), axis=0)
        back = jax.vmap(unravel)
        return (
            back(best.point), best.potential, back(best.gradient), unravel(variances)
        ), steps  # fmt: skip

    options = compiler_options()
    return shared(jax.jit(starts, compiler_options=options), options)


def _descend(
    value: Callable[..., Any], points: Float[Array, "paths d"], key: Key[Array, ""]
) -> tuple[_Path, Array]:
    """Paths from these points to where chains may start, and how many steps they took."""
    paths, dimension = points.shape
    centre = jnp.median(points, axis=0)
    low, high = jnp.quantile(points, jnp.array([0.25, 0.75]), axis=0)
    spread = jnp.maximum((high - low) / 1.35, 1e-3)  # the standard deviation, were it normal

    def step(path: _Path, noise: Array) -> _Path:
        direction = -path.covariance @ path.gradient
        decrement = -path.gradient @ direction
        longest = REACH * jnp.sqrt(dimension / jnp.maximum(decrement, 1e-300))
        size = path.size * jnp.minimum(1.0, longest)
        move = jnp.where(path.arrived, WIDER * path.size * path.draw, size * direction)
        point = path.point + move
        potential, gradient = value(point)
        down = potential <= path.potential - SUFFICIENT * size * decrement
        near = potential <= path.potential + _rise_of_jump(dimension)
        good = jnp.isfinite(potential) & jnp.all(jnp.isfinite(gradient))
        good &= jnp.where(path.arrived, near, down)
        covariance, draw = _bfgs(path, move, gradient - path.gradient, noise)
        new = path._replace(
            point=point,
            potential=potential,
            gradient=gradient,
            covariance=jnp.where(path.arrived, path.covariance, covariance),
            draw=jnp.where(path.arrived, path.draw, draw),
            size=jnp.minimum(1.0, 4.0 * path.size),
            calm=jnp.where(decrement < dimension, path.calm + 1, 0),
            started=path.arrived,
        )
        # Where no density is known yet, the prior's centre is the way to go.
        lost = ~jnp.isfinite(path.potential)
        old = path._replace(
            point=jnp.where(lost, (path.point + centre) / 2, path.point),
            size=jnp.where(lost, 1.0, path.size / 4),
        )
        path = jax.tree.map(lambda n, o: jnp.where(good, n, o), new, old)
        stuck = path.size < 1e-9
        arrived = jnp.isfinite(path.potential) & ((path.calm >= CALM) | stuck)
        return path._replace(
            size=jnp.where(arrived & ~path.arrived, 1.0, path.size),
            arrived=path.arrived | arrived,
            started=path.started | (path.arrived & stuck),
        )

    def one(path: _Path, noise: Array) -> _Path:
        return jax.tree.map(lambda n, o: jnp.where(path.started, o, n), step(path, noise), path)

    def body(carry: tuple[_Path, Array]) -> tuple[_Path, Array]:
        noise = jax.random.normal(jax.random.fold_in(key, carry[1]), (paths,))
        return jax.vmap(one)(carry[0], noise), carry[1] + 1

    begin = _Path(
        point=points,
        potential=jnp.full(paths, jnp.inf),
        gradient=jnp.zeros_like(points),
        covariance=jnp.broadcast_to(jnp.diag(spread**2), (paths, dimension, dimension)),
        draw=spread * jax.random.normal(jax.random.fold_in(key, MOST_STEPS), points.shape),
        size=jnp.ones(paths),
        calm=jnp.zeros(paths, int),
        arrived=jnp.zeros(paths, bool),
        started=jnp.zeros(paths, bool),
    )

    def unfinished(carry: tuple[_Path, Array]) -> Array:
        return (jnp.mean(carry[0].started) < ENOUGH) & (carry[1] < MOST_STEPS)

    return jax.lax.while_loop(unfinished, body, (begin, jnp.asarray(0)))


def _bfgs(path: _Path, moved: Array, turned: Array, noise: Array) -> tuple[Array, Array]:
    """Covariance, and a draw with it, after a step over which the gradient changed by `turned`."""
    curvature = moved @ turned
    scale = jnp.sqrt((moved @ moved) * (turned @ turned))
    convex = curvature > 1e-8 * scale
    rho = 1.0 / jnp.where(convex, curvature, 1.0)
    image = path.covariance @ turned
    covariance = path.covariance - rho * (jnp.outer(moved, image) + jnp.outer(image, moved))
    covariance += rho * (1.0 + rho * (turned @ image)) * jnp.outer(moved, moved)
    draw = path.draw - rho * moved * (turned @ path.draw) + jnp.sqrt(rho) * noise * moved
    return jnp.where(convex, covariance, path.covariance), jnp.where(convex, draw, path.draw)


def _rise_of_jump(dimension: int) -> float:
    """What a jump may add to the potential: the mean of what it does to a normal one of the
    curvature found, and two standard deviations."""
    return WIDER**2 * (dimension / 2 + 2 * math.sqrt(dimension / 2))


def _on_the_edge(paths: _Path, chains: int) -> Array:
    """The numbers of the paths that chains start at.

    Potentials of a normal posterior's draws lie about dimension / 2 above the mode, with standard
    deviation sqrt(dimension / 2). Paths up to a jump and eight of these above the best are as good
    as it, and are taken in their order, which is random; again from the first where there are too
    few.
    """
    dimension = paths.point.shape[1]
    rise = dimension / 2 + 8 * math.sqrt(dimension / 2) + _rise_of_jump(dimension)
    ended = paths.started | ~jnp.any(paths.started)
    bound = jnp.min(jnp.where(ended, paths.potential, jnp.inf)) + rise
    plausible = ended & (paths.potential <= bound)
    order = jnp.argsort(~plausible, stable=True)
    return order[jnp.arange(chains) % jnp.maximum(jnp.sum(plausible), 1)]
