"""A whole trial: every section together."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cohorts import CohortSpec
from insilico.config import SolverSpec, Spec, quantity
from trials.config.analyses import (
    AnalysisSpec,
    PublishedSpec,
    SensitivitySpec,
    SuccessSpec,
    TruthSpec,
)
from trials.config.conduct import TrialSpec
from trials.config.endpoints import EndpointSpec
from trials.config.quantities import Name, Share
from trials.config.treatment import (
    ArmSpec,
    AvailabilitySpec,
    DrugSpec,
    FormulaSpec,
    QuantitySpec,
    TitrationSpec,
    VisitsSpec,
)


class TrialSolverSpec(SolverSpec):
    """How exactly patients are solved, by which method, in which precision."""

    precision: Literal["double", "single"] = Field(
        default="double",
        description="Numbers of 64 or 32 bits. Single precision raises the relative tolerance to "
        "1e-5 at least, and the run says how far off its outputs were",
    )
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
            "euler_maruyama",
            "milstein",
            "closed_form",
        ]
        | None
    ) = Field(
        default=None,
        description="Method of integration; the model's own if left out, auto measures which",
    )
    step: Annotated[float, quantity("h", gt=0)] | None = Field(
        default=None,
        description="Longest step of rk4, rush_larsen, rush_larsen2, euler_maruyama and milstein; "
        "the model's if left out",
    )


class TrialConfig(Spec):
    """A whole trial."""

    title: Annotated[str, Field(min_length=1)]
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
    solver: TrialSolverSpec = TrialSolverSpec()
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
