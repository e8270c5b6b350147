"""Glucose and insulin in type 1 diabetes: meals, subcutaneous insulin, plasma and tissue.

The academic simulator of Dalla Man, Rizza and Cobelli, IEEE Trans Biomed Eng 2007; 54:1740-1749,
with the gastric emptying of Dalla Man, Camilleri and Cobelli, ibid. 2006; 53:2472-2478, and no
secretion of insulin, as simglucose 0.2.11 (an implementation of the 2008 version) has it. Symbols
of those papers are named beside each quantity:

    q1' = −kmax·q1 + m;  q2' = kmax·q1 − kgut·q2;  g' = kgut·q2 − kabs·g
    Gp' = max(kp1 − kp2·Gp − kp3·Xl, 0) + f·kabs·g/BW − Fsnc − ke1·max(Gp − ke2, 0) − k1·Gp + k2·Gt
    Gt' = −(Vm0 + Vmx·X)·Gt/(Km0 + Gt) + k1·Gp − k2·Gt
    Ip' = −(m2 + m4)·Ip + m1·Il + (ka1·S1 + ka2·S2)/BW;  Il' = −(m1 + m30)·Il + m2·Ip
    X' = −p2u·(X − (I − Ib));  I1' = −ki·(I1 − I);  Xl' = −ki·(Xl − I1),  I = Ip/Vi
    S1' = IIRb·BW − (ka1 + kd)·S1;  S2' = kd·S1 − ka2·S2;  Gs' = ksc·(Gp − Gs)
    kgut = kmin + (kmax − kmin)/2·(tanh(α·(q1 + q2 − b·D)) − tanh(β·(q1 + q2 − d·D)) + 2),
    α = 5/(2·(1 − b)·D),  β = 5/(2·d·D),  D the latest meal

Insulin under the skin, S1 and S2, is an amount here and not one a kilogram, so that a bolus is a
dose: 6,000 pmol a unit. The steady state is given, not solved for.
"""

from typing import Annotated, NamedTuple

from insilico.model import Balance, Model, Quantity
from insilico.vocabulary import Value, maximum, tanh, where


class State(NamedTuple):
    stomach_solid: Annotated[Value, Quantity("mg", "glucose in the stomach, solid, q1", lowest=0.0)]
    stomach_liquid: Annotated[
        Value, Quantity("mg", "glucose in the stomach, liquid, q2", lowest=0.0)
    ]
    gut: Annotated[Value, Quantity("mg", "glucose in the intestine, g", lowest=0.0)]
    plasma_glucose: Annotated[Value, Quantity("mg/kg", "glucose of plasma, Gp", lowest=0.0)]
    tissue_glucose: Annotated[Value, Quantity("mg/kg", "glucose of tissue, Gt", lowest=0.0)]
    plasma_insulin: Annotated[Value, Quantity("pmol/kg", "insulin of plasma, Ip", lowest=0.0)]
    insulin_action: Annotated[Value, Quantity("pmol/L", "insulin's action on use, X")]
    delayed_insulin: Annotated[Value, Quantity("pmol/L", "delayed insulin, I1")]
    liver_signal: Annotated[Value, Quantity("pmol/L", "insulin's action on production, Xl")]
    liver_insulin: Annotated[Value, Quantity("pmol/kg", "insulin of the liver, Il", lowest=0.0)]
    injected: Annotated[
        Value, Quantity("pmol", "insulin under the skin, as injected, S1", lowest=0.0)
    ]
    dissolved: Annotated[
        Value, Quantity("pmol", "insulin under the skin, dissolved, S2", lowest=0.0)
    ]
    subcutaneous_glucose: Annotated[
        Value, Quantity("mg/kg", "glucose under the skin, Gs", lowest=0.0)
    ]


class Parameters(NamedTuple):
    body_weight: Annotated[Value, Quantity("kg", "body weight, BW")]
    gut_absorption: Annotated[Value, Quantity("1/min", "absorption from the intestine, kabs")]
    fastest_emptying: Annotated[Value, Quantity("1/min", "fastest gastric emptying, kmax")]
    slowest_emptying: Annotated[Value, Quantity("1/min", "slowest gastric emptying, kmin")]
    slowing_share: Annotated[Value, Quantity("1", "share of the meal at which it slows, b")]
    resuming_share: Annotated[Value, Quantity("1", "share of the meal at which it resumes, d")]
    glucose_volume: Annotated[Value, Quantity("dL/kg", "volume of glucose, Vg")]
    insulin_volume: Annotated[Value, Quantity("L/kg", "volume of insulin, Vi")]
    insulin_effect_on_use: Annotated[Value, Quantity("mg*L/kg/min/pmol", "effect on use, Vmx")]
    half_use: Annotated[Value, Quantity("mg/kg", "tissue glucose of half the use, Km0")]
    from_tissue: Annotated[Value, Quantity("1/min", "glucose from tissue to plasma, k2")]
    to_tissue: Annotated[Value, Quantity("1/min", "glucose from plasma to tissue, k1")]
    action_rate: Annotated[Value, Quantity("1/min", "rate of insulin's action on use, p2u")]
    from_liver: Annotated[Value, Quantity("1/min", "insulin from liver to plasma, m1")]
    to_liver: Annotated[Value, Quantity("1/min", "insulin from plasma to liver, m2")]
    plasma_clearance: Annotated[Value, Quantity("1/min", "insulin lost from plasma, m4")]
    liver_clearance: Annotated[Value, Quantity("1/min", "insulin lost in the liver, m30")]
    signal_rate: Annotated[Value, Quantity("1/min", "delay of insulin's signal, ki")]
    glucose_effect: Annotated[Value, Quantity("1/min", "glucose's effect on production, kp2")]
    insulin_effect_on_production: Annotated[
        Value, Quantity("mg*L/kg/min/pmol", "insulin's effect on production, kp3")
    ]
    bioavailability: Annotated[Value, Quantity("1", "share of a meal that appears, f")]
    excretion: Annotated[Value, Quantity("1/min", "renal excretion, ke1")]
    excretion_threshold: Annotated[Value, Quantity("mg/kg", "glucose that is kept, ke2")]
    constant_use: Annotated[Value, Quantity("mg/kg/min", "use without insulin, Fsnc")]
    basal_use: Annotated[Value, Quantity("mg/kg/min", "largest use at basal insulin, Vm0")]
    dissolution: Annotated[Value, Quantity("1/min", "dissolution of injected insulin, kd")]
    sensor_rate: Annotated[Value, Quantity("1/min", "delay of glucose under the skin, ksc")]
    injected_absorption: Annotated[Value, Quantity("1/min", "absorption as injected, ka1")]
    dissolved_absorption: Annotated[Value, Quantity("1/min", "absorption once dissolved, ka2")]
    largest_production: Annotated[Value, Quantity("mg/kg/min", "production at zero, kp1")]
    basal_insulin: Annotated[Value, Quantity("pmol/L", "basal insulin of plasma, Ib")]
    basal_infusion: Annotated[Value, Quantity("pmol/kg/min", "basal infusion of insulin, IIRb")]
    basal_plasma_glucose: Annotated[Value, Quantity("mg/kg", "Gp at the start")]
    basal_tissue_glucose: Annotated[Value, Quantity("mg/kg", "Gt at the start")]
    basal_plasma_insulin: Annotated[Value, Quantity("pmol/kg", "Ip at the start")]
    basal_liver_insulin: Annotated[Value, Quantity("pmol/kg", "Il at the start")]
    basal_injected: Annotated[Value, Quantity("pmol/kg", "S1 at the start, a kg of weight")]
    basal_dissolved: Annotated[Value, Quantity("pmol/kg", "S2 at the start, a kg of weight")]


class Inputs(NamedTuple):
    meal: Annotated[Value, Quantity("mg/min", "glucose eaten, m")]
    last_meal: Annotated[Value, Quantity("mg", "glucose of the latest meal in all, D; 0: none yet")]


class Outputs(NamedTuple):
    glucose: Annotated[Value, Quantity("mg/dL", "glucose of plasma")]
    insulin: Annotated[Value, Quantity("pmol/L", "insulin of plasma")]
    subcutaneous_glucose: Annotated[Value, Quantity("mg/dL", "glucose under the skin")]


def initial(parameters: Parameters) -> State:
    p = parameters
    empty = 0.0 * p.body_weight
    return State(
        stomach_solid=empty,
        stomach_liquid=empty,
        gut=empty,
        plasma_glucose=p.basal_plasma_glucose,
        tissue_glucose=p.basal_tissue_glucose,
        plasma_insulin=p.basal_plasma_insulin,
        insulin_action=0.0 * p.basal_insulin,
        delayed_insulin=p.basal_insulin,
        liver_signal=p.basal_insulin,
        liver_insulin=p.basal_liver_insulin,
        injected=p.basal_injected * p.body_weight,
        dissolved=p.basal_dissolved * p.body_weight,
        subcutaneous_glucose=p.basal_plasma_glucose,
    )


def derivative(time: Value, state: State, parameters: Parameters, inputs: Inputs) -> State:
    s, p = state, parameters
    emptied = _emptying(s.stomach_solid + s.stomach_liquid, p, inputs.last_meal) * s.stomach_liquid
    ground = p.fastest_emptying * s.stomach_solid
    absorbed = p.gut_absorption * s.gut
    production = maximum(
        p.largest_production
        - p.glucose_effect * s.plasma_glucose
        - p.insulin_effect_on_production * s.liver_signal,
        0.0,
    )
    excreted = p.excretion * maximum(s.plasma_glucose - p.excretion_threshold, 0.0)
    used = (
        (p.basal_use + p.insulin_effect_on_use * s.insulin_action)
        * s.tissue_glucose
        / (p.half_use + s.tissue_glucose)
    )
    outward, back = p.to_tissue * s.plasma_glucose, p.from_tissue * s.tissue_glucose
    insulin = s.plasma_insulin / p.insulin_volume
    from_skin = p.injected_absorption * s.injected + p.dissolved_absorption * s.dissolved
    return State(
        stomach_solid=inputs.meal - ground,
        stomach_liquid=ground - emptied,
        gut=emptied - absorbed,
        plasma_glucose=production
        + p.bioavailability * absorbed / p.body_weight
        - p.constant_use
        - excreted
        - outward
        + back,
        tissue_glucose=outward - back - used,
        plasma_insulin=p.from_liver * s.liver_insulin
        + from_skin / p.body_weight
        - (p.to_liver + p.plasma_clearance) * s.plasma_insulin,
        insulin_action=p.action_rate * (insulin - p.basal_insulin - s.insulin_action),
        delayed_insulin=p.signal_rate * (insulin - s.delayed_insulin),
        liver_signal=p.signal_rate * (s.delayed_insulin - s.liver_signal),
        liver_insulin=p.to_liver * s.plasma_insulin
        - (p.from_liver + p.liver_clearance) * s.liver_insulin,
        injected=p.basal_infusion * p.body_weight
        - (p.injected_absorption + p.dissolution) * s.injected,
        dissolved=p.dissolution * s.injected - p.dissolved_absorption * s.dissolved,
        subcutaneous_glucose=p.sensor_rate * (s.plasma_glucose - s.subcutaneous_glucose),
    )


def _emptying(stomach: Value, p: Parameters, meal: Value) -> Value:
    """Rate of gastric emptying, kgut: fast at first and at the end of a meal, slow in between."""
    slowing, resuming = p.slowing_share * meal, p.resuming_share * meal

    def turn(at: Value, width: Value) -> Value:
        # Without a meal there is nothing to empty, and any mass will do.
        return tanh(2.5 * (stomach - at) / where(width > 0.0, width, p.body_weight))

    slows = turn(slowing, meal - slowing)
    resumes = turn(resuming, resuming)
    share = (slows - resumes + 2.0) / 2.0
    return p.slowest_emptying + (p.fastest_emptying - p.slowest_emptying) * share


def outputs(time: Value, state: State, parameters: Parameters) -> Outputs:
    return Outputs(
        state.plasma_glucose / parameters.glucose_volume,
        state.plasma_insulin / parameters.insulin_volume,
        state.subcutaneous_glucose / parameters.glucose_volume,
    )


def fastest_rate(parameters: Parameters) -> Value:
    """The larger of insulin's and, at the start, glucose's own rate."""
    p = parameters
    saturation = p.half_use + p.basal_tissue_glucose
    return maximum(
        p.from_liver + p.to_liver + p.plasma_clearance + p.liver_clearance,
        p.to_tissue + p.from_tissue + p.basal_use * p.half_use / (saturation * saturation),
    )


TYPICAL = Parameters(
    body_weight=102.0,
    gut_absorption=0.0896,
    fastest_emptying=0.0462,
    slowest_emptying=0.00382,
    slowing_share=0.702,
    resuming_share=0.21,
    glucose_volume=1.92,
    insulin_volume=0.0554,
    insulin_effect_on_use=0.0312,
    half_use=253.0,
    from_tissue=0.0874,
    to_tissue=0.0583,
    action_rate=0.0276,
    from_liver=0.153,
    to_liver=0.226,
    plasma_clearance=0.0902,
    liver_clearance=0.232,
    signal_rate=0.00461,
    glucose_effect=0.00469,
    insulin_effect_on_production=0.0121,
    bioavailability=0.899,
    excretion=0.000498,
    excretion_threshold=338.0,
    constant_use=0.996,
    basal_use=3.28,
    dissolution=0.0152,
    sensor_rate=0.077,
    injected_absorption=0.0019,
    dissolved_absorption=0.00779,
    largest_production=4.72977,
    basal_insulin=100.0,
    basal_infusion=1.25418,
    basal_plasma_glucose=265.0,
    basal_tissue_glucose=162.112,
    basal_plasma_insulin=5.54,
    basal_liver_insulin=3.25205,
    basal_injected=73.3441,
    basal_dissolved=143.11,
)
"""Medians of the ensemble benchmark's patients (problem P3, drawn around simglucose's
`adult#001`) to three digits. What belongs to the steady state follows from the others, so that it
starts at rest."""


MODEL = Model(
    name="type_1_diabetes",
    title="Glucose and insulin in type 1 diabetes, with meals and subcutaneous insulin",
    citation=(
        "Dalla Man C, Rizza RA, Cobelli C. Meal simulation model of the glucose-insulin system. "
        "IEEE Trans Biomed Eng 2007; 54:1740-1749."
    ),
    State=State,
    Parameters=Parameters,
    Inputs=Inputs,
    Outputs=Outputs,
    initial=initial,
    derivative=derivative,
    outputs=outputs,
    fastest_rate=fastest_rate,
    time_unit="min",
    typical=TYPICAL,
    balances=(
        Balance(
            "meal",
            lambda s, p: s.stomach_solid + s.stomach_liquid + s.gut,
            inflows={"eaten": lambda s, p, i: i.meal},
            outflows={"absorption": lambda s, p, i: p.gut_absorption * s.gut},
        ),
        Balance(
            "insulin under the skin",
            lambda s, p: s.injected + s.dissolved,
            inflows={"basal infusion": lambda s, p, i: p.basal_infusion * p.body_weight},
            outflows={
                "absorption": lambda s, p, i: (
                    p.injected_absorption * s.injected + p.dissolved_absorption * s.dissolved
                )
            },
        ),
    ),
    validated=(
        "all outputs: reference solutions of 100 patients over a day with three meals (problem P3 "
        "of the ensemble benchmark), to 1e-4 at the nominal tolerance",
    ),
    limits=(
        "no figure or table of the 2007 paper is reproduced; the equations are simglucose's",
        "no counter-regulation: hypoglycaemia is not described",
        "the steady state is a parameter: patients whose own does not fit the others drift",
    ),
)
