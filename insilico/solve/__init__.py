"""Solvers on lanes, events, blocks over devices, and the diffrax reference."""

from insilico import devices as _devices  # noqa: F401  (float64 before anything is traced)
from insilico.solve.adaptive import Tolerances, TolerancesAsNumbers
from insilico.solve.batch import BLOCK, LANES, Solution, over_devices, solve, solve_block
from insilico.solve.events import Dose, Events, Infusion, Input, Kind, Pattern, schedule
from insilico.solve.reference import reference
from insilico.solve.status import DESCRIPTIONS, Status
from insilico.solve.walk import Plan, Rule, Visit, Walk, walk

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
    "walk",
]
