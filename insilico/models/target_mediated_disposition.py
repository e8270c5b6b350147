"""Target-mediated drug disposition: the full model of binding, with absorption from a depot.

Mager and Jusko, J Pharmacokinet Pharmacodyn 2001; 28:507-532 (the general model, with a tissue
compartment), with first-order absorption added; the depot in nmol, everything else in nmol/L:

    depot' = −KA·depot
    drug' = KA·depot/V1 − (CL + Q)/V1·drug + Q/V1·tissue − binding
    tissue' = Q/V2·(drug − tissue)
    target' = KSYN − KDEG·target − binding
    complex' = binding − KINT·complex,  binding = KON·drug·target − KOFF·complex

The target starts at KSYN/KDEG, nothing else is there. It is a model of a kind, not of a drug: its
typical values are those of the ensemble benchmark, made up to be plausible.
"""

from typing import Annotated, NamedTuple

from insilico.model import Balance, Model, Quantity
from insilico.vocabulary import Value


class State(NamedTuple):
    depot: Annotated[Value, Quantity("nmol", "drug not yet absorbed", lowest=0.0)]
    drug: Annotated[Value, Quantity("nmol/L", "free drug in the central compartment", lowest=0.0)]
    tissue: Annotated[Value, Quantity("nmol/L", "free drug in tissue", lowest=0.0)]
    target: Annotated[Value, Quantity("nmol/L", "free target", lowest=0.0)]
    complex: Annotated[Value, Quantity("nmol/L", "drug bound to target", lowest=0.0)]


class Parameters(NamedTuple):
    absorption_rate: Annotated[Value, Quantity("1/h", "first-order absorption, KA")]
    clearance: Annotated[Value, Quantity("L/h", "linear clearance, CL")]
    central_volume: Annotated[Value, Quantity("L", "volume of the central compartment, V1")]
    intercompartmental_clearance: Annotated[Value, Quantity("L/h", "exchange with tissue, Q")]
    tissue_volume: Annotated[Value, Quantity("L", "volume of tissue, V2")]
    association: Annotated[Value, Quantity("L/nmol/h", "binding of drug and target, KON")]
    dissociation: Annotated[Value, Quantity("1/h", "release from the complex, KOFF")]
    internalisation: Annotated[Value, Quantity("1/h", "elimination of the complex, KINT")]
    degradation: Annotated[Value, Quantity("1/h", "elimination of free target, KDEG")]
    synthesis: Annotated[Value, Quantity("nmol/L/h", "production of target, KSYN")]


class Outputs(NamedTuple):
    drug: Annotated[Value, Quantity("nmol/L", "free drug in the central compartment")]
    target: Annotated[Value, Quantity("nmol/L", "free target")]
    complex: Annotated[Value, Quantity("nmol/L", "drug bound to target")]


def initial(parameters: Parameters) -> State:
    nothing = 0.0 * parameters.clearance
    target = parameters.synthesis / parameters.degradation
    return State(nothing, nothing, nothing, target, nothing)


def derivative(time: Value, state: State, parameters: Parameters, inputs: Value) -> State:
    p = parameters
    exchange = p.intercompartmental_clearance * (state.drug - state.tissue)
    binding = p.association * state.drug * state.target - p.dissociation * state.complex
    absorbed = p.absorption_rate * state.depot
    return State(
        depot=-absorbed,
        drug=(absorbed - p.clearance * state.drug - exchange) / p.central_volume - binding,
        tissue=exchange / p.tissue_volume,
        target=p.synthesis - p.degradation * state.target - binding,
        complex=binding - p.internalisation * state.complex,
    )


def outputs(time: Value, state: State, parameters: Parameters) -> Outputs:
    return Outputs(state.drug, state.target, state.complex)


MODEL = Model(
    name="target_mediated_disposition",
    title="Target-mediated drug disposition, full binding, with absorption",
    citation=(
        "Mager DE, Jusko WJ. General pharmacokinetic model for drugs exhibiting target-mediated "
        "drug disposition. J Pharmacokinet Pharmacodyn 2001; 28:507-532."
    ),
    State=State,
    Parameters=Parameters,
    Outputs=Outputs,
    initial=initial,
    derivative=derivative,
    outputs=outputs,
    fastest_rate=lambda p: p.association * p.synthesis / p.degradation,
    method="rodas4",
    typical=Parameters(0.01, 0.01, 3.0, 0.02, 3.0, 1.0, 0.1, 0.03, 0.02, 0.2),
    balances=(
        Balance(
            "drug",
            lambda s, p: (
                s.depot + p.central_volume * (s.drug + s.complex) + p.tissue_volume * s.tissue
            ),
            outflows={
                "elimination": lambda s, p, i: p.clearance * s.drug,
                "internalisation": lambda s, p, i: p.central_volume * p.internalisation * s.complex,
            },
        ),
        Balance(
            "target",
            lambda s, p: s.target + s.complex,
            inflows={"synthesis": lambda s, p, i: p.synthesis},
            outflows={
                "degradation": lambda s, p, i: p.degradation * s.target,
                "internalisation": lambda s, p, i: p.internalisation * s.complex,
            },
        ),
    ),
    validated=(
        "all outputs: reference solutions of 100 patients with 12 weekly doses (problem P2 of the "
        "ensemble benchmark), to 1e-5 at the nominal tolerance",
    ),
    limits=(
        "no figure or table of the 2001 paper is reproduced",
        "stiff: an explicit method needs hundreds of times the steps",
    ),
)
