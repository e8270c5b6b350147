"""What the sections of a config that describe a population look like."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cohorts.hierarchy.effects import EffectSpec
from cohorts.hierarchy.imported import EstimatesSpec
from cohorts.hierarchy.numbers import NumberSpec, Positive
from cohorts.hierarchy.occasions import BetweenOccasionSpec
from cohorts.hierarchy.variability import CorrelationSpec, VariabilitySpec
from insilico.config import Spec, quantity

Share = Annotated[float, quantity("1", gt=0, lt=1)]


class ParameterSpec(Spec):
    """One parameter of the structural model: its typical value, and what moves it."""

    typical: NumberSpec = Field(description="value of the typical subject")
    covariates: dict[str, EffectSpec] = Field(
        default_factory=dict, description="effects of covariates, or of a mixture, by name"
    )
    between_subject: VariabilitySpec | None = Field(
        default=None, description="variability between subjects; without it, all have the same"
    )
    between_occasion: BetweenOccasionSpec | None = Field(
        default=None,
        description="variability between occasions of one subject, kappa; without it, a subject's "
        "own stays",
    )


class ResidualSpec(Spec):
    """Base of the residual errors; see `cohorts.residual.Residual` for what each means."""

    kind: str
    autocorrelation: NumberSpec | None = Field(
        default=None,
        description="rate at which a subject's errors forget each other, 1/time; default: at once",
    )


class AdditiveSpec(ResidualSpec):
    """The same standard deviation at every true value."""

    kind: Literal["additive"]
    sd: NumberSpec = Field(description="in the output's unit")


class ProportionalSpec(ResidualSpec):
    """A standard deviation in proportion to the true value."""

    kind: Literal["proportional"]
    sd: NumberSpec = Field(description="share of the true value")


class CombinedSpec(ResidualSpec):
    """Both: as independent errors (`combined`), or their standard deviations added up."""

    kind: Literal["combined", "combined_linear"]
    sd: NumberSpec = Field(description="of the additive part, in the output's unit")
    proportional: NumberSpec = Field(description="share of the true value")


class LogAdditiveSpec(ResidualSpec):
    """Additive on the logarithm."""

    kind: Literal["log_additive"]
    sd: NumberSpec = Field(description="standard deviation of the logarithm")


class PowerErrorSpec(ResidualSpec):
    """A standard deviation in proportion to a power of the true value."""

    kind: Literal["power"]
    sd: NumberSpec = Field(description="of a true value of 1, in the output's unit")
    exponent: NumberSpec


type ResidualErrorSpec = Annotated[
    AdditiveSpec | ProportionalSpec | CombinedSpec | LogAdditiveSpec | PowerErrorSpec,
    Field(discriminator="kind"),
]


class KnownSharesSpec(Spec):
    """Subpopulations whose shares are known."""

    kind: Literal["known"]
    shares: dict[str, Share] = Field(description="of each subpopulation; their sum is 1")

    @property
    def components(self) -> tuple[str, ...]:
        """The subpopulations' names, in the order of their codes."""
        return tuple(self.shares)


class DirichletSpec(Spec):
    """Subpopulations whose shares are to be estimated."""

    kind: Literal["dirichlet"]
    concentrations: dict[str, Positive] = Field(
        description="of each subpopulation: as if that many subjects had been seen, plus 1"
    )

    @property
    def components(self) -> tuple[str, ...]:
        """The subpopulations' names, in the order of their codes."""
        return tuple(self.concentrations)


type MixtureSpec = Annotated[KnownSharesSpec | DirichletSpec, Field(discriminator="kind")]
"""A category that nobody observes: its effects on parameters are written like a covariate's."""


class HierarchySpec(Spec):
    """A population: how subjects differ in the parameters of one structural model."""

    estimates: EstimatesSpec | None = Field(
        default=None, description="file of estimates that numbers of kind `imported` come from"
    )
    population: dict[str, ParameterSpec] = Field(description="every parameter of the model")
    correlations: tuple[CorrelationSpec, ...] = Field(
        default=(), description="of random effects; others are independent"
    )
    mixtures: dict[str, MixtureSpec] = Field(
        default_factory=dict, description="subpopulations that nobody observes"
    )
    residual: dict[str, ResidualErrorSpec] = Field(
        default_factory=dict, description="residual error of each measured output"
    )
