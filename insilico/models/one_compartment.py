"""One-compartment kinetics with first-order absorption.

Gibaldi and Perrier, Pharmacokinetics, 2nd ed., Marcel Dekker 1982, chapter 1:

    depot' = −KA·depot
    central' = KA·depot − CL/V·central

Doses enter the depot, or the central compartment directly or by infusion. It is a model of a kind,
not of a drug: its typical values are merely plausible.
"""

from typing import Annotated, NamedTuple

from insilico.model import Balance, Model, Quantity
from insilico.vocabulary import Value


class State(NamedTuple):
    depot: Annotated[Value, Quantity("mg", "drug not yet absorbed", lowest=0.0)]
    central: Annotated[Value, Quantity("mg", "drug in the central compartment", lowest=0.0)]


class Parameters(NamedTuple):
    absorption_rate: Annotated[Value, Quantity("1/h", "first-order absorption, KA")]
    clearance: Annotated[Value, Quantity("L/h", "clearance, CL")]
    central_volume: Annotated[Value, Quantity("L", "volume of the central compartment, V")]


class Outputs(NamedTuple):
    concentration: Annotated[Value, Quantity("mg/L", "concentration in the central compartment")]
    depot: Annotated[Value, Quantity("mg", "drug not yet absorbed")]
    central: Annotated[Value, Quantity("mg", "drug in the central compartment")]


def initial(parameters: Parameters) -> State:
    nothing = 0.0 * parameters.clearance
    return State(nothing, nothing)


def derivative(time: Value, state: State, parameters: Parameters, inputs: Value) -> State:
    p = parameters
    absorbed = p.absorption_rate * state.depot
    return State(depot=-absorbed, central=absorbed - p.clearance / p.central_volume * state.central)


def outputs(time: Value, state: State, parameters: Parameters) -> Outputs:
    return Outputs(state.central / parameters.central_volume, state.depot, state.central)


def propagate(duration: Value, state: State, parameters: Parameters, rates: State) -> State:
    """The exact state `duration` hours (at least 0) on, with constant infusions `rates` in mg/h.

    Scalars or arrays (lanes,), and so is the result.
    """
    # It needs JAX, for which reading a config does not wait.
    from insilico import linear_kinetics

    p = parameters
    system = linear_kinetics.Mammillary(p.absorption_rate, p.clearance / p.central_volume)
    return State(*linear_kinetics.propagate(duration, state, system, rates))


MODEL = Model(
    name="one_compartment",
    title="One-compartment kinetics with first-order absorption",
    citation="Gibaldi M, Perrier D. Pharmacokinetics. 2nd ed. New York: Marcel Dekker; 1982.",
    State=State,
    Parameters=Parameters,
    Outputs=Outputs,
    initial=initial,
    derivative=derivative,
    outputs=outputs,
    fastest_rate=lambda parameters: parameters.absorption_rate,
    typical=Parameters(1.0, 3.0, 30.0),
    balances=(
        Balance(
            "drug",
            lambda s, p: s.depot + s.central,
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
