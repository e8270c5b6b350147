"""One-compartment kinetics with first-order absorption and saturable elimination.

Gibaldi M, Perrier D. Pharmacokinetics. 2nd ed. New York: Marcel Dekker; 1982, chapter 7:

    depot' = −KA·depot
    central' = KA·depot − VM·C/(KM + C),  C = central/V

Far below KM elimination is first-order with clearance VM/KM, far above it is constant at VM. It is
a model of a kind, not of a drug: its typical values are merely plausible.
"""

from typing import Annotated, NamedTuple

from insilico.model import Balance, Model, Quantity
from insilico.vocabulary import Value


class State(NamedTuple):
    depot: Annotated[Value, Quantity("mg", "drug not yet absorbed", lowest=0.0)]
    central: Annotated[Value, Quantity("mg", "drug in the central compartment", lowest=0.0)]


class Parameters(NamedTuple):
    absorption_rate: Annotated[Value, Quantity("1/h", "first-order absorption, KA")]
    central_volume: Annotated[Value, Quantity("L", "volume of the central compartment, V")]
    maximal_elimination: Annotated[Value, Quantity("mg/h", "largest rate of elimination, VM")]
    michaelis_constant: Annotated[
        Value, Quantity("mg/L", "concentration at which elimination is half of that, KM")
    ]


class Outputs(NamedTuple):
    concentration: Annotated[Value, Quantity("mg/L", "concentration in the central compartment")]
    depot: Annotated[Value, Quantity("mg", "drug not yet absorbed")]
    central: Annotated[Value, Quantity("mg", "drug in the central compartment")]


def initial(parameters: Parameters) -> State:
    nothing = 0.0 * parameters.central_volume
    return State(nothing, nothing)


def elimination(state: State, parameters: Parameters) -> Value:
    """Rate of elimination in mg/h."""
    concentration = state.central / parameters.central_volume
    return (
        parameters.maximal_elimination
        * concentration
        / (parameters.michaelis_constant + concentration)
    )


def derivative(time: Value, state: State, parameters: Parameters, inputs: Value) -> State:
    absorbed = parameters.absorption_rate * state.depot
    return State(depot=-absorbed, central=absorbed - elimination(state, parameters))


def outputs(time: Value, state: State, parameters: Parameters) -> Outputs:
    return Outputs(state.central / parameters.central_volume, state.depot, state.central)


MODEL = Model(
    name="one_compartment_michaelis_menten",
    title="One-compartment kinetics with first-order absorption and saturable elimination",
    citation=(
        "Gibaldi M, Perrier D. Pharmacokinetics. 2nd ed. New York: Marcel Dekker; 1982, chapter 7."
    ),
    State=State,
    Parameters=Parameters,
    Outputs=Outputs,
    initial=initial,
    derivative=derivative,
    outputs=outputs,
    fastest_rate=lambda parameters: parameters.absorption_rate,
    typical=Parameters(1.0, 50.0, 20.0, 4.0),
    balances=(
        Balance(
            "drug",
            lambda s, p: s.depot + s.central,
            outflows={"elimination": lambda s, p, i: elimination(s, p)},
        ),
    ),
    validated=(
        "concentration after a bolus: the closed form with Lambert's function (Beal 1983), to 1e-8",
        "all amounts far below KM: the closed form with clearance VM/KM, to 1e-6",
        "the posterior of `one_comp_mm_elim_abs` in posteriordb: its reference draws",
    ),
    limits=(
        "no figure or table of the textbook is reproduced",
        "the concentration must not fall to −KM: a negative amount is not clipped",
    ),
)
