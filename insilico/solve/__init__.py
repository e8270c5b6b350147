"""Solvers on lanes, events, blocks over devices, and the diffrax reference."""

import importlib
from typing import TYPE_CHECKING, Any

from insilico.solve.events import Dose, Events, Infusion, Input, Kind, Pattern, schedule
from insilico.solve.status import DESCRIPTIONS, Status
from insilico.solve.tolerances import Tolerances, TolerancesAsNumbers

if TYPE_CHECKING:
    from insilico.solve.batch import (
        BLOCK,
        LANES,
        Pending,
        Solution,
        over_devices,
        solve,
        solve_block,
        submit,
    )
    from insilico.solve.diffrax_reference import reference
    from insilico.solve.diffrax_stochastic import stochastic_reference
    from insilico.solve.walks import Plan, Rule, Visit, Walk, walk

__all__ = [
    "BLOCK",
    "DESCRIPTIONS",
    "LANES",
    "Dose",
    "Events",
    "Infusion",
    "Input",
    "Kind",
    "Pattern",
    "Pending",
    "Plan",
    "Rule",
    "Solution",
    "Status",
    "Tolerances",
    "TolerancesAsNumbers",
    "Visit",
    "Walk",
    "over_devices",
    "reference",
    "schedule",
    "solve",
    "solve_block",
    "stochastic_reference",
    "submit",
    "walk",
]

_COMPUTING = {
    "batch": (
        "BLOCK",
        "LANES",
        "Pending",
        "Solution",
        "over_devices",
        "solve",
        "solve_block",
        "submit",
    ),
    "diffrax_reference": ("reference",),
    "diffrax_stochastic": ("stochastic_reference",),
    "walks": ("Plan", "Rule", "Visit", "Walk", "walk"),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    # What computes needs JAX, which a schedule should not wait for.
    for module, names in _COMPUTING.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
