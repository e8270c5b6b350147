"""Three-compartment kinetics with first-order absorption.

Gibaldi and Perrier, Pharmacokinetics, 2nd ed., Marcel Dekker 1982, chapter 2:

    depot' = −KA·depot
    central' = KA·depot − (CL + Q2 + Q3)/V1·central + Q2/V2·shallow + Q3/V3·deep
    shallow' = Q2/V1·central − Q2/V2·shallow
    deep' = Q3/V1·central − Q3/V3·deep

Doses enter the depot, or the central compartment directly or by infusion. It is a model of a kind,
not of a drug: its typical values are merely plausible.
"""

from typing import Annotated, NamedTuple

from insilico.model import Balance, Model, Quantity
from insilico.vocabulary import Value


class State(NamedTuple):
    depot: Annotated[Value, Quantity("mg", "drug not yet absorbed", lowest=0.0)]
    central: Annotated[Value, Quantity("mg", "drug in the central compartment", lowest=0.0)]
    shallow: Annotated[
        Value, Quantity("mg", "drug in the shallow peripheral compartment", lowest=0.0)
    ]
    deep: Annotated[Value, Quantity("mg", "drug in the deep peripheral compartment", lowest=0.0)]


class Parameters(NamedTuple):
    absorption_rate: Annotated[Value, Quantity("1/h", "first-order absorption, KA")]
    clearance: Annotated[Value, Quantity("L/h", "clearance, CL")]
    central_volume: Annotated[Value, Quantity("L", "volume of the central compartment, V1")]
    shallow_clearance: Annotated[Value, Quantity("L/h", "exchange with the shallow one, Q2")]
    shallow_volume: Annotated[Value, Quantity("L", "volume of the shallow compartment, V2")]
    deep_clearance: Annotated[Value, Quantity("L/h", "exchange with the deep one, Q3")]
    deep_volume: Annotated[Value, Quantity("L", "volume of the deep compartment, V3")]


class Outputs(NamedTuple):
    concentration: Annotated[Value, Quantity("mg/L", "concentration in the central compartment")]
    depot: Annotated[Value, Quantity("mg", "drug not yet absorbed")]
    central: Annotated[Value, Quantity("mg", "drug in the central compartment")]
    shallow: Annotated[Value, Quantity("mg", "drug in the shallow peripheral compartment")]
    deep: Annotated[Value, Quantity("mg", "drug in the deep peripheral compartment")]


def initial(parameters: Parameters) -> State:
    nothing = 0.0 * parameters.clearance
    return State(nothing, nothing, nothing, nothing)


def derivative(time: Value, state: State, parameters: Parameters, inputs: Value) -> State:
    p = parameters
    absorbed = p.absorption_rate * state.depot
    eliminated = p.clearance / p.central_volume * state.central
    into_shallow = (
        p.shallow_clearance / p.central_volume * state.central
        - p.shallow_clearance / p.shallow_volume * state.shallow
    )
    into_deep = (
        p.deep_clearance / p.central_volume * state.central
        - p.deep_clearance / p.deep_volume * state.deep
    )
    return State(
        depot=-absorbed,
        central=absorbed - eliminated - into_shallow - into_deep,
        shallow=into_shallow,
        deep=into_deep,
    )


def outputs(time: Value, state: State, parameters: Parameters) -> Outputs:
    return Outputs(state.central / parameters.central_volume, *state)


def propagate(duration: Value, state: State, parameters: Parameters, rates: State) -> State:
    """The exact state `duration` hours (at least 0) on, with constant infusions `rates` in mg/h.

    Scalars or arrays (lanes,), and so is the result.
    """
    # It needs JAX, for which reading a config does not wait.
    from insilico import linear_kinetics

    p = parameters
    system = linear_kinetics.Mammillary(
        absorption=p.absorption_rate,
        elimination=p.clearance / p.central_volume,
        distribution=(
            p.shallow_clearance / p.central_volume,
            p.deep_clearance / p.central_volume,
        ),
        volume_ratio=(p.central_volume / p.shallow_volume, p.central_volume / p.deep_volume),
    )
    return State(*linear_kinetics.propagate(duration, state, system, rates))


MODEL = Model(
    name="three_compartment",
    title="Three-compartment kinetics with first-order absorption",
    citation="Gibaldi M, Perrier D. Pharmacokinetics. 2nd ed. New York: Marcel Dekker; 1982.",
    State=State,
    Parameters=Parameters,
    Outputs=Outputs,
    initial=initial,
    derivative=derivative,
    outputs=outputs,
    fastest_rate=lambda parameters: parameters.absorption_rate,
    typical=Parameters(1.0, 4.0, 30.0, 8.0, 40.0, 2.0, 100.0),
    balances=(
        Balance(
            "drug",
            lambda s, p: s.depot + s.central + s.shallow + s.deep,
            outflows={"elimination": lambda s, p, i: p.clearance / p.central_volume * s.central},
        ),
    ),
    propagate=propagate,
    method="closed_form",
    validated=(
        "all amounts, propagated: matrix exponentials in 50-digit arithmetic, to 1e-12 of the "
        "largest amount",
        "all amounts, propagated: scipy's matrix exponential and the steady state of an infusion",
    ),
    limits=("no figure or table of the textbook is reproduced",),
)
