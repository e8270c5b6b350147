"""The benchmark problems: equations, schedule, virtual patients and reference of each.

One function a problem builds it from the archive `ensemble_problems.npz`; `PROBLEMS` names them.
A problem is written once, for one patient, on tuples of scalars; because every function is
elementwise the same code runs on a block of patients, one array a state.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

State = tuple[Any, ...]
"""One patient's state: a scalar (or an array over patients) a state variable."""

ARCHIVE = "ensemble_problems.npz"
REFERENCE_FLOOR = 1e-3
"""Values below this share of an output's largest are judged against that share (error measure)."""


class MissingProblems(Exception):
    """The archive of problems is not where it was looked for."""


class Rows(NamedTuple):
    """The schedule, cut at every dose, change of input and output: arrays over rows."""

    start: Float[np.ndarray, " rows"]
    stop: Float[np.ndarray, " rows"]
    dose: Float[np.ndarray, " rows"]
    """Amount given at `start`; 0 where there is none."""
    inputs: Float[np.ndarray, "rows inputs"]
    """Inputs held constant over the row (no column where the problem has none)."""
    opens_interval: Bool[np.ndarray, " rows"]
    """Whether the row begins a dose interval."""
    is_output: Bool[np.ndarray, " rows"]
    """Whether `stop` is an output time."""


class Forced(NamedTuple):
    """The problem with its depot solved in closed form: a right-hand side that jumps at doses."""

    initial: Callable[[State], State]
    derivative: Callable[[Any, State, State], State]
    outputs: Callable[[State, State], State]
    jump_times: Float[np.ndarray, " jumps"]


@dataclass(frozen=True)
class Problem:
    """A set of virtual patients to integrate over one schedule.

    `initial(parameters)`, `derivative(time, state, parameters, inputs)`,
    `dosed(state, amount, parameters)` and `outputs(state, parameters)` work on tuples.
    """

    name: str
    title: str
    parameter_names: tuple[str, ...]
    parameters: Float[np.ndarray, "patients parameters"]
    output_times: Float[np.ndarray, " times"]
    reference: Float[np.ndarray, "first_patients times outputs"]
    rows: Rows
    initial: Callable[[State], State]
    derivative: Callable[[Any, State, State, Any], State]
    dosed: Callable[[State, Any, State], State]
    outputs: Callable[[State, State], State]
    fastest_rate: Callable[[Float[np.ndarray, "patients parameters"]], np.ndarray]
    """Fastest rate constant of each patient (1/time): patients sorted by it take like steps."""
    first_step: float
    """Step tried first after a dose."""
    stiff: bool = False
    forced: Forced | None = None

    def max_error(self, outputs: Float[np.ndarray, "patients times outputs"]) -> float:
        """Largest error over outputs, times and the patients that have a reference.

        |y − ref| / max(|ref|, 1e-3·max_t|ref|); NaN where an output is not finite.
        """
        reference = self.reference[: len(outputs)]
        magnitude = np.abs(reference)
        floor = REFERENCE_FLOOR * magnitude.max(axis=1, keepdims=True)
        difference = np.abs(outputs[: len(reference)] - reference)
        return float(np.max(difference / np.maximum(magnitude, floor)))


def load(name: str, folder: Path) -> Problem:
    """Build problem `name` (a key of `PROBLEMS`) from the archive in `folder`.

    Raises `MissingProblems` where the archive is not there.
    """
    path = folder / ARCHIVE
    if not path.is_file():
        raise MissingProblems(
            f"the benchmark problems are missing: {path} is not a file; "
            f"name the folder that holds {ARCHIVE} with --data"
        )
    with np.load(path) as archive:
        return PROBLEMS[name](archive)


def _dosing_rows(
    dose_times: np.ndarray, amount: float, output_times: np.ndarray, n_inputs: int = 0
) -> Rows:
    """Rows of a schedule of equal doses; outputs after time zero close a row."""
    stops = np.union1d(dose_times[dose_times > 0], output_times[output_times > 0])
    starts = np.concatenate([[0.0], stops[:-1]])
    opens = np.isin(starts, dose_times)
    return Rows(
        start=starts,
        stop=stops,
        dose=np.where(opens, amount, 0.0),
        inputs=np.zeros((len(starts), n_inputs)),
        opens_interval=opens,
        is_output=np.isin(stops, output_times),
    )


def _p1(archive: Mapping[str, np.ndarray]) -> Problem:
    """Two-compartment oral PK with an indirect response; 28 daily doses of 100 mg (h, mg, L)."""
    amount, dosing_interval = 100.0, 24.0
    dose_times = dosing_interval * np.arange(28)

    def disposition(absorbed, state, parameters):
        central, peripheral, response = state
        _, CL, V1, Q, V2, KIN, KOUT, IMAX, IC50 = parameters
        concentration = central / V1
        outward = Q / V1 * central
        back = Q / V2 * peripheral
        return (
            absorbed - CL / V1 * central - outward + back,
            outward - back,
            KIN * (1 - IMAX * concentration / (IC50 + concentration)) - KOUT * response,
        )

    def derivative(time, state, parameters, inputs):
        depot, central, peripheral, response = state
        absorbed = parameters[0] * depot
        return (-absorbed, *disposition(absorbed, (central, peripheral, response), parameters))

    def initial(parameters):
        zero = 0.0 * parameters[0]
        return (zero, zero, zero, parameters[5] / parameters[6])

    def forced_derivative(time, state, parameters):
        # Superposition of the doses given so far is a geometric series in exp(−KA·24 h).
        KA = parameters[0]
        last_dose = jnp.floor(time / dosing_interval)
        since_last = jnp.exp(-KA * (time - dosing_interval * last_dose))
        before_first = jnp.exp(-KA * (time + dosing_interval))
        depot = amount * (since_last - before_first) / (1 - jnp.exp(-KA * dosing_interval))
        return disposition(KA * depot, state, parameters)

    return Problem(
        name="P1",
        title="two-compartment oral PK with indirect response, 28 daily doses",
        parameter_names=tuple(str(name) for name in archive["p1_names"]),
        parameters=archive["p1"],
        output_times=archive["p1_times"],
        reference=archive["p1_reference"],
        rows=_dosing_rows(dose_times, amount, archive["p1_times"]),
        initial=initial,
        derivative=derivative,
        dosed=lambda state, dose, parameters: (state[0] + dose, *state[1:]),
        outputs=lambda state, parameters: state[1:],
        fastest_rate=lambda p: np.maximum(p[:, 0], (p[:, 1] + p[:, 3]) / p[:, 2]),
        first_step=0.1,
        forced=Forced(
            initial=lambda parameters: initial(parameters)[1:],
            derivative=forced_derivative,
            outputs=lambda state, parameters: state,
            jump_times=dose_times[1:],
        ),
    )


PROBLEMS: dict[str, Callable[[Mapping[str, np.ndarray]], Problem]] = {"P1": _p1}
