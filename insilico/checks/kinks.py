"""Whether a model's equations change their course along solutions: a choice that turns over."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from insilico.checks.situations import Situation
from insilico.solve.fields import evaluated, read, traced

_CHOICES = ("select_n", "max", "min", "abs")


def crossed(situation: Situation, states: np.ndarray, parameters: Any) -> bool:
    """Whether a patient's choices are not the same at all times.

    `states` are (patients, times, components), at the situation's times.
    """
    patients, times, components = states.shape

    def wide(column: Any, axis: int) -> np.ndarray:
        return np.broadcast_to(np.expand_dims(column, axis), (patients, times)).ravel()

    inputs = zip(*(situation.inputs_at(float(time)) for time in situation.times), strict=True)
    inputs = situation.model.Inputs(*(wide(np.array(column), 0) for column in inputs))
    own = jax.tree.map(lambda column: wide(column, 1), parameters)

    def field(time: Any, state: tuple[Any, ...]) -> list[Any]:
        named = jax.tree.unflatten(situation.structure, state)
        return jax.tree.leaves(situation.model.derivative(time, named, own, inputs))

    time = jnp.asarray(wide(situation.times, 0))
    flat = tuple(jnp.asarray(states[..., index].ravel()) for index in range(components))
    program = traced(field, time, flat)
    values = {**program.known, **dict(zip(program.arguments, (time, *flat), strict=True))}
    for equation in program.remaining:
        operands = [read(values, operand) for operand in equation.invars]
        if equation.primitive.name in _CHOICES:
            taken = operands[0]
            if equation.primitive.name != "select_n":
                taken = taken > (operands[1] if len(operands) > 1 else 0.0)
            along = np.broadcast_to(np.asarray(taken), (patients * times,))
            along = along.reshape(patients, times)
            if np.any(along[:, 1:] != along[:, :-1]):
                return True
        values.update(evaluated(equation, values))
    return False
