"""What a benchmark problem is, whatever its equations: patients, schedule, reference, error."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

State = tuple[Any, ...]
"""One patient's state: a scalar (or an array over patients) a state variable."""

REFERENCE_FLOOR = 1e-3
"""Values below this share of an output's largest are judged against that share (error measure)."""


class TooFewPatients(Exception):
    """The problem has fewer patients than were asked for."""


class Rows(NamedTuple):
    """The schedule, cut at every dose, change of input and output: arrays over rows."""

    start: Float[np.ndarray, " rows"]
    stop: Float[np.ndarray, " rows"]
    dose: Float[np.ndarray, " rows"]
    """Amount given at `start`; 0 where there is none."""
    inputs: Float[np.ndarray, "rows inputs"]
    """Inputs held constant over the row (no column where the problem has none)."""
    opens_interval: Bool[np.ndarray, " rows"]
    """Whether the row begins an interval: the time from one dose or change of input to the next,
    over which the solution is smooth."""
    is_output: Bool[np.ndarray, " rows"]
    """Whether `stop` is an output time."""

    def intervals(self) -> list["Rows"]:
        """The rows of each interval."""
        bounds = [*np.flatnonzero(self.opens_interval), len(self.start)]
        return [Rows(*(column[a:b] for column in self)) for a, b in pairwise(bounds)]


def cut_rows(
    starts: Float[np.ndarray, " intervals"],
    doses: Float[np.ndarray, " intervals"],
    output_times: Float[np.ndarray, " times"],
    inputs: Float[np.ndarray, "intervals inputs"] | None = None,
) -> Rows:
    """Rows of intervals that begin at `starts`, the first at 0; the last output ends the last."""
    stops = np.union1d(starts[1:], output_times[output_times > 0])
    begins = np.concatenate([[0.0], stops[:-1]])
    interval = np.searchsorted(starts, begins, side="right") - 1
    opens = np.isin(begins, starts)
    return Rows(
        start=begins,
        stop=stops,
        dose=np.where(opens, doses[interval], 0.0),
        inputs=np.zeros((len(begins), 0)) if inputs is None else inputs[interval],
        opens_interval=opens,
        is_output=np.isin(stops, output_times),
    )


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
    `dosed(state, amount, parameters)` and `outputs(state, parameters)` work on tuples. All but
    `derivative` and the functions of `forced` take NumPy arrays as well as JAX's.
    """

    name: str
    title: str
    parameter_names: tuple[str, ...]
    parameters: Float[np.ndarray, "patients parameters"]
    output_times: Float[np.ndarray, " times"]
    """Ascending, the first at the start of the schedule, 0."""
    reference: Float[np.ndarray, "references times outputs"]
    reference_patients: Int[np.ndarray, " references"]
    """The patients the reference is of, ascending."""
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

    def first(self, patients: int) -> "Problem":
        """The problem with its first `patients` only; raises `TooFewPatients`."""
        if patients > len(self.parameters):
            raise TooFewPatients(f"{self.name} has {len(self.parameters)} patients, not {patients}")
        return replace(self, parameters=self.parameters[:patients])

    def repeated(self, patients: int) -> "Problem":
        """The problem with that many patients, its own again and again where it has fewer."""
        numbers = np.arange(patients) % len(self.parameters)
        return replace(self, parameters=self.parameters[numbers])

    def of_references(self) -> "Problem":
        """The problem with only those of its patients that have a reference."""
        known = self.reference_patients < len(self.parameters)
        return replace(
            self,
            parameters=self.parameters[self.reference_patients[known]],
            reference=self.reference[known],
            reference_patients=np.arange(known.sum()),
        )

    def max_error(
        self,
        outputs: Float[np.ndarray, "patients times outputs"],
        patients: Int[np.ndarray, " patients"] | None = None,
    ) -> float:
        """Largest error over outputs, times and the patients that have a reference.

        `outputs` are of the first patients, or of those whose numbers `patients` holds, ascending.
        |y − ref| / max(|ref|, 1e-3·max_t|ref|), or |y| for an output that is zero throughout; NaN
        where an output is not finite or no patient has a reference.
        """
        if patients is None:
            patients = np.arange(len(outputs))
        known = np.isin(self.reference_patients, patients)
        if not known.any():
            return float("nan")
        reference = self.reference[known]
        magnitude = np.abs(reference)
        floor = REFERENCE_FLOOR * magnitude.max(axis=1, keepdims=True)
        scale = np.maximum(magnitude, floor)
        found = outputs[np.searchsorted(patients, self.reference_patients[known])]
        difference = np.abs(found - reference)
        return float(np.max(difference / np.where(scale > 0, scale, 1.0)))
