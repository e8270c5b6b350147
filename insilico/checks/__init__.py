"""Is a model what it says it is, and is it solved as it should be: numbers against bounds.

`check` makes every check of one model; `insilico.testing.check_model` is the same in a test, and
`insilico models check` on the command line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from insilico.checks import equations, solves, stiffness
from insilico.checks.findings import NO_TYPICAL, NOT_OK, OK, SKIPPED, Finding, Report, told
from insilico.checks.situations import Situation
from insilico.model import Model
from insilico.solve import Dose, Infusion, Input

__all__ = ["ALL", "CHEAP", "NOT_OK", "OK", "SKIPPED", "Finding", "Report", "Situation", "check"]

_CHECKS: dict[str, Callable[[Situation], list[Finding]]] = {
    "structure": equations.structure,
    "parameters": equations.parameters,
    "units": equations.units,
    "balances": equations.balances,
    "jacobian": equations.jacobian,
    "stiffness": stiffness.stiffness,
    "solvers": solves.solvers,
    "gradient": solves.gradient,
    "lanes": solves.lanes,
    "compilation": solves.compilation,
}

ALL = tuple(_CHECKS)
"""The checks there are, in the order in which they are made."""

CHEAP = ("structure", "parameters", "units", "balances", "jacobian")
"""Those that solve nothing: a second a model."""

_SOLVING = tuple(name for name in ALL if name not in CHEAP)


def check(
    model: Model,
    *,
    typical: Any = None,
    only: Iterable[str] = ALL,
    cv: float = 0.3,
    until: float | None = None,
    actions: Sequence[Dose | Infusion | Input] | None = None,
    seed: int = 1,
    watch: Callable[[str], None] | None = None,
) -> Report:
    """Check `model` at parameters drawn around typical ones.

    **Arguments:**

    - `typical`: the model's `Parameters`, a number each; default: `model.typical`. Without either,
      what needs a solve is skipped.
    - `only`: names from `ALL`.
    - `cv`: coefficient of variation of the log-normal range around them.
    - `until`: how long patients are followed, in the model's time unit; default: five times the
      reciprocal of the slowest rate at the start.
    - `actions`: doses, infusions and inputs; default: 100 units into the first component of the
      state if that is an amount, otherwise nothing.
    - `seed`: of all that is drawn.
    - `watch`: told the name of each check as it begins.

    An error that a model's functions raise is a finding, not an exception. Raises `ValueError` for
    an unknown check, and a `cv` or an `until` that is not above 0.
    """
    wanted = tuple(only)
    for name in wanted:
        if name not in _CHECKS:
            raise ValueError(f"there is no check {name!r}; there are {', '.join(ALL)}")
    given = model.typical if typical is None else typical
    situation = Situation(
        model, given, cv, until, None if actions is None else tuple(actions), seed
    )
    found: list[Finding] = []
    refused = ""
    for name in (each for each in ALL if each in wanted):
        if watch is not None:
            watch(name)
        if refused:
            found.append(Finding.skipped(name, name, refused))
        elif name in _SOLVING and given is None:
            found.append(Finding.skipped(name, name, NO_TYPICAL))
        else:
            found += _made(name, situation)
        if name == "structure" and any(each.verdict == NOT_OK for each in found):
            refused = "the structure is not as declared"
    followed = any(each.check in _SOLVING and each.verdict != SKIPPED for each in found)
    return Report(model, situation.described(followed), tuple(found))


def _made(name: str, situation: Situation) -> list[Finding]:
    try:
        return _CHECKS[name](situation)
    except Exception as error:  # whatever a model's own functions raise
        return [Finding(name, name, NOT_OK, None, None, told(error))]
