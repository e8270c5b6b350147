"""What a tool gives the harness."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from scripts.bench.problems import Problem


class Unavailable(Exception):
    """The tool cannot run here, or not this problem; the message says why."""


class Settings(NamedTuple):
    """What is asked of every tool alike."""

    relative_tolerance: float
    absolute_tolerance: float
    devices: tuple[Any, ...]
    """JAX devices the patients are split over: host devices, or one GPU."""
    precision: str = "float64"
    """Or `"float32"`, where patients stand side by side."""
    side_by_side: bool = False
    """Whether all patients are lanes of one program, which is how a GPU is filled, with their
    parameters already on the device; a core of a CPU takes block after block instead."""


class Solution(NamedTuple):
    """Outputs of all patients, in the order the patients were given."""

    outputs: Float[np.ndarray, "patients times outputs"]
    """Of a tool that gives gradients: (patients, parameters), of the sum of a patient's outputs."""
    steps: Int[np.ndarray, " patients"] | None
    """Steps taken for each patient, rejected ones included; None where the tool does not tell."""
    patients: Int[np.ndarray, " known"] | None = None
    """The patients that `outputs` is of, ascending, where it is not of all: ten million patients'
    outputs had better stay on the device."""


class Prepared(NamedTuple):
    """A tool made ready for one set of patients. Only `run` is timed."""

    run: Callable[[], Any]
    """Solves all patients; returns when the results are in memory, in the tool's own layout."""
    gather: Callable[[Any], Solution]
    """Puts what `run` returned into the common layout."""
    waste: Callable[[Solution], float] | None = None
    """Lockstep waste: turns of a block's loop, times its lanes, over the steps that these lanes
    asked for; the mean over blocks. Found outside the timing; None where patients are not solved
    in lockstep or it is not known."""


class Tool(NamedTuple):
    """One way to solve the patients.

    `prepare(problem, patients, settings, lanes)` takes the first `patients` of the problem in
    blocks of `lanes`, and raises `Unavailable` where it cannot.
    """

    name: str
    description: str
    prepare: Callable[[Problem, int, Settings, int], Prepared]
    lanes: int
    """Patients a block, where the tool leaves the choice; the best found on the machine class of
    RESULTS.md."""
    lane_choices: tuple[int, ...] = ()
    """Block sizes that `--tune` tries."""
    reproducible_per_patient: bool = True
    """Whether a patient's numbers do not depend on the patients solved beside it."""
    baseline: bool = False
    """Whether the tool may be the baseline: the fastest of those in a run is."""
    most_patients: int | None = None
    """A slow tool solves at most so many, the first; its rate is that of those it solved."""
    own_tolerances: bool = False
    """Whether the tool keeps to tolerances of its own, whatever the settings say."""
    gradient_of: str | None = None
    """For a tool that gives gradients: the tool whose plain solve it is measured against."""
