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
    from insilico.solve.courses import Plan, Rule, Visit
    from insilico.solve.diffrax_reference import reference
    from insilico.solve.drivers import Choice, Launch, choose_driver
    from insilico.solve.walks import Walk, walk

__all__ = [
    "BLOCK",
    "DESCRIPTIONS",
    "LANES",
    "Choice",
    "Dose",
    "Events",
    "Infusion",
    "Input",
    "Kind",
    "Launch",
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
    "choose_driver",
    "over_devices",
    "reference",
    "schedule",
    "solve",
    "solve_block",
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
    "courses": ("Plan", "Rule", "Visit"),
    "diffrax_reference": ("reference",),
    "drivers": ("Choice", "Launch", "choose_driver"),
    "walks": ("Walk", "walk"),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    # What computes needs JAX, which a schedule should not wait for.
    for module, names in _COMPUTING.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
