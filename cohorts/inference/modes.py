"""Individual modes: the most likely effects of each subject, all subjects at once on lanes.

Gauss and Newton's method with Levenberg and Marquardt's damping (Marquardt, J SIAM 1963;
11:431-441), in the metric of the effects' precision in the population. What it lacks of the second
derivatives is learned from its steps, as Dennis, Gay and Welsch do (ACM Trans Math Softw 1981;
7:348-368), so that lanes far from their data come to rest as soon as others. Every lane has its own
damping; the loop ends when all have come to rest.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from cohorts.inference.components import on_lanes
from cohorts.inference.expansions import (
    Expansion,
    JointDensity,
    at_centre,
    cholesky,
    expand_expected,
    solve,
)

FIRST_DAMPING, LEAST_DAMPING, MOST_DAMPING = 1e-2, 1e-9, 1e12
SUFFICIENT = 1e-4
"""The part of the gain promised by a step that it has to bring."""
NOISE = 1e-7
"""Relative error of a log density, as a solve's steps change from place to place: losses of that
size do not speak against a step."""
LEAST_BEND = 1e-8
"""Cosine between a step and what it shows to be missing below which nothing is learned."""
LEAST_SHARE = 0.05
"""The part of the expected information that has to be left in any direction."""
CLOSE, VERY_CLOSE = 1e-6, 1e-13
"""Promised gain of log density below which a lane whose iterations are used up has found its mode,
and below which it has come to rest if it gets no closer: noise may keep it from doing so."""


class ModeStatus(enum.IntEnum):
    """How the search for a subject's mode ended. Everything but `FOUND` is a failure."""

    FOUND = 0
    NO_START = 1
    """The log density is not finite at any of the starts."""
    NOT_CONVERGED = 2
    """From no start did it come to rest within the iterations."""


class Search(NamedTuple):
    """How individual modes are looked for.

    - `iterations`: at most, from each start.
    - `tolerance`: gain of log density that one more step promises where a lane comes to rest: half
      the square of its distance from the mode in standard deviations of its posterior.
    - `starts`: how often a lane that does not come to rest sets out: from where it is told, from
      the centre of the population, then from places around that.
    """

    iterations: int = 60
    tolerance: float = 1e-18
    starts: int = 5


SEARCH, ROUGH = Search(), Search(tolerance=1e-10)
"""For derivatives of what is found at the modes, and for posteriors about them, to which a hundred
thousandth of their standard deviation makes no difference."""


class Modes(NamedTuple):
    """Each subject's mode, of a mixture in each component: lanes are the subjects in the first
    component, then in the second, and so on (see `cohorts.inference.components`).

    - `x`: (K, lanes); where the search failed the best place it came to, never NaN.
    - `log_density`: (lanes,), of effects and data there, of a mixture with the component's share;
      `information`: (K, K, lanes), as `cohorts.inference.expansions.expand_expected` has them.
    - `status`: (lanes,), a `ModeStatus`; `iterations`: (lanes,), from all starts together.
    """

    x: Float[Array, "K lanes"]
    log_density: Float[Array, " lanes"]
    information: Float[Array, "K K lanes"]
    status: Int[Array, " lanes"]
    iterations: Int[Array, " lanes"]

    @classmethod
    def blank(cls, effects: int, lanes: int) -> Modes:
        """Arrays of the shapes and types of those that are found, on the host."""
        whole = np.zeros(lanes, np.int32)
        x, square = np.zeros((effects, lanes)), np.zeros((effects, effects, lanes))
        return cls(x, np.zeros(lanes), square, whole, whole)  # pyright: ignore[reportArgumentType]


def individual_modes(
    joint: JointDensity,
    theta: Float[Array, " P"],
    data: Any,
    start: Float[Array, "K lanes"] | None = None,
    search: Search = SEARCH,
) -> Modes:
    """The effects at which each subject's log density of effects and data is largest.

    `start`: where lanes set out; where it is NaN, and by default, the centre of the population. The
    search is not differentiable; `cohorts.inference.marginal_likelihood` does without.
    """
    joint, data = on_lanes(joint, data)
    centre, precision = at_centre(joint, theta, data)
    places = _places(centre, precision, search.starts)
    if start is not None:
        told = jnp.all(jnp.isfinite(start), axis=0)
        places = jnp.where(told, jnp.concatenate([start[None], places])[: search.starts], places)

    def expand(x: Array) -> Expansion:
        return _finite(expand_expected(joint, theta, x, data), precision)

    def from_next_place(carry: tuple[Array, Modes]) -> tuple[Array, Modes]:
        attempt, best = carry
        wanted = best.status != ModeStatus.FOUND
        found = _climb(expand, places[attempt], precision, wanted, search)
        better = (found.status == ModeStatus.FOUND) | (found.log_density > best.log_density)
        merged = _select(wanted & better, found, best)
        return attempt + 1, merged._replace(iterations=best.iterations + found.iterations)

    def unfinished(carry: tuple[Array, Modes]) -> Array:
        attempt, best = carry
        return (attempt < search.starts) & jnp.any(best.status != ModeStatus.FOUND)

    subjects = centre.shape[1]
    nowhere = Modes(
        x=centre,
        log_density=jnp.full(subjects, -jnp.inf, centre.dtype),
        information=precision,
        status=jnp.full(subjects, ModeStatus.NO_START, jnp.int32),
        iterations=jnp.zeros(subjects, jnp.int32),
    )
    return jax.lax.while_loop(unfinished, from_next_place, (jnp.int32(0), nowhere))[1]


def _places(centre: Array, precision: Array, starts: int) -> Array:
    """Where lanes set out one after the other, (starts, K, subjects): the last ones lie around."""
    spread = 1.0 / jnp.sqrt(jnp.einsum("kks->ks", precision))
    directions = jax.random.normal(jax.random.key(0), (starts - 1, centre.shape[0], 1))
    return jnp.concatenate([centre[None], centre + 1.5 * spread * directions])


class _Climb(NamedTuple):
    """Where each lane is, and where it looks next.

    - `bend`: what the expected information lacks of the exact one, as far as the steps have shown.
    - `gain`: what a step by the expected information promises; `promised`: what the step to `next`
      does.
    - `resting`: it goes no further.
    """

    x: Array
    here: Expansion
    bend: Array
    gain: Array
    damping: Array
    next: Array
    promised: Array
    iterations: Array
    resting: Array


def _climb(
    expand: Callable[[Array], Expansion],
    start: Array,
    precision: Array,
    wanted: Bool[Array, " subjects"],
    search: Search,
) -> Modes:
    """From one start to the mode, for the lanes for which that is wanted."""

    def look(now: _Climb) -> _Climb:
        there = expand(now.next)
        noise = NOISE * (1.0 + jnp.abs(now.here.value))
        # The first look, from nowhere, only has to be at a possible place.
        won = jnp.where(jnp.isfinite(now.here.value), there.value - now.here.value + noise, jnp.inf)
        accepted = jnp.isfinite(there.value) & (won >= SUFFICIENT * now.promised)
        easier = jnp.where(won > 0.5 * now.promised, now.damping / 10.0, now.damping)
        harder = jnp.maximum(10.0 * now.damping, FIRST_DAMPING)
        damping = jnp.where(accepted, jnp.maximum(easier, LEAST_DAMPING), harder)
        before = now.gain
        bend = jnp.where(accepted, _bent(now, there), 0.0)
        x = jnp.where(accepted, now.next, now.x)
        here = _select(accepted, there, now.here)
        gain = _gain(here)
        close = (gain < VERY_CLOSE) & ~(accepted & (gain < 0.9 * before))
        lost = ~jnp.isfinite(here.value) | (damping > MOST_DAMPING)
        move = solve(here.information + bend + damping * precision, here.gradient)
        spring = jnp.einsum("ks,kls,ls->s", move, precision, move)
        after = _Climb(
            x=x,
            here=here,
            bend=bend,
            gain=gain,
            damping=damping,
            next=x + move,
            promised=0.5 * (jnp.sum(move * here.gradient, axis=0) + damping * spring),
            iterations=now.iterations + 1,
            resting=(gain < search.tolerance) | close | lost,
        )
        return _select(now.resting, now, after)

    def underway(now: _Climb) -> Array:
        return jnp.any(~now.resting & (now.iterations < search.iterations))

    subjects = start.shape[1]
    nowhere = jnp.full(subjects, -jnp.inf, start.dtype)
    begun = _Climb(
        x=start,
        here=Expansion(nowhere, jnp.zeros_like(start), precision),
        bend=jnp.zeros_like(precision),
        gain=-nowhere,
        damping=jnp.full(subjects, FIRST_DAMPING, start.dtype),
        next=start,
        promised=jnp.zeros_like(nowhere),
        iterations=jnp.zeros(subjects, jnp.int32),
        resting=~wanted,
    )
    end = jax.lax.while_loop(underway, look, begun)
    possible = jnp.isfinite(end.here.value)
    unfound = jnp.where(possible, ModeStatus.NOT_CONVERGED, ModeStatus.NO_START)
    status = jnp.where(possible & (end.gain < CLOSE), ModeStatus.FOUND, unfound)
    return Modes(
        end.x, end.here.value, end.here.information, status.astype(jnp.int32), end.iterations
    )


def _bent(now: _Climb, there: Expansion) -> Array:
    """`bend` after the step to `now.next`, by the symmetric update of rank one.

    It is taken back to nothing where the information would not be well above zero with it.
    """
    step = now.next - now.x
    missing = now.here.gradient - there.gradient
    missing -= jnp.einsum("kls,ls->ks", there.information, step)
    known = jnp.einsum("kls,ls->ks", now.bend, step)
    wanted, had = jnp.abs(jnp.sum(missing * step, axis=0)), jnp.abs(jnp.sum(known * step, axis=0))
    # Sized down where it was learned of a stronger curvature.
    size = jnp.where(had > wanted, wanted / jnp.where(had > 0.0, had, 1.0), 1.0)
    missing -= size * known
    along = jnp.sum(missing * step, axis=0)
    lengths = jnp.linalg.norm(missing, axis=0) * jnp.linalg.norm(step, axis=0)
    safe = jnp.abs(along) > LEAST_BEND * lengths
    update = missing[:, None] * missing[None, :] / jnp.where(safe, along, 1.0)
    bend = size * now.bend + jnp.where(safe, update, 0.0)
    _, definite = cholesky((1.0 - LEAST_SHARE) * there.information + bend)
    return jnp.where(definite, bend, 0.0)


def _gain(here: Expansion) -> Array:
    """The gain that an undamped step promises."""
    gain = 0.5 * jnp.sum(here.gradient * solve(here.information, here.gradient), axis=0)
    # Where the information is no maximum's, there is no telling.
    return jnp.where(jnp.isfinite(gain) & (gain >= 0.0), gain, jnp.inf)


def _finite(here: Expansion, precision: Array) -> Expansion:
    """The expansion where it is finite; elsewhere an impossible place without a way out."""
    finite = jnp.isfinite(here.value)
    for leaf in (here.gradient, here.information):
        finite &= jnp.all(jnp.isfinite(leaf), axis=tuple(range(leaf.ndim - 1)))
    nowhere = Expansion(
        jnp.full_like(here.value, -jnp.inf), jnp.zeros_like(here.gradient), precision
    )
    return _select(finite, here, nowhere)


def _select(lanes: Array, new: Any, old: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(lanes, a, b), new, old)
