"""Solvers on lanes, events, blocks over devices, and the diffrax reference."""

from typing import TYPE_CHECKING

import lazy_loader

from insilico.solve.events import Dose, Events, Infusion, Input, Kind, Pattern, schedule
from insilico.solve.records import Covariate, Layout, Records, RecordsError, read_records
from insilico.solve.status import DESCRIPTIONS, Status
from insilico.solve.tolerances import Precision, Tolerances, TolerancesAsNumbers

if TYPE_CHECKING:
    from insilico.solve.batch import Pending, Solution, solve, submit
    from insilico.solve.blocks import BLOCK, LANES, over_devices, solve_block
    from insilico.solve.choosing import MethodChoice, choose_method
    from insilico.solve.courses import Plan, Rule, Visit
    from insilico.solve.derivatives import hessian_vector_product, solve_traced
    from insilico.solve.diffrax_reference import reference
    from insilico.solve.diffrax_stochastic import stochastic_reference
    from insilico.solve.drivers import Choice, Driver, Launch, choose_driver
    from insilico.solve.guards import Derivative, DerivativeError
    from insilico.solve.objectives import (
        Gradients,
        objective_traced,
        value_and_gradient,
    )
    from insilico.solve.walks import Walk, walk

__all__ = [
    "BLOCK",
    "DESCRIPTIONS",
    "LANES",
    "Choice",
    "Covariate",
    "Derivative",
    "DerivativeError",
    "Dose",
    "Driver",
    "Events",
    "Gradients",
    "Infusion",
    "Input",
    "Kind",
    "Launch",
    "Layout",
    "MethodChoice",
    "Pattern",
    "Pending",
    "Plan",
    "Precision",
    "Records",
    "RecordsError",
    "Rule",
    "Solution",
    "Status",
    "Tolerances",
    "TolerancesAsNumbers",
    "Visit",
    "Walk",
    "choose_driver",
    "choose_method",
    "hessian_vector_product",
    "objective_traced",
    "over_devices",
    "read_records",
    "reference",
    "schedule",
    "solve",
    "solve_block",
    "solve_traced",
    "stochastic_reference",
    "submit",
    "value_and_gradient",
    "walk",
]

# What computes needs JAX, which a schedule should not wait for.
__getattr__, *_ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "batch": ["Pending", "Solution", "solve", "submit"],
        "blocks": ["BLOCK", "LANES", "over_devices", "solve_block"],
        "choosing": ["MethodChoice", "choose_method"],
        "courses": ["Plan", "Rule", "Visit"],
        "derivatives": ["hessian_vector_product", "solve_traced"],
        "diffrax_reference": ["reference"],
        "diffrax_stochastic": ["stochastic_reference"],
        "drivers": ["Choice", "Driver", "Launch", "choose_driver"],
        "guards": ["Derivative", "DerivativeError"],
        "objectives": ["Gradients", "objective_traced", "value_and_gradient"],
        "walks": ["Walk", "walk"],
    },
)
