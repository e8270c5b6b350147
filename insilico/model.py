"""What a structural model is: named quantities with units, and three pure functions of them.

A model is written for one patient. Because its functions use only plain arithmetic and
`insilico.vocabulary`, the same functions serve a float, a traced scalar and lanes of patients.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, get_type_hints

from insilico.vocabulary import Vector


@dataclasses.dataclass(frozen=True)
class Quantity:
    """What a field of a model stands for.

    **Arguments:**

    - `unit`: as pint reads it (`"mg/L"`, `"1/h"`); `"1"` for a pure number.
    - `description`: one line in the field's words.
    - `size`: number of components of a `Vector`; `None` for a single number.
    - `negligible`: size below which differences do not matter, in the unit: the default absolute
      tolerance of a state is the solver's times this. Change it for a state whose typical values
      are far from 1.
    """

    unit: str
    description: str
    size: int | None = None
    negligible: float = 1.0


class NoInputs(NamedTuple):
    """The inputs of a model that has none."""


class Dosing(NamedTuple):
    """How a patient takes up what a dose record gives into one compartment.

    - `bioavailability`: the part of the amount that arrives; 1 unless stated, not below 0.
    - `lag`: time from the record to the arrival; 0 unless stated, not below 0.
    - `duration`: of a zero-order input whose record leaves it to the model (RATE = -2); above 0.
    - `rate`: of one whose record leaves that to the model (RATE = -1), amount per time; above 0.

    None: no record may leave it to the model. In NONMEM these are Fn, ALAGn, Dn and Rn.
    """

    bioavailability: Any = 1.0
    lag: Any = 0.0
    duration: Any = None
    rate: Any = None


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """One published structural model.

    `State`, `Parameters`, `Inputs` and `Outputs` are NamedTuple classes whose fields are annotated
    `Annotated[Value, Quantity(unit, description)]`. Times are in `time_unit` throughout.

    **Functions**, all pure and elementwise over patients:

    - `initial(parameters) -> State`
    - `derivative(time, state, parameters, inputs) -> State` of rates per `time_unit`
    - `outputs(time, state, parameters) -> Outputs`
    - `fastest_rate(parameters)`, optional: the largest rate constant (1/`time_unit`). Patients that
      need similar steps are put side by side by it; it changes speed, never results.
    - `dosing(parameters, inputs) -> {compartment: Dosing}`, optional: what applies to records that
      dose these compartments, with the inputs of the record itself. Doses of
      `insilico.solve.schedule` are what arrives: it does not apply to them.

    `method` names the method of integration that suits it, one of `insilico.solve.methods.NAMES`.

    **Evidence** (D13): `citation`; `validated`, what the model was checked against; `limits`, where
    it fails or was not checked.
    """

    name: str
    title: str
    citation: str
    State: type[Any]
    Parameters: type[Any]
    Outputs: type[Any]
    initial: Callable[[Any], Any]
    derivative: Callable[[Any, Any, Any, Any], Any]
    outputs: Callable[[Any, Any, Any], Any]
    Inputs: type[Any] = NoInputs
    fastest_rate: Callable[[Any], Any] | None = None
    dosing: Callable[[Any, Any], dict[str, Dosing]] | None = None
    method: str = "tsit5"
    time_unit: str = "h"
    validated: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()

    def quantities(self, group: str) -> dict[str, Quantity]:
        """The declared quantities of `"State"`, `"Parameters"`, `"Inputs"` or `"Outputs"`."""
        hints = get_type_hints(getattr(self, group), include_extras=True)
        return {name: _quantity(self.name, group, name, hint) for name, hint in hints.items()}

    def components(self) -> list[str]:
        """The state's components in their flat order: `central`, `transit[0]`, `transit[1]`, …"""
        names: list[str] = []
        for name, quantity in self.quantities("State").items():
            if quantity.size is None:
                names.append(name)
            else:
                names.extend(f"{name}[{index}]" for index in range(quantity.size))
        return names

    def compartment(self, name: str) -> int:
        """Index of a state component that doses may enter.

        Raises `KeyError` with the valid names.
        """
        names = self.components()
        if name not in names:
            raise KeyError(
                f"model {self.name} has no compartment {name!r}; it has {', '.join(names)}"
            )
        return names.index(name)

    def negligible(self) -> tuple[float, ...]:
        """Each component's negligible size, in the flat order."""
        return tuple(
            quantity.negligible
            for quantity in self.quantities("State").values()
            for _ in range(quantity.size or 1)
        )

    def check_structure(self, parameters: Any) -> None:
        """Raise `TypeError` unless initial state and derivative have the declared structure."""
        sizes = {name: quantity.size or 1 for name, quantity in self.quantities("State").items()}

        def check(label: str, value: Any) -> None:
            if not isinstance(value, self.State):
                raise TypeError(
                    f"{label} of model {self.name} must be a {self.State.__name__}; "
                    f"found {type(value).__name__}"
                )
            for (name, size), field in zip(sizes.items(), value, strict=True):
                found = len(field) if isinstance(field, Vector | tuple | list) else 1
                if found != size:
                    raise TypeError(
                        f"{label} of model {self.name}: {name} must have {size} component(s); "
                        f"found {found}"
                    )

        state = self.initial(parameters)
        check("initial state", state)
        inputs = self.Inputs(*(0.0 for _ in self.Inputs._fields))
        check("derivative", self.derivative(0.0, state, parameters, inputs))


def _quantity(model: str, group: str, name: str, hint: Any) -> Quantity:
    for entry in getattr(hint, "__metadata__", ()):
        if isinstance(entry, Quantity):
            return entry
    raise TypeError(
        f"{group} of model {model}: field {name!r} needs a unit; "
        f"annotate it as Annotated[Value, Quantity(unit, description)]"
    )
