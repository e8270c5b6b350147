"""How covariates move a parameter's typical value: each effect is a factor on it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from cohorts._faults import unknown
from cohorts.hierarchy.hyperparameters import Numbered
from cohorts.hierarchy.numbers import NumberSpec, Reader, Stated, UncertainNumber
from insilico.config import Name, Spec
from insilico.config.problems import listed, shown
from insilico.vocabulary import Value, choose, exp, log, maximum

SMALLEST = 1e-300
"""Of what a logarithm is taken of: an impossible covariate gives an impossible value, no NaN."""

FLAG = ("no", "yes")


class PowerEffectSpec(Spec):
    """(covariate / centre) ^ coefficient."""

    kind: Literal["power"]
    centre: Stated = Field(description="the covariate of the typical subject")
    coefficient: NumberSpec


class ExponentialEffectSpec(Spec):
    """exp(coefficient · (covariate - centre))."""

    kind: Literal["exponential"]
    centre: Stated = Field(description="the covariate of the typical subject")
    coefficient: NumberSpec = Field(description="in 1 / the covariate's unit")


class LinearEffectSpec(Spec):
    """1 + coefficient · (covariate - centre)."""

    kind: Literal["linear"]
    centre: Stated = Field(description="the covariate of the typical subject")
    coefficient: NumberSpec = Field(description="in 1 / the covariate's unit")


class CategoricalEffectSpec(Spec):
    """A factor for each category but the reference; a flag's categories are no and yes."""

    kind: Literal["categorical"]
    reference: str = Field(description="the category of the typical subject")
    factors: dict[str, NumberSpec] = Field(description="of every other category")


type EffectSpec = Annotated[
    PowerEffectSpec | ExponentialEffectSpec | LinearEffectSpec | CategoricalEffectSpec,
    Field(discriminator="kind"),
]


@dataclasses.dataclass(frozen=True)
class Effect(Numbered):
    """The effect of one covariate on one parameter.

    - `centre`: in the covariate's unit, a number; all else is structure. `categories`: those of a
      categorical effect.
    - `numbers`: coefficients by the names of their fields among the typical values.
    """

    kind: str
    covariate: str
    numbers: Mapping[str, UncertainNumber]
    centre: float = 0.0
    unit: str = ""
    categories: tuple[str, ...] = ()
    reference: str = ""

    @property
    def numeric(self) -> tuple[str, ...]:
        return () if self.kind == "categorical" else ("centre",)

    def factor(self, typical: Any, value: Value) -> Value:
        """The factor on the typical value where the covariate is `value`."""
        coefficients = [getattr(typical, name) for name in self.numbers]
        if self.kind == "categorical":
            others = iter(coefficients)
            return choose(
                value,
                *(1.0 if each == self.reference else next(others) for each in self.categories),
            )
        (coefficient,) = coefficients
        if self.kind == "power":
            return exp(coefficient * log(maximum(value / self.centre, SMALLEST)))
        distance = coefficient * (value - self.centre)
        return exp(distance) if self.kind == "exponential" else 1.0 + distance

    @property
    def others(self) -> tuple[str, ...]:
        """The categories that have a coefficient: all but the reference."""
        return tuple(each for each in self.categories if each != self.reference)

    @property
    def words(self) -> str:
        if self.kind == "categorical":
            factors = (number.words for number in self.numbers.values())
            pairs = ", ".join(f"{c}: {f}" for c, f in zip(self.others, factors, strict=True))
            return f"a factor by {self.covariate} (against {self.reference}: {pairs})"
        (coefficient,) = (number.words for number in self.numbers.values())
        centre = f"{self.centre:g} {self.unit}".strip()
        match self.kind:
            case "power":
                return f"({self.covariate} / {centre}) ^ {coefficient}"
            case "exponential":
                return f"exp(({self.covariate} - {centre}) · {coefficient})"
        return f"(1 + ({self.covariate} - {centre}) · {coefficient})"


def read_effect(
    spec: EffectSpec,
    covariate: str,
    parameter: str,
    vocabulary: Mapping[str, Name],
    path: tuple[str | int, ...],
    reader: Reader,
) -> Effect | None:
    """The effect that a config describes; None, and faults, where it cannot be."""
    name = vocabulary.get(covariate)
    if name is None:
        reader.faults.append(unknown(path, "covariate", covariate, vocabulary))
        return None
    field = f"{covariate}_on_{parameter}"
    if isinstance(spec, CategoricalEffectSpec):
        return _categorical(spec, covariate, name, parameter, path, reader)
    if name.kind != "number":
        reader.add(
            (*path, "kind"),
            f"is for numbers, but {covariate} is a {name.kind}",
            shown(spec.kind),
            '"categorical"',
        )
        return None
    unit = name.unit or "1"
    centre = reader.quantity(
        spec.centre, unit, (*path, "centre"), gt=0.0 if spec.kind == "power" else None
    )
    per = "1" if spec.kind == "power" else inverse(unit)
    coefficient = reader.number(spec.coefficient, per, (*path, "coefficient"))
    stand_in = 1.0 if centre is None else centre  # after a fault; a centre may well be 0
    return Effect(spec.kind, covariate, {field: coefficient}, stand_in, name.unit)


def _categorical(
    spec: CategoricalEffectSpec,
    covariate: str,
    name: Name,
    parameter: str,
    path: tuple[str | int, ...],
    reader: Reader,
) -> Effect | None:
    categories = FLAG if name.kind == "flag" else name.categories
    if name.kind == "number":
        reader.add(
            (*path, "kind"),
            f"is for categories, but {covariate} is a number",
            '"categorical"',
            '"power", "exponential", "linear"',
        )
        return None
    if spec.reference not in categories:
        place = (*path, "reference")
        reader.faults.append(unknown(place, f"category of {covariate}", spec.reference, categories))
        return None
    others = [each for each in categories if each != spec.reference]
    strange = [each for each in spec.factors if each not in others]
    for each in strange:
        place = (*path, "factors", each)
        reader.faults.append(unknown(place, f"category of {covariate}", each, others))
    missing = [each for each in others if each not in spec.factors]
    if missing and not strange:
        reader.add(
            (*path, "factors"),
            f"lacks the factor of these categories of {covariate}",
            listed(missing, quoted=True),
        )
    if missing:
        return None
    slugs = {each: re.sub(r"\W+", "_", each).strip("_") for each in others}
    unique = len(set(slugs.values())) == len(others) and all(slugs.values())
    numbers = {
        f"{covariate}_{slugs[each] if unique else categories.index(each)}_on_{parameter}": (
            reader.number(spec.factors[each], "1", (*path, "factors", each), positive=True)
        )
        for each in others
    }
    return Effect("categorical", covariate, numbers, 0.0, "", categories, spec.reference)


def inverse(unit: str) -> str:
    """1 / `unit`, as units are written: `1/kg`, `1/mg*dL`."""
    if unit in ("", "1"):
        return "1"
    if unit.startswith("1/"):
        return unit[2:]
    return "1/" + unit.translate(str.maketrans("*·/", "//*"))
