"""The section of a config that says how exactly equations are solved."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from insilico.config.specs import Spec


class SolverSpec(Spec):
    """How exactly patients are solved; trials and fits add what is their own."""

    relative_tolerance: Annotated[float, Field(ge=1e-13, lt=0.1)] = Field(
        default=1e-6, description="Error of a step relative to what is solved; doubles hold 1e-16"
    )
    absolute_tolerance: Annotated[float, Field(gt=0)] = 1e-8
    max_steps: Annotated[int, Field(ge=10)] = 100_000
