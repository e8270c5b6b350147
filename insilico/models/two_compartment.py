"""Two-compartment kinetics with first-order absorption.

Gibaldi and Perrier, Pharmacokinetics, 2nd ed., Marcel Dekker 1982, chapter 2:

    depot' = −KA·depot
    central' = KA·depot − (CL + Q)/V1·central + Q/V2·peripheral
    peripheral' = Q/V1·central − Q/V2·peripheral

Doses enter the depot, or the central compartment directly or by infusion. It is a model of a kind,
not of a drug: its typical values are merely plausible.
"""

from typing import Annotated, NamedTuple

from insilico.model import Balance, Model, Quantity
from insilico.vocabulary import Value


class State(NamedTuple):
    depot: Annotated[Value, Quantity("mg", "drug not yet absorbed", lowest=0.0)]
    central: Annotated[Value, Quantity("mg", "drug in the central compartment", lowest=0.0)]
    peripheral: Annotated[Value, Quantity("mg", "drug in the peripheral compartment", lowest=0.0)]


class Parameters(NamedTuple):
    absorption_rate: Annotated[Value, Quantity("1/h", "first-order absorption, KA")]
    clearance: Annotated[Value, Quantity("L/h", "clearance, CL")]
    central_volume: Annotated[Value, Quantity("L", "volume of the central compartment, V1")]
    intercompartmental_clearance: Annotated[Value, Quantity("L/h", "exchange, Q")]
    peripheral_volume: Annotated[Value, Quantity("L", "volume of the peripheral compartment, V2")]


class Outputs(NamedTuple):
    concentration: Annotated[Value, Quantity("mg/L", "concentration in the central compartment")]
    depot: Annotated[Value, Quantity("mg", "drug not yet absorbed")]
    central: Annotated[Value, Quantity("mg", "drug in the central compartment")]
    peripheral: Annotated[Value, Quantity("mg", "drug in the peripheral compartment")]


def initial(parameters: Parameters) -> State:
    nothing = 0.0 * parameters.clearance
    return State(nothing, nothing, nothing)


def derivative(time: Value, state: State, parameters: Parameters, inputs: Value) -> State:
    p = parameters
    absorbed = p.absorption_rate * state.depot
    eliminated = p.clearance / p.central_volume * state.central
    forth = p.intercompartmental_clearance / p.central_volume * state.central
    back = p.intercompartmental_clearance / p.peripheral_volume * state.peripheral
    return State(
        depot=-absorbed,
        central=absorbed - eliminated - forth + back,
        peripheral=forth - back,
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
        distribution=(p.intercompartmental_clearance / p.central_volume,),
        volume_ratio=(p.central_volume / p.peripheral_volume,),
    )
    return State(*linear_kinetics.propagate(duration, state, system, rates))


MODEL = Model(
    name="two_compartment",
    title="Two-compartment kinetics with first-order absorption",
    citation="Gibaldi M, Perrier D. Pharmacokinetics. 2nd ed. New York: Marcel Dekker; 1982.",
    State=State,
    Parameters=Parameters,
    Outputs=Outputs,
    initial=initial,
    derivative=derivative,
    outputs=outputs,
    fastest_rate=lambda parameters: parameters.absorption_rate,
    typical=Parameters(1.0, 4.0, 30.0, 6.0, 60.0),
    balances=(
        Balance(
            "drug",
            lambda s, p: s.depot + s.central + s.peripheral,
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
