"""Warfarin and the activity of the prothrombin complex.

The system of Holford, Clin Pharmacokinet 1986; 11:483-504: kinetics of one compartment, a synthesis
of clotting factors that the concentration inhibits by Emax, and their first-order loss. Doses go
through two absorption steps of one rate, in place of a lag that would have the same data:

    depot' = −KA·depot
    gut' = KA·(depot − gut)
    central' = KA·gut − CL/V·central
    activity' = KOUT·A0·(1 − IMAX·C/(IC50 + C)) − KOUT·activity,  C = central/V

The activity starts at A0, in percent of normal. Typical values: the abstract of that review, per
70 kg, has 10 L, 0.2 L/h, 1.5 mg/L, a synthesis of 5 %/h and a half-life of 17 h, which is a loss of
0.041 1/h; the rate of absorption, A0 and IMAX are merely plausible.
"""

from typing import Annotated, NamedTuple

from insilico.model import Balance, Model, Quantity
from insilico.vocabulary import Value


class State(NamedTuple):
    depot: Annotated[Value, Quantity("mg", "drug not yet absorbed", lowest=0.0)]
    gut: Annotated[Value, Quantity("mg", "drug on its way into the body", lowest=0.0)]
    central: Annotated[Value, Quantity("mg", "drug in the body", lowest=0.0)]
    activity: Annotated[
        Value, Quantity("%", "prothrombin complex activity, of normal", negligible=10.0)
    ]


class Parameters(NamedTuple):
    absorption_rate: Annotated[Value, Quantity("1/h", "of each of two steps, KA")]
    clearance: Annotated[Value, Quantity("L/h", "clearance, CL")]
    volume: Annotated[Value, Quantity("L", "volume of distribution, V")]
    baseline_activity: Annotated[Value, Quantity("%", "activity without drug, A0")]
    maximal_inhibition: Annotated[Value, Quantity("1", "largest inhibition of synthesis, IMAX")]
    half_inhibition_concentration: Annotated[Value, Quantity("mg/L", "IC50")]
    loss: Annotated[Value, Quantity("1/h", "first-order loss of activity, KOUT")]


class Outputs(NamedTuple):
    concentration: Annotated[Value, Quantity("mg/L", "warfarin concentration")]
    activity: Annotated[Value, Quantity("%", "prothrombin complex activity, of normal")]


def initial(parameters: Parameters) -> State:
    nothing = 0.0 * parameters.clearance
    return State(nothing, nothing, nothing, parameters.baseline_activity + nothing)


def derivative(time: Value, state: State, parameters: Parameters, inputs: Value) -> State:
    p = parameters
    released, absorbed = p.absorption_rate * state.depot, p.absorption_rate * state.gut
    concentration = state.central / p.volume
    inhibition = (
        p.maximal_inhibition * concentration / (p.half_inhibition_concentration + concentration)
    )
    return State(
        depot=-released,
        gut=released - absorbed,
        central=absorbed - p.clearance / p.volume * state.central,
        activity=p.loss * (p.baseline_activity * (1.0 - inhibition) - state.activity),
    )


def outputs(time: Value, state: State, parameters: Parameters) -> Outputs:
    return Outputs(state.central / parameters.volume, state.activity)


MODEL = Model(
    name="warfarin_holford1986",
    title="Warfarin and the activity of the prothrombin complex",
    citation=(
        "Holford NHG. Clinical pharmacokinetics and pharmacodynamics of warfarin. Understanding "
        "the dose-effect relationship. Clin Pharmacokinet 1986; 11:483-504."
    ),
    State=State,
    Parameters=Parameters,
    Outputs=Outputs,
    initial=initial,
    derivative=derivative,
    outputs=outputs,
    method="taylor",
    fastest_rate=lambda parameters: parameters.absorption_rate,
    typical=Parameters(1.0, 0.2, 10.0, 100.0, 0.95, 1.5, 0.041),
    balances=(
        Balance(
            "drug",
            lambda s, p: s.depot + s.gut + s.central,
            outflows={"elimination": lambda s, p, i: p.clearance / p.volume * s.central},
        ),
    ),
    validated=(
        "concentration: its closed form after one dose, to 1e-6",
        "activity: its steady state under a constant concentration, to 1e-6",
        "the abstract's 3 days to a stable effect under a constant concentration (test)",
    ),
    limits=(
        "only the abstract of the review was read; prothrombin time is not modelled",
        "the enantiomers are taken together, as the review does",
    ),
)
