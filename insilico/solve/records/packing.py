"""Records of some lanes packed into as few times all lanes as hold them.

Few lanes have as many steady-state records as the one with the most. Gone through one record after
another, all lanes would wait at each for the few that have it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array


class Packing(NamedTuple):
    """Records of all lanes, (records, lanes), one after the other in packs of as many as there are
    lanes; those that are wanted come first.

    - `order`: (packs × lanes,), which of all records stands at each place; `place`: (records ×
      lanes,), where each stands.
    - `records`: how many of a lane, and packs.
    """

    order: Array
    place: Array
    records: int

    @classmethod
    def of(cls, wanted: Array) -> Packing:
        """Of the records that are `wanted`, (records, lanes)."""
        if wanted.shape[0] == 1:
            order = jnp.arange(wanted.size)
            return cls(order, order, 1)
        order = jnp.argsort(~wanted.ravel(), stable=True)
        return cls(order, jnp.argsort(order), wanted.shape[0])

    def of_lanes(self, tree: Any) -> Any:
        """What each lane has, (lanes,), at each place, (packs, lanes)."""
        if self.records == 1:
            return jax.tree.map(lambda leaf: leaf[None], tree)
        lane = self.order % (self.order.size // self.records)
        return jax.tree.map(lambda leaf: self._taken(leaf, lane), tree)

    def packed(self, tree: Any) -> Any:
        """What each record has, (records, lanes), at its place, (packs, lanes)."""
        return self._moved(tree, self.order)

    def unpacked(self, tree: Any) -> Any:
        """Back again."""
        return self._moved(tree, self.place)

    def _moved(self, tree: Any, places: Array) -> Any:
        if self.records == 1:
            return tree
        return jax.tree.map(lambda leaf: self._taken(leaf.ravel(), places), tree)

    def _taken(self, values: Array, places: Array) -> Array:
        return values.at[places].get(mode="promise_in_bounds").reshape(self.records, -1)
