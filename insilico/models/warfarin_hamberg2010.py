"""S-warfarin kinetics and the INR: Hamberg et al., Clin Pharmacol Ther 2010; 87:727-734.

**Kinetics** (one compartment; the adult model has no effect of body weight):

    gut' = −KA·gut,  central' = KA·gut − CL·C,  C = central / V

A dose is the amount of S-warfarin, half of the racemic tablet's; CL and V are apparent (F = 1).

**Response** (two chains of three compartments with a common input, each starting at 1):

    E = EMAX·C^γ / (EC50^γ + C^γ)
    first' = KTR·(1 − E − first),  second' = KTR·(first − second),  third' = KTR·(second − third)
    KTR = 3 / MTT, with MTT1 for the fast chain and MTT2 for the slow one
    INR = BASE + INRMAX·(1 − (third of fast + third of slow) / 2)

Published typical values and where they stand:

| parameter | value | source |
|---|---|---|
| CL at 71 years | sum over CYP2C9 alleles *1 0.174, *2 0.0879, *3 0.0422 L/h | Table 2 |
| effect of age | CL × (1 − 0.00571·(age − 71)) | Table 2 |
| V | 14.3 L | Table 2 |
| KA | 2.0 /h | fixed |
| EC50 | sum over VKORC1 −1639 alleles G 2.05, A 0.96 mg/L | Table 4, data set C |
| γ | 1.15 | Table 4, data set C |
| MTT1, MTT2 | 28.6 h, 118.3 h | Table 4, data set C |
| EMAX, INRMAX | 1, 20 | fixed |
| BASE | 1 | see below |

None of this was seen in the paper: values and places are those that independent transcriptions of
it give (ReiL's `HambergPKPD2010`; the code of Augustin et al., Front Pharmacol 2023; 14:1270443;
M. Crawford's R simulation; Xia et al., Sci Rep 2024; 14:14894, Table 3, for the kinetics). They
agree on the equations, CL, V, KA, EC50, EMAX and INRMAX. They do not on

- γ, MTT1, MTT2: later papers quote 1.39, 27.2 h and 110.9 h as of 2010, presumably another data
  set's column of Table 4. Columns must not be mixed.
- BASE: 1 in two of them, 1.03 in a comment of a third.
- data set C being fitted to doses and INR alone, with KDE = CL/V and EDK50 = CL·EC50 in place of
  kinetics. At typical values both forms are the same up to the absorption; their between-subject
  variability is not.
- the sign of the age effect, wrong in one of them: clearance falls with age.

The model of 2007 (Clin Pharmacol Ther 2007; 81:529-538) is another: two compartments, chains of six
and one, the product of their ends instead of the mean, and an exponent of 3.61.
"""

from typing import Annotated, NamedTuple

from insilico.model import Balance, Model, Quantity
from insilico.vocabulary import Value, Vector, maximum, power, shift


class State(NamedTuple):
    gut: Annotated[Value, Quantity("mg", "S-warfarin not yet absorbed", lowest=0.0)]
    central: Annotated[Value, Quantity("mg", "S-warfarin in the body", lowest=0.0)]
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
    # Not taylor, whose steps are half as many between daily doses and a visit a day (1.3 times as
    # fast at equal error), but cost 1.4 times as much: on the rows of a dosing trial (COAG: 491
    # steps, 695 by tsit5) nothing is won. Its gradient takes longer to compile, too.
    method="tsit5",
    fastest_rate=lambda parameters: parameters.absorption_rate,
    # 71 years, CYP2C9 *1/*1, VKORC1 G/G: the table above.
    typical=Parameters(0.348, 14.3, 2.0, 3 / 28.6, 3 / 118.3, 4.1, 1.15, 1.0, 20.0, 1.0),
    balances=(
        Balance(
            "drug",
            lambda s, p: s.gut + s.central,
            outflows={"elimination": lambda s, p, i: p.clearance * s.central / p.volume},
        ),
    ),
    validated=(
        "concentration: closed form of 28 daily doses, to 1e-7",
        "concentration and INR: SBML encoding of Augustin et al. (Front Pharmacol 2023; "
        "14:1270443), simulated by libRoadRunner for six patients over 28 days, to 1e-6",
        "maintenance dose of the typical *1/*1 patient of 71 years for an INR of 2.5 (7.71, 5.66 "
        "and 3.61 mg a day with VKORC1 G/G, A/G and A/A), worked out by hand from the published "
        "typical values; the model of 2007 gives 7.72, 5.06 and 3.68 at 70 years (its Table 5)",
    ),
    limits=(
        "equations and values are transcriptions by others; the paper's tables were not seen",
        "no figure or table of the paper itself is reproduced",
        "S-warfarin concentration at an INR of 2.5 lies about a fifth to a third below what Linder "
        "et al. (2009) measured at the target INR (0.46, 0.34, 0.22 against 0.68, 0.48, 0.27 mg/L)",
        "clearance falls linearly with age and knows no body weight: not for children",
        "no vitamin K, no interacting drugs, no R-warfarin",
        "no bound on the INR but its baseline plus 20",
    ),
)
