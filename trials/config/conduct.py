"""Who is enrolled when and where, into which arms, and how long they are followed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from insilico.config import Expression, Spec, quantity
from trials.config.quantities import Duration, Factor, Name, PositiveDays

StartOfOccasion = Annotated[float, quantity("d", ge=0)]


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
        default=[4],
        description="One block size, or several drawn at random: multiples of the ratio's sum",
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
    occasions: Annotated[list[StartOfOccasion], Field(min_length=1)] | None = Field(
        default=None,
        description="Times after the first dose at which an occasion of each subject begins, as in "
        "[0 d, 14 d]: what the population varies between occasions is drawn anew. The first begins "
        "with the trial. In a crossover every period is one",
    )
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
