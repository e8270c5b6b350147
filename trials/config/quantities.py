"""Kinds of numbers and names that the sections of a trial's config have in common."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema

from insilico.config import SpecError, quantity

Days = Annotated[float, quantity("d")]
PositiveDays = Annotated[float, quantity("d", gt=0)]
Duration = Annotated[float, quantity("d", gt=0, le=3653)]
"""Ten years: rules and random tables are laid out by the day."""
HoursOfDay = Annotated[float, quantity("h", ge=0, lt=24)]
HoursAfterDose = Annotated[float, quantity("h", ge=0)]
DosePerDay = Annotated[float, quantity("mg", gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Percent = Annotated[float, quantity("%")]
Day = Annotated[int, Field(ge=1)]
Factor = Annotated[float, Field(gt=0)]


def _plain_name(name: str) -> str:
    """A name that expressions, results and files can hold. Raises `SpecError` for any other."""
    if re.fullmatch(PLAIN_NAME, name):
        return name
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    plain = re.sub(r"[^a-z0-9]+", "_", letters).strip("_")
    raise SpecError(
        "must begin with a small letter and hold only small letters (a-z), digits and _",
        hint=f"write {plain}" if re.fullmatch(PLAIN_NAME, plain) else None,
    )


PLAIN_NAME = "^[a-z][a-z0-9_]*$"
Name = Annotated[
    str, AfterValidator(_plain_name), WithJsonSchema({"type": "string", "pattern": PLAIN_NAME})
]
