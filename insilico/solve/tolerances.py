"""How exactly to solve."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal, NamedTuple

import numpy as np

Precision = Literal["double", "single"]
"""Numbers of 64 or 32 bits."""

LEAST_RELATIVE = 1e-5
"""In single precision: a hundred units in the last place, below which rounding, not the step,
decides a step's error."""

LEAST_ABSOLUTE = 1e-7
"""Likewise."""


LARGEST_SHIFT = 1e-3
"""The time between two events may change by this share by the rounding of the clock: an infusion's
duration, and so its dose."""


@dataclasses.dataclass(frozen=True)
class Tolerances:
    """How exactly to solve.

    **Arguments:**

    - `relative`: error of a step, relative to a state's size.
    - `absolute`: error of a step, in units of each state's declared negligible size.
    - `max_steps`: trial steps a patient may take in all before it counts as failed. Raise it for
      long horizons; a patient that needs very many steps is stiff.
    - `step`: the longest step of a method of fixed steps, in the model's time unit; others do not
      look at it. Default: the model's own.

    Raises `ValueError` for a tolerance that is negative or no number, a relative one of 1 or more,
    two that are 0, fewer than one step, and a step that is not above 0.
    """

    relative: float = 1e-6
    absolute: float = 1e-8
    max_steps: int = 100_000
    step: float | None = None

    def __post_init__(self) -> None:
        # With these a solve would fail, or control no error, and say nothing of why.
        if not 0 <= self.relative < 1:
            raise ValueError(f"relative must be from 0 to below 1; found {self.relative}")
        if not 0 <= self.absolute < math.inf:
            raise ValueError(f"absolute must be finite and not below 0; found {self.absolute}")
        if self.relative == self.absolute == 0:
            raise ValueError("relative and absolute are both 0: no step is as exact as that")
        if not self.max_steps >= 1:
            raise ValueError(f"max_steps must be at least 1; found {self.max_steps}")
        if self.step is not None and not 0 < self.step < math.inf:
            raise ValueError(f"step must be a time above 0; found {self.step}")

    def attainable(self, precision: Precision) -> Tolerances:
        """These, raised to what `"single"` or `"double"` precision can do."""
        if precision == "double":
            return self
        return dataclasses.replace(
            self,
            relative=max(self.relative, LEAST_RELATIVE),
            absolute=max(self.absolute, LEAST_ABSOLUTE),
        )

    def numbers(self) -> TolerancesAsNumbers:
        """The same as arguments of a compiled program, so that changing them compiles nothing."""
        return TolerancesAsNumbers(
            np.float64(self.relative),
            np.float64(self.absolute),
            np.float64(self.max_steps),
            np.float64(math.nan if self.step is None else self.step),
        )


class TolerancesAsNumbers(NamedTuple):
    """Tolerances as scalars, on the host or traced; a `step` of NaN is the model's."""

    relative: Any
    absolute: Any
    max_steps: Any
    step: Any = math.nan
