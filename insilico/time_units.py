"""A model that counts time in another unit than the one it is written in."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

from insilico.config.units import conversion_factor
from insilico.model import Dosing, Flow, Model


@functools.lru_cache(maxsize=64)
def counted_in(model: Model, unit: str) -> Model:
    """`model` with times in `unit` instead of its own `time_unit`; itself where they are the same.

    Parameters, inputs and outputs keep their units: a parameter in 1/d stays one. Paths of noise
    are those of the model's own unit at the same key.

    Raises `ValueError` for a unit that is none of time.
    """
    if unit == model.time_unit:
        return model
    own = conversion_factor(unit, model.time_unit)

    def a_time(flow: Flow) -> Flow:
        return lambda *arguments: flow(*arguments) * own

    def rates(time: Any, *arguments: Any) -> Any:
        return _scaled(model.derivative(time * own, *arguments), own)

    def outputs(time: Any, *arguments: Any) -> Any:
        return model.outputs(time * own, *arguments)

    changed: dict[str, Any] = {
        "time_unit": unit,
        "derivative": rates,
        "outputs": outputs,
        "step": None if model.step is None else model.step / own,
        "balances": tuple(
            dataclasses.replace(
                each,
                inflows={name: a_time(flow) for name, flow in each.inflows.items()},
                outflows={name: a_time(flow) for name, flow in each.outflows.items()},
            )
            for each in model.balances
        ),
    }
    if (fastest_rate := model.fastest_rate) is not None:
        changed["fastest_rate"] = lambda parameters: fastest_rate(parameters) * own
    if (propagate := model.propagate) is not None:

        @functools.wraps(propagate)  # how many arguments it takes says whether it knows inputs
        def propagated(duration: Any, state: Any, parameters: Any, rates: Any, *inputs: Any) -> Any:
            return propagate(duration * own, state, parameters, _scaled(rates, 1.0 / own), *inputs)

        changed["propagate"] = propagated
    if (dosing := model.dosing) is not None:

        def uptake(*arguments: Any) -> dict[str, Dosing]:
            return {name: _uptake(each, own) for name, each in dosing(*arguments).items()}

        changed["dosing"] = uptake
    if (diffusion := model.diffusion) is not None:

        def coefficients(time: Any, *arguments: Any) -> Any:
            found = diffusion(time * own, *arguments)
            return type(found)(*(_scaled(each, math.sqrt(own)) for each in found))

        changed["diffusion"] = coefficients
    if (triggers := model.triggers) is not None:
        changed["triggers"] = lambda time, *arguments: triggers(time * own, *arguments)
    if (react := model.react) is not None:

        def reactions(time: Any, *arguments: Any) -> Mapping[str, Any]:
            return react(time * own, *arguments)

        changed["react"] = reactions
    return dataclasses.replace(model, **changed)


def _scaled(fields: Any, factor: float) -> Any:
    """Every field of a NamedTuple times a number; a plain 0.0 stays one."""
    return type(fields)(*(field * factor for field in fields))


def _uptake(dosing: Dosing, own: float) -> Dosing:
    """Times over, and rates times, how many of the model's units one of the others is."""
    return dosing._replace(
        lag=dosing.lag / own,
        duration=None if dosing.duration is None else dosing.duration / own,
        rate=None if dosing.rate is None else dosing.rate * own,
    )
