"""How a trial's patients are solved, checked: method, step and precision against the model."""

from __future__ import annotations

import json

from insilico.model import Model
from insilico.solve import Tolerances
from insilico.solve.methods import (
    ADAPTIVE,
    CLOSED_FORM,
    EXPONENTIAL,
    FIXED_STEP,
    REVERSIBLE,
    SERIES,
    STOCHASTIC,
)
from trials.checks import Checks
from trials.config import TrialSolverSpec

METHOD = ("solver", "method")


def tolerances_of(solver: TrialSolverSpec) -> Tolerances:
    """The solver's settings, as far as its precision can meet them."""
    stated = Tolerances(
        solver.relative_tolerance, solver.absolute_tolerance, solver.max_steps, solver.step
    )
    return stated.attainable(solver.precision)


def check_solver(checks: Checks, model: Model) -> None:
    """Note what is wrong with how the config has patients of `model` solved."""
    solver = checks.config.solver
    method = solver.method or model.method
    least = tolerances_of(solver).relative
    if "relative_tolerance" in solver.model_fields_set and solver.relative_tolerance < least:
        hint = "leave it out, raise it, or choose `precision: double`"
        message = f"single precision cannot do better than {least:g}"
        checks.note(("solver", "relative_tolerance"), message, hint=hint)
    if model.diffusion is not None:
        _noise(checks, model, method)
        return
    if method in STOCHASTIC:
        message = f"{method} is for models with noise, and {model.name} has none"
        checks.note(METHOD, message, found="", hint="leave it out for the model's own method")
    if method in FIXED_STEP and (solver.step or model.step) is None:
        hint = "state solver.step, for example 0.01 h"
        checks.note(METHOD, f"{method} needs a step", found="", hint=hint)
    if method in EXPONENTIAL and not model.gates:
        message = f"{method} is for models with gates, and {model.name} names none"
        checks.note(METHOD, message, found="")
    if method in CLOSED_FORM and model.propagate is None:
        message = f"{method} is for models that have one, and {model.name} has none"
        checks.note(METHOD, message, found="")
    if solver.method in SERIES:
        _series(checks, model)


def _noise(checks: Checks, model: Model, method: str) -> None:
    """Note what does not go with a model with noise."""
    if model.step is None:
        message = f"{model.name} has noise and states no step, on whose grid its paths are drawn"
        checks.note(("model",), message, found="", hint="state `step` in the model's own file")
    if model.triggers is not None:
        message = f"{model.name} has noise and triggers, which only {_listed(REVERSIBLE)} look for"
        checks.note(("model",), message, found="")
    if checks.config.solver.precision == "single":
        message = "single precision cannot tell apart the times at which paths of noise are drawn"
        checks.note(("solver", "precision"), message, allowed='"double"')
    if method not in STOCHASTIC:
        message = f"{method} is for models without noise, and {model.name} has some"
        checks.note(METHOD, message, found="", allowed=_listed(STOCHASTIC))
        return
    # Not on top: it takes JAX to look at a model's operations.
    from insilico.solve.noise import structure_of

    try:
        structure = structure_of(model)
    except ValueError as error:
        checks.note(("model",), str(error), found="")
        return
    if method == "milstein" and not structure.commutative:
        message = f"milstein is for noise that commutes, and that of {model.name} does not"
        checks.note(METHOD, message, found="", hint="choose euler_maruyama")


def _series(checks: Checks, model: Model) -> None:
    # Not on top: it takes JAX to look at a model's operations.
    from insilico.solve.methods.taylor import without_rule

    if unknown := without_rule(model):
        message = f"has no rule for {', '.join(unknown)}, which {model.name} uses"
        others = [each for each in ADAPTIVE if each not in SERIES]
        checks.note(METHOD, message, allowed=_listed(others))


def _listed(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(json.dumps(each) for each in names)
