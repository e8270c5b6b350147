"""On what scale an analysis is shown: units, words for its direction, and how it is transformed.

Results hold risks as fractions and ratios as logarithms, as the estimators do; readers are shown
percentage points and ratios, those of geometric means in percent.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from insilico.pages.numbers import Measured, interval, measured
from trials.config import AnalysisSpec, DrugSpec, EndpointSpec
from trials.endpoint_units import endpoint_unit
from trials.estimators import ESTIMATORS

POINTS = "percentage points"


@dataclasses.dataclass(frozen=True)
class Scale:
    """How the numbers of one analysis are shown.

    - `unit`, `arm_unit`: of the effect and of an arm's mean, as shown; empty for none.
    - `factor`, `arm_factor`: shown number for a stored one of 1.
    - `ratio`: what an effect is called that is stored as a logarithm and shown as a ratio; empty
      for others.
    - `more`, `less`: words for a positive and a negative effect.
    """

    unit: str
    arm_unit: str
    factor: float = 1.0
    arm_factor: float = 1.0
    ratio: str = ""
    more: str = "higher"
    less: str = "lower"

    @property
    def null(self) -> float:
        """The shown value of no effect."""
        return self.factor if self.ratio else 0.0

    @property
    def stored_unit(self) -> str:
        """Unit of bias and standard errors, which are not transformed to a ratio."""
        return f"log {self.ratio}" if self.ratio else self.unit

    @property
    def stored_factor(self) -> float:
        """Shown number of a bias or standard error for a stored one of 1."""
        return 1.0 if self.ratio else self.factor

    def shown(self, stored: np.ndarray | float) -> np.ndarray:
        """Stored effects as they are shown."""
        array = np.asarray(stored, float)
        return (np.exp(array) if self.ratio else array) * self.factor

    def effect(self, stored: float, error: float) -> Measured:
        """An effect with its Monte-Carlo error (delta method for a ratio)."""
        value = float(self.shown(stored))
        return measured(value, error * (value if self.ratio else self.factor))

    def interval(self, lower: float, upper: float) -> str:
        """A stored interval as it is shown."""
        return interval(float(self.shown(lower)), float(self.shown(upper)))

    def stored(self, shown: float) -> float:
        """An effect that is shown as results store it."""
        return math.log(shown / self.factor) if self.ratio else shown / self.factor

    def published(self, reported: float) -> float:
        """A reported effect as results would store it.

        Ratios are reported as ratios; everything else on the estimator's scale.
        """
        return math.log(reported / self.factor) if self.ratio else reported

    def with_unit(self, text: str) -> str:
        """`text` followed by the unit."""
        return f"{text} {self.unit}".strip()


def scale_of(
    analysis: AnalysisSpec, endpoint: EndpointSpec, units: Mapping[str, str], drug: DrugSpec
) -> Scale:
    """The scale of an analysis of that endpoint; `units` are those of the model's outputs."""
    ratio = ESTIMATORS[analysis.estimator].ratio
    if analysis.estimator == "hazard_ratio":
        return Scale("", "%", arm_factor=100.0, ratio=ratio)
    if analysis.estimator == "geometric_mean_ratio":
        return Scale("%", endpoint_unit(endpoint, units, drug), factor=100.0, ratio=ratio)
    match endpoint.kind:
        case "time_in_range":
            return Scale(POINTS, "%")
        case "any_at_or_above":
            return Scale(
                POINTS,
                "%",
                factor=100.0,
                arm_factor=100.0,
                more="more frequent",
                less="less frequent",
            )
        case "time_to_range":
            return Scale("d", "d", more="longer", less="shorter")
        case "time_of_maximum":
            return Scale("h", "h", more="later", less="earlier")
    unit = endpoint_unit(endpoint, units, drug)
    return Scale(unit, unit)
