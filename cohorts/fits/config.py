"""What the config of a fit may say: the data, the population, and how it is learned from them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cohorts.data import DataSpec
from cohorts.hierarchy import HierarchySpec
from cohorts.inference.settings import (
    Approximation,
    Method,
    Sampling,
    SimulationBasedCalibration,
)
from insilico.config import SolverSpec, Spec

Probability = Annotated[float, Field(gt=0, lt=1)]


class FitSolverSpec(SolverSpec):
    """How exactly subjects are solved; a closed form needs no tolerances."""

    max_steps: Annotated[int, Field(ge=10)] = Field(
        default=5000,
        description="Steps a solve may take. All chains wait for the longest, and far from the "
        "data some are stiff: what needs more counts as impossible there",
    )
    method: Literal["tsit5", "dopri8", "taylor", "rodas4", "rodas5p", "closed_form"] | None = Field(
        default=None,
        description="Method of integration, of those with derivatives in reverse; the model's own "
        "if left out",
    )


class ChecksSpec(Spec):
    """Predictive checks of the fitted population."""

    replicates: Annotated[int, Field(ge=100)] = Field(
        default=1000, description="Simulated data sets, each from a draw of the posterior"
    )
    prior_draws: Annotated[int, Field(ge=100)] = Field(
        default=1000, description="Draws of the prior, shown beside the posterior"
    )
    marginal_draws: Annotated[int, Field(ge=0)] = Field(
        default=500,
        description="Draws of the posterior at which each subject's random effects are integrated "
        "out, for leaving subjects out and for the sensitivity to priors; 0: neither is looked at",
    )
    interval: Probability = Field(
        default=0.95, description="Probability of the intervals that tables and figures show"
    )
    over: Literal["time", "time_after_dose"] = Field(
        default="time",
        description="What visual predictive checks go over; after many doses, over the time since "
        "the last one (values before the first dose are left out then)",
    )
    stratify: str | None = Field(
        default=None,
        description="A covariate by which visual predictive checks are shown apart, too: each "
        "category, each of a few values (the doses of a study), or halves about the median",
    )


class FitConfig(HierarchySpec):
    """A whole fit; `population`, `correlations`, `mixtures` and `residual` are what is learned."""

    title: str
    description: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    model: str = Field(description="Structural model, a name in insilico/models")
    data: DataSpec
    method: Method = Field(
        default="nuts",
        description="How the posterior is found: sampled by nuts, or approximated, sooner, by "
        "focei or laplace (normal about the maximum of the marginal posterior) or svi (normal, by "
        "variational inference); approximations are checked and labelled",
    )
    sampling: Sampling = Field(default=Sampling(), description="For nuts")
    approximation: Approximation = Field(
        default=Approximation(), description="For focei, laplace and svi"
    )
    parameterisation: Literal["auto", "centred", "non_centred"] = Field(
        default="auto",
        description="How random effects are sampled: as themselves, which suits subjects with many "
        "data, as standard normal numbers, which suits those with few, or in between as the data "
        "of each subject have it",
    )
    solver: FitSolverSpec = FitSolverSpec()
    checks: ChecksSpec = ChecksSpec()
    sbc: SimulationBasedCalibration = Field(
        default=SimulationBasedCalibration(), description="For `insilico sbc`"
    )
    assumptions: list[str] = Field(default_factory=list)
