"""What a trial's config file may say: every section, its fields, their units and limits.

Field names are the file's keys. Times are stated with a unit (`28 d`); days count from 1, the day
of the first dose. What only makes sense against other sections (that an arm names a titration that
exists) is checked in `trials.building` and `trials.design`.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from cohorts import CohortSpec
from insilico.config import Expression, Spec, SpecError, quantity

Days = Annotated[float, quantity("d")]
PositiveDays = Annotated[float, quantity("d", gt=0)]
Duration = Annotated[float, quantity("d", gt=0, le=3653)]
"""Ten years: rules and random tables are laid out by the day."""
HoursOfDay = Annotated[float, quantity("h", ge=0, lt=24)]
HoursAfterDose = Annotated[float, quantity("h", ge=0)]
DosePerDay = Annotated[float, quantity("mg", gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Percent = Annotated[float, quantity("%")]
Margin = Annotated[float, quantity("%", gt=0)]
Day = Annotated[int, Field(ge=1)]
Factor = Annotated[float, Field(gt=0)]


def _plain_name(name: str) -> str:
    """A name that expressions, results and files can hold. Raises `SpecError` for any other."""
    if re.fullmatch(PLAIN_NAME, name):
        return name
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    plain = re.sub(r"[^a-z0-9]+", "_", letters).strip("_")
    raise SpecError(
        "must begin with a small letter and hold only small letters (a-z), digits and _",
        hint=f"write {plain}" if re.fullmatch(PLAIN_NAME, plain) else None,
    )


PLAIN_NAME = "^[a-z][a-z0-9_]*$"
Name = Annotated[
    str, AfterValidator(_plain_name), WithJsonSchema({"type": "string", "pattern": PLAIN_NAME})
]


class CentresSpec(Spec):
    """Where patients are enrolled."""

    count: Annotated[int, Field(ge=1)] = Field(default=1, description="Number of centres")
    spread: Annotated[float, Field(ge=0)] = Field(
        default=0.0,
        description="Coefficient of variation of the centres' sizes; 0 makes them equal",
    )


class StrataSpec(Spec):
    """What randomisation is stratified by."""

    centre: bool = Field(default=False, description="Whether each centre is a stratum")
    by: dict[Name, Expression] = Field(
        default_factory=dict, description="Named yes/no criteria on covariates, each a factor"
    )


class RandomisationSpec(Spec):
    """How patients are allocated to arms."""

    method: Literal["permuted_blocks", "simple"] = Field(default="permuted_blocks")
    allocation: dict[Name, Annotated[int, Field(ge=1)]] | None = Field(
        default=None, description="Relative size of each arm; equal where left out"
    )
    block_sizes: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=1)] = Field(
        default=[4], description="One block size, or several drawn at random"
    )
    strata: StrataSpec = StrataSpec()


class EnrolmentSpec(Spec):
    period: PositiveDays = Field(
        default=365.0, description="Time over which patients arrive, evenly"
    )


class DropoutSpec(Spec):
    """Leaving the trial at a constant hazard."""

    share: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="Share of patients that has left by the time `by`"
    )
    by: PositiveDays = Field(description="Time since the first dose")


class CrossoverSpec(Spec):
    """Every subject in several periods, each under one arm.

    Each period is like a trial of its own, from the first dose to the last visit, and begins from
    the initial state: what was left of the period before is taken to be washed out.
    """

    sequences: Annotated[
        list[Annotated[list[str], Field(min_length=2, max_length=100)]], Field(min_length=2)
    ] = Field(
        description="The arms of each sequence in the order of its periods; subjects are "
        "randomised to sequences, as many to each"
    )
    washout: PositiveDays = Field(description="From the end of a period to the start of the next")
    period_effects: dict[str, list[Factor]] = Field(
        default_factory=dict,
        description="By model parameter, the factor on everybody's in each period",
    )


class TrialSpec(Spec):
    """The trial's size, length and conduct.

    Subjects of all trials together (subjects × replicates) are limited by memory, of which their
    numbers may take 256 GiB; each takes about half a kilobyte, less with `keep: endpoints`.
    """

    subjects: Annotated[int, Field(ge=2)] = Field(
        description="Patients randomised in one trial; of all trials together, as many as memory "
        "may hold (256 GiB)"
    )
    replicates: Annotated[int, Field(ge=1)] = Field(default=200, description="Simulated trials")
    trials_per_draw: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Simulated trials of each draw of the population's parameters: 1 for "
        "assurance, more to see how power spreads over what is not known of the population; all "
        "of one draw if left out",
    )
    duration: Duration = Field(
        description="From the first dose to the last visit; in a crossover that of each period"
    )
    centres: CentresSpec = CentresSpec()
    randomisation: RandomisationSpec = RandomisationSpec()
    enrolment: EnrolmentSpec = EnrolmentSpec()
    dropout: DropoutSpec | None = None
    crossover: CrossoverSpec | None = Field(
        default=None, description="Periods and sequences; each subject has one arm if left out"
    )

    @property
    def per_draw(self) -> int:
        """Simulated trials of each draw of the population's parameters."""
        return self.trials_per_draw or self.replicates

    @property
    def population_draws(self) -> int:
        """Draws of the population's parameters."""
        return max(1, self.replicates // self.per_draw)


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
    rounding: DosePerDay | None = Field(default=None, description="Each dose is a multiple of this")
    weekly_rounding: DosePerDay | None = Field(
        default=None, description="The dose of a week is a multiple of this"
    )
    lowest: DosePerDay | None = None
    highest: DosePerDay | None = None
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

    label: str
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
            "First day of titration; if left out, the day after the last revision and the last "
            "loading dose, day 2 at the earliest"
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


class SolverSpec(Spec):
    """How exactly patients are solved."""

    relative_tolerance: Annotated[float, Field(ge=1e-13, lt=0.1)] = Field(
        default=1e-6, description="Error of a step relative to what is solved; doubles hold 1e-16"
    )
    absolute_tolerance: Annotated[float, Field(gt=0)] = 1e-8
    precision: Literal["double", "single"] = Field(
        default="double",
        description="Numbers of 64 or 32 bits. Single precision raises the relative tolerance to "
        "1e-5 at least, and the run says how far off its outputs were",
    )
    max_steps: Annotated[int, Field(ge=10)] = 100_000
    method: (
        Literal[
            "auto",
            "tsit5",
            "dopri8",
            "taylor",
            "rodas4",
            "rodas5p",
            "rk4",
            "rush_larsen",
            "rush_larsen2",
            "closed_form",
        ]
        | None
    ) = Field(
        default=None,
        description="Method of integration; the model's own if left out, auto measures which",
    )
    step: Annotated[float, quantity("h", gt=0)] | None = Field(
        default=None,
        description="Longest step of rk4, rush_larsen and rush_larsen2; the model's if left out",
    )


class TrialConfig(Spec):
    """A whole trial."""

    title: str
    description: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    model: str
    cohort: CohortSpec
    trial: TrialSpec
    drug: DrugSpec
    visits: VisitsSpec
    availability: dict[Name, AvailabilitySpec] = Field(default_factory=dict)
    quantities: dict[Name, QuantitySpec] = Field(default_factory=dict)
    formulas: dict[Name, FormulaSpec] = Field(default_factory=dict)
    titrations: dict[Name, TitrationSpec] = Field(default_factory=dict)
    arms: Annotated[dict[Name, ArmSpec], Field(min_length=1)]
    endpoints: Annotated[dict[Name, EndpointSpec], Field(min_length=1)]
    analyses: Annotated[dict[Name, AnalysisSpec], Field(min_length=1)]
    success: SuccessSpec | None = None
    truth: TruthSpec = TruthSpec()
    sensitivity: dict[Name, SensitivitySpec] = Field(default_factory=dict)
    published: PublishedSpec | None = None
    solver: SolverSpec = SolverSpec()
    assumptions: list[str] = Field(default_factory=list)
    largest_failed_share: Share = Field(
        default=0.001,
        description="The run fails when more subjects than this share cannot be solved",
    )
    keep: Literal["outcomes", "endpoints", "estimates"] = Field(
        default="outcomes",
        description="What of every subject goes into the results: all visits under every arm, the "
        "endpoints, or neither",
    )
