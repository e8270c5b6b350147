"""Whether the kernel works on this machine's GPU, found out by a small solve.

Another GPU, driver or version of JAX may refuse what this one compiles. So before the kernel is
taken without having been asked for, it solves a few patients once, and XLA's driver the same.
"""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, NamedTuple

import numpy as np

from insilico.model import Model, Quantity
from insilico.solve.drivers import Choice, Launch
from insilico.vocabulary import Value

PATIENTS = 64

LARGEST_DIFFERENCE = 1e-6
"""Relative, of outputs: both drivers take the same steps, and differ by rounding alone (1e-9 and
less); a kernel that reads a wrong row or a wrong lane is off by far more."""


class _State(NamedTuple):
    depot: Annotated[Value, Quantity("mg", "drug not yet absorbed")]
    central: Annotated[Value, Quantity("mg", "drug in the body")]


class _Parameters(NamedTuple):
    absorption_rate: Annotated[Value, Quantity("1/h", "first-order absorption")]
    volume: Annotated[Value, Quantity("L", "volume of distribution")]
    maximal_elimination: Annotated[Value, Quantity("mg/h", "largest rate of elimination")]


class _Outputs(NamedTuple):
    concentration: Annotated[Value, Quantity("mg/L", "concentration")]


def _derivative(time: Value, state: _State, parameters: _Parameters, inputs: Value) -> _State:
    absorbed = parameters.absorption_rate * state.depot
    concentration = state.central / parameters.volume
    eliminated = parameters.maximal_elimination * concentration / (1.0 + concentration)
    return _State(-absorbed, absorbed - eliminated)


_MODEL = Model(
    name="kernel_check",
    title="One compartment with absorption and saturable elimination",
    citation="made up, to compare drivers",
    State=_State,
    Parameters=_Parameters,
    Outputs=_Outputs,
    initial=lambda parameters: _State(0.0 * parameters.volume, 0.0 * parameters.volume),
    derivative=_derivative,
    outputs=lambda time, state, parameters: _Outputs(state.central / parameters.volume),
    method="tsit5",
)


@functools.cache
def fault(interpreted: bool = False) -> str | None:
    """What is wrong with the kernel on the default device; None if nothing is.

    It may be asked for while another program is traced: it runs in a thread of its own, to which
    JAX's traces do not reach. `interpreted` is for machines without a GPU.
    """
    with ThreadPoolExecutor(1) as alone:
        try:
            difference = alone.submit(_difference, interpreted).result()
        # Whatever Pallas, Triton, the assembler or the driver of the GPU raises: XLA is there.
        except Exception as error:
            said = str(error).splitlines() or [""]
            return f"does not run here ({type(error).__name__}: {said[0][:200]})"
    if not difference <= LARGEST_DIFFERENCE:
        return f"differs from XLA's driver here, by {difference:.1g} in a small solve"
    return None


def _difference(interpreted: bool) -> float:
    """The largest relative difference of both drivers' outputs; NaN where a patient failed."""
    from insilico.solve.batch import submit
    from insilico.solve.events import Dose, Infusion, schedule

    actions = [Dose(0.0, "depot", 100.0), Infusion(6.0, "central", 50.0, 3.0)]
    events, pattern = schedule(_MODEL, actions, observe=[1.0, 6.0, 8.0, 24.0])
    spread = np.linspace(0.5, 2.0, PATIENTS)
    parameters = _Parameters(spread, 20.0 / spread, 5.0 * spread[::-1])
    xla = Choice("xla", "a check")
    kernel = Choice("kernel", "a check", Launch(), None, interpreted)
    ours, theirs = (
        submit(_MODEL, parameters, events, pattern, driver=driver).solution()
        for driver in (kernel, xla)
    )
    found, expected = ours.outputs.concentration, theirs.outputs.concentration
    return float(np.max(np.abs(found - expected) / np.abs(expected)))
