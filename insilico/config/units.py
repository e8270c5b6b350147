"""Quantities with units (`5 mg`, `12 wk`), turned into plain numbers at the edge of the program.

Conversions are exact: they are made in rational numbers and rounded once, so `28 d` is 672 h to the
last bit.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

from insilico.config.problems import SpecError, did_you_mean, nearest, shown

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?"
_UNIT = r"(?:[A-Za-zµμΩ°]+|%)(?:(?:\^|\*\*)-?\d\.5|(?:\^|\*\*)?-?[1-9]|[²³])?"
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})")
_QUANTITY = re.compile(rf"({_NUMBER})\s*((?:1\s*/\s*)?{_UNIT}(?:\s*[*/·]\s*{_UNIT})*)?")
_LONGEST = 80
_LONGEST_NUMBER = 40

# What trials write and pint does not know.
_DEFINITIONS = (
    "international_unit = [international_unit] = IU",
    "cell = [cell] = _ = cells",
    "@alias week = wk = wks",
    "@alias month = mo = mos",
    "@alias year = yrs",
    "@alias hour = hrs",
)

# What a misspelt unit is compared with.
_COMMON = re.split(
    r"\s+",
    "s min minutes h hr hours d days wk weeks mo months yr years mg g kg ug mcg ng pg L mL dL uL "
    "cm mm m mol mmol umol nmol pmol IU mmHg kPa degC K % 1/h 1/d mg/L mg/h mL/min L/h kg/m^2 "
    "m^2 cells",
)

# Dimensions (powers of pint's base dimensions) -> what a trial designer calls them.
_KINDS: dict[tuple[tuple[str, int | Fraction], ...], str] = {
    (): "a number without dimension",
    (("[time]", 1),): "a time",
    (("[time]", -1),): "a rate (1/time)",
    (("[mass]", 1),): "a mass",
    (("[length]", 1),): "a length",
    (("[length]", 2),): "an area",
    (("[length]", 3),): "a volume",
    (("[length]", -3),): "a number per volume",
    (("[length]", -3), ("[mass]", 1)): "a concentration (mass/volume)",
    (("[length]", -3), ("[substance]", 1)): "a concentration (amount/volume)",
    (("[substance]", 1),): "an amount of substance",
    (("[mass]", 1), ("[time]", -1)): "a mass per time",
    (("[length]", 3), ("[time]", -1)): "a flow (volume/time)",
    (("[length]", -2), ("[mass]", 1)): "a mass per area",
    (("[length]", -1), ("[mass]", 1), ("[time]", -2)): "a pressure",
    (("[temperature]", 1),): "a temperature",
    (("[international_unit]", 1),): "an activity (IU)",
    (("[international_unit]", 1), ("[length]", -3)): "an activity per volume",
    (("[substance]", 1), ("[time]", -1)): "a catalytic activity (amount/time)",
}


@dataclass(frozen=True, slots=True)
class Quantity:
    """Annotation of a float field that a config gives with a unit; see `quantity`."""

    unit: str
    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None

    def validate(self, value: Any) -> float:
        """The value as a number in `unit`.

        Raises `SpecError`: it is no quantity, has another dimension, or is out of bounds.
        """
        if type(value) in (int, float):
            if _is_stated(self.unit):
                hint = f"write for example {_example(value, self.unit)}"
                raise SpecError("the unit is missing", hint=hint)
            number = float(value)
        elif isinstance(value, str):
            number = to_unit(value, self.unit)
        else:
            raise SpecError(f"must be {self.described()}")
        for bound, holds, word in self._bounds():
            if not holds(number, bound):
                raise SpecError(f"must be {word} {_example(bound, self.unit)}")
        return number

    def guess(self, value: Any) -> str | None:
        """What a wrong value may have meant: its number, in the unit that it lacks or misspells."""
        match = re.match(r"\s*([-+]?\d+(?:\.\d+)?)(?![\d.eE])\s*(.*)", str(value))
        if match is None:
            return None
        alike = [unit for unit in _COMMON if dimensions(unit) == dimensions(self.unit)]
        return f"{match[1]} {nearest(match[2], alike) or self.unit}"

    def described(self) -> str:
        """What may stand there, in words: `a time such as 1 h`."""
        if not _is_stated(self.unit):
            return "a number"
        return f"{kind_of(self.unit)} such as {_example(1, self.unit)}"

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.validate,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value: f"{value!r} {self.unit}" if _is_stated(self.unit) else value,
                when_used="json",
            ),
        )

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        bounds = "".join(
            f", {word} {_example(bound, self.unit)}" for bound, _, word in self._bounds()
        )
        text = {
            "type": "string",
            "pattern": f"^{_QUANTITY.pattern}$",
            "description": f"{kind_of(self.unit)[:1].upper()}{kind_of(self.unit)[1:]}{bounds}",
            "examples": [_example(1, self.unit)],
        }
        if _is_stated(self.unit):
            return text
        return {"anyOf": [{"type": "number"}, text]}

    def _bounds(self):
        """Each bound that is set, with its test and its words."""
        for bound, holds, word in (
            (self.gt, float.__gt__, "more than"),
            (self.ge, float.__ge__, "at least"),
            (self.lt, float.__lt__, "less than"),
            (self.le, float.__le__, "at most"),
        ):
            if bound is not None:
                yield float(bound), holds, word


def quantity(
    unit: str,
    *,
    gt: float | None = None,
    ge: float | None = None,
    lt: float | None = None,
    le: float | None = None,
) -> Quantity:
    """Annotation of a field that a config gives with a unit: `Annotated[float, quantity("h")]`.

    The field's value is a float in `unit`. A bare number is an error, unless the unit is that of
    plain numbers, `"1"`; in percent, 0.2 could be meant as 20 %.

    **Arguments:**

    - `unit`: of the result; `""` or `"1"` for none.
    - `gt`: the value must be more than this, in `unit`; likewise `ge` at least, `lt` less than,
      `le` at most.
    """
    return Quantity(unit, gt, ge, lt, le)


def to_unit(text: str, unit: str) -> float:
    """A quantity such as `28 d` as a number in `unit`, correctly rounded.

    Raises `SpecError`: the text is no quantity, its unit is unknown, or is of another dimension.
    """
    match = _QUANTITY.fullmatch(text.strip()) if len(text) <= _LONGEST else None
    if match is None or len(match[1]) > _LONGEST_NUMBER:
        wanted = kind_of(unit) if _is_stated(unit) else "a number"
        clock = _CLOCK.fullmatch(text.strip())
        if clock is not None and wanted == "a time":
            hours = int(clock[1]) + int(clock[2]) / 60
            raise SpecError(f"must be {wanted}", hint=f"write {hours:.4g} h for {clock[0]}")
        raise SpecError(f"must be {wanted}", hint=f"write for example {_example(1, unit)}")
    number, found = match[1], match[2]
    if found is None and _is_stated(unit):
        hint = f"write for example {_example(number, unit)}"
        raise SpecError("the unit is missing", hint=hint)
    if found is None:
        raise SpecError("must be a number", hint=f"remove the quotes: {number}")
    try:
        same = dimensions(found) == dimensions(unit)
    except ValueError:
        hint = did_you_mean(found, _COMMON)
        message = f"there is no unit {shown(found)}"
        raise SpecError(message, allowed=f"units of {kind_of(unit)[2:]}", hint=hint) from None
    if not same:
        message = f"must be {kind_of(unit)} (in {unit}), but {found} is a unit of "
        if not dimensions(unit):
            message = f"must be a number without dimension, but {found} is a unit of "
        raise SpecError(message + kind_of(found).partition(" ")[2])
    try:
        result = float(
            _registry().Quantity(Fraction(number), _spelled(found)).to(_spelled(unit)).magnitude
        )
    except (OverflowError, ArithmeticError):
        raise SpecError("is too large a number") from None
    return result


def conversion_factor(source: str, target: str) -> float:
    """What a number in the unit `source` is multiplied by to be in `target`.

    Raises `ValueError`: a unit is unknown, they differ in dimension, or have different zeros (degC,
    K).
    """
    if dimensions(source) != dimensions(target):
        raise ValueError(
            f"{source} ({kind_of(source)}) cannot be turned into {target} ({kind_of(target)})"
        )
    registry = _registry()
    zero = registry.Quantity(Fraction(0), _spelled(source)).to(_spelled(target)).magnitude
    if zero != 0:
        raise ValueError(f"{source} and {target} have different zeros")
    return float(registry.Quantity(Fraction(1), _spelled(source)).to(_spelled(target)).magnitude)


@cache
def dimensions(unit: str) -> Mapping[str, int | Fraction]:
    """Powers of the base dimensions of a unit: `{"[length]": 3, "[time]": -1}` for `L/h`.

    Halves are powers, too: noise is in `1/h^0.5`.

    Raises `ValueError`: there is no such unit.
    """
    if unit in ("", "1", "%"):
        return {}
    if len(unit) > _LONGEST or not _QUANTITY.fullmatch(f"1 {unit}"):
        raise ValueError(f"there is no unit {shown(unit)}")
    import pint

    registry = _registry()
    try:
        found = registry.get_dimensionality(registry.parse_units(_spelled(unit)))
    except (
        pint.PintError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        ArithmeticError,
    ) as error:
        raise ValueError(f"there is no unit {shown(unit)}") from error
    return {name: power for name, power in found.items() if power}


def kind_of(unit: str) -> str:
    """What a unit measures, in words: `a time`, `a concentration (mass/volume)`."""
    if unit == "%":
        return "a percentage"
    powers = dimensions(unit)
    known = tuple(sorted(powers.items()))
    if known in _KINDS:
        return _KINDS[known]
    words = [name.strip("[]") + (f"^{power}" if power != 1 else "") for name, power in known]
    return f"a quantity of dimension {'·'.join(words)}"


@cache
def _registry() -> Any:
    # pint takes half a second to set up, which a config without quantities should not wait for.
    import pint

    exact: Any = Fraction  # which pint takes, though its annotation says float
    registry = pint.UnitRegistry(non_int_type=exact)
    for definition in _DEFINITIONS:
        registry.define(definition)
    return registry


def _spelled(unit: str) -> str:
    """A unit in pint's spelling: `m2` and `m²` are `m**2`."""
    if unit in ("", "1"):
        return "dimensionless"
    unit = unit.replace("²", "2").replace("³", "3").replace("·", "*").replace("^", "**")
    return re.sub(r"(?<=[A-Za-zµμΩ°])(-?\d)", r"**\1", unit).replace("****", "**")


def _is_stated(unit: str) -> bool:
    """Whether a quantity in that unit is written with a unit, unlike a plain number."""
    return unit not in ("", "1")


def _example(number: float | str, unit: str) -> str:
    written = number if isinstance(number, str) else f"{number:g}"
    return f"{written} {unit}" if _is_stated(unit) else written
