"""Whether it matters to a model at which time a subject's records begin."""

from __future__ import annotations

import numpy as np

from insilico.model import Model
from insilico.vocabulary import Vector

NEGLIGIBLE = 1e-9
"""What a rate may be of its state before the state counts as moving."""


def moves_by_itself(model: Model) -> bool:
    """Whether a model's initial state changes without a dose, as that of growth does; that of
    kinetics, or of a turnover at rest, does not.

    At its typical values, or, where it states none, at numbers that hardly balance by chance.
    """
    parameters = model.typical
    if parameters is None:
        numbers = iter(1.0 + 0.1 * np.arange(len(model.numbers("Parameters"))))
        sizes = [quantity.size for quantity in model.quantities("Parameters").values()]
        parameters = model.Parameters(
            *(
                float(next(numbers))
                if size is None
                else Vector(*(float(next(numbers)) for _ in range(size)))
                for size in sizes
            )
        )
    state = model.initial(parameters)
    inputs = model.ones("Inputs") if model.Inputs._fields else model.Inputs()
    rates = model.derivative(0.0, state, parameters, inputs)
    return any(
        not abs(float(rate)) <= NEGLIGIBLE * max(1.0, abs(float(value)))
        for rate, value in zip(_flat(rates), _flat(state), strict=True)
    )


def _flat(state: object) -> list[float]:
    assert isinstance(state, tuple)
    fields = (list(field) if isinstance(field, Vector | tuple) else [field] for field in state)
    return [number for numbers in fields for number in numbers]
