"""What a published population is: typical values, variability and residual error in NumPyro.

A population says how patients differ in the parameters of one structural model. It is written once,
for one subject, and serves both sides: `Cohort` draws subjects from it, and a fit asks for
its density (`cohorts.inference.Joint`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from cohorts._faults import Fault
from cohorts.residual import Residual
from insilico.arrays import library_of
from insilico.config import Name, Spec, Vocabulary
from insilico.config.problems import listed

if TYPE_CHECKING:
    from cohorts.hierarchy.effects import Effect

type Values = Mapping[str, Any]
"""Covariates by name: of one subject, or arrays of many."""


class Changing(NamedTuple):
    """A covariate that changes within subjects, in the place of its values (subjects,).

    - `first`: (subjects,), at each one's first record: random effects are about what it predicts.
    - `every`: (stretches, subjects), in each stretch of a subject's records without a change of a
      covariate or an occasion. Those that a subject does not have are as its first.
    - `occasion`: (stretches, subjects), the number of the occasion that each belongs to.
    """

    first: Any
    every: Any
    occasion: Any


class Number(NamedTuple):
    """A published number: what it is, where it stands, and how sure that is.

    `verified`: seen in the publication itself; `transcribed`: several independent transcriptions of
    it agree; `unverified`: one transcription, or transcriptions that differ.
    """

    name: str
    value: float
    unit: str
    meaning: str
    source: str
    status: Literal["verified", "transcribed", "unverified"]
    relative_standard_error: float | None = None
    """Of the published estimate; none for what was fixed or where none was found."""


class Measure(NamedTuple):
    """The unit of a scalar of a population, and the bounds that it lies between."""

    unit: str
    low: float = -math.inf
    high: float = math.inf


@dataclasses.dataclass(frozen=True, eq=False)
class Population:
    """One published population of one structural model.

    - `model`: name of the structural model in `insilico.models`.
    - `covariates`: those the parameters depend on; a source of covariates must have them.
    - `Options`: the choices a config may make, each with its default and its reason.
    - `typical_values(options, hyperparameters)`: NumPyro model of the population's parameters;
      returns a NamedTuple of scalars. Sites are deterministic unless the options ask for the
      published uncertainty.
    - `individual(typical, covariates, options, hyperparameters)`: NumPyro model of the parameters
      of one subject, elementwise, so that it also runs in a plate over subjects; returns the
      model's `Parameters`.
    - `hyperparameters`: every number that the two functions take, a tree of floats: of priors, of
      what is known, centres of covariate effects. They are handed in, so that they may be
      arguments of compiled programs: populations that differ in them alone make one program.
      Which sites there are, and what they are distributed as, must not depend on them.
    - `between_occasion`: the parameters that vary between occasions of one subject, if any do.
      `individual` takes how many occasions there are as a fifth argument then, and gives these
      parameters a first axis of so many; `cohorts.sites.between_occasions` draws what they need.
    - `changing`: whether `individual` takes covariates that change (`Changing`): parameters that
      depend on one have a first axis of stretches then.
    - `residual`: residual error of each measured output.
    - `effects`: what covariates do to typical values, by parameter, where they are such effects.
    - `numbers`: every published number used, with its place and status.
    - `measures`: what the typical values are measured in, by name, in the order in which they are
      to be shown: those that are learned as well as those that are known. May lack some.
    - `assumptions`, `validated`, `limits`: the evidence, one line each.
    """

    name: str
    title: str
    citation: str
    model: str
    covariates: Mapping[str, Name]
    Options: type[Spec]
    typical_values: Callable[[Any, Any], Any]
    individual: Callable[..., Any]
    residual: Mapping[str, Residual]
    numbers: tuple[Number, ...]
    hyperparameters: Mapping[str, Any]
    between_occasion: tuple[str, ...] = ()
    changing: bool = False
    measures: Mapping[str, Measure] = dataclasses.field(default_factory=dict)
    effects: Mapping[str, tuple[Effect, ...]] = dataclasses.field(default_factory=dict)
    assumptions: tuple[str, ...] = ()
    validated: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()

    @property
    def hyperparameter_arrays(self) -> Any:
        """`hyperparameters` as compiled programs take them: scalars of JAX's."""
        import_module("insilico.devices")  # float64 before anything is computed
        import jax
        import jax.numpy as jnp

        return jax.tree.map(lambda number: jnp.asarray(number, float), self.hyperparameters)

    def parameters(
        self,
        typical: Any,
        covariates: Values,
        options: Any,
        hyperparameters: Mapping[str, Any],
        occasions: int = 1,
    ) -> Any:
        """NumPyro model of the parameters of one subject, as `individual`.

        Those that vary between occasions have a first axis of so many, others have none.
        """
        if not self.between_occasion:
            return self.individual(typical, covariates, options, hyperparameters)
        return self.individual(typical, covariates, options, hyperparameters, occasions)

    def hierarchical(
        self, covariates: Values, options: Any, subjects: int | None = None, occasions: int = 1
    ) -> Any:
        """NumPyro model of the population and its subjects.

        `covariates` are arrays (subjects,); `subjects` is for a population that depends on none.
        The result is the model's `Parameters` of such arrays; those that vary between occasions are
        (occasions, subjects). The sites of a subject's random effects lie in the plate `subject`.
        """
        import numpyro

        numbers = self.hyperparameters
        typical = self.typical_values(options, numbers)
        size = next(iter(covariates.values())).shape[0] if subjects is None else subjects
        with numpyro.plate("subject", size):
            return self.parameters(typical, covariates, options, numbers, occasions)

    def recoded(self, covariates: Values, vocabulary: Vocabulary) -> dict[str, Any]:
        """The covariates that the parameters depend on, categories in this population's codes.

        `vocabulary` says what the codes of `covariates` stand for.
        """
        needed: dict[str, Any] = {}
        for name, wanted in self.covariates.items():
            value = covariates[name]
            if wanted.kind == "category":
                codes = [wanted.categories.index(c) for c in vocabulary[name].categories]
                value = library_of(value).asarray(codes)[value]
            needed[name] = value
        return needed

    def unfit_covariates(
        self, vocabulary: Vocabulary, source: str, hint: str | None = None
    ) -> list[Fault]:
        """What is wrong with a source of covariates: those that it lacks, or has otherwise.

        `hint` says how to mend one that it lacks.
        """
        faults: list[Fault] = []
        for name, wanted in self.covariates.items():
            found = vocabulary.get(name)
            if found is None:
                faults.append(
                    Fault(
                        (),
                        f"{self.name} needs the covariate {name}, which {source} lacks",
                        hint=hint,
                    )
                )
            elif (found.kind, found.unit) != (wanted.kind, wanted.unit):
                faults.append(
                    Fault(
                        (),
                        f"{self.name} needs {name} as a {wanted.kind} in {wanted.unit or 1!r}",
                        f"a {found.kind} in {found.unit or 1!r}",
                    )
                )
            elif strange := [c for c in found.categories if c not in wanted.categories]:
                faults.append(
                    Fault(
                        (),
                        f"{self.name} does not know these categories of {name}",
                        listed(strange, quoted=True),
                        listed(wanted.categories, quoted=True),
                    )
                )
        return faults

    def card(self, options: Any) -> dict[str, Any]:
        """What a report says about the population: citation, choices, numbers, evidence."""
        return {
            "name": self.name,
            "title": self.title,
            "citation": self.citation,
            "model": self.model,
            "options": options.model_dump(),
            "numbers": [number._asdict() for number in self.numbers],
            "unverified": [n.name for n in self.numbers if n.status != "verified"],
            "assumptions": self.assumptions,
            "validated": self.validated,
            "limits": self.limits,
        }
