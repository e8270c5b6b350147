"""The NumPyro functions of a population that a config describes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from cohorts import sites
from cohorts.hierarchy.effects import Effect
from cohorts.hierarchy.hyperparameters import Numbered
from cohorts.hierarchy.imported import JointEstimates
from cohorts.hierarchy.numbers import UncertainNumber
from cohorts.hierarchy.occasions import BetweenOccasion
from cohorts.hierarchy.variability import Block, Variability
from cohorts.population import Changing, Values
from insilico.config import Name
from insilico.model import Model
from insilico.vocabulary import Value


@dataclasses.dataclass(frozen=True)
class Parameter(Numbered):
    """One parameter of the structural model.

    `effects` are those of covariates and of mixtures, on the typical value.
    """

    name: str
    typical: UncertainNumber
    effects: tuple[Effect, ...]
    variability: Variability | None
    between_occasion: BetweenOccasion | None = None

    @property
    def numeric(self) -> tuple[str, ...]:
        # Those in `numbers` are the structure's, with all others'.
        return ("effects", "variability", "between_occasion")

    @property
    def numbers(self) -> dict[str, UncertainNumber]:
        """Its numbers by the names of their fields among the typical values."""
        result = {f"typical_{self.name}": self.typical}
        for effect in self.effects:
            result |= effect.numbers
        if self.variability is not None:
            result |= self.variability.numbers
        if self.between_occasion is not None:
            result |= self.between_occasion.numbers
        return result

    def typical_value(self, typical: Any, covariates: Values) -> Value:
        """The value of a subject without random effect."""
        value = getattr(typical, f"typical_{self.name}")
        for effect in self.effects:
            value = value * effect.factor(typical, covariates[effect.covariate])
        return value

    def moved(self, value: Value, before: Value, after: Value) -> Value:
        """A subject's value as covariates take the typical one from `before` to `after`."""
        if self.variability is not None:
            return self.variability.moved(value, before, after)
        if self.between_occasion is not None:
            return self.between_occasion.scale.moved(value, before, after)
        return after

    @property
    def words(self) -> str:
        factors = "".join(f" × {effect.words}" for effect in self.effects)
        parts = [of.words for of in (self.variability, self.between_occasion) if of is not None]
        varying = "; ".join(parts) or "the same for all"
        return f"{self.name}: {self.typical.words}{factors}; {varying}"


@dataclasses.dataclass(frozen=True)
class Mixture(Numbered):
    """Subpopulations that nobody observes. `numbers`: their shares, or a Dirichlet prior's
    concentrations."""

    label: str
    components: tuple[str, ...]
    numbers: tuple[float, ...]
    estimated: bool

    @property
    def numeric(self) -> tuple[str, ...]:
        return ("numbers",)

    @property
    def field(self) -> str:
        """Of the typical values: the shares, (components,)."""
        return f"shares_{self.label}"

    @property
    def name(self) -> Name:
        return Name("category", categories=self.components, description="subpopulation")

    def shares(self) -> Any:
        """NumPyro site of the shares."""
        import jax.numpy as jnp
        import numpyro

        numbers = jnp.asarray(self.numbers)
        if self.estimated:
            return numpyro.sample(self.field, numpyro.distributions.Dirichlet(numbers))
        return numpyro.deterministic(self.field, numbers / jnp.sum(numbers))

    @property
    def words(self) -> str:
        pairs = zip(self.components, self.numbers, strict=True)
        what = "Dirichlet prior" if self.estimated else "shares"
        return (
            f"Subjects belong to one of several subpopulations ({self.label}), {what} "
            f"{', '.join(f'{component}: {number:g}' for component, number in pairs)}."
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Structure(Numbered):
    """A population's parts, and the two NumPyro functions that they make.

    `parameters` are in the order of the model's; `numbers` all scalar typical values but
    correlations, by name. `estimates`: of a file, where numbers that are imported are uncertain.
    """

    model: Model
    parameters: Mapping[str, Parameter]
    blocks: tuple[Block, ...]
    mixtures: Mapping[str, Mixture]
    numbers: Mapping[str, UncertainNumber]
    TypicalValues: type[Any]
    estimates: JointEstimates | None = None

    @property
    def numeric(self) -> tuple[str, ...]:
        return ("numbers", "parameters", "blocks", "mixtures", "estimates")

    def typical_values(self, options: Any, hyperparameters: Mapping[str, Any]) -> Any:
        """NumPyro model of the population's parameters: a site for each field."""
        return self.given(hyperparameters)._typical_values()

    def _typical_values(self) -> Any:
        drawn = None if self.estimates is None else self.estimates.site()
        values: dict[str, Any] = {
            name: number.site(name, drawn) for name, number in self.numbers.items()
        }
        for block in self.blocks:
            values |= block.sites(drawn)
        for mixture in self.mixtures.values():
            values[mixture.field] = mixture.shares()
        return self.TypicalValues(**values)

    @property
    def between_occasion(self) -> tuple[str, ...]:
        """The parameters that vary between occasions."""
        every = self.parameters.items()
        return tuple(name for name, each in every if each.between_occasion is not None)

    def individual(
        self,
        typical: Any,
        covariates: Values,
        options: Any,
        hyperparameters: Mapping[str, Any],
        occasions: int = 1,
    ) -> Any:
        """NumPyro model of one subject's parameters, elementwise over subjects in a plate.

        Those that vary between occasions have a first axis of so many, those on which a covariate
        acts that changes one of stretches, see `cohorts.population.Changing`; sites are those at
        the subject's first record.
        """
        return self.given(hyperparameters)._individual(typical, covariates, occasions)

    def _individual(self, typical: Any, covariates: Values, occasions: int) -> Any:
        import numpyro

        belongs = {
            name: sites.category(name, getattr(typical, mixture.field))
            for name, mixture in self.mixtures.items()
        }
        changing = {name: of for name, of in covariates.items() if isinstance(of, Changing)}
        first = {**covariates, **{name: of.first for name, of in changing.items()}, **belongs}
        typicals = {
            name: parameter.typical_value(typical, first)
            for name, parameter in self.parameters.items()
        }
        x = self._varied(typical, typicals)
        values = dict(typicals)
        for name, parameter in self.parameters.items():
            variability, occasional = parameter.variability, parameter.between_occasion
            if variability is not None:
                location = variability.location(typicals[name])
                values[name] = variability.value(x[name], location, typical)
            # A normal parameter is its own site.
            if variability is not None and variability.site != name:
                values[name] = numpyro.deterministic(name, values[name])
            if occasional is not None:
                own = occasional.values(typical, typicals[name], x.get(name), occasions)
                values[name] = numpyro.deterministic(f"{name}_by_occasion", own)
        now = {**first, **{name: of.every for name, of in changing.items()}}
        for name, parameter in self.parameters.items():
            own = [changing[e.covariate] for e in parameter.effects if e.covariate in changing]
            if own:
                value = values[name]
                if parameter.between_occasion is not None:
                    value = sites.of_occasion(value, own[0].occasion)
                after = parameter.typical_value(typical, now)
                values[name] = parameter.moved(value, typicals[name], after)
        return self.model.Parameters(**values)

    def _varied(self, typical: Any, typicals: Mapping[str, Value]) -> dict[str, Value]:
        """x of the parameters that vary between subjects, with the sites of the random effects."""
        import numpyro

        correlated = {name: block for block in self.blocks for name in block.parameters}
        ordered = [*correlated, *(name for name in typicals if name not in correlated)]
        standardised: dict[str, Value] = {}
        result: dict[str, Value] = {}
        for name in ordered:
            variability = self.parameters[name].variability
            if variability is None:
                continue
            location, sd = variability.location(typicals[name]), variability.sd(typical)
            mean, share = 0.0, 1.0
            if name in correlated:
                block = correlated[name]
                row = block.parameters.index(name)
                before = [standardised[other] for other in block.parameters[:row]]
                mean, share = block.conditional(typical, row, before)
            x = sites.normal(variability.site, location + sd * mean, sd * share)
            eta = numpyro.deterministic(f"eta_{name}", x - location)
            standardised[name] = eta / sd
            result[name] = x
        return result
