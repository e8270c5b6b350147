"""nlmixr2's estimates as JSON: the form of its qualification references, and what R writes.

See the README beside this for the lines of R that make such a file from a fit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from cohorts.data.mistakes import DataError, Mistake
from cohorts.estimates.estimates import Estimate, Estimates, Role, with_errors
from insilico.config import shown

ROLES: dict[str, Role] = {"theta": "fixed_effect", "omega": "variance"}


def read_nlmixr2(text: str, source: str) -> Estimates:
    """The estimates of such a file. Raises `DataError` with everything wrong in it."""
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            source, "line", [Mistake(error.lineno, "", f"is no JSON: {error.msg}")]
        ) from None
    reading = _Reading(source)
    estimates = reading.estimates(content)
    reading.raise_any()
    return estimates


class _Reading:
    def __init__(self, source: str):
        self._source = source
        self._mistakes: list[Mistake] = []

    def raise_any(self) -> None:
        if self._mistakes:
            raise DataError(self._source, "line", self._mistakes)

    def estimates(self, content: Any) -> Estimates:
        outer = content if isinstance(content, Mapping) else {}
        inner = outer.get("reference", outer)
        if not isinstance(inner, Mapping) or not isinstance(inner.get("params"), Mapping):
            self._wrong("params", "is missing: nothing tells the estimates")
            self.raise_any()
        found = {each.name: each for each in self._parameters(inner["params"])}
        if "omega" in inner:
            names, omega = self._matrix(inner["omega"], "omega")
            found |= self._of_omega(names, omega, found)
        covariance, names = None, ()
        if inner.get("cov") is not None:
            names, covariance = self._matrix(inner["cov"], "cov")
            for name in names:
                if name not in found:
                    self._wrong("cov", f"has {shown(name)}, which `params` and `omega` lack")
            self.raise_any()
            estimated = [place for place, name in enumerate(names) if not found[name].fixed]
            names = tuple(names[place] for place in estimated)
            covariance = covariance[np.ix_(estimated, estimated)]
            found = with_errors(found.values(), names, covariance)
        return Estimates(
            self._source,
            _method(outer),
            found,
            None if _first(inner.get("converged")) is not False else "nlmixr2 did not converge",
            self._source if covariance is not None else None,
            tuple(names),
            covariance,
        )

    def _parameters(self, params: Mapping[str, Any]) -> list[Estimate]:
        names = [str(name) for name in _list(params.get("name"))]
        if not names:
            self._wrong("params.name", "names nothing")
        columns: dict[str, list[Any]] = {}
        for column, default in (
            ("ptype", "theta"),
            ("estimate", None),
            ("se", None),
            ("fixed", False),
        ):
            given = _list(params.get(column, [default] * len(names)))
            if len(given) != len(names):
                self._wrong(f"params.{column}", f"has {len(given)} values, not {len(names)}")
                given = [default] * len(names)
            columns[column] = given
        result = []
        for place, name in enumerate(names):
            kind, value, error, fixed = (column[place] for column in columns.values())
            if kind not in ROLES:
                self._wrong("params.ptype", f"of {name} is {shown(kind)}, not theta or omega")
                kind = "theta"
            if (number := _number(value)) is None:
                self._wrong("params.estimate", f"of {name} is no number: {shown(value)}")
                number = 1.0
            spread = _number(error)
            fixed = fixed is True
            known = None if fixed or spread is None or spread <= 0.0 else spread
            result.append(Estimate(name, number, known, fixed, ROLES[kind]))
        return result

    def _of_omega(
        self, names: tuple[str, ...], omega: np.ndarray, given: Mapping[str, Estimate]
    ) -> dict[str, Estimate]:
        """The variances and covariances of the random effects that `params` does not have."""
        result: dict[str, Estimate] = {}
        for row, name in enumerate(names):
            if name not in given:
                result[name] = Estimate(name, float(omega[row, row]), None, False, "variance")
            for column in range(row):
                value, pair = float(omega[row, column]), (names[column], name)
                label = f"({','.join(pair)})"
                result[label] = Estimate(
                    label, value, None, value == 0.0, "covariance", frozenset(pair)
                )
        return result

    def _matrix(self, given: Any, where: str) -> tuple[tuple[str, ...], np.ndarray]:
        given = given if isinstance(given, Mapping) else {}
        names = tuple(str(name) for name in _list(given.get("name")))
        rows = [[_number(cell) for cell in _list(row)] for row in _list(given.get("value"))]
        cells = [cell for row in rows for cell in row]
        square = len(rows) == len(names) and all(len(row) == len(names) for row in rows)
        if not names or not square or None in cells:
            self._wrong(where, "must have `name`, and as `value` a row of numbers for each")
            return (), np.zeros((0, 0))
        matrix = np.array(rows, float)
        if not np.allclose(matrix, matrix.T, rtol=1e-6, atol=1e-12 * np.abs(matrix).max()):
            self._wrong(where, "is not symmetric")
        return names, 0.5 * (matrix + matrix.T)

    def _wrong(self, where: str, message: str) -> None:
        self._mistakes.append(Mistake(0, where, message))


def _list(given: Any) -> list[Any]:
    """R writes a vector of one as the value itself where it is told to."""
    if given is None:
        return []
    return given if isinstance(given, list) else [given]


def _first(given: Any) -> Any:
    return next(iter(_list(given)), None)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _method(content: Mapping[str, Any]) -> str:
    method = content.get("method")
    name = _first(method.get("est") if isinstance(method, Mapping) else method)
    return "nlmixr2" if name is None else f"nlmixr2, {name}"
