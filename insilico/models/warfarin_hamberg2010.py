"""S-warfarin kinetics and the INR: Hamberg et al., Clin Pharmacol Ther 2010; 87:727-734."""

from typing import Annotated, NamedTuple

from insilico.model import Model, Quantity
from insilico.vocabulary import Value, Vector, maximum, power, shift


class State(NamedTuple):
    gut: Annotated[Value, Quantity("mg", "S-warfarin not yet absorbed")]
    central: Annotated[Value, Quantity("mg", "S-warfarin in the body")]
    fast: Annotated[Value, Quantity("1", "fast chain of coagulation activity, relative", size=3)]
    slow: Annotated[Value, Quantity("1", "slow chain of coagulation activity, relative", size=3)]


class Parameters(NamedTuple):
    clearance: Annotated[Value, Quantity("L/h", "clearance of S-warfarin")]
    volume: Annotated[Value, Quantity("L", "volume of distribution of S-warfarin")]
    absorption_rate: Annotated[Value, Quantity("1/h", "first-order absorption")]
    transit_rate_fast: Annotated[Value, Quantity("1/h", "fast chain, a compartment: 3 / MTT1")]
    transit_rate_slow: Annotated[Value, Quantity("1/h", "slow chain, a compartment: 3 / MTT2")]
    half_effect_concentration: Annotated[Value, Quantity("mg/L", "EC50 of S-warfarin")]
    hill: Annotated[Value, Quantity("1", "sigmoidicity of the effect")]
    maximal_effect: Annotated[Value, Quantity("1", "largest inhibition of production")]
    maximal_inr_shift: Annotated[Value, Quantity("1", "INR increase at complete inhibition")]
    baseline_inr: Annotated[Value, Quantity("1", "INR without treatment")]


class Outputs(NamedTuple):
    concentration: Annotated[Value, Quantity("mg/L", "S-warfarin concentration in plasma")]
    inr: Annotated[Value, Quantity("1", "international normalised ratio")]


def initial(parameters: Parameters) -> State:
    nothing, untreated = 0.0 * parameters.volume, 1.0 + 0.0 * parameters.volume
    return State(nothing, nothing, Vector(*[untreated] * 3), Vector(*[untreated] * 3))


def derivative(time: Value, state: State, parameters: Parameters, inputs: Value) -> State:
    p = parameters
    concentration = maximum(state.central / p.volume, 0.0)
    relative = power(concentration / p.half_effect_concentration, p.hill)
    production = 1.0 - p.maximal_effect * relative / (1.0 + relative)
    absorbed = p.absorption_rate * state.gut
    return State(
        gut=-absorbed,
        central=absorbed - p.clearance * state.central / p.volume,
        fast=p.transit_rate_fast * (shift(state.fast, production) - state.fast),
        slow=p.transit_rate_slow * (shift(state.slow, production) - state.slow),
    )


def outputs(time: Value, state: State, parameters: Parameters) -> Outputs:
    activity = (state.fast[-1] + state.slow[-1]) / 2.0
    return Outputs(
        concentration=state.central / parameters.volume,
        inr=parameters.baseline_inr + parameters.maximal_inr_shift * (1.0 - activity),
    )


MODEL = Model(
    name="warfarin_hamberg2010",
    title="Warfarin: S-warfarin kinetics and INR response",
    citation=(
        "Hamberg AK, Wadelius M, Lindh JD, et al. A pharmacometric model describing the "
        "relationship between warfarin dose and INR response with respect to variations in "
        "CYP2C9, VKORC1, and age. Clin Pharmacol Ther 2010; 87:727-734."
    ),
    State=State,
    Parameters=Parameters,
    Outputs=Outputs,
    initial=initial,
    derivative=derivative,
    outputs=outputs,
    fastest_rate=lambda parameters: parameters.absorption_rate,
)
