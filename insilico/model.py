"""What a structural model is: named quantities with units, and three pure functions of them.

A model is written for one patient. Because its functions use only plain arithmetic and
`insilico.vocabulary`, the same functions serve a float, a traced scalar and lanes of patients.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
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
    - `lowest`: of a state, the least that it can be: 0 for an amount or a concentration. A patient
      whose state comes to lie below it has failed, wherever the schedule has a row, by a status of
      its own. Default: a state may be any number.

    Raises `ValueError` for a size below 1, a negligible size that is not a number from 0 on, and a
    lowest that is no finite number.
    """

    unit: str
    description: str
    size: int | None = None
    negligible: float = 1.0
    lowest: float | None = None

    def __post_init__(self) -> None:
        if self.size is not None and self.size < 1:
            raise ValueError(f"{self.description}: size must be at least 1; found {self.size}")
        if not 0.0 <= self.negligible < math.inf:
            raise ValueError(
                f"{self.description}: negligible must be finite and not below 0; "
                f"found {self.negligible}"
            )
        if self.lowest is not None and not math.isfinite(self.lowest):
            raise ValueError(f"{self.description}: lowest must be finite; found {self.lowest}")


@dataclasses.dataclass(frozen=True)
class Wiener:
    """What a field of a model's `Noise` stands for: an independent standard Wiener process.

    Its unit is the square root of the model's `time_unit`, and its name addresses its path.

    **Arguments:**

    - `description`: what fluctuates, in one line.
    """

    description: str


@dataclasses.dataclass(frozen=True)
class Trigger:
    """What a field of a model's `Triggers` stands for: an event that the state sets off.

    **Arguments:**

    - `description`: what happens, in one line: "cumulative hazard reaches the threshold".
    - `ends`: whether the patient is followed no further: death, dropout; it is no failure. Default:
      the patient goes on, in the state that `Model.react` gives, if it gives one.
    """

    description: str
    ends: bool = False


Flow = Callable[[Any, Any, Any], Any]
"""`flow(state, parameters, inputs)`: one number, an amount per time, for instance mg/h."""


@dataclasses.dataclass(frozen=True, eq=False)
class Balance:
    """What is neither made nor lost in a model, but for what is named: its rate is inflows less
    outflows.

    ```python
    Balance("drug", lambda s, p: s.depot + s.central,
            outflows={"elimination": lambda s, p, i: p.clearance / p.volume * s.central})
    ```

    Doses and infusions do not count: the equations do not know them.

    **Arguments:**

    - `name`: of what is balanced.
    - `total(state, parameters)`: how much of it there is, one number; a sum of states, weighted
      where they are concentrations (`p.volume * s.drug`).
    - `inflows`, `outflows`: by name, each a `Flow` in the total's unit over time. Change them for
      what is made, or leaves.
    """

    name: str
    total: Callable[[Any, Any], Any]
    inflows: Mapping[str, Flow] = dataclasses.field(default_factory=dict)
    outflows: Mapping[str, Flow] = dataclasses.field(default_factory=dict)

    def net(self, state: Any, parameters: Any, inputs: Any) -> Any:
        """Inflows less outflows; a plain 0.0 where there are none."""
        entering = (flow(state, parameters, inputs) for flow in self.inflows.values())
        leaving = (flow(state, parameters, inputs) for flow in self.outflows.values())
        return sum(entering, start=0.0) - sum(leaving, start=0.0)


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


class NoNoise(NamedTuple):
    """The Wiener processes of a model that has none."""


class NoTriggers(NamedTuple):
    """The triggers of a model that has none."""


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

    - `propagate(duration, state, parameters, rates) -> State`, optional: the closed form, exact for
      equations that do not depend on time: the state `duration` on, with constant infusions `rates`
      (a `State`, of plain zeros where nothing is ever infused). A model with inputs takes them,
      constant too, as a fifth argument.

    `method` names the method of integration that suits it, one of `insilico.solve.methods.NAMES`.

    **For methods of fixed steps** (`insilico.solve.methods.FIXED_STEP`):

    - `step`: the longest step, in `time_unit`, unless the call states another.
    - `gates`: the states that Rush–Larsen methods take exponentially, each by the derivative of its
      own rate in itself: those whose rate is linear in themselves, as gating variables' are. The
      equations stay plain rates; nothing is said about steady states and time constants.

    **For stochastic models** (`insilico.solve.methods.STOCHASTIC`), in the sense of Itô:

    - `Noise`: NamedTuple class of the model's independent Wiener processes, its fields annotated
      `Annotated[State, Wiener(description)]`.
    - `diffusion(time, state, parameters, inputs) -> Noise`: for each process the `State` of its
      coefficients, in units of the state over the square root of `time_unit`. A plain `0.0` says
      that the process does not act on that state.
    - `step` has to be stated: it is the grid, too, on which paths are drawn, so that a step of
      another length runs along the same path.

    **For events that the state sets off** (death, progression, rescue), optional:

    - `Triggers`: NamedTuple class, its fields annotated `Annotated[Value, Trigger(description)]`.
    - `triggers(time, state, parameters) -> Triggers` of a number each, smooth in the state: the
      event happens when it comes to lie above zero, and again once it was at or below zero.
    - `react(time, state, parameters) -> {trigger: State}`, optional: the state just after the
      event, for triggers that change it.

    **For parameters that change between occasions**, by `insilico.occasions.by_occasion`:

    - `varying`: their names. The last inputs, as many, have their values in force; functions that
      take no inputs (`initial`, `outputs`, `triggers`, `react`) are given these as parameters.

    **For checks** (`insilico.checks`), optional:

    - `typical`: the model's `Parameters`, a plain number each, around which it is checked. The
      model's file says where they come from, or that they are merely plausible.
    - `balances`: what is neither made nor lost, see `Balance`.

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
    propagate: Callable[..., Any] | None = None
    method: str = "tsit5"
    step: float | None = None
    gates: tuple[str, ...] = ()
    Noise: type[Any] = NoNoise
    diffusion: Callable[[Any, Any, Any, Any], Any] | None = None
    Triggers: type[Any] = NoTriggers
    triggers: Callable[[Any, Any, Any], Any] | None = None
    react: Callable[[Any, Any, Any], Mapping[str, Any]] | None = None
    varying: tuple[str, ...] = ()
    time_unit: str = "h"
    typical: Any = None
    balances: tuple[Balance, ...] = ()
    validated: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()

    def quantities(self, group: str) -> dict[str, Quantity]:
        """The declared quantities of `"State"`, `"Parameters"`, `"Inputs"` or `"Outputs"`."""
        hints = get_type_hints(getattr(self, group), include_extras=True)
        return {name: _quantity(self.name, group, name, hint) for name, hint in hints.items()}

    def in_force(self, parameters: Any, inputs: Sequence[Any]) -> Any:
        """The parameters under these values of all inputs: of those that vary, the inputs' own."""
        if not self.varying:
            return parameters
        values = inputs[len(inputs) - len(self.varying) :]
        return parameters._replace(**dict(zip(self.varying, values, strict=True)))

    def processes(self) -> dict[str, Wiener]:
        """The declared Wiener processes, by name."""
        hints = get_type_hints(self.Noise, include_extras=True)
        return {
            name: _annotation(
                self.name, "Noise", name, hint, Wiener, "Annotated[State, Wiener(description)]"
            )
            for name, hint in hints.items()
        }

    def trigger_fields(self) -> dict[str, Trigger]:
        """The declared triggers, by name."""
        hints = get_type_hints(self.Triggers, include_extras=True)
        wanted = "Annotated[Value, Trigger(description)]"
        return {
            name: _annotation(self.name, "Triggers", name, hint, Trigger, wanted)
            for name, hint in hints.items()
        }

    def numbers(self, group: str) -> list[str]:
        """The numbers of a group of quantities in their flat order, a vector's one by one:
        `clearance`, `rates[0]`, `rates[1]`, …"""
        names: list[str] = []
        for name, quantity in self.quantities(group).items():
            if quantity.size is None:
                names.append(name)
            else:
                names.extend(f"{name}[{index}]" for index in range(quantity.size))
        return names

    def components(self) -> list[str]:
        """The state's components in their flat order: `central`, `transit[0]`, `transit[1]`, …"""
        return self.numbers("State")

    def ones(self, group: str) -> Any:
        """The group's NamedTuple with every number 1, for who looks at structure alone."""
        fields = self.quantities(group).values()
        values = (1.0 if field.size is None else Vector(*[1.0] * field.size) for field in fields)
        return getattr(self, group)(*values)

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

    def gate_components(self) -> tuple[int, ...]:
        """Indices of the gates' components in the flat order.

        Raises `KeyError` for a gate that is no state, with the valid names.
        """
        names = [name.partition("[")[0] for name in self.components()]
        for gate in self.gates:
            if gate not in names:
                states = ", ".join(dict.fromkeys(names))
                raise KeyError(
                    f"model {self.name} has no state {gate!r} for a gate; it has {states}"
                )
        return tuple(index for index, name in enumerate(names) if name in self.gates)

    def negligible(self) -> tuple[float, ...]:
        """Each component's negligible size, in the flat order."""
        return tuple(
            quantity.negligible
            for quantity in self.quantities("State").values()
            for _ in range(quantity.size or 1)
        )

    def lowest(self) -> tuple[float | None, ...]:
        """The least that each component can be, in the flat order; None where there is no such."""
        return tuple(
            quantity.lowest
            for quantity in self.quantities("State").values()
            for _ in range(quantity.size or 1)
        )

    def check_state(self, label: str, value: Any) -> None:
        """Raise `TypeError` unless a value is a `State` with vectors of the declared sizes.

        Anything else would be read in the order of its own entries: a dictionary's is that of the
        alphabet.
        """
        self._check_kind(label, value, self.State)
        for (name, quantity), field in zip(self.quantities("State").items(), value, strict=True):
            size = quantity.size or 1
            found = len(field) if isinstance(field, Vector | tuple | list) else 1
            if found != size:
                raise TypeError(
                    f"{label} of model {self.name}: {name} must have {size} component(s); "
                    f"found {found}"
                )

    def check_outputs(self, value: Any) -> None:
        """Raise `TypeError` unless a value is one of the model's `Outputs`."""
        self._check_kind("outputs", value, self.Outputs)

    def check_noise(self, value: Any) -> None:
        """Raise `TypeError` unless a value is a `Noise` of states."""
        self._check_kind("diffusion", value, self.Noise)
        for name, coefficients in zip(self.Noise._fields, value, strict=True):
            self.check_state(f"diffusion by {name}", coefficients)

    def check_triggers(self, value: Any) -> None:
        """Raise `TypeError` unless a value is one of the model's `Triggers`."""
        self._check_kind("triggers", value, self.Triggers)

    def check_reactions(self, reactions: Mapping[str, Any]) -> None:
        """Raise `TypeError` unless reactions are states, and to triggers that do not end."""
        fields = self.trigger_fields()
        going_on = [name for name, trigger in fields.items() if not trigger.ends]
        for name, after in reactions.items():
            if name not in going_on:
                raise TypeError(
                    f"react of model {self.name} names {name!r}, which is no trigger after which a "
                    f"patient goes on; there are {', '.join(going_on) or 'none'}"
                )
            self.check_state(f"reaction to {name}", after)

    def check_declared(self) -> None:
        """Raise `TypeError` where a function lacks its declaration, or the other way round."""
        if self.triggers is None and (self.trigger_fields() or self.react is not None):
            raise TypeError(
                f"model {self.name} declares Triggers or react, but no function triggers"
            )
        if self.triggers is not None and not self.trigger_fields():
            raise TypeError(f"model {self.name} has a function triggers, but declares no Triggers")

    def _check_kind(self, label: str, value: Any, kind: type[Any]) -> None:
        if not isinstance(value, kind):
            raise TypeError(
                f"{label} of model {self.name} must be a {kind.__name__}; "
                f"found {type(value).__name__}"
            )

    def check_structure(self, parameters: Any) -> None:
        """Raise `TypeError` unless the model's functions give what it declares.

        Initial state and rates, coefficients of noise, and what triggers set off.
        """
        self.check_declared()
        state = self.initial(parameters)
        self.check_state("initial state", state)
        inputs = self.Inputs(*(0.0 for _ in self.Inputs._fields))
        self.check_state("derivative", self.derivative(0.0, state, parameters, inputs))
        if self.triggers is not None:
            self.check_triggers(self.triggers(0.0, state, parameters))
        if self.react is not None:
            self.check_reactions(self.react(0.0, state, parameters))
        if self.diffusion is not None:
            self.check_noise(self.diffusion(0.0, state, parameters, inputs))


def _quantity(model: str, group: str, name: str, hint: Any) -> Quantity:
    wanted = "Annotated[Value, Quantity(unit, description)]"
    return _annotation(model, group, name, hint, Quantity, wanted)


def _annotation[T](model: str, group: str, name: str, hint: Any, kind: type[T], wanted: str) -> T:
    for entry in getattr(hint, "__metadata__", ()):
        if isinstance(entry, kind):
            return entry
    lacks = "a unit" if kind is Quantity else "a description"
    raise TypeError(
        f"{group} of model {model}: field {name!r} needs {lacks}; annotate it as {wanted}"
    )
