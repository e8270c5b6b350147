"""Event tables as arrays: what was recorded of each patient, and the rows that follow from it."""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from insilico.solve.events import Kind

if TYPE_CHECKING:
    from jax import Array


Interpolation = Literal["nocb", "locf", "linear"]
"""How a covariate goes on between records; see `Covariate`."""


class Role(enum.IntEnum):
    """What an expanded row is to its record; in the order in which rows of one record act."""

    START = 0
    """The patient's first row: its initial state holds at the time of its first record."""
    RESET = 1
    OCCASION = 2
    """From the record on, an input that has a parameter's value in the occasion, number `repeat`,
    has another one."""
    RESTART = 3
    """After a reset to another occasion, the initial state under that one's parameters."""
    STATE = 4
    """Component number `repeat` of the steady state."""
    UNDER_WAY = 5
    """Infusions that implied doses before the record have under way, at steady state."""
    ENDING = 6
    """The end of one of them, number `repeat`."""
    PENDING = 7
    """An implied dose before the record that arrives after it: the record's own is number 0."""
    PENDING_END = 8
    DOSE = 9
    """The record's dose, or its additional dose number `repeat`."""
    INFUSION = 10
    INFUSION_END = 11
    REPLACEMENT = 12
    INPUT = 13
    """From the record on, input number `repeat` has another value."""
    RAMP = 14
    OBSERVATION = 15
    UNUSED = 16


MOVED = (
    Role.ENDING,
    Role.PENDING,
    Role.PENDING_END,
    Role.DOSE,
    Role.INFUSION,
    Role.INFUSION_END,
)
"""What acts at a time of its own: that of its record only where nothing is lagged or repeated."""


class Row(NamedTuple):
    """For each expanded row its `Role`, the record it comes from, and which of several it is.

    Arrays (rows, patients). Rows stand in the order in which they act where no time separates them.
    """

    role: Array | np.ndarray
    record: Array | np.ndarray
    repeat: Array | np.ndarray


class RecordTable(NamedTuple):
    """Records as arrays (records, patients), padded, and the rows that they are expanded to.

    - `time`, `amount`, `rate`, `interval`: TIME, AMT, RATE (-1: modelled rate, -2: modelled
      duration) and II, in the model's units. `compartment`: from 0.
    - `steady`: 0, 1 or 2, as SS; `steady_number`: of a steady-state record within its patient;
      `steady_records`: (steady-state records, patients), the records' places, -1 where a patient
      has fewer.
    - `doses`: whether it gives a dose. `epoch`: how many resets there have been.
    - `until`: the time after which nothing more of the record's dose happens.
    - `values`: of each input, at the record; `after`: from the record on, and `slopes`: how much it
      changes a unit of time until the next one.
    - `observing`: the row that makes the record's output; -1 where a patient has fewer records.
      `measured`: whether it is an observation (EVID 0), whose outputs have to be finite.
    """

    time: Array | np.ndarray
    amount: Array | np.ndarray
    rate: Array | np.ndarray
    interval: Array | np.ndarray
    compartment: Array | np.ndarray
    steady: Array | np.ndarray
    steady_number: Array | np.ndarray
    steady_records: Array | np.ndarray
    doses: Array | np.ndarray
    epoch: Array | np.ndarray
    until: Array | np.ndarray
    values: tuple[Array | np.ndarray, ...]
    after: tuple[Array | np.ndarray, ...]
    slopes: tuple[Array | np.ndarray, ...]
    observing: Array | np.ndarray
    measured: Array | np.ndarray
    row: Row


@dataclasses.dataclass(frozen=True)
class Layout:
    """The part of a table that a compiled program is made for.

    - `records`, `rows`: as many as the patient with the most has.
    - `steady`: steady-state records of the patient with the most.
    - `constant`: whether any of them is a constant infusion.
    - `overlaps`: how many implied doses may be under way or pending at a steady-state record.
    - `infused`: the compartments that are ever infused; `kinds`: of rows, as in a `Pattern`.
    - `roles`: that rows have. `ordered`: whether every row acts in its record's own place, whatever
      the patients' parameters, so that rows need not be sorted.
    """

    records: int
    rows: int
    steady: int
    constant: bool
    overlaps: int
    infused: tuple[int, ...]
    kinds: tuple[Kind, ...]
    roles: tuple[Role, ...]
    ordered: bool
