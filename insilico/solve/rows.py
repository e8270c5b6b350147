"""A schedule of either kind as rows: one that was made of rows, or records that become rows."""

from __future__ import annotations

from typing import Any

from insilico.model import Model
from insilico.solve import loops, methods
from insilico.solve.courses import Rule
from insilico.solve.events import Events, Pattern
from insilico.solve.guards import Derivative
from insilico.solve.records import Layout, RecordTable, expand
from insilico.solve.tolerances import TolerancesAsNumbers
from insilico.solve.walks import Advance, Prior

Schedule = Events | RecordTable
"""Rows of a schedule, or records of an event table that are yet to become rows."""

Shape = Pattern | Layout
"""The part of it that a compiled program is made for."""

ORDERS: dict[Derivative | None, int] = {None: 0, "reverse": 1, "second": 2, "forward": 3}
"""Orders of derivatives that a steady state has. Forwards the third is the highest that is taken:
that of second derivatives about individual modes."""


def as_rows(
    model: Model,
    parameters: Any,
    events: Schedule,
    pattern: Shape,
    tolerances: TolerancesAsNumbers,
    advance: Advance,
    derivative: Derivative | None,
    method: str,
) -> tuple[Events, Pattern, Prior | None]:
    """The rows of a chunk's schedule, into which records are expanded.

    Raises `ValueError` for a steady-state record where there is noise.
    """
    if isinstance(events, Events):
        assert isinstance(pattern, Pattern)
        return events, pattern, None
    assert isinstance(pattern, Layout)
    if pattern.steady and method in methods.STOCHASTIC:
        raise ValueError(
            f"model {model.name} has noise, with which it comes to no steady state: give the doses "
            "before the record themselves (ADDL) in place of SS"
        )
    differentiable = None if derivative is None else advance
    if derivative in ("reverse", "second"):
        differentiable = loops.backwards(method)
    return expand(
        model,
        parameters,
        events,
        pattern,
        tolerances,
        advance=advance,
        settle=loops.settling(advance, method),
        differentiable=differentiable,
        orders=ORDERS[derivative],
        direct=method in methods.CLOSED_FORM,
    )


def refuse_rule(pattern: Shape, rule: Rule | None) -> None:
    """Raise `ValueError` for a rule beside an event table."""
    if isinstance(pattern, Layout) and rule is not None:
        raise ValueError(
            "a rule decides at the visits of a schedule; with an event table there are none: "
            "leave out the rule, or give events from insilico.solve.schedule"
        )
