"""P3: one day of a 13-state type-1-diabetes model, three meals with a bolus each (min, mg, pmol).

The equations of simglucose 0.2.11, an implementation of the academic simulator of Dalla Man,
Rizza and Cobelli (IEEE Trans Biomed Eng 2007; 54: 1740) as published in 2008.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from scripts.bench.problems.problem import Problem, cut_rows

PICOMOLES_A_UNIT = 6000.0


class Parameters(NamedTuple):
    """In the order of the archive and with the names of the model's authors."""

    BW: Any
    kabs: Any
    kmax: Any
    kmin: Any
    b: Any
    d: Any
    Vg: Any
    Vi: Any
    Vmx: Any
    Km0: Any
    k2: Any
    k1: Any
    p2u: Any
    m1: Any
    m2: Any
    m4: Any
    m30: Any
    ki: Any
    kp2: Any
    kp3: Any
    f: Any
    ke1: Any
    ke2: Any
    Fsnc: Any
    Vm0: Any
    kd: Any
    ksc: Any
    ka1: Any
    ka2: Any
    kp1: Any
    Ib: Any
    IIRb: Any
    Gpb: Any
    Gtb: Any
    Ipb: Any
    Ilb: Any
    isc1: Any
    isc2: Any


def type_1_diabetes(archive: Mapping[str, np.ndarray]) -> Problem:
    """Outputs are the glucose and insulin of plasma and the glucose under the skin.

    An interval's inputs are the meal's rate (mg/min) and Dbar, the glucose (mg) of the latest
    meal, by which the stomach empties; its dose is a bolus in units of insulin.
    """
    names = tuple(str(name) for name in archive["p3_names"])
    if names != Parameters._fields:
        raise ValueError(f"p3_names of the archive are {names}, not {Parameters._fields}")
    start, _, meal_rate, Dbar, bolus = archive["p3_segments"].T

    def derivative(time, state, parameters, inputs):
        q1, q2, g, Gp, Gt, Ip, X, I1, Xl, Il, S1, S2, Gs = state
        p = Parameters(*parameters)
        meal, Dbar = inputs[0], inputs[1]
        stomach = q1 + q2
        slows = jnp.tanh(2.5 / ((1 - p.b) * Dbar) * (stomach - p.b * Dbar))
        resumes = jnp.tanh(2.5 / (p.d * Dbar) * (stomach - p.d * Dbar))
        kgut = p.kmin + (p.kmax - p.kmin) / 2 * (slows - resumes + 2)
        appearance = p.f * p.kabs * g / p.BW
        production = jnp.maximum(p.kp1 - p.kp2 * Gp - p.kp3 * Xl, 0.0)
        excretion = p.ke1 * jnp.maximum(Gp - p.ke2, 0.0)
        utilization = (p.Vm0 + p.Vmx * X) * Gt / (p.Km0 + Gt)
        insulin = Ip / p.Vi
        return (
            -p.kmax * q1 + meal,
            p.kmax * q1 - kgut * q2,
            kgut * q2 - p.kabs * g,
            production + appearance - p.Fsnc - excretion - p.k1 * Gp + p.k2 * Gt,
            -utilization + p.k1 * Gp - p.k2 * Gt,
            -(p.m2 + p.m4) * Ip + p.m1 * Il + p.ka1 * S1 + p.ka2 * S2,
            -p.p2u * X + p.p2u * (insulin - p.Ib),
            -p.ki * (I1 - insulin),
            -p.ki * (Xl - I1),
            -(p.m1 + p.m30) * Il + p.m2 * Ip,
            p.IIRb - (p.ka1 + p.kd) * S1,
            p.kd * S1 - p.ka2 * S2,
            p.ksc * (Gp - Gs),
        )

    def initial(parameters):
        p = Parameters(*parameters)
        zero = 0.0 * p.BW
        glucose = (p.Gpb, p.Gtb)
        insulin = (p.Ipb, zero, p.Ib, p.Ib, p.Ilb, p.isc1, p.isc2)
        return (zero, zero, zero, *glucose, *insulin, p.Gpb)

    def dosed(state, bolus, parameters):
        injected = PICOMOLES_A_UNIT * bolus / Parameters(*parameters).BW
        return (*state[:10], state[10] + injected, *state[11:])

    def outputs(state, parameters):
        p = Parameters(*parameters)
        return state[3] / p.Vg, state[5] / p.Vi, state[12] / p.Vg

    def fastest_rate(values):
        p = Parameters(*values.T)
        insulin = p.m1 + p.m2 + p.m4 + p.m30
        return np.maximum(insulin, p.k1 + p.k2 + p.Vm0 * p.Km0 / (p.Km0 + p.Gtb) ** 2)

    return Problem(
        name="P3",
        title="one day of a 13-state type-1-diabetes model, three meals",
        parameter_names=names,
        parameters=archive["p3"],
        output_times=archive["p3_times"],
        reference=archive["p3_reference"],
        reference_patients=np.arange(len(archive["p3_reference"])),
        rows=cut_rows(start, bolus, archive["p3_times"], np.stack([meal_rate, Dbar], axis=1)),
        initial=initial,
        derivative=derivative,
        dosed=dosed,
        outputs=outputs,
        fastest_rate=fastest_rate,
        first_step=1.0,
    )
