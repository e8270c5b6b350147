"""What the config of a calibration may say: arms, what was published of them, and how it is met."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cohorts.cohort import CovariatesSpec
from cohorts.fits.config import FitSolverSpec, Probability
from cohorts.hierarchy import HierarchySpec
from cohorts.hierarchy.numbers import Stated
from cohorts.inference.settings import Sampling
from insilico.config import Expression, Spec, quantity

Count = Annotated[int, Field(ge=2)]


class DoseSpec(Spec):
    """Doses of one amount: one, some at stated times, or a number of them at equal intervals."""

    amount: Stated = Field(description="of each, as in `320 mg`")
    into: str | None = Field(
        default=None, description="compartment; left out: the model's first one"
    )
    at: Stated = Field(default=0.0, description="time of the first one")
    times: tuple[Stated, ...] = Field(default=(), description="of all, in place of `at`")
    every: Stated | None = Field(default=None, description="interval between them")
    number: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=1, description="how many there are, `every` so long"
    )
    duration: Stated | None = Field(default=None, description="of an infusion")
    rate: Stated | None = Field(default=None, description="of an infusion, in place of a duration")


class ArmSpec(Spec):
    """What the subjects of one arm received."""

    label: str = Field(default="", description="what figures call it; its name if left out")
    doses: tuple[DoseSpec, ...] = ()
    inputs: dict[str, Stated] = Field(
        default_factory=dict, description="constant values of the model's inputs"
    )
    subjects: Count | None = Field(
        default=None, description="how many there were, for targets that do not say it themselves"
    )
    same_subjects: bool = Field(
        default=True,
        description="whether all targets of the arm are of the same subjects, so that their errors "
        "go together; else they are taken for independent",
    )


class QuantitySpec(Spec):
    """One number of a subject: an output at a time, or an exposure between two times."""

    output: str
    time: Stated | None = Field(
        default=None, description="of the value; at the time of a dose, just before it"
    )
    exposure: Literal["auc", "cmax", "cmin", "tmax"] | None = Field(
        default=None, description="in place of a time"
    )
    between: tuple[Stated, Stated] | None = Field(
        default=None, description="the times between which the exposure is taken"
    )
    samples: tuple[Stated, ...] = Field(
        default=(),
        description="times of the samples that the exposure is of; left out: the whole course",
    )
    change: Literal["difference", "ratio"] | None = Field(
        default=None, description="of the value from that at the time `baseline`"
    )
    baseline: Stated = 0.0
    measured: bool | None = Field(
        default=None,
        description="whether of measured values, with residual error, or of true ones; left out: "
        "measured where the output has a residual error, but the whole course of an exposure true",
    )


class TargetSpec(QuantitySpec):
    """Base of the targets: a statistic of a quantity over the subjects of an arm, as published.

    Its error is a standard error that was published, or follows from the number of subjects.
    """

    name: str = Field(default="", description="what tables call it; made of the rest if left out")
    arm: str
    value: Stated
    standard_error: Stated | None = Field(default=None, description="of the value, in its unit")
    subjects: Count | None = Field(
        default=None, description="in place of a standard error: how many the value is of"
    )


class LocationSpec(TargetSpec):
    """A mean, geometric mean, median or standard deviation, in the quantity's unit."""

    statistic: Literal["mean", "geometric_mean", "median", "sd"]


class SpreadSpec(TargetSpec):
    """A coefficient of variation: sd over mean, or sqrt(exp(variance of the logarithm) - 1)."""

    statistic: Literal["cv", "geometric_cv"]


class QuantileSpec(TargetSpec):
    """A quantile."""

    statistic: Literal["quantile"]
    probability: Probability = Field(description="of a value below it")


class FractionSpec(TargetSpec):
    """The share of subjects above or below a threshold: responders."""

    statistic: Literal["fraction"]
    above: Stated | None = None
    below: Stated | None = None


class CorrelationSpec(TargetSpec):
    """Pearson's correlation of two quantities of a subject in one arm."""

    statistic: Literal["correlation"]
    other: QuantitySpec


type AnyTargetSpec = Annotated[
    LocationSpec | SpreadSpec | QuantileSpec | FractionSpec | CorrelationSpec,
    Field(discriminator="statistic"),
]


class PeopleSpec(Spec):
    """Who the virtual patients are: their covariates, and who of them is eligible."""

    covariates: CovariatesSpec = CovariatesSpec()
    eligibility: tuple[Expression, ...] = Field(
        default=(), description="conditions on covariates, all of which must hold"
    )


class CalibrationChecksSpec(Spec):
    """When a calibration can be trusted, and what its report shows."""

    largest_mismatch: Annotated[float, Field(gt=0)] = Field(
        default=3.0, description="standard errors by which a target may be missed"
    )
    least_effective_share: Annotated[float, quantity("1", gt=0, lt=1)] = Field(
        default=0.05,
        description="least effective number of reweighted patients, as a share of all",
    )
    prior_draws: Annotated[int, Field(ge=100)] = Field(
        default=1000, description="Draws of the prior, shown beside the posterior"
    )
    interval: Probability = Field(
        default=0.95, description="Probability of the intervals that tables and figures show"
    )


class CalibrationConfig(HierarchySpec):
    """A whole calibration; priors of `population`, `residual` and so on are the plausible range."""

    title: str
    description: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    model: str = Field(description="Structural model, a name in insilico/models")
    cohort: PeopleSpec = PeopleSpec()
    arms: Annotated[dict[str, ArmSpec], Field(min_length=1)]
    targets: Annotated[tuple[AnyTargetSpec, ...], Field(min_length=1)]
    method: Literal["mcmc", "reweight"] = Field(
        default="mcmc",
        description="mcmc: a posterior of the population's parameters; reweight: plausible "
        "patients, with weights",
    )
    virtual_patients: Annotated[int, Field(ge=50, le=1_000_000)] = Field(
        default=1000, description="Subjects that statistics are taken over"
    )
    sampling: Sampling = Field(default=Sampling(), description="of mcmc")
    solver: FitSolverSpec = FitSolverSpec()
    checks: CalibrationChecksSpec = CalibrationChecksSpec()
    assumptions: list[str] = Field(default_factory=list)
