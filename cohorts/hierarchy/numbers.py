"""Numbers of a population as a config writes them: known, estimated, or with a prior.

The same words serve a fit and a publication: `2.8 L/h` is known, `{kind: log_normal, median: 2.8
L/h, sd: 1}` is a prior, `{kind: estimate, value: 2.8 L/h, relative_standard_error: 7 %}` was
published. Units are checked once it is known what the number is for.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from cohorts import sites
from cohorts._faults import Fault
from cohorts.hierarchy.hyperparameters import Numbered
from cohorts.hierarchy.imported import EstimatesSpec, Imported, Scale
from cohorts.hierarchy.imports import Imports
from insilico.config import Spec, SpecError, quantity, shown
from insilico.vocabulary import log

if TYPE_CHECKING:
    from jaxtyping import Array, Float

type Stated = float | str
"""A quantity whose unit is that of something else: of a parameter, an output, a covariate."""

Positive = Annotated[float, quantity("1", gt=0)]


class Distribution(Spec):
    """Base of the distributions. `stated` are the fields that are in the number's own unit, those
    of them in `positive` above 0."""

    stated: ClassVar[tuple[str, ...]] = ()
    positive: ClassVar[tuple[str, ...]] = ()
    kind: str


class NormalPriorSpec(Distribution):
    """Normal."""

    stated = ("mean", "sd")
    positive = ("sd",)
    kind: Literal["normal"]
    mean: Stated
    sd: Stated


class LogNormalPriorSpec(Distribution):
    """A number whose logarithm is normal about that of the median."""

    stated = ("median",)
    positive = ("median",)
    kind: Literal["log_normal"]
    median: Stated
    sd: Positive = Field(description="standard deviation of the logarithm")


class HalfNormalPriorSpec(Distribution):
    """The size of a normal number about 0."""

    stated = ("scale",)
    positive = ("scale",)
    kind: Literal["half_normal"]
    scale: Stated = Field(description="standard deviation of the normal number")


class HalfCauchyPriorSpec(Distribution):
    """The size of a Cauchy number about 0."""

    stated = ("scale",)
    positive = ("scale",)
    kind: Literal["half_cauchy"]
    scale: Stated = Field(description="the median")


class ExponentialPriorSpec(Distribution):
    """Exponential."""

    stated = ("mean",)
    positive = ("mean",)
    kind: Literal["exponential"]
    mean: Stated


class UniformPriorSpec(Distribution):
    """Anything between two bounds, equally likely."""

    stated = ("low", "high")
    kind: Literal["uniform"]
    low: Stated
    high: Stated


class BetaPriorSpec(Distribution):
    """A share between 0 and 1."""

    kind: Literal["beta"]
    a: Positive
    b: Positive


class EstimateSpec(Distribution):
    """A published estimate with its standard error.

    It is log-normal about the value where the number has to be above 0, else normal.
    """

    stated = ("value",)
    kind: Literal["estimate"]
    value: Stated
    relative_standard_error: Positive = Field(description="standard error over the value's size")


class ImportedSpec(Distribution):
    """An estimate from the file that `estimates` names, with its uncertainty."""

    kind: Literal["imported"]
    name: str = Field(description="of the parameter in the file: THETA1, OMEGA(1,1), tcl")
    scale: Scale = Field(
        default="natural",
        description="what it is of the number: itself, its logarithm or logit, its square (a "
        "variance), or its change from 1",
    )
    unit: str | None = Field(
        default=None, description="of the number in the file; of a variance, that of its root"
    )


type NumberSpec = (
    float
    | str
    | Annotated[
        NormalPriorSpec
        | LogNormalPriorSpec
        | HalfNormalPriorSpec
        | HalfCauchyPriorSpec
        | ExponentialPriorSpec
        | UniformPriorSpec
        | BetaPriorSpec
        | EstimateSpec
        | ImportedSpec,
        Field(discriminator="kind"),
    ]
)


@dataclasses.dataclass(frozen=True)
class UncertainNumber(Numbered):
    """A number of a population in a unit of its own: known, or a distribution.

    - `kind`: `known`, or that of a distribution; of an estimate, that which it is taken for;
      `imported` of one that is drawn together with others of its file.
    - `arguments`: by the names of the distribution's spec, in `unit` where they have one. They are
      numbers, the `kind` is structure.
    - `error`: relative standard error of an estimate.
    - `imported`: the estimate in a file that it comes from, known or not; `source`: where it
      stands, in words.
    """

    kind: str
    arguments: Mapping[str, float]
    unit: str
    error: float | None = None
    imported: Imported | None = None
    source: str = "the config"

    @property
    def numeric(self) -> tuple[str, ...]:
        # Of an imported number they are what it is shown by; it follows from its file's estimates.
        return () if self.kind == "imported" else ("arguments",)

    def site(self, name: str, estimates: Mapping[str, Any] | None = None) -> Float[Array, ""]:
        """NumPyro site of the number: deterministic if it is known.

        `estimates`: by name, those of the file that numbers are imported from.
        """
        if self.kind == "known":
            return sites.known(name, self.arguments["value"])
        if self.kind == "imported":
            assert self.imported is not None and estimates is not None
            return sites.known(name, self.imported.number(estimates[self.imported.name]))
        importlib.import_module("insilico.devices")  # float64 before anything is drawn
        import jax.numpy as jnp
        import numpyro

        return jnp.asarray(numpyro.sample(name, self._distribution(numpyro.distributions)))

    def _distribution(self, distributions: Any) -> Any:
        given = self.arguments
        match self.kind:
            case "normal":
                return distributions.Normal(given["mean"], given["sd"])
            case "log_normal":
                return distributions.LogNormal(log(given["median"]), given["sd"])
            case "half_normal":
                return distributions.HalfNormal(given["scale"])
            case "half_cauchy":
                return distributions.HalfCauchy(given["scale"])
            case "exponential":
                return distributions.Exponential(1.0 / given["mean"])
            case "uniform":
                return distributions.Uniform(given["low"], given["high"])
            case "beta":
                return distributions.Beta(given["a"], given["b"])
        raise AssertionError(self.kind)

    @property
    def range(self) -> tuple[float, float]:
        """The bounds between which the number lies; those of a distribution are not attained."""
        given = self.arguments
        match self.kind:
            case "known":
                return given["value"], given["value"]
            case "normal" | "imported":
                return -math.inf, math.inf
            case "uniform":
                return given["low"], given["high"]
            case "beta":
                return 0.0, 1.0
        return 0.0, math.inf

    @property
    def stays_above_zero(self) -> bool:
        low, _ = self.range
        return low > 0.0 or (low == 0.0 and self.kind != "known")

    @property
    def centre(self) -> float:
        """What is known or was estimated; not of a prior."""
        given = self.arguments
        return next(given[name] for name in ("value", "median", "mean") if name in given)

    @property
    def words(self) -> str:
        """`2.8 L/h`, `log-normal (median 2.8 L/h, sd 1)`."""
        if self.kind in ("known", "imported") or self.error is not None:
            asides = [] if self.imported is None else [self.source]
            if self.error is not None:
                asides.append(f"relative standard error {self.error:.3g}")
            return self._with_unit(self.centre) + (f" ({', '.join(asides)})" if asides else "")
        own = _SPECS[self.kind].stated
        parts = [
            f"{name} {self._with_unit(value) if name in own else format(value, '.4g')}"
            for name, value in self.arguments.items()
        ]
        return f"{self.kind.replace('_', '-')} ({', '.join(parts)})"

    def _with_unit(self, value: float) -> str:
        return f"{value:.4g}" if self.unit in ("", "1") else f"{value:.4g} {self.unit}"


_SPECS: dict[str, type[Distribution]] = {
    "normal": NormalPriorSpec,
    "log_normal": LogNormalPriorSpec,
    "half_normal": HalfNormalPriorSpec,
    "half_cauchy": HalfCauchyPriorSpec,
    "exponential": ExponentialPriorSpec,
    "uniform": UniformPriorSpec,
    "beta": BetaPriorSpec,
}

STAND_IN = UncertainNumber("known", {"value": 1.0}, "1")
"""For a number that could not be read, so that the rest can be looked at."""


class Reader:
    """Reads numbers into their units, and notes what is wrong with them.

    `estimates` names the file that numbers are imported from, relative to `folder`.
    """

    def __init__(self, estimates: EstimatesSpec | None = None, folder: Path = Path()) -> None:
        self.faults: list[Fault] = []
        self.imports = Imports(estimates, folder, self.faults)

    def add(
        self,
        path: tuple[str | int, ...],
        message: str,
        found: str | None = None,
        allowed: str | None = None,
        hint: str | None = None,
    ) -> None:
        """Note a fault."""
        self.faults.append(Fault(path, message, found, allowed, hint))

    def quantity(
        self, value: Stated, unit: str, path: tuple[str | int, ...], *, gt: float | None = None
    ) -> float | None:
        """A stated quantity in `unit`; None, and a fault, where it is none or not above `gt`."""
        try:
            return quantity(unit, gt=gt).validate(value)
        except SpecError as error:
            found = error.found or shown(value)
            self.add((*path, *error.at), error.message, found, error.allowed, error.hint)
            return None

    def number(
        self,
        spec: NumberSpec,
        unit: str,
        path: tuple[str | int, ...],
        *,
        positive: bool = False,
    ) -> UncertainNumber:
        """A number in `unit`, which has to stay above 0 if `positive`."""
        if isinstance(spec, int | float | str):
            value = self.quantity(spec, unit, path, gt=0.0 if positive else None)
            return STAND_IN if value is None else UncertainNumber("known", {"value": value}, unit)
        if isinstance(spec, ImportedSpec):
            return self._imported(spec, unit, path, positive)
        found = {
            name: self.quantity(
                getattr(spec, name), unit, (*path, name), gt=0.0 if name in spec.positive else None
            )
            for name in spec.stated
        }
        own = {name: value for name, value in found.items() if value is not None}
        if len(own) < len(found):
            return STAND_IN
        if isinstance(spec, EstimateSpec):
            return self._estimate(spec, own["value"], unit, path, positive)
        fields = [name for name in type(spec).model_fields if name != "kind"]
        arguments = {name: own[name] if name in own else getattr(spec, name) for name in fields}
        result = UncertainNumber(spec.kind, arguments, unit)
        if spec.kind == "uniform" and own["low"] >= own["high"]:
            self.add((*path, "high"), "must be more than low", result.words)
        elif spec.kind == "beta" and unit not in ("", "1"):
            self.add((*path, "kind"), f"is for shares, but this is in {unit}", '"beta"')
        elif positive and not result.stays_above_zero:
            self.add(
                path,
                "must stay above 0, which this distribution does not",
                result.words,
                "a known number, log_normal, half_normal, half_cauchy, exponential, estimate, "
                "or uniform with low at least 0",
            )
        return result

    def _imported(
        self, spec: ImportedSpec, unit: str, path: tuple[str | int, ...], positive: bool
    ) -> UncertainNumber:
        factor: float | None = 1.0
        stated = unit not in ("", "1")
        if spec.scale in ("logit", "change") and stated:
            self.add(
                (*path, "scale"),
                f"is for numbers without dimension, but this is in {unit}",
                shown(spec.scale),
            )
        elif spec.unit is not None:
            factor = self.quantity(f"1 {spec.unit}", unit, (*path, "unit"))
        elif stated:
            self.add(
                path,
                "the unit of the number in the file is missing",
                None,
                None,
                f"write for example `unit: {unit}`",
            )
            factor = None
        found = self.imports.number(spec.name, spec.scale, factor or 1.0, path, positive=positive)
        if found is None or factor is None:
            return STAND_IN
        kind = "imported" if found.uncertain else "known"
        value = float(found.imported.number(found.value))
        return UncertainNumber(
            kind, {"value": value}, unit, found.error, found.imported, found.source
        )

    def _estimate(
        self,
        spec: EstimateSpec,
        value: float,
        unit: str,
        path: tuple[str | int, ...],
        positive: bool,
    ) -> UncertainNumber:
        error = spec.relative_standard_error
        if positive and value <= 0.0:
            self.add((*path, "value"), "must be more than 0", shown(spec.value))
            return STAND_IN
        if positive:
            sd = math.sqrt(math.log1p(error**2))
            return UncertainNumber("log_normal", {"median": value, "sd": sd}, unit, error)
        if value == 0.0:
            self.add(
                (*path, "value"),
                "has no relative standard error where it is 0",
                shown(spec.value),
                None,
                "write {kind: normal, mean: 0, sd: ...}",
            )
            return STAND_IN
        return UncertainNumber("normal", {"mean": value, "sd": error * abs(value)}, unit, error)
