"""One number a subject: the endpoints."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from insilico.config import Spec
from trials.config.quantities import Day, HoursAfterDose, PositiveDays


class _EndpointSpec(Spec):
    label: str = ""
    better: Literal["higher", "lower"] | None = Field(
        default=None,
        description="Which values are better for a patient (of a time to a range: longer or "
        "shorter times). A trial then succeeds only by an effect in that direction; if left out, "
        "by one in either",
    )


class TimeInRangeSpec(_EndpointSpec):
    """Percentage of time in a range, by linear interpolation (Rosendaal 1993)."""

    kind: Literal["time_in_range"]
    of: str
    low: float
    high: float
    from_day: Day = 1
    to_day: Day | None = None
    longest_gap: PositiveDays = 56.0


class TimeToRangeSpec(_EndpointSpec):
    """Time to the first measured value in a range, censored at the last visit."""

    kind: Literal["time_to_range"]
    of: str
    low: float | None = None
    high: float | None = None


class AnyAboveSpec(_EndpointSpec):
    """Whether any measured value reaches a threshold."""

    kind: Literal["any_at_or_above"]
    of: str
    threshold: float
    from_day: Day = 1
    to_day: Day | None = None


class LastSpec(_EndpointSpec):
    """The value at the last visit that was kept."""

    kind: Literal["last"]
    of: str
    from_day: Day = 1
    to_day: Day | None = None


class MeanSpec(_EndpointSpec):
    """The mean of the measured values."""

    kind: Literal["mean"]
    of: str
    from_day: Day = 1
    to_day: Day | None = None


class _CourseSpec(_EndpointSpec):
    of: str
    from_time: HoursAfterDose = Field(
        default=0.0, description="First sample that counts, after the first dose"
    )
    to_time: HoursAfterDose | None = Field(default=None, description="Last sample that counts")
    below_limit: Literal["zero_first", "zero", "half_limit"] = Field(
        default="zero_first",
        description="What stands for a value below visits.quantified_from: 0 before the first "
        "quantified value and nothing after it, 0, or half the limit. What is not above 0 is below",
    )


class AreaUnderCurveSpec(_CourseSpec):
    """Area under the measured values, by trapezoids."""

    kind: Literal["area_under_curve"]
    to: Literal["last", "infinity"] = Field(
        default="last",
        description="Up to the last quantified value, or extrapolated from it with the terminal "
        "rate, by log-linear regression on as many of the last values as give the best adjusted R²",
    )
    method: Literal["linear_up_log_down", "linear"] = Field(
        default="linear_up_log_down",
        description="Whether values fall exponentially between samples, or linearly",
    )
    terminal_points: Annotated[int, Field(ge=3)] = Field(
        default=3, description="Fewest values that the terminal rate is from"
    )


class MaximumSpec(_CourseSpec):
    """The largest measured value."""

    kind: Literal["maximum"]


class TimeOfMaximumSpec(_CourseSpec):
    """Time after the first dose to the largest measured value."""

    kind: Literal["time_of_maximum"]


CourseSpec = AreaUnderCurveSpec | MaximumSpec | TimeOfMaximumSpec
"""Endpoints of a concentration's course after a dose."""

EndpointSpec = Annotated[
    TimeInRangeSpec | TimeToRangeSpec | AnyAboveSpec | LastSpec | MeanSpec | CourseSpec,
    Field(discriminator="kind"),
]
