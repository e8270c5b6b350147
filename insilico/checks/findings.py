"""What checks found: numbers against their bounds."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from insilico.model import Model

OK, NOT_OK, SKIPPED = "ok", "not ok", "skipped"

NO_TYPICAL = "no typical values: state Model.typical, or give parameters"
"""Why what needs a solve is skipped though it was asked for."""


_FOR_ONE_PATIENT = (
    (
        ("truth value of an array", "boolean conversion of traced"),
        "where(condition, a, b) stands for an if, minimum and maximum for min and max",
    ),
    (
        ("converted to Python scalars", "numpy.ndarray conversion", "Abstract tracer value"),
        "functions of insilico.vocabulary stand for those of numpy and math",
    ),
)
"""What Python, NumPy and JAX say where equations are those of one number, and how to mend it."""


def told(error: Exception) -> str:
    """An error of a model's own functions in one line, with what to do where that is known."""
    # A KeyError shows itself as Python would write its text.
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    first = (text.strip().splitlines() or [""])[0]
    said = f"{type(error).__name__}: {first}"
    for marks, hint in _FOR_ONE_PATIENT:
        if any(mark in first for mark in marks):
            return f"{said}; equations are of many patients at once: {hint}"
    return said


class Finding(NamedTuple):
    """One line of a report.

    - `check`: the check that it is of, a name of `insilico.checks.ALL`; `what`: was looked at.
    - `verdict`: `OK`, `NOT_OK` or `SKIPPED`.
    - `measured`, `bound`: the number and the largest one allowed, in the units that `detail` names
      where it has one; None: there is none, or nothing is demanded of it.
    - `detail`: what the number is, or why there is none.
    """

    check: str
    what: str
    verdict: str
    measured: float | None
    bound: float | None
    detail: str

    @classmethod
    def within(cls, check: str, what: str, measured: float, bound: float, detail: str) -> Finding:
        """`OK` if the number is at most `bound`; not if it is NaN."""
        verdict = OK if measured <= bound else NOT_OK
        return cls(check, what, verdict, float(measured), bound, detail)

    @classmethod
    def skipped(cls, check: str, what: str, reason: str) -> Finding:
        return cls(check, what, SKIPPED, None, None, reason)

    def line(self) -> str:
        """The finding in one line of text."""
        numbers = "" if self.measured is None else f" {self.measured:.3g}"
        numbers += "" if self.bound is None else f" (at most {self.bound:.3g})"
        return f"{self.what}: {self.verdict}{numbers}: {self.detail}"


class Report(NamedTuple):
    """All findings about `model`; `situation` says what it was checked at, as plain data."""

    model: Model
    situation: dict[str, Any]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is `NOT_OK`."""
        return not self.failing

    @property
    def failing(self) -> tuple[Finding, ...]:
        return tuple(each for each in self.findings if each.verdict == NOT_OK)

    @property
    def undone(self) -> tuple[Finding, ...]:
        """What could not be looked at for want of parameters, and so is neither ok nor not."""
        return tuple(each for each in self.findings if each.detail == NO_TYPICAL)

    def as_data(self) -> dict[str, Any]:
        """The report as what JSON knows; numbers that are not finite become None."""
        return {
            "model": self.model.name,
            "method": self.model.method,
            "ok": self.ok,
            "situation": self.situation,
            "findings": [
                {name: _finite(value) for name, value in finding._asdict().items()}
                for finding in self.findings
            ],
        }


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
