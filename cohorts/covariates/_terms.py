"""The terms of the estimated regressions, read once into functions of one subject's values.

A term is a product of factors joined by `:`. A factor is `1`, a covariate (`age`, `log_weight`,
a flag), a covariate's power (`age^2`) or a level of a category (`ancestry=black`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from insilico.vocabulary import log, where

Values = Mapping[str, Any]
Factor = Callable[[Values], Any]

AGE_CENTRE, AGE_SCALE = 65.0, 10.0
"""Years; age enters regressions as (age - 65) / 10."""
WEIGHT_REFERENCE, LOG_WEIGHT_SCALE = 75.0, 0.25
"""kg; weight enters regressions as ln(weight / 75) / 0.25."""


class Linear:
    """A linear predictor with one or several outcomes, for one subject or elementwise for many.

    **Arguments:**

    - `coefficients`: by term, a number or one number an outcome.
    - `categories`: levels of each categorical covariate, in the order of their codes.
    """

    def __init__(
        self,
        coefficients: Mapping[str, float | Sequence[float]],
        categories: Mapping[str, Sequence[str]],
    ):
        self._terms = [
            (
                [_factor(text, categories) for text in term.split(":") if text != "1"],
                (value,) if isinstance(value, (int, float)) else tuple(value),
            )
            for term, value in coefficients.items()
        ]
        self._outcomes = len(self._terms[0][1])

    def __call__(self, values: Values) -> list[Any]:
        """The predictor of each outcome. Sums run in the order of the terms, so that a subject's
        bits do not depend on how many are computed together."""
        totals: list[Any] = [0.0] * self._outcomes
        for factors, coefficients in self._terms:
            column: Any = 1.0
            for factor in factors:
                column = column * factor(values)
            totals = [total + b * column for total, b in zip(totals, coefficients, strict=True)]
        return totals


def _factor(text: str, categories: Mapping[str, Sequence[str]]) -> Factor:
    base, _, exponent = text.partition("^")
    name, _, level = base.partition("=")
    if level:
        code = list(categories[name]).index(level)
        return lambda values: where(values[name] == code, 1.0, 0.0)
    power = int(exponent) if exponent else 1
    if name == "age":
        return lambda values: ((values["age"] - AGE_CENTRE) / AGE_SCALE) ** power
    if name == "log_weight":
        return lambda values: (log(values["weight"] / WEIGHT_REFERENCE) / LOG_WEIGHT_SCALE) ** power
    return lambda values: values[name] * 1.0
