"""The membrane of the squid's giant axon: Hodgkin and Huxley, J Physiol 1952; 117:500-544.

A patch of membrane at one potential V, the departure from rest, here positive where the membrane is
depolarised (the paper has the other sign throughout):

    C·V' = I − GNA·m³·h·(V − VNA) − GK·n⁴·(V − VK) − GL·(V − VL)
    m' = φ·(αm·(1 − m) − βm·m), h and n alike

    αm = 0.1·(25 − V) / (exp((25 − V)/10) − 1)    βm = 4·exp(−V/18)
    αh = 0.07·exp(−V/20)                           βh = 1 / (exp((30 − V)/10) + 1)
    αn = 0.01·(10 − V) / (exp((10 − V)/10) − 1)   βn = 0.125·exp(−V/80)

with V in mV, rates in 1/ms and φ = 3^((T − 6.3 °C)/10 °C). The gates start at the steady state of
V = 0. `SQUID_AXON` are the values of Table 3. A `Dose` into `potential` is a shock: a charge put on
the membrane at once; the input `current` is what an electrode passes, per area.

Equations and constants are those that NEURON's `hh.mod` (with V shifted by −65 mV: 50, −77 and
−54.3 mV for the ions) and a page on the model (ibiblio.org/e-notes/html5/hh.html, with the paper's
signs) give independently. They agree but for VL, 10.7 and 10.613 mV. The second, the paper's, is
used: it is meant to leave no current at rest, and leaves 0.004 uA/cm^2, for rest at 0.004 mV.
"""

from typing import Annotated, NamedTuple

from insilico.model import Model, Quantity
from insilico.vocabulary import Value, absolute, exp, where


class State(NamedTuple):
    potential: Annotated[Value, Quantity("mV", "departure of the potential from rest, V")]
    sodium_activation: Annotated[Value, Quantity("1", "activation of sodium channels, m")]
    sodium_inactivation: Annotated[Value, Quantity("1", "share not inactivated, h")]
    potassium_activation: Annotated[Value, Quantity("1", "activation of potassium channels, n")]


class Parameters(NamedTuple):
    capacitance: Annotated[Value, Quantity("uF/cm^2", "capacitance of the membrane, C")]
    sodium_conductance: Annotated[Value, Quantity("mS/cm^2", "largest for sodium, GNA")]
    potassium_conductance: Annotated[Value, Quantity("mS/cm^2", "largest for potassium, GK")]
    leak_conductance: Annotated[Value, Quantity("mS/cm^2", "conductance of the leak, GL")]
    sodium_potential: Annotated[Value, Quantity("mV", "reversal for sodium from rest, VNA")]
    potassium_potential: Annotated[Value, Quantity("mV", "reversal for potassium from rest, VK")]
    leak_potential: Annotated[Value, Quantity("mV", "reversal of the leak from rest, VL")]
    gating_rate: Annotated[Value, Quantity("1/ms", "what multiplies all rates of gates, φ")]
    gating_potential: Annotated[Value, Quantity("mV", "unit of V in the rates of gates: 1 mV")]


class Inputs(NamedTuple):
    current: Annotated[Value, Quantity("uA/cm^2", "depolarising current, I")]


class Outputs(NamedTuple):
    potential: Annotated[Value, Quantity("mV", "departure of the potential from rest")]
    sodium_current: Annotated[Value, Quantity("uA/cm^2", "outward current of sodium")]
    potassium_current: Annotated[Value, Quantity("uA/cm^2", "outward current of potassium")]


SQUID_AXON = Parameters(
    capacitance=1.0,
    sodium_conductance=120.0,
    potassium_conductance=36.0,
    leak_conductance=0.3,
    sodium_potential=115.0,
    potassium_potential=-12.0,
    leak_potential=10.613,
    gating_rate=1.0,
    gating_potential=1.0,
)
"""Table 3, at 6.3 °C."""


class _Rates(NamedTuple):
    opening: State
    closing: State


def _ramp(x: Value) -> Value:
    """x / (exp(x) − 1), by its series where that is 0/0."""
    near = absolute(x) < 1e-3
    far = where(near, 1.0, x)
    return where(near, 1.0 - x / 2.0 + x * x / 12.0, far / (exp(far) - 1.0))


def _gating(potential: Value, p: Parameters) -> _Rates:
    """α and β of each gate; those of the potential mean nothing."""
    v, rate = potential / p.gating_potential, p.gating_rate
    return _Rates(
        opening=State(
            0.0,
            rate * _ramp((25.0 - v) / 10.0),
            rate * 0.07 * exp(-v / 20.0),
            rate * 0.1 * _ramp((10.0 - v) / 10.0),
        ),
        closing=State(
            0.0,
            rate * 4.0 * exp(-v / 18.0),
            rate / (exp((30.0 - v) / 10.0) + 1.0),
            rate * 0.125 * exp(-v / 80.0),
        ),
    )


def initial(parameters: Parameters) -> State:
    rest = 0.0 * parameters.gating_potential
    opening, closing = _gating(rest, parameters)
    return State(rest, *(a / (a + b) for a, b in zip(opening[1:], closing[1:], strict=True)))


def _sodium(state: State, p: Parameters) -> Value:
    m = state.sodium_activation
    open_share = m * m * m * state.sodium_inactivation
    return p.sodium_conductance * open_share * (state.potential - p.sodium_potential)


def _potassium(state: State, p: Parameters) -> Value:
    square = state.potassium_activation * state.potassium_activation
    return p.potassium_conductance * square * square * (state.potential - p.potassium_potential)


def derivative(time: Value, state: State, parameters: Parameters, inputs: Inputs) -> State:
    p = parameters
    leak = p.leak_conductance * (state.potential - p.leak_potential)
    outward = _sodium(state, p) + _potassium(state, p) + leak
    opening, closing = _gating(state.potential, p)
    return State(
        (inputs.current - outward) / p.capacitance,
        *(
            a * (1.0 - gate) - b * gate
            for a, b, gate in zip(opening[1:], closing[1:], state[1:], strict=True)
        ),
    )


def outputs(time: Value, state: State, parameters: Parameters) -> Outputs:
    return Outputs(state.potential, _sodium(state, parameters), _potassium(state, parameters))


MODEL = Model(
    name="hodgkin_huxley1952",
    title="Membrane of the squid giant axon",
    citation=(
        "Hodgkin AL, Huxley AF. A quantitative description of membrane current and its "
        "application to conduction and excitation in nerve. J Physiol 1952; 117:500-544."
    ),
    State=State,
    Parameters=Parameters,
    Inputs=Inputs,
    Outputs=Outputs,
    initial=initial,
    derivative=derivative,
    outputs=outputs,
    method="rush_larsen2",
    step=0.01,
    gates=("sodium_activation", "sodium_inactivation", "potassium_activation"),
    time_unit="ms",
    typical=SQUID_AXON,
    validated=(
        "a shock of 7 mV fires and one of 6 mV does not (the paper's figure 12), by every method "
        "of a stated step",
        "gates at rest: 0.053, 0.596 and 0.318, as in the transcriptions",
        "currents at which rest loses its stability and regains it: 9.78 and 154.5 uA/cm^2 "
        "(Hassard, J Theor Biol 1978; 71:401-420), to 0.01 and 0.1",
        "current from which it fires for ever: between 6.2 and 6.3 uA/cm^2 (Rinzel and Miller, "
        "Math Biosci 1980; 49:27-59, have 6.26)",
    ),
    limits=(
        "no conduction: one patch of membrane, not the cable of the paper's second half",
        "6.3 °C unless the rate of gating says otherwise; conductances are not made to depend on "
        "temperature",
        "the paper's own pages were not seen, only transcriptions that agree",
    ),
)
