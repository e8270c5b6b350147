"""What is learned from a trial: analyses, success, true values, and published results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from cohorts.hierarchy.numbers import Stated
from insilico.config import Expression, Spec
from trials.config.quantities import PositiveDays

type Hypothesis = Literal["difference", "non_inferiority", "superiority", "equivalence"]
"""What a test is to show: any difference, or something against margins."""


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
    margins: Annotated[list[Stated], Field(min_length=2, max_length=2)] | None = Field(
        default=None,
        description="Within which an effect counts as equivalent: the lower and the upper, as in "
        "[80 %, 125 %] of a ratio or [-5 mg/L, 5 mg/L] of a difference. The trial has shown it "
        "when both of two one-sided tests reject",
    )
    non_inferiority_margin: Stated | None = Field(
        default=None,
        description="By how much the arm of interest may be worse and still not be inferior: of a "
        "difference its size (5 % of a risk are percentage points), of a ratio the ratio itself. "
        "The endpoint says which values are `better`",
    )
    superiority_margin: Stated | None = Field(
        default=None,
        description="By how much the arm of interest has to be better; written as that of "
        "non-inferiority. 0, of a ratio 1, asks for a one-sided test of superiority",
    )
    # After the margins, which its default looks at.
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        default_factory=lambda stated: _usual_alpha(stated),
        description="Level of the test, 0.05 if left out: two-sided, its interval has the level 1 "
        "minus alpha. With margins one-sided, of each of two tests of equivalence, 0.025 if left "
        "out with one of non-inferiority or superiority; the interval has 1 minus 2 alpha",
    )

    @property
    def margin(self) -> Stated | None:
        """The one margin of non-inferiority or superiority."""
        stated = self.non_inferiority_margin
        return self.superiority_margin if stated is None else stated

    @property
    def hypothesis(self) -> Hypothesis:
        """What the analysis is to show."""
        if self.margins is not None:
            return "equivalence"
        if self.non_inferiority_margin is not None:
            return "non_inferiority"
        return "difference" if self.superiority_margin is None else "superiority"

    @property
    def level(self) -> float:
        """Level of the confidence interval."""
        return 1.0 - (self.alpha if self.hypothesis == "difference" else 2.0 * self.alpha)


def _usual_alpha(stated: Mapping[str, Any]) -> float:
    """Half of the two-sided level for a one-sided test (ICH E9, 5.5)."""
    margins = ("non_inferiority_margin", "superiority_margin")
    return 0.05 if all(stated.get(name) is None for name in margins) else 0.025


class SuccessSpec(Spec):
    """When the trial counts as a success: analyses that reach their alpha.

    Those with margins do so by showing what these ask. Otherwise an effect on an endpoint that says
    which values are `better` has to favour the first arm of the contrast as well.
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
