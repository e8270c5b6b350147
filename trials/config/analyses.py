"""What is learned from a trial: analyses, success, true values, and published results."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from insilico.config import Expression, Spec
from trials.config.quantities import Margin, PositiveDays


class AnalysisSpec(Spec):
    """One estimate of the trial: an endpoint, a contrast of arms, an estimator."""

    label: str = ""
    endpoint: str
    estimator: Literal[
        "mean_difference",
        "geometric_mean_ratio",
        "risk_difference",
        "restricted_mean_difference",
        "hazard_ratio",
    ]
    contrast: Annotated[list[str], Field(min_length=2, max_length=2)] = Field(
        description="The arm of interest, then the arm it is compared with"
    )
    adjust: Literal["none", "strata"] = "none"
    subset: Expression | None = None
    horizon: PositiveDays | None = None
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        default=0.05,
        description="Two-sided level of the test; its interval has the level 1 minus alpha. With "
        "margins the level of each of two one-sided tests; the interval has 1 minus 2 alpha",
    )
    margins: Annotated[list[Margin], Field(min_length=2, max_length=2)] | None = Field(
        default=None,
        description="Within which a ratio of geometric means counts as equivalent: the lower and "
        "the upper, as in [80 %, 125 %]. The trial has shown it when both tests reject",
    )

    @property
    def level(self) -> float:
        """Level of the confidence interval."""
        return 1.0 - (self.alpha if self.margins is None else 2.0 * self.alpha)


class SuccessSpec(Spec):
    """When the trial counts as a success: analyses that reach their alpha.

    Those with margins do so by equivalence. Otherwise an effect on an endpoint that says which
    values are `better` has to favour the first arm of the contrast as well.
    """

    any_of: list[str] | None = None
    all_of: list[str] | None = None


class TruthSpec(Spec):
    """The estimands' true values."""

    subjects: Annotated[int, Field(ge=1000)] = Field(
        default=100_000,
        description="Independent subjects, each under every arm; as many as memory may hold "
        "(256 GiB)",
    )


class SensitivitySpec(Spec):
    """The same trial's true effects with some values of the config changed."""

    label: str
    set: dict[str, Any] = Field(
        description="Changes as `drug.adherence.mean: 0.9`, or in sections as the file has them; "
        "what a section does not name stays"
    )
    subjects: Annotated[int, Field(ge=1000)] = 20_000


class PublishedArmSpec(Spec):
    """A published summary of one arm, as the analysis has it: risks as fractions."""

    analysis: str
    arm: str
    value: float


class PublishedEffectSpec(Spec):
    """A published contrast with its 95 % interval, on the scale that a reader expects.

    Means and percentages of time as they stand, risks as fractions, hazards as their ratio. The
    value lies in the interval, of which both ends are given or neither.
    """

    analysis: str
    value: float
    lower: float | None = None
    upper: float | None = None


class PublishedSpec(Spec):
    """What the real trial reported, shown beside the simulated numbers."""

    source: str
    arms: list[PublishedArmSpec] = Field(default_factory=list)
    effects: list[PublishedEffectSpec] = Field(default_factory=list)
