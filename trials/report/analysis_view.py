"""One analysis over all simulated trials, as a report shows it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from insilico.pages.numbers import plain
from insilico.pages.words import inline
from trials.config import AnalysisSpec, EndpointSpec
from trials.margins import Margins
from trials.scales import Scale

NORMAL_95 = 1.959964

FOUND = {
    "difference": "significant",
    "non_inferiority": "non-inferior",
    "superiority": "superior",
    "equivalence": "equivalent",
}
"""What a trial is called that shows what its test is to show."""


class ArmView(NamedTuple):
    """An arm with its one colour."""

    name: str
    label: str
    colour: str

    @property
    def mention(self) -> str:
        """The arm inside a sentence: "the genotype-guided arm"."""
        return f"the {inline(self.label).removesuffix(' arm')} arm"


class Published(NamedTuple):
    """A reported effect on the estimator's scale; NaN limits where none were reported."""

    value: float
    lower: float
    upper: float

    @property
    def standard_error(self) -> float:
        """Half the interval over 1.96: it is taken for a 95 % interval."""
        return (self.upper - self.lower) / (2 * NORMAL_95)


@dataclasses.dataclass(frozen=True)
class AnalysisView:
    """One analysis over all simulated trials; arrays are (trial,) or (trial, arm)."""

    name: str
    label: str
    spec: AnalysisSpec
    endpoint: EndpointSpec
    endpoint_label: str
    scale: Scale
    treatment: ArmView
    reference: ArmView
    margins: Margins | None
    truth: float
    truth_mcse: float
    truth_subjects: float
    characteristics: Mapping[str, float]
    estimate: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    p_value: np.ndarray
    status: np.ndarray
    n: np.ndarray
    mean: np.ndarray
    published: Published | None
    published_arms: Mapping[str, float]

    @property
    def title(self) -> str:
        """The endpoint and the analysis, named once where they are the same."""
        endpoint, label = self.endpoint_label.lower(), self.label.lower()
        if endpoint in label:
            return self.label
        same = label in endpoint
        return self.endpoint_label if same else f"{self.endpoint_label}: {self.label}"

    @property
    def usable(self) -> np.ndarray:
        """Trials that gave an estimate."""
        return (self.status == 0) & np.isfinite(self.estimate)

    @property
    def available(self) -> bool:
        """Whether any trial did."""
        return bool(self.usable.any())

    @property
    def significant(self) -> np.ndarray:
        """Trials whose p-value is below alpha: those that found what they look for."""
        return self.usable & (self.p_value < self.spec.alpha)

    @property
    def found(self) -> str:
        """What such trials are called."""
        return FOUND[self.spec.hypothesis]

    @property
    def one_sided(self) -> bool:
        """Whether the test is against margins."""
        return self.margins is not None

    @property
    def margins_shown(self) -> tuple[float, ...]:
        """The margins that there are, as effects are shown."""
        ends = [end for end in self.margins or () if math.isfinite(end)]
        return tuple(float(self.scale.shown(end)) for end in ends)

    @property
    def within(self) -> str:
        """Where the interval has to lie, as in "within 80 to 125 %"; empty without margins."""
        if self.margins is None:
            return ""
        values = " to ".join(map(plain, self.margins_shown))
        lower, upper = map(math.isfinite, self.margins)
        where = "within" if lower and upper else "above" if lower else "below"
        return f"{where} {self.scale.with_unit(values)}"

    @property
    def asked(self) -> str:
        """What of its margins is asked, for a column: "−5 to 5", "above −5"."""
        return self.within.removeprefix("within ").removesuffix(f" {self.scale.unit}") or "–"

    @property
    def beyond(self) -> bool:
        """Whether the true effect is not where the interval has to lie: what trials show is then
        an error of type I."""
        if self.margins is None or not math.isfinite(self.truth):
            return False
        lower, upper = self.margins
        return not lower < self.truth < upper

    @property
    def seen_against(self) -> tuple[tuple[float, str], ...]:
        """What effects are to be seen against, as shown, each with the dash of its line: no effect,
        unless it lies between two margins, and the margins."""
        null = () if len(self.margins_shown) == 2 else ((self.scale.null, "dot"),)
        return (*null, *((end, "dashdot") for end in self.margins_shown))

    @property
    def percent(self) -> str:
        """The level of the intervals, such as `95 %`."""
        return f"{100 * self.spec.level:g} %"

    @property
    def contrast(self) -> str:
        """What is compared with what."""
        joined = " against " if self.scale.ratio else " minus "
        return f"{self.treatment.label}{joined}{self.reference.label}"

    @property
    def effect_unit(self) -> str:
        """What the effect is measured in, for axes and headings."""
        return ", ".join(filter(None, (self.scale.ratio, self.scale.unit)))

    def typical_interval(self) -> tuple[float, float]:
        """Mean limits over trials, on the stored scale; NaN without any estimate."""
        if not self.available:
            return float("nan"), float("nan")
        return float(self.lower[self.usable].mean()), float(self.upper[self.usable].mean())


def called(analyses: Sequence[AnalysisView]) -> dict[str, str]:
    """What the lines are called that effects of these are to be seen against, by their dash."""
    dashes = {dash for analysis in analyses for _, dash in analysis.seen_against}
    names = {"dot": "no effect", "dashdot": "margin"}
    return {dash: name for dash, name in names.items() if dash in dashes}


def lines_in_words(analyses: Sequence[AnalysisView]) -> str:
    """The same for the note below a figure."""
    words = {"dot": "Dotted line", "dashdot": "Dashed and dotted line"}
    return "; ".join(f"{words[dash]}: {name}" for dash, name in called(analyses).items())
