"""Steps that are no longer than an explicit method is stable for.

Where a solution rests, the errors of steps say nothing: steps grow beyond what the method is stable
for, until the roundings that they amplify come up to the tolerance. The solution is right all the
same. Its derivative is not: it obeys the same recursion, so that it is amplified likewise, by the
ratio of the tolerance to a rounding, and no error control sees it. Steps that are to be
differentiated are therefore kept within the method's stability, by an estimate of the fastest rate
which the power method improves by one evaluation of the rates a step, from the first step of a walk
to the last.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from insilico.solve.adaptive import Limits, Moving
from insilico.solve.fields import Components
from insilico.solve.methods import Method, Stepper
from insilico.solve.stiffness import BOUNDARIES, length, pattern

SHARE = 0.8
"""Longest step, as a share of the boundary: the estimate comes to the fastest rate from below."""

MIXED = 1e-3
"""Of all directions, in each new one: so much of a mode that was slow and is the fastest by now has
always been kept. More would count too much what a small component takes from a large one."""


class Probe(NamedTuple):
    """The power method under way, (lanes,) each.

    - `direction`: of length 1 where components are measured in their tolerances; 0 at first.
    - `growth`, `before`: how much it grew the last two times, 1/time.
    """

    direction: Components
    growth: Array
    before: Array

    @property
    def rate(self) -> Array:
        """The estimate of the fastest rate; 0 where there is none."""
        # A pair of complex eigenvalues turns the direction; two growths together hardly notice.
        before = jnp.where(self.before > 0.0, self.before, self.growth)
        return jnp.sqrt(self.growth * before)


def begin(method: Method, state: Components) -> Probe | None:
    """Before the first step; None for a method that is stable with steps of any length."""
    if method.name not in BOUNDARIES:
        return None
    zero = jnp.zeros_like(state[0])
    return Probe((zero,) * len(state), zero, zero)


def bounded(
    probe: Probe, method: Method, stepper: Stepper, moving: Moving, going: Array, limits: Limits
) -> tuple[Moving, Probe]:
    """Lanes with a next step that the method is stable for, and the probe one step on.

    Lanes that are not `going` stay as they are. Steps and probe are constants to derivatives.
    """
    found = _followed(probe, stepper, moving, limits)
    rate = found.rate
    longest = SHARE * BOUNDARIES[method.name] / jnp.where(rate > 0.0, rate, 1.0)
    # An empty component in units of a tiny tolerance seems to change at any rate, until it fills.
    longest = jnp.maximum(longest, 10.0 * limits.smallest)
    size = jnp.where(going & (rate > 0.0), jnp.minimum(moving.size, longest), moving.size)
    # A lane that is idle for a while learns nothing: others do not matter to it.
    probe = jax.tree.map(lambda new, old: jnp.where(going, new, old), found, probe)
    return moving._replace(size=size), probe


def _followed(probe: Probe, stepper: Stepper, moving: Moving, limits: Limits) -> Probe:
    """The probe one step on."""
    pairs = zip(limits.floors, moving.state, strict=True)
    units = tuple(floor + limits.relative * jnp.abs(entry) for floor, entry in pairs)
    share = jnp.where(probe.growth > 0.0, MIXED, 1.0)
    directions = zip(probe.direction, units, pattern(units), strict=True)
    mixed = tuple(entry * unit + share * other for entry, unit, other in directions)
    _, after = jax.jvp(lambda y: stepper.rates(moving.time, y), (moving.state,), (mixed,))
    size = length(after, units)
    growth = size / length(mixed, units)
    known = (growth > 0.0) & (growth < jnp.inf)
    safe = jnp.where(known, size, 1.0)
    direction = tuple(
        jnp.where(known, entry / (safe * unit), 0.0)
        for entry, unit in zip(after, units, strict=True)
    )
    return lax.stop_gradient(Probe(direction, jnp.where(known, growth, 0.0), probe.growth))
