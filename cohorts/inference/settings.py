"""How a posterior is sampled: the settings that a config or a caller may state."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from insilico.config import Spec

Probability = Annotated[float, Field(gt=0, lt=1)]


class Sampling(Spec):
    """Settings of the No-U-Turn sampler.

    - `chains`: independent chains; at least 2, so that they can be compared.
    - `warmup`: iterations in which step size and metric are adapted; not kept.
    - `draws`: iterations of each chain that are kept.
    - `target_acceptance`: acceptance rate that the step size is adapted to. `auto` starts at
      `TARGETS[0]` and draws again at the next one where the draws show that steps were too long;
      see `cohorts.inference.sample`.
    - `max_tree_depth`: a trajectory has at most 2 ** this steps.
    - `dense`: whether the metric holds the covariances of sites outside plates (a population's
      parameters); those inside plates (random effects) have variances alone.
    - `layout`: whether chains go side by side on one core (`together`) or each alone, on all cores
      (`apart`). `auto` is by the size of the model; see `cohorts.inference.layout`.
    """

    chains: Annotated[int, Field(ge=2, le=64)] = 4
    warmup: Annotated[int, Field(ge=20)] = 500
    draws: Annotated[int, Field(ge=4)] = 500
    target_acceptance: Literal["auto"] | Probability = "auto"
    max_tree_depth: Annotated[int, Field(ge=1, le=15)] = 10
    dense: bool = True
    layout: Literal["auto", "together", "apart"] = "auto"


TARGETS = (0.9, 0.95, 0.99)
"""Acceptance rates that `auto` goes through. Stan's default is 0.8; a longer step misses narrow
regions and far tails, which a small posterior can afford to look for."""
