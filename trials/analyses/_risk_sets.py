"""Subjects of a trial sorted by stratum and time, and sums over those still at risk."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class RiskSets(NamedTuple):
    """One trial's subjects in order of stratum and time; unused ones come last, as one group.

    All positions are in that order. Subjects of one stratum with the same time form a *tie*.
    """

    order: Int[Array, " subject"]
    """Subject at each position."""
    time: Float[Array, " subject"]
    """Time at each position; infinite where unused."""
    used: Bool[Array, " subject"]
    tie_start: Int[Array, " subject"]
    """First position of the tie that a position is in."""
    tie_end: Int[Array, " subject"]
    """Last position of that tie."""
    stratum_start: Int[Array, " subject"]
    """First position of the stratum."""
    stratum_end: Int[Array, " subject"]
    """Last position of the stratum."""

    def at_risk(self, values: Float[Array, "subject *rest"]) -> Float[Array, "subject *rest"]:
        """Sum of sorted `values` over the stratum's subjects at this time or later."""
        tail = jnp.cumsum(values[::-1], axis=0)[::-1]
        tail = jnp.concatenate([tail, jnp.zeros_like(tail[:1])])
        return tail[self.tie_start] - tail[self.stratum_end + 1]

    def so_far(self, values: Float[Array, " subject"]) -> Float[Array, " subject"]:
        """Sum of sorted `values` over the stratum's subjects at this time or earlier."""
        head = jnp.concatenate([jnp.zeros(1), jnp.cumsum(values)])
        return head[self.tie_end + 1] - head[self.stratum_start]

    def in_tie(self, values: Float[Array, "subject *rest"]) -> Float[Array, "subject *rest"]:
        """Sum of sorted `values` over the tie."""
        head = jnp.cumsum(values, axis=0)
        head = jnp.concatenate([jnp.zeros_like(head[:1]), head])
        return head[self.tie_end + 1] - head[self.tie_start]

    def before_in_tie(self, values: Float[Array, " subject"]) -> Float[Array, " subject"]:
        """Sum of sorted `values` over the positions of the tie before this one."""
        head = jnp.cumsum(values) - values
        return head - head[self.tie_start]

    @property
    def closes_tie(self) -> Bool[Array, " subject"]:
        """Whether a position is the last of a tie of used subjects: one mark a distinct time."""
        return (jnp.arange(self.time.shape[0]) == self.tie_end) & self.used


def risk_sets(
    time: Float[Array, " subject"],
    used: Bool[Array, " subject"],
    stratum: Int[Array, " subject"] | None = None,
) -> RiskSets:
    """Sort one trial's subjects; `stratum` defaults to a single one."""
    subjects = time.shape[0]
    group = jnp.zeros(subjects, jnp.int32) if stratum is None else stratum
    group = jnp.where(used, group, jnp.iinfo(group.dtype).max)
    clock = jnp.where(used, time, jnp.inf)
    order = jnp.lexsort((clock, group))
    clock, group = clock[order], group[order]
    position = jnp.arange(subjects)
    first = jnp.ones(1, bool)
    new_stratum = jnp.concatenate([first, group[1:] != group[:-1]])
    new_tie = jnp.concatenate([first, clock[1:] != clock[:-1]]) | new_stratum
    return RiskSets(
        order=order,
        time=clock,
        used=used[order],
        tie_start=jax.lax.cummax(jnp.where(new_tie, position, 0)),
        tie_end=_ends(new_tie),
        stratum_start=jax.lax.cummax(jnp.where(new_stratum, position, 0)),
        stratum_end=_ends(new_stratum),
    )


def _ends(starts: Bool[Array, " subject"]) -> Int[Array, " subject"]:
    """Last position of each position's run, from the marks of where runs start."""
    last = jnp.concatenate([starts[1:], jnp.ones(1, bool)])
    size = starts.shape[0]
    return jax.lax.cummin(jnp.where(last, jnp.arange(size), size - 1), reverse=True)
