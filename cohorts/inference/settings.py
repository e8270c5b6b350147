"""How a posterior is sampled, or approximated: the settings that a config or a caller may state."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from insilico.config import Spec

Probability = Annotated[float, Field(gt=0, lt=1)]

Method = Literal["nuts", "focei", "laplace", "svi"]
"""How a posterior is found: sampled by `nuts`, or approximated by one of the others."""

LABELS: dict[Method, str] = {
    "nuts": "NUTS",
    "focei": "FOCEI",
    "laplace": "Laplace",
    "svi": "Variational inference",
}


class Sampling(Spec):
    """Settings of the No-U-Turn sampler.

    - `chains`: independent chains; at least 2, so that they can be compared.
    - `warmup`: iterations in which step size and metric are adapted; not kept.
    - `draws`: iterations of each chain that are kept.
    - `target_acceptance`: acceptance rate that the step size is adapted to. `auto` starts at
      `TARGETS[0]` and draws again at the next one where the draws show that steps were too long,
      as soon as they do; see `cohorts.inference.sample`.
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


TARGETS = (0.9, 0.95, 0.99, 0.999)
"""Acceptance rates that `auto` goes through. Stan's default is 0.8; a longer step misses narrow
regions and far tails, which a small posterior can afford to look for."""


PROPOSALS, MOST_PROPOSALS, LEAST_PROPOSALS = 4_000, 100, 20
"""Importance samples of all subjects together, and at most and at least of each. Draws share them,
so that few do: of 136 subjects, 25 in place of 100 each move the logarithms of weights, whose
standard deviation is 1.7, by 0.35."""


class Approximation(Spec):
    """Settings of the approximations; `USED` says which method looks at which."""

    draws: Annotated[int, Field(ge=100)] = Field(
        default=1000, description="Draws of the population and its subjects"
    )
    priors: bool = Field(
        default=True, description="Whether priors count; `no` is maximum likelihood. Not for svi"
    )
    covariance: Literal["hessian", "sandwich", "scores"] = Field(
        default="hessian",
        description="From second derivatives (NONMEM's R), from those and the scores (NONMEM's "
        "default), or from the scores (S); the last two need `priors: no`. Not for svi",
    )
    importance_samples: Annotated[int, Field(ge=0)] | None = Field(
        default=None,
        description=f"Of each subject's effects, by which draws are checked; left out: "
        f"{MOST_PROPOSALS}, and fewer of many subjects, so that all together have "
        f"{PROPOSALS:,}, but at least {LEAST_PROPOSALS}; 0: draws are checked against the "
        "expansion itself. Not for svi",
    )
    iterations: Annotated[int, Field(ge=1)] = Field(
        default=200, description="Of the search for the maximum, at most. Not for svi"
    )
    tolerance: Annotated[float, Field(gt=0)] = Field(
        default=1e-6, description="Gain of log density at which the search ends. Not for svi"
    )
    steps: Annotated[int, Field(ge=100)] = Field(
        default=20_000, description="Steps of the variational search, at most. For svi"
    )
    particles: Annotated[int, Field(ge=1)] = Field(
        default=8, description="Draws by which each of its steps is estimated. For svi"
    )
    rate: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.03, description="Length of its first steps, in standard deviations. For svi"
    )
    guide: Literal["auto", "multivariate_normal", "low_rank", "diagonal"] = Field(
        default="auto",
        description="Normal distribution with all covariances, with some, or with none. For svi",
    )

    def proposals(self, subjects: int) -> int:
        """Importance samples of each of so many subjects."""
        if self.importance_samples is not None:
            return self.importance_samples
        return max(LEAST_PROPOSALS, min(MOST_PROPOSALS, PROPOSALS // max(1, subjects)))


_OF_EXPANSIONS = (
    "draws",
    "priors",
    "covariance",
    "importance_samples",
    "iterations",
    "tolerance",
)
USED: dict[Method, tuple[str, ...]] = {
    "nuts": (),
    "focei": _OF_EXPANSIONS,
    "laplace": _OF_EXPANSIONS,
    "svi": ("draws", "steps", "particles", "rate", "guide"),
}
"""The fields of `Approximation` that a method looks at."""

BINS = 16
"""Of ranks, in the test of uniformity; the number of draws kept, and one, is a multiple of it."""

LEAST_DATASETS = 5 * BINS
"""Fewer than 5 expected in a bin are too few for the test's distribution to be chi-squared."""


class SimulationBasedCalibration(Spec):
    """Settings of simulation-based calibration: `insilico sbc` looks whether a fit finds what made
    its data, over data sets simulated from its own priors."""

    datasets: Annotated[int, Field(ge=LEAST_DATASETS)] = Field(
        default=100, description="Simulated data sets, each of which is fitted"
    )
    subjects: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="The first so many subjects of the data alone; all if left out"
    )
    warmup: Annotated[int, Field(ge=20)] = Field(
        default=150, description="Iterations of adaptation, from the parameters that made the data"
    )
    draws: Annotated[int, Field(ge=BINS - 1)] = Field(
        default=5 * BINS - 1,
        description=f"Draws of each posterior that a parameter is ranked among: one less than a "
        f"multiple of {BINS}",
    )
    thin: Annotated[int, Field(ge=1)] = Field(
        default=5,
        description="Every how manyth draw is kept; where those kept are correlated, ranks of a "
        "fit that is right are not uniform either",
    )
    max_tree_depth: Annotated[int, Field(ge=1, le=15)] = Field(
        default=6,
        description="A trajectory has at most 2 ** this steps. Data sets wait for the longest of "
        "their group",
    )

    @field_validator("draws")
    @classmethod
    def _in_bins(cls, draws: int) -> int:
        if (draws + 1) % BINS:
            near = BINS * max(1, round((draws + 1) / BINS)) - 1
            raise ValueError(f"must be one less than a multiple of {BINS}, such as {near}")
        return draws
