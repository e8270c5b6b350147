"""What patients receive, when they are seen, and what is decided there."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from insilico.config import Expression, Spec
from trials.config.quantities import (
    Day,
    DosePerDay,
    Factor,
    HoursAfterDose,
    HoursOfDay,
    Percent,
    PositiveDays,
    Share,
)


class AdherenceSpec(Spec):
    """Share of doses taken: a beta distribution over patients, each dose independent."""

    mean: Annotated[float, Field(gt=0, le=1)]
    spread: Annotated[float, Field(ge=0, lt=0.5)] = Field(
        default=0.0, description="Standard deviation between patients"
    )


class DrugSpec(Spec):
    """The drug, how it enters the model, and what doses exist."""

    name: str
    compartment: str = Field(description="Model compartment that receives the dose")
    fraction: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0,
        description="Share of the stated dose that enters (an enantiomer, bioavailability)",
    )
    time_of_day: HoursOfDay = Field(default=8.0, description="When the dose is taken")
    every: PositiveDays = Field(default=1.0, description="Dosing interval, whole days")
    first_day: Day = 1
    last_day: Day | None = Field(
        default=None, description="Last day of dosing; the trial's end if left out"
    )
    rounding: DosePerDay | None = Field(
        default=None,
        description="Each dose is the nearest multiple of this; halfway between two, the even one",
    )
    weekly_rounding: DosePerDay | None = Field(
        default=None, description="The dose of a week is the nearest multiple of this"
    )
    lowest: DosePerDay | None = Field(
        default=None,
        description="Smallest dose; a smaller one is raised to it, but a dose of 0 is none and "
        "stays 0",
    )
    highest: DosePerDay | None = Field(
        default=None, description="Largest dose; a larger one is lowered to it"
    )
    adherence: AdherenceSpec | None = None

    @property
    def first_dose(self) -> float:
        """Hours from the start of day 1 to the first dose."""
        return (self.first_day - 1) * 24.0 + self.time_of_day


class VisitsSpec(Spec):
    """When patients are seen and what is measured: on days, or at times after the first dose.

    Titration may add visits between days.
    """

    days: Annotated[list[Day], Field(min_length=1)] | None = Field(
        default=None, description="Scheduled days, increasing"
    )
    time_of_day: HoursOfDay = Field(default=9.0, description="When visits on days are")
    times: Annotated[list[HoursAfterDose], Field(min_length=1)] | None = Field(
        default=None,
        description="Times after the first dose, increasing, in place of days; one at the time of "
        "a dose comes before it",
    )
    measure: Annotated[list[str], Field(min_length=1)] = Field(description="Model outputs measured")
    quantified_from: dict[str, Factor] = Field(
        default_factory=dict,
        description="Lower limit of quantification of a measured output, in its unit",
    )
    attendance: Share = Field(default=1.0, description="Probability that a visit is kept")
    retry_after: PositiveDays = Field(
        default=1.0,
        description="A missed visit on a day is made up this much later; one at a time is lost",
    )
    most: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Visits a patient may have at most; more is a failure. As many as the rules "
        "and the duration allow, if left out",
    )

    @property
    def planned(self) -> int:
        """Number of scheduled visits."""
        return len(self.times or self.days or ())


class KnownSpec(Spec):
    """Share of patients in whom something is known before the dose of a day."""

    day: Day
    share: Share


class AvailabilitySpec(Spec):
    """Covariates that are not known from the start, such as a genotype being typed."""

    covariates: Annotated[list[str], Field(min_length=1)]
    known: Annotated[list[KnownSpec], Field(min_length=1)] = Field(
        description="Days in order, with the share in whom they are known before that day's dose"
    )


class FormulaSpec(Spec):
    """A dose formula of the config's own."""

    expression: Expression
    unit: Literal["mg/d", "mg/wk", "g/d", "g/wk"] = Field(
        default="mg/d", description="Unit of the result"
    )
    source: str = ""


class QuantitySpec(Spec):
    """A named number of a subject: an expression on covariates, or a formula's dose a day."""

    expression: Expression | None = None
    formula: str | None = None


class BandSpec(Spec):
    """One band of a titration table: what to do when the measured value lies in it."""

    below: float | None = Field(
        default=None, description="Upper end of the band, excluded; the last has none"
    )
    change: Percent = Field(default=0.0, description="Relative change of the dose")
    again: Percent | None = Field(
        default=None, description="The change when the visit before was in the same band"
    )
    next_dose: Annotated[float, Field(ge=0)] = Field(
        default=1.0, description="Factor on the next dose alone; 0 omits it"
    )
    hold: bool = Field(default=False, description="No doses until the next visit")
    recheck: PositiveDays | None = Field(
        default=None, description="Next visit after this time at the latest; whole days"
    )


class TitrationSpec(Spec):
    """A table from a measured value to a relative change of dose."""

    of: str
    bands: Annotated[list[BandSpec], Field(min_length=1)]


class RevisionSpec(Spec):
    """A dose formula applied at every visit that is kept on one of these days."""

    days: Annotated[list[Day], Field(min_length=1)]
    formulas: Annotated[list[str], Field(min_length=1)]


class LoadingSpec(Spec):
    """The dose of one day of loading."""

    day: Day
    dose: Expression = Field(
        description="In mg, from `maintenance` (the starting dose), covariates and quantities"
    )


class ArmSpec(Spec):
    """What one arm receives: a starting dose, then its revision, then its titration.

    A formulation, a meal or another drug also changes what happens to a dose: `bioavailability`
    and `parameters` say how, against the patient's own.
    """

    label: Annotated[str, Field(min_length=1)]
    start: Annotated[list[str], Field(min_length=1)] = Field(
        description="Formulas for the first dose: the first whose covariates are known"
    )
    loading: list[LoadingSpec] = Field(
        default=[], description="Doses of single days in place of the starting dose"
    )
    revision: RevisionSpec | None = None
    titration: str | None = None
    titration_from_day: Day | None = Field(
        default=None,
        description=(
            "First day of titration; if left out, the day after the first dose, the last loading "
            "dose and the last revision"
        ),
    )
    bioavailability: Factor = Field(
        default=1.0, description="Factor on the share of each dose that enters the model"
    )
    parameters: dict[str, Factor] = Field(
        default_factory=dict,
        description="By model parameter, a factor on each patient's own, as in "
        "{absorption_rate: 0.8}",
    )
