"""Where chains start: on the edge of the posterior, each from a side of its own.

A path starts at a draw from the prior and goes downhill by BFGS until, by the quadratic that it has
found so far, it is no further above the mode than draws of the posterior are. It does not go on to
the mode, which is no typical point. From there it jumps by a draw of the normal distribution with
that curvature, made wider, so that chains start further apart than the posterior is wide and R-hat
means something.

Hierarchical models may have no mode at all: where the scale of all random effects vanishes, their
density grows without bounds, and a path would slide down there, where steps have to be tiny. So
paths go by the density of standardised effects (`Density.log_scales`), in the same coordinates.
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

LEFT = 0.1
"""How little: this share of what draws of the posterior lie above the mode in the mean. The depth
of the mode is known to as much then."""

WIDER = 2.0
"""Standard deviations of the jump at the end, in those of the curvature found."""

PROBES = 8
"""Gradients beside each start, from which the curvature along each coordinate is estimated."""

NEAR = 0.01
"""How far beside, in standard deviations of the curvature that its path has found."""

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


class _Value(NamedTuple):
    """What a point is worth.

    - `potential`, `gradient`: minus the log density that paths go by, its derivative.
    - `scales`, `of_scales`: what minus the log density itself has more, its derivative.
    """

    potential: Float[Array, ""]
    gradient: Float[Array, " d"]
    scales: Float[Array, ""]
    of_scales: Float[Array, " d"]


class _Path(NamedTuple):
    """A point on its way down, and then at the end of its jump.

    - `covariance`: inverse of the curvature found so far; `draw`: from the normal distribution with
      that covariance. `size`: the part of a full step, or of the jump, that is tried next.
    - `calm`: steps in a row that had little left to go down. `arrived`: whether these were enough;
      `mode`: the potential at the end of the way down, foreseen then, or where it was stuck;
      `started`: whether it has jumped as well.
    """

    point: Float[Array, " d"]
    value: _Value
    covariance: Float[Array, "d d"]
    draw: Float[Array, " d"]
    size: Float[Array, ""]
    calm: Int[Array, ""]
    arrived: Bool[Array, ""]
    mode: Float[Array, ""]
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

        def value(z: Array) -> _Value:
            potential, gradient = jax.value_and_grad(lambda z: density.potential(unravel(z), data))(
                z
            )
            scales, of_scales = jax.value_and_grad(lambda z: density.log_scales(unravel(z), data))(
                z
            )
            return _Value(potential - scales, gradient - of_scales, scales, of_scales)

        paths, curvatures, steps = _descend(value, points, key)
        chosen = _on_the_edge(paths, chains)
        best, curvatures = jax.tree.map(lambda leaf: leaf[chosen], (paths, curvatures))
        back, found = jax.vmap(unravel), best.value
        return (
            back(best.point),
            found.potential + found.scales,
            back(found.gradient + found.of_scales),
            unravel(_variances(best, curvatures)),
        ), steps

    options = compiler_options()
    return shared(jax.jit(starts, compiler_options=options), options)


def _descend(
    value: Callable[[Array], _Value], points: Float[Array, "paths d"], key: Key[Array, ""]
) -> tuple[_Path, Float[Array, "paths d"], Array]:
    """Paths from these points to where chains may start, the curvatures along coordinates there,
    and how many gradients each took."""
    paths, dimension = points.shape
    centre = jnp.median(points, axis=0)
    low, high = jnp.quantile(points, jnp.array([0.25, 0.75]), axis=0)
    spread = jnp.maximum((high - low) / 1.35, 1e-3)  # the standard deviation, were it normal

    def move(path: _Path) -> tuple[Array, Array]:
        """The step that is tried, and the decrease of the potential that slope alone promises."""
        direction = -path.covariance @ path.value.gradient
        decrement = -path.value.gradient @ direction
        longest = REACH * jnp.sqrt(dimension / jnp.maximum(decrement, 1e-300))
        size = path.size * jnp.minimum(1.0, longest)
        down = size * direction
        return jnp.where(path.arrived, WIDER * path.size * path.draw, down), size * decrement

    def step(path: _Path, moved: Array, promised: Array, there: _Value, noise: Array) -> _Path:
        here = path.value
        down = there.potential <= here.potential - SUFFICIENT * promised
        near = there.potential <= here.potential + _rise_of_jump(dimension)
        good = jnp.isfinite(there.potential) & jnp.all(jnp.isfinite(there.gradient))
        good &= jnp.where(path.arrived, near, down)
        decrement = here.gradient @ path.covariance @ here.gradient
        covariance, draw = _bfgs(path, moved, there.gradient - here.gradient, noise)
        new = path._replace(
            point=path.point + moved,
            value=there,
            covariance=jnp.where(path.arrived, path.covariance, covariance),
            draw=jnp.where(path.arrived, path.draw, draw),
            size=jnp.minimum(1.0, 4.0 * path.size),
            calm=jnp.where(decrement < LEFT * dimension, path.calm + 1, 0),
            started=path.arrived,
        )
        # Where no density is known yet, the prior's centre is the way to go.
        lost = ~jnp.isfinite(here.potential)
        old = path._replace(
            point=jnp.where(lost, (path.point + centre) / 2, path.point),
            size=jnp.where(lost, 1.0, path.size / 4),
        )
        path = jax.tree.map(lambda n, o: jnp.where(good, n, o), new, old)
        stuck = path.size < 1e-9
        # Who is stuck, between solves that fail for instance, has found out that it goes no deeper.
        foreseen = here.potential - jnp.where(stuck, 0.0, decrement / 2)
        arrived = jnp.isfinite(path.value.potential) & ((path.calm >= CALM) | stuck)
        return path._replace(
            size=jnp.where(arrived & ~path.arrived, 1.0, path.size),
            arrived=path.arrived | arrived,
            mode=jnp.where(path.arrived, path.mode, foreseen),
            started=path.started | (path.arrived & stuck),
        )

    def ended(path: _Path, number: Array) -> Array:
        return (jnp.mean(path.started) >= ENOUGH) | (number >= MOST_STEPS)

    def body(carry: tuple[_Path, Array, Array, Array]) -> tuple[_Path, Array, Array, Array]:
        path, number, probes, curvature = carry
        own = jax.random.fold_in(key, number + probes)
        noise = jax.random.normal(own, (paths,))
        # Density and gradient stand here once, for steps and probes: they are long to compile.
        probing = ended(path, number)
        sign = jax.random.rademacher(own, points.shape, points.dtype)
        beside = NEAR * sign * jnp.sqrt(jax.vmap(jnp.diag)(path.covariance))
        moved, promised = jax.vmap(move)(path)
        there = jax.vmap(value)(path.point + jnp.where(probing, beside, moved))
        after = jax.vmap(step)(path, moved, promised, there, noise)
        stay = path.started | probing
        new = jax.tree.map(
            lambda n, o: jnp.where(stay.reshape(-1, *[1] * (n.ndim - 1)), o, n), after, path
        )
        turned = there.gradient + there.of_scales - path.value.gradient - path.value.of_scales
        curvature = curvature + jnp.where(probing, turned / beside, 0.0) / PROBES
        return new, number + ~probing, probes + probing, curvature

    nothing = jnp.zeros_like(points)
    begin = _Path(
        point=points,
        value=_Value(jnp.full(paths, jnp.inf), nothing, jnp.zeros(paths), nothing),
        covariance=jnp.broadcast_to(jnp.diag(spread**2), (paths, dimension, dimension)),
        draw=spread * jax.random.normal(jax.random.fold_in(key, MOST_STEPS + PROBES), points.shape),
        size=jnp.ones(paths),
        calm=jnp.zeros(paths, int),
        arrived=jnp.zeros(paths, bool),
        mode=jnp.full(paths, jnp.inf),
        started=jnp.zeros(paths, bool),
    )
    path, number, probes, curvature = jax.lax.while_loop(
        lambda carry: ~ended(carry[0], carry[1]) | (carry[2] < PROBES),
        body,
        (begin, jnp.asarray(0), jnp.asarray(0), nothing),
    )
    return path, curvature, number + probes


def _variances(paths: _Path, curvatures: Float[Array, "chains d"]) -> Float[Array, " d"]:
    """A first guess of the posterior's variances.

    That of BFGS is too wide along what a path has hardly moved along, and one coordinate so guessed
    makes steps short for all. The inverse of the curvature along a coordinate, found by random
    signs (Bekas C, Kokiopoulou E, Saad Y. Appl Numer Math 2007;57:1214-29), is rather too narrow.
    """
    wide = jnp.median(jax.vmap(jnp.diag)(paths.covariance), axis=0)
    curvature = jnp.median(curvatures, axis=0)
    narrower = jnp.isfinite(curvature) & (curvature * wide > 1.0)
    return jnp.where(narrower, 1.0 / jnp.where(narrower, curvature, 1.0), wide)


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
    deviation sqrt(dimension / 2). A mode four of these above the deepest holds next to nothing of
    the posterior, but a chain that starts there may not leave it for long. Of the others, paths up
    to a jump and eight of these above the best are as good as it, and are taken in their order,
    which is random; again from the first where there are too few.
    """
    dimension = paths.point.shape[1]
    deviation = math.sqrt(dimension / 2)
    rise = dimension / 2 + 8 * deviation + _rise_of_jump(dimension)
    ended = paths.started | ~jnp.any(paths.started)
    mode, potential = (
        jnp.where(ended, leaf, jnp.inf) for leaf in (paths.mode, paths.value.potential)
    )
    plausible = ended & (mode <= jnp.min(mode) + 4 * deviation)
    plausible &= potential <= jnp.min(jnp.where(plausible, potential, jnp.inf)) + rise
    order = jnp.argsort(~plausible, stable=True)
    return order[jnp.arange(chains) % jnp.maximum(jnp.sum(plausible), 1)]
