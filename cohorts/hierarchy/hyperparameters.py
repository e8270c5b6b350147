"""The numbers of a population that a config describes, told apart from its structure.

A program is compiled for a structure, and its numbers are arguments: another median of a prior is
no other program. Numbers are a tree of floats in the form of the parts that have them; a part is
given others, which may be traced, by `Numbered.given`.

Structure is what decides which operations there are: whether a number is known and what it is
distributed as; the kind of variability, of an effect, of residual error; which covariate acts
where, categories, who is correlated with whom and whether that is known; of imported estimates what
they are of a number and what they stay above, which makes other transformations, and the factor of
their file's unit, which nobody chooses. No number decides it by its value: a bound, a share or a
shape of 0 are of the same program as any other.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np


class Numbered(abc.ABC):
    """A part of a population, a frozen dataclass, that has numbers or is made of parts that do."""

    @property
    @abc.abstractmethod
    def numeric(self) -> tuple[str, ...]:
        """The fields that are numbers or parts, alone or in mappings and sequences. All others are
        structure."""

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The numbers, a tree of floats, by field."""
        return {name: _numbers(getattr(self, name)) for name in self.numeric}

    def given(self, hyperparameters: Mapping[str, Any]) -> Self:
        """The same part with these numbers in the place of its own, in a tree of the same form."""
        part: Any = self
        return dataclasses.replace(
            part,
            **{name: _filled(getattr(self, name), hyperparameters[name]) for name in self.numeric},
        )


def _numbers(value: Any) -> Any:
    match value:
        case None:
            return None
        case Numbered():
            return value.hyperparameters
        case Mapping():
            return {name: _numbers(each) for name, each in value.items()}
        case Sequence() | np.ndarray():
            return tuple(_numbers(each) for each in value)
    return float(value)


def _filled(value: Any, numbers: Any) -> Any:
    match value:
        case None:
            return None
        case Numbered():
            return value.given(numbers)
        case Mapping():
            return {name: _filled(each, numbers[name]) for name, each in value.items()}
        case Sequence() | np.ndarray():
            return tuple(_filled(each, own) for each, own in zip(value, numbers, strict=True))
    return numbers
