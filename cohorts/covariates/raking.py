"""Raking: giving an estimated table a trial's own margins while keeping its odds ratios.

Iterative proportional fitting (Deming and Stephan, Ann Math Stat 1940; 11:427-444) multiplies the
table by one factor a category of each margin until every stated margin holds. Such factors cancel
in every odds ratio, so what the data say about dependence is kept.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

TOLERANCE = 1e-12
MAX_SWEEPS = 10_000


class ImpossibleMargins(ValueError):
    """No table of this support has these margins. `margin` names the one that could not be met."""

    def __init__(self, margin: str):
        super().__init__(f"the shares stated for {margin} cannot hold together with the others")
        self.margin = margin


def rake(
    table: Float[np.ndarray, "ancestry sex age"],
    margins: Mapping[str, tuple[int, Int[np.ndarray, " bins"], Float[np.ndarray, " groups"]]],
) -> Float[np.ndarray, "ancestry sex age"]:
    """The table with the stated margins and the odds ratios of `table`; it sums to 1.

    **Arguments:**

    - `table`: non-negative weights.
    - `margins`: by name, the table's axis, the group of each of that axis's bins (several bins may
      share a group), and each group's share; shares sum to 1.

    Raises `ImpossibleMargins` where a group with a share has no weight, or the margins contradict.
    """
    fitted = table / table.sum()
    worst_margin = ""
    for _ in range(MAX_SWEEPS):
        worst = 0.0
        for name, (axis, group, share) in margins.items():
            others = tuple(a for a in range(table.ndim) if a != axis)
            found = np.bincount(group, fitted.sum(axis=others), minlength=len(share))
            if np.any((found <= 0.0) & (share > 0.0)):
                raise ImpossibleMargins(name)
            off = np.abs(found - share).max()
            if off > worst:
                worst, worst_margin = off, name
            factor = np.divide(share, found, out=np.zeros_like(share), where=found > 0.0)[group]
            fitted = fitted * factor.reshape([-1 if a == axis else 1 for a in range(table.ndim)])
        if worst < TOLERANCE:
            return fitted
    raise ImpossibleMargins(worst_margin)
