"""Models whose parameters change between occasions of one patient.

Parameters are constants of a solve. Those that vary between occasions become inputs as well, which
events set: the equations read them there, so that gradients, closed forms and all methods of a
solve know them already. `insilico.solve.records.in_occasions` puts values into an event table.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Annotated, Any, NamedTuple

from insilico.model import Dosing, Model
from insilico.vocabulary import Value

PREFIX = "occasion_"
"""Before a parameter's name stands for the input that has its value in the occasion."""


@functools.lru_cache(maxsize=64)
def by_occasion(model: Model, names: tuple[str, ...]) -> Model:
    """The same model, with parameters that change between occasions.

    For each of them it has an input `occasion_<name>` after the model's own, in whose place the
    parameter's own value matters no more, but that the input begins with it. The same model comes
    back for the same names.

    Raises `ValueError` for a name that is no parameter of the model, that is a vector or comes
    twice, and for a model that varies already.
    """
    quantities = model.quantities("Parameters")
    unfit = [name for name in names if name not in quantities or quantities[name].size is not None]
    if unfit or not names or len(set(names)) < len(names) or model.varying:
        scalars = ", ".join(name for name, of in quantities.items() if of.size is None)
        raise ValueError(
            f"parameters of model {model.name} that vary between occasions are named once, each "
            f"one of {scalars}; found {', '.join(names) or 'none'}"
        )
    own = model.quantities("Inputs")
    added = {PREFIX + name: quantities[name] for name in names}
    # The fields are known only here.
    fields = [(name, Annotated[Value, of]) for name, of in {**own, **added}.items()]
    inputs = NamedTuple("Inputs", fields)  # pyright: ignore[reportArgumentType]
    varied = dataclasses.replace(model, Inputs=inputs, varying=names, typical=None, balances=())

    def parted(parameters: Any, given: Any) -> tuple[Any, Any]:
        """The parameters in force, and the inputs of the model itself."""
        return varied.in_force(parameters, given), model.Inputs(*given[: len(own)])

    def derivative(time: Any, state: Any, parameters: Any, given: Any) -> Any:
        return model.derivative(time, state, *parted(parameters, given))

    def dosing(parameters: Any, given: Any) -> dict[str, Dosing]:
        assert model.dosing is not None
        return model.dosing(*parted(parameters, given))

    def propagate(duration: Any, state: Any, parameters: Any, rates: Any, given: Any) -> Any:
        assert model.propagate is not None
        in_force, others = parted(parameters, given)
        return model.propagate(duration, state, in_force, rates, *([others] if own else []))

    def diffusion(time: Any, state: Any, parameters: Any, given: Any) -> Any:
        assert model.diffusion is not None
        return model.diffusion(time, state, *parted(parameters, given))

    return dataclasses.replace(
        varied,
        derivative=derivative,
        dosing=None if model.dosing is None else dosing,
        propagate=None if model.propagate is None else propagate,
        diffusion=None if model.diffusion is None else diffusion,
    )
