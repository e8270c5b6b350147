"""The names that an expression may use, and what each stands for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

ALWAYS = "always"
"""`Name.available` of a name that has a value at every moment."""


@dataclass(frozen=True, slots=True)
class Name:
    """What a name in an expression stands for.

    A category's values are integer codes, the index of each in `categories`; a flag's are 0 and 1.
    """

    kind: Literal["number", "flag", "category"] = "number"
    unit: str = ""
    """The unit its numbers are in; empty for none."""
    categories: tuple[str, ...] = ()
    description: str = ""
    available: str = ALWAYS
    """When it has a value: `"always"`, or the moment it is known at (`"visit"`)."""


type Vocabulary = Mapping[str, Name]
"""The names there are, by the name an expression uses."""
