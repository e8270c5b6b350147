"""Which loop of steps goes with a model and a method, and what does not go together."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from insilico.model import Model
from insilico.solve import (
    adaptive,
    closed_form,
    crossings,
    fixed_steps,
    gradients,
    methods,
    single_ways,
)
from insilico.solve.methods.taylor import without_rule
from insilico.solve.tolerances import Tolerances
from insilico.solve.walks import Advance


def advance_of(model: Model, method: str | None, noise: Any = None) -> Advance:
    """The solver between two rows for `model`, an `insilico.solve.walks.Advance`.

    `method` is a name, or `None` for the model's own; `noise` are the words of a key a lane for
    a stochastic model's paths. Raises `ValueError` for what does not go together.
    """
    chosen = methods.known(method or model.method)
    check(model, chosen, noisy=noise is not None)
    if chosen in methods.STOCHASTIC:
        stochastic = methods.get_stochastic(chosen)
        return functools.partial(fixed_steps.advance_stochastic, stochastic, model, noise)
    if chosen in methods.CLOSED_FORM:
        return closed_form.advance
    if chosen in methods.FIXED_STEP:
        return functools.partial(fixed_steps.advance, methods.get_fixed_step(chosen), model)
    return functools.partial(crossings.advance, methods.get(chosen))


def reversible(model: Model, method: str | None) -> str:
    """The method's name. Raises `ValueError` for one that has no reverse derivative."""
    name = methods.known(method or model.method)
    if name not in methods.REVERSIBLE:
        raise ValueError(
            f"method {name} has no reverse derivative: choose one of "
            f"{', '.join(methods.REVERSIBLE)}, or derivative='forward'"
        )
    return name


def differentiable(method: str) -> type[gradients.Differentiable]:
    """The kind of walk that can be differentiated backwards with this method."""
    closed = method in methods.CLOSED_FORM
    return closed_form.DifferentiableInClosedForm if closed else gradients.Differentiable


def backwards(method: str) -> Advance:
    """The solver between two rows, to be differentiated backwards on a way of its own."""
    if method in methods.CLOSED_FORM:
        return closed_form.advance
    return functools.partial(single_ways.advance, methods.get(method))


def settling(advance: Advance, method: str) -> Advance:
    """What takes a state to its rest as `advance` does, by steps that grow without bounds."""
    explicit = method in methods.ADAPTIVE and method not in methods.STIFF
    return functools.partial(adaptive.advance, methods.get("rodas5p")) if explicit else advance


def check(model: Model, method: str, *, noisy: bool, tolerances: Tolerances | None = None) -> None:
    """Raise `ValueError` unless model, method and noise go together.

    `noisy` says whether there are keys for the paths of noise; with `tolerances`, a missing step is
    found, too.
    """
    stochastic = method in methods.STOCHASTIC
    if model.diffusion is not None and not stochastic:
        raise ValueError(
            f"model {model.name} has noise, which method {method} does not know: choose one of "
            f"{', '.join(methods.STOCHASTIC)}, or leave the noise out by "
            f"dataclasses.replace(model, diffusion=None)"
        )
    if model.diffusion is None and stochastic:
        raise ValueError(
            f"method {method} is for models with noise, and model {model.name} states no diffusion"
        )
    if model.triggers is not None and method not in methods.REVERSIBLE:
        raise ValueError(
            f"model {model.name} has triggers, which method {method} does not look out for: choose "
            f"one of {', '.join(methods.REVERSIBLE)}"
        )
    if method in methods.CLOSED_FORM:
        _check_closed_form(model, method)
    if method in methods.SERIES and (unknown := without_rule(model)):
        raise ValueError(
            f"model {model.name} uses {', '.join(unknown)}, for which method {method} has no rule: "
            f"choose one of {', '.join(each for each in methods.ADAPTIVE if each != method)}"
        )
    if stochastic and not noisy:
        raise ValueError(
            f"model {model.name} has noise: pass one random key a patient as noise=, as "
            f"insilico.randomness.subject_keys makes them"
        )
    if noisy and not stochastic:
        raise ValueError(f"model {model.name} has no noise, but there are keys for noise=")
    if stochastic and model.step is None:
        raise ValueError(
            f"model {model.name} has noise and states no step, on whose grid its paths are drawn"
        )
    unstated = model.step is None and tolerances is not None and tolerances.step is None
    if method in methods.FIXED_STEP and unstated:
        raise ValueError(
            f"method {method} needs a step: model {model.name} states none, so state one as "
            f"Tolerances(step=...) in {model.time_unit}"
        )


def _check_closed_form(model: Model, method: str) -> None:
    if model.propagate is None:
        raise ValueError(
            f"model {model.name} has no closed form (propagate), which method {method} needs: "
            f"choose one of {', '.join(methods.ADAPTIVE)}"
        )
    if model.Inputs._fields and len(inspect.signature(model.propagate).parameters) < 5:
        raise ValueError(
            f"the closed form of model {model.name} does not take its inputs "
            f"({', '.join(model.Inputs._fields)}), so that method {method} would pass over them: "
            f"choose one of {', '.join(methods.ADAPTIVE)}"
        )
