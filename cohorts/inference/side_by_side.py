"""Subjects' modes, and their marginal likelihood, at several places of the population's parameters.

The search for modes is long to compile and serves everything that is approximated: steps towards
the maximum and differences about it, draws of the posterior and their weights. Here it is compiled
once: places go through one program, a few side by side on each device of the machine.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from cohorts.inference.components import lanes_of
from cohorts.inference.expansions import JointDensity
from cohorts.inference.marginal_likelihood import Marginal, Method, about_modes
from cohorts.inference.modes import ROUGH, Modes, Search, individual_modes
from insilico.programs import Shared
from insilico.solve import LANES, over_devices

LANES_AT_ONCE = 2 * LANES
"""Places times subjects, of a mixture in each component, side by side, who wait for the slowest of
them: enough to fill vectors, and few enough for a single place, whose copies fill up what is left,
to take no longer."""


def modes_at(
    joint: JointDensity,
    theta: Float[Array, "places P"] | np.ndarray,
    data: Any,
    start: Float[Array, "K lanes"] | np.ndarray | None = None,
    search: Search = ROUGH,
) -> Modes:
    """`individual_modes` at each place, whose axis is the first of all arrays.

    `start`: where the search sets out at all places; default: the centre of each population.
    """
    shape = (len(joint.effects), lanes_of(joint))
    outset = np.full(shape, np.nan) if start is None else np.asarray(start, float)
    program = _modes(joint, search.iterations, search.starts)
    common = (data, outset, np.asarray(search.tolerance))
    return on_devices(program, joint, common, np.asarray(theta, float))


def marginals_at(
    joint: JointDensity,
    theta: Float[Array, "places P"] | np.ndarray,
    data: Any,
    start: Float[Array, "K lanes"] | np.ndarray | None = None,
    *,
    method: Method = "focei",
    search: Search = ROUGH,
) -> Marginal:
    """`marginal`, likewise, which here has no derivatives."""
    modes = modes_at(joint, theta, data, start, search)
    return on_devices(_marginals(joint, method), joint, (data,), (np.asarray(theta, float), modes))


def modes_ahead(joint: JointDensity, coordinates: int, data: Any, search: Search = ROUGH) -> None:
    """Begin to compile `modes_at`, for places of so many coordinates."""
    program = _modes(joint, search.iterations, search.starts)
    outset = np.zeros((len(joint.effects), lanes_of(joint)))
    common = (data, outset, np.asarray(search.tolerance))
    on_devices_ahead(program, joint, common, np.zeros((1, coordinates)))


def on_devices(program: Shared, joint: JointDensity, common: tuple[Any, ...], own: Any) -> Any:
    """`program(common, own)` at all places, as many at once as there is room for.

    Arrays of `own` have the places' axis first, and so has the result, on the host. The program is
    one of `for_places`. Calls of any number of places have the same shapes.
    """
    own = jax.tree.map(np.asarray, own)
    (places,) = {len(leaf) for leaf in jax.tree.leaves(own)}
    cut = _cut(joint, own)
    blocks = len(jax.tree.leaves(cut)[0])
    found = [program(common, jax.tree.map(lambda leaf, i=i: leaf[i], cut)) for i in range(blocks)]

    def joined(*leaves: Any) -> np.ndarray:
        # Not by -1, which leaves of a population without random effects have no size for.
        parts = [
            np.asarray(part).reshape(math.prod(part.shape[:2]), *part.shape[2:]) for part in leaves
        ]
        return np.concatenate(parts)[:places]

    return jax.tree.map(joined, *found)


def on_devices_ahead(
    program: Shared, joint: JointDensity, common: tuple[Any, ...], own: Any
) -> None:
    """Begin to compile the program of `on_devices`; `own` may be of any one place."""
    program.ahead(common, jax.tree.map(lambda leaf: leaf[0], _cut(joint, own)))


def _cut(joint: JointDensity, own: Any) -> Any:
    """Arrays (places, …) as (blocks, devices, places side by side, …)."""
    devices, beside = jax.local_device_count(), at_once(joint)
    places = len(jax.tree.leaves(own)[0])
    blocks = -(-places // (devices * beside))
    # Copies of the last place fill up what is left.
    numbers = np.minimum(np.arange(blocks * devices * beside), places - 1)
    numbers = numbers.reshape(blocks, devices, beside)
    return jax.tree.map(lambda leaf: leaf[numbers], own)


def for_places(function: Callable[..., Any]) -> Shared:
    """`function(*common, own)` of one place, compiled for `on_devices`."""

    def side_by_side(common: tuple[Any, ...], own: Any) -> Any:
        return jax.vmap(lambda own: function(*common, own))(own)

    return over_devices(side_by_side, shared=1)


def at_once(joint: JointDensity) -> int:
    """How many places are side by side on a device."""
    return max(1, LANES_AT_ONCE // lanes_of(joint))


@functools.lru_cache(maxsize=16)
def _modes(joint: JointDensity, iterations: int, starts: int) -> Shared:
    def of_place(data: Any, start: Array, tolerance: Array, theta: Array) -> Modes:
        # The tolerance is one of the program's numbers: rough searches are of the same program.
        search = Search(iterations, tolerance, starts)  # pyright: ignore[reportArgumentType]
        return individual_modes(joint, theta, data, start, search)

    return for_places(of_place)


@functools.lru_cache(maxsize=16)
def _marginals(joint: JointDensity, method: Method) -> Shared:
    def of_place(data: Any, own: tuple[Array, Modes]) -> Marginal:
        theta, modes = own
        return about_modes(joint, theta, modes, data, method)

    return for_places(of_place)
