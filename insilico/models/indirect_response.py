"""Two-compartment oral kinetics with inhibition of a response's production.

Indirect response model I of Dayneka, Garg and Jusko, J Pharmacokinet Biopharm 1993; 21:457-478,
driven by textbook two-compartment kinetics with first-order absorption:

    depot' = −KA·depot
    central' = KA·depot − (CL + Q)/V1·central + Q/V2·peripheral
    peripheral' = Q/V1·central − Q/V2·peripheral
    response' = KIN·(1 − IMAX·C/(IC50 + C)) − KOUT·response,  C = central/V1

The response starts at KIN/KOUT. The original has IMAX = 1. It is a model of a kind, not of a drug:
its typical values are merely plausible.
"""

from typing import Annotated, NamedTuple

from insilico.model import Balance, Model, Quantity
from insilico.vocabulary import Value


class State(NamedTuple):
    depot: Annotated[Value, Quantity("mg", "drug not yet absorbed", lowest=0.0)]
    central: Annotated[Value, Quantity("mg", "drug in the central compartment", lowest=0.0)]
    peripheral: Annotated[Value, Quantity("mg", "drug in the peripheral compartment", lowest=0.0)]
    response: Annotated[Value, Quantity("1", "response")]


class Parameters(NamedTuple):
    absorption_rate: Annotated[Value, Quantity("1/h", "first-order absorption, KA")]
    clearance: Annotated[Value, Quantity("L/h", "clearance, CL")]
    central_volume: Annotated[Value, Quantity("L", "volume of the central compartment, V1")]
    intercompartmental_clearance: Annotated[Value, Quantity("L/h", "exchange, Q")]
    peripheral_volume: Annotated[Value, Quantity("L", "volume of the peripheral compartment, V2")]
    production: Annotated[Value, Quantity("1/h", "zero-order production of the response, KIN")]
    loss: Annotated[Value, Quantity("1/h", "first-order loss of the response, KOUT")]
    maximal_inhibition: Annotated[Value, Quantity("1", "largest inhibition, IMAX")]
    half_inhibition_concentration: Annotated[Value, Quantity("mg/L", "IC50")]


class Outputs(NamedTuple):
    central: Annotated[Value, Quantity("mg", "drug in the central compartment")]
    peripheral: Annotated[Value, Quantity("mg", "drug in the peripheral compartment")]
    response: Annotated[Value, Quantity("1", "response")]


def initial(parameters: Parameters) -> State:
    nothing = 0.0 * parameters.clearance
    return State(nothing, nothing, nothing, parameters.production / parameters.loss)


def derivative(time: Value, state: State, parameters: Parameters, inputs: Value) -> State:
    p = parameters
    absorbed = p.absorption_rate * state.depot
    out = (p.clearance + p.intercompartmental_clearance) / p.central_volume * state.central
    forth = p.intercompartmental_clearance / p.central_volume * state.central
    back = p.intercompartmental_clearance / p.peripheral_volume * state.peripheral
    concentration = state.central / p.central_volume
    inhibition = (
        p.maximal_inhibition * concentration / (p.half_inhibition_concentration + concentration)
    )
    return State(
        depot=-absorbed,
        central=absorbed - out + back,
        peripheral=forth - back,
        response=p.production * (1.0 - inhibition) - p.loss * state.response,
    )


def outputs(time: Value, state: State, parameters: Parameters) -> Outputs:
    return Outputs(state.central, state.peripheral, state.response)


MODEL = Model(
    name="indirect_response",
    title="Two-compartment oral kinetics with an indirect response",
    citation=(
        "Dayneka NL, Garg V, Jusko WJ. Comparison of four basic models of indirect "
        "pharmacodynamic responses. J Pharmacokinet Biopharm 1993; 21:457-478."
    ),
    State=State,
    Parameters=Parameters,
    Outputs=Outputs,
    initial=initial,
    derivative=derivative,
    outputs=outputs,
    # Smooth, with few states: at the default tolerance 1.5 times as fast as tsit5, at a largest
    # error of 8e-7 in place of 6e-7; at equal error, and with gradients, 1.4 times.
    method="taylor",
    fastest_rate=lambda parameters: parameters.absorption_rate,
    typical=Parameters(0.8, 4.0, 30.0, 6.0, 60.0, 5.0, 0.05, 0.9, 0.7),
    balances=(
        Balance(
            "drug",
            lambda s, p: s.depot + s.central + s.peripheral,
            outflows={"elimination": lambda s, p, i: p.clearance / p.central_volume * s.central},
        ),
    ),
    validated=(
        "amounts: closed form of two compartments with first-order absorption, to 1e-7",
        "response: its steady state under a constant infusion, to 1e-7",
        "all outputs: reference solutions of 100 patients with 28 daily doses (problem P1 of the "
        "ensemble benchmark), to 1e-5 at the nominal tolerance",
    ),
    limits=(
        "no figure or table of the 1993 paper is reproduced",
        "the concentration must not fall to −IC50: a negative amount is not clipped",
    ),
)
