"""Quantities carry a unit in the config and are plain numbers behind it."""

import math
import re
from typing import Annotated

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter

from insilico.config import (
    Spec,
    SpecError,
    conversion_factor,
    dimensions,
    json_schema,
    quantity,
    to_unit,
)


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("28 d", "h", 672.0),
        ("1 wk", "d", 7.0),
        ("12 weeks", "wk", 12.0),
        ("1 mo", "d", 30.4375),  # a twelfth of a Julian year
        ("1 yr", "d", 365.25),
        ("90 min", "h", 1.5),
        ("5 mg", "mg", 5.0),
        ("0.1 g", "mg", 100.0),
        ("500 mcg", "mg", 0.5),
        ("500 µg", "mg", 0.5),
        ("-2.5e-1 kg", "g", -250.0),
        ("3 mg/L", "ug/mL", 3.0),
        ("2 mg/kg/d", "mg/kg/h", 2 / 24),
        ("25 kg/m2", "kg/m^2", 25.0),
        ("25 kg/m²", "kg/m**2", 25.0),
        ("0.1 1/h", "1/d", 2.4),
        ("2 h^-1", "1/h", 2.0),
        ("0.2 1/d^0.5", "1/h^0.5", 0.2 / math.sqrt(24.0)),
        ("37 degC", "K", 310.15),
        ("120 mmHg", "kPa", 15.9986865),  # the millimetre of mercury is 133.322387 Pa
        ("5000 IU", "IU", 5000.0),
        ("5e6 cells", "cells", 5e6),
        ("5 %", "1", 0.05),
        (" 5mg ", "mg", 5.0),
    ],
)
def test_a_quantity_becomes_a_number_in_the_unit_wanted(text: str, unit: str, value: float) -> None:
    # Conversions are exact rationals rounded once; only the reference for mmHg is rounded.
    assert to_unit(text, unit) == pytest.approx(value, rel=1e-7 if "Hg" in text else 1e-15)


@settings(max_examples=100, deadline=None)
@given(value=st.decimals(-(10**6), 10**6, places=4))
def test_conversion_is_correctly_rounded(value) -> None:
    assert to_unit(f"{value} d", "h") == float(value * 24)
    assert to_unit(f"{value} mg", "kg") == float(value / 10**6)


@pytest.mark.parametrize(
    ("text", "unit", "message"),
    [
        ("28", "h", "the unit is missing; write for example 28 h"),
        ("5 mg", "h", "must be a time (in h), but mg is a unit of mass"),
        ("5 mg/L", "mg", "must be a mass (in mg), but mg/L is a unit of concentration"),
        ("5 h", "1", "must be a number without dimension, but h is a unit of time"),
        ("5 mgg", "g", 'there is no unit "mgg"; units of mass; did you mean "mg"?'),
        ("5 dyas", "h", 'there is no unit "dyas"; units of time; did you mean "days"?'),
        ("five mg", "mg", "must be a mass; write for example 1 mg"),
        ("18:30", "h", "must be a time; write 18.5 h for 18:30"),
        ("18:30", "mg", "must be a mass; write for example 1 mg"),
        ("", "mg", "must be a mass"),
        ("mg 5", "mg", "must be a mass"),
        ("5 mg; import os", "mg", "must be a mass"),
        ("1e999 mg", "g", "is too large a number"),
        ("20", "%", "the unit is missing; write for example 20 %"),
        ("5 h", "%", "must be a number without dimension, but h is a unit of time"),
        ("5 m**9**9", "m", "must be a length"),
        ("5 (mg)", "mg", "must be a mass"),
        ("1" * 500 + " mg", "mg", "must be a mass"),
        (
            "5 mg^9",
            "mg",
            "must be a mass (in mg), but mg^9 is a unit of quantity of dimension mass^9",
        ),
    ],
)
def test_a_wrong_quantity_says_what_is_wrong(text: str, unit: str, message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        to_unit(text, unit)


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=30) | st.from_regex(r"\A\d{1,3} ?[A-Za-z%*/^.0-9-]{1,12}\Z"))
def test_no_text_raises_anything_but_a_spec_error(text: str) -> None:
    try:
        assert math.isfinite(to_unit(text, "mg"))
    except SpecError as error:
        assert error.message


class Dose(Spec):
    amount: Annotated[float, quantity("mg", gt=0, le=100)]
    every: Annotated[float, quantity("h")] | None = None
    share: Annotated[float, quantity("1", ge=0, le=1)] = 1.0
    window: Annotated[float, quantity("d"), Field(ge=1)] = 1.0
    rise: Annotated[float, quantity("%")] = 0.0


def test_a_percentage_says_that_it_is_one(read, messages) -> None:
    """0.2 and 20 could both be meant as 20 %."""
    assert read("{amount: 5 mg, rise: -20 %}\n").parse(Dose).rise == -20.0
    for number in ("0.2", "20"):
        (found,) = messages(f"{{amount: 5 mg, rise: {number}}}\n", Dose)
        assert f"the unit is missing; found {number}; write for example {number} %" in found


def test_a_field_takes_its_quantity(read) -> None:
    dose = read("{amount: 5 mg, every: 1 d, share: 50 %, window: 1 wk}\n").parse(Dose)
    assert dose == Dose.model_construct(amount=5.0, every=24.0, share=0.5, window=7.0)
    assert read("{amount: 5 mg, every: null, share: 0.5}\n").parse(Dose).every is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("amount: 5", "x.yaml:1:9: amount: the unit is missing; found 5; write for example 5 mg"),
        ("amount: 0 mg", 'x.yaml:1:9: amount: must be more than 0 mg; found "0 mg"'),
        ("amount: 1 g", 'x.yaml:1:9: amount: must be at most 100 mg; found "1 g"'),
        ("amount: [5]", "x.yaml:1:1: amount: must be a mass such as 1 mg; found a list of 1"),
        ("amount: true", "x.yaml:1:9: amount: must be a mass such as 1 mg; found true"),
        ("{amount: 1 mg, share: 2}", "x.yaml:1:23: share: must be at most 1; found 2"),
        ('{amount: 1 mg, share: "1"}', "x.yaml:1:23: share: must be a number; found "),
        ("{amount: 1 mg, window: 3 h}", 'x.yaml:1:24: window: must be 1 or more d; found "3 h"'),
    ],
)
def test_a_wrong_field_is_told_in_its_unit(messages, text: str, message: str) -> None:
    (found,) = messages(text + "\n", Dose)
    assert found.startswith(message)


def test_a_dumped_quantity_is_read_back() -> None:
    dose = Dose.model_validate({"amount": "0.1 mg", "every": "1 wk"})
    assert dose.model_dump()["every"] == 168.0
    assert Dose.model_validate_json(dose.model_dump_json()) == dose


def test_editors_get_text_with_a_pattern() -> None:
    schema = json_schema(Dose)["properties"]
    assert schema["amount"]["type"] == "string"
    assert re.search(schema["amount"]["pattern"], "5 mg")
    assert not re.search(schema["amount"]["pattern"], "mg")
    assert schema["amount"]["description"] == "A mass, more than 0 mg, at most 100 mg"
    assert {"type": "number"} in schema["share"]["anyOf"]
    assert schema["rise"]["type"] == "string"


def test_factors_and_dimensions() -> None:
    assert conversion_factor("d", "h") == 24.0
    assert conversion_factor("%", "1") == 0.01
    assert dimensions("L/h") == {"[length]": 3, "[time]": -1}
    assert dimensions("") == dimensions("1") == {}
    with pytest.raises(ValueError, match="d .a time. cannot be turned into mg"):
        conversion_factor("d", "mg")
    with pytest.raises(ValueError, match="different zeros"):
        conversion_factor("degC", "K")
    with pytest.raises(ValueError, match="there is no unit"):
        dimensions("foo")


def test_an_unknown_unit_in_a_spec_is_the_programmers_mistake() -> None:
    with pytest.raises(ValueError, match="there is no unit"):
        TypeAdapter(Annotated[float, quantity("mgg")]).validate_python("5 mg")
