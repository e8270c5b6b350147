"""What a GPU could do at most, estimated from the arithmetic of a trial step and from its memory.

    patients/s ≤ min(peak arithmetic / operations a patient, bandwidth / bytes a patient)

Operations a patient are those of one turn of the solver's loop, counted in its jaxpr, times the
steps that the patients took: every elementwise operation on floating-point numbers counts as one, a
division or an exponential too, although they cost many. What is done at rows is left out, and so is
waiting in lockstep. Bytes are those of parameters, outputs and final state, each moved once. So it
is an upper bound, and a rough one: a device reaches its peak by fused multiply-adds alone.
"""

from typing import Any, NamedTuple

import numpy as np


class Peak(NamedTuple):
    """What a device's data sheet says."""

    float64: float
    """Operations a second outside tensor cores."""
    float32: float
    bandwidth: float
    """Bytes a second of its memory."""


PEAKS = {
    "H200": Peak(34e12, 67e12, 4.8e12),
    "H100 PCIe": Peak(26e12, 51e12, 2.0e12),
    "H100": Peak(34e12, 67e12, 3.35e12),
    "A100": Peak(9.7e12, 19.5e12, 2.0e12),
    "V100": Peak(7.8e12, 15.7e12, 0.9e12),
    "L40S": Peak(1.4e12, 91.6e12, 0.864e12),
    "L4": Peak(0.47e12, 30.3e12, 0.3e12),
    "T4": Peak(0.25e12, 8.1e12, 0.32e12),
}
"""By a part of the device's name; NVIDIA's data sheets, the first that fits."""

ARITHMETIC = frozenset(
    "add sub mul div neg max min abs sqrt rsqrt exp exp2 expm1 log log1p pow integer_pow tanh "
    "logistic sin cos square add_any".split()
)


def peak_of(device_kind: str) -> Peak | None:
    """The peak of a device; None where it is not known here."""
    return next((peak for name, peak in PEAKS.items() if name in device_kind), None)


def operations_a_step(program: Any, lanes: int) -> float:
    """Operations of one turn of a jaxpr's innermost `while` loop with the most, for one lane."""
    loops = list(_innermost_loops(program.jaxpr))
    if not loops:
        raise ValueError("the program has no loop of steps")
    return max(map(_operations, loops)) / lanes


def patients_a_second(
    peak: Peak, precision: str, operations_a_patient: float, numbers_a_patient: float
) -> float:
    """The roof."""
    size = np.dtype(precision).itemsize
    arithmetic = peak.float64 if precision == "float64" else peak.float32
    return min(arithmetic / operations_a_patient, peak.bandwidth / (size * numbers_a_patient))


def _inside(equation: Any) -> list[Any]:
    """The jaxprs that an operation runs."""
    values = equation.params.values()
    each = [one for value in values for one in (value if isinstance(value, tuple) else (value,))]
    inner = [getattr(one, "jaxpr", one) for one in each]
    return [one for one in inner if hasattr(one, "eqns")]


def _innermost_loops(jaxpr: Any) -> list[Any]:
    found = []
    for equation in jaxpr.eqns:
        deeper = [loop for one in _inside(equation) for loop in _innermost_loops(one)]
        if equation.primitive.name == "while" and not deeper:
            deeper = [equation.params["body_jaxpr"].jaxpr]
        found += deeper
    return found


def _operations(jaxpr: Any) -> float:
    total = 0.0
    for equation in jaxpr.eqns:
        total += sum(_operations(one) for one in _inside(equation))
        if equation.primitive.name in ARITHMETIC:
            result = equation.outvars[0].aval
            if np.issubdtype(result.dtype, np.floating):
                total += float(np.prod(result.shape))
    return total
