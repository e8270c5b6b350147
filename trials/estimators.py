"""What is known of every estimator without computing anything: whom it fits, and its words.

How they are computed is in `trials/analyses`, and which of its functions is called in
`trials/estimation.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Estimator:
    """One estimator of an effect between two arms.

    - `endpoints`: kinds of endpoints that it fits.
    - `effect`: what its effect is, as results hold it.
    - `method`: how it is had, with the source; `within_subjects`: how in a crossover, None where
      there is no such way.
    - `ratio`: what is compared where the effect is a ratio, else empty. Results hold its logarithm;
      margins and published numbers are the ratio itself.
    - `summary`: what an arm's own number is called, beside the endpoint's label.
    - `of_times`: whether it is of times to an event. These are not compared within strata, and
      their true values not within subjects.
    """

    endpoints: tuple[str, ...]
    effect: str
    method: str
    within_subjects: str | None = None
    ratio: str = ""
    summary: str = ""
    of_times: bool = False


_MEANS = (
    "difference in means by least squares, with a t test and interval on the residual degrees of "
    "freedom"
)
_GEOMETRIC = (
    "ratio of geometric means: difference in means of logarithms by least squares, with a t "
    "interval on the residual degrees of freedom"
)
_OF_CROSSOVER = (
    "; analysis of variance with fixed effects of sequence, subject in its sequence, period and arm"
)
_POSITIVE = ("last", "mean", "area_under_curve", "maximum")

ESTIMATORS: Mapping[str, Estimator] = {
    "mean_difference": Estimator(
        ("time_in_range", "any_at_or_above", *_POSITIVE, "time_of_maximum"),
        "difference in means",
        _MEANS,
        _MEANS + _OF_CROSSOVER,
    ),
    "geometric_mean_ratio": Estimator(
        _POSITIVE,
        "log ratio of geometric means",
        _GEOMETRIC,
        _GEOMETRIC + _OF_CROSSOVER,
        ratio="ratio of geometric means",
        summary=", geometric mean",
    ),
    "risk_difference": Estimator(
        ("any_at_or_above",),
        "risk difference",
        "difference in risks: Miettinen and Nurminen's score test and interval (Stat Med "
        "1985;4:213-226); with strata, Mantel and Haenszel's weights and Sato's variance "
        "(Biometrics 1989;45:1323-1324)",
        "difference in risks within subjects: Tango's score test, of no difference McNemar's, and "
        "interval for pairs (Stat Med 1998;17:891-908); effects of periods are not estimated, and "
        "cancel where sequences have as many subjects",
    ),
    "restricted_mean_difference": Estimator(
        ("time_to_range",),
        "difference in restricted mean time",
        "difference in areas under the Kaplan-Meier curves up to a horizon (Royston & Parmar, BMC "
        "Med Res Methodol 2013;13:152)",
        summary=", restricted mean",
        of_times=True,
    ),
    "hazard_ratio": Estimator(
        ("time_to_range",),
        "log hazard ratio",
        "Cox regression, ties by Efron's method, Wald test and interval",
        ratio="hazard ratio",
        summary=": patients with the event",
        of_times=True,
    ),
}
