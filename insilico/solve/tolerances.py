"""How exactly to solve."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np


@dataclasses.dataclass(frozen=True)
class Tolerances:
    """How exactly to solve.

    **Arguments:**

    - `relative`: error of a step, relative to a state's size.
    - `absolute`: error of a step, in units of each state's declared negligible size.
    - `max_steps`: trial steps a patient may take in all before it counts as failed. Raise it for
      long horizons; a patient that needs very many steps is stiff.
    """

    relative: float = 1e-6
    absolute: float = 1e-8
    max_steps: int = 100_000

    def numbers(self) -> TolerancesAsNumbers:
        """The same as arguments of a compiled program, so that changing them compiles nothing."""
        return TolerancesAsNumbers(
            np.float64(self.relative), np.float64(self.absolute), np.float64(self.max_steps)
        )


class TolerancesAsNumbers(NamedTuple):
    """Tolerances as scalars, on the host or traced."""

    relative: Any
    absolute: Any
    max_steps: Any
