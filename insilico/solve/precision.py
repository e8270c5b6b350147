"""Single precision: what it can do, and how far what it did is from the truth.

Numbers of 32 bits hold seven digits. Tolerances below what that allows are raised to it, and every
solve measures its own error: a sample of the same patients is solved again in double precision and
to a tighter tolerance.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from insilico.solve import methods
from insilico.solve.tolerances import LARGEST_SHIFT, Precision, Tolerances

PRECISIONS: tuple[Precision, ...] = ("double", "single")

TIGHTER = 1e-3
"""Tolerances of the sample, in those of the solve."""

SAMPLE = 256
"""Patients whose error is measured, at most."""

SMALL = 1e-3
"""Errors are relative to a value, but to no less than this share of the patient's largest."""


def check(precision: str, method: str) -> None:
    """Raise `ValueError` for a precision that there is not, or that a method cannot do."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}; found {precision!r}")
    if precision == "single" and method in methods.STOCHASTIC:
        raise ValueError(
            f"method {method} draws paths at times that single precision cannot tell apart: "
            f"choose precision='double'"
        )


def in_precision(precision: Precision, tree: Any) -> Any:
    """The tree with its arrays of floating-point numbers in single precision, if it is that."""
    if precision == "double":
        return tree

    def leaf(value: Any) -> Any:
        floating = jnp.issubdtype(jnp.result_type(value), jnp.floating)
        return jnp.asarray(value, jnp.float32) if floating else value

    return jax.tree.map(leaf, tree)


def tighter(tolerances: Tolerances) -> Tolerances:
    """Those of the sample that is solved again in double precision."""
    return dataclasses.replace(
        tolerances,
        relative=TIGHTER * tolerances.relative,
        absolute=TIGHTER * tolerances.absolute,
        max_steps=100 * tolerances.max_steps,
        step=None if tolerances.step is None else tolerances.step / 2.0,
    )


def check_times(time: Any) -> None:
    """Raise `ValueError` where rounding moves events too much, (rows,) or (rows, patients).

    A time of n bits before the point has 24 − n behind it: 4 s after a year of hours. Whole hours
    and their halves and quarters stay as they are.
    """
    time = np.asarray(time, float)
    gap = np.diff(time, axis=0)
    shift = np.abs(np.diff(time.astype(np.float32).astype(float), axis=0) - gap)
    moved = shift > LARGEST_SHIFT * np.abs(gap)
    if np.any(moved):
        row = int(np.argwhere(moved)[0][0])
        before, after = time[row].flat[0], time[row + 1].flat[0]
        if time.ndim == 2:
            patient = int(np.argwhere(moved)[0][1])
            before, after = time[row, patient], time[row + 1, patient]
        raise ValueError(
            f"events at {before} and {after} are too close for that late a time in single "
            f"precision, which would change what lies between them by more than "
            f"{LARGEST_SHIFT:g} of it: choose precision='double', or let time begin later"
        )


def sample_of(patients: int) -> np.ndarray:
    """Numbers of at most `SAMPLE` patients, evenly spread."""
    return np.unique(np.linspace(0, patients - 1, min(patients, SAMPLE)).round().astype(int))


def largest_error(found: Any, expected: Any, usable: Any) -> float:
    """The largest relative difference of two trees of outputs (patients, times).

    Of each value, down to a thousandth of the largest of its patient and output; NaN counts for
    nothing, and only patients that are `usable`, (patients,), count. NaN where none does.
    """
    largest = np.nan
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        ours, theirs = (np.asarray(each, float)[np.asarray(usable)] for each in (ours, theirs))
        if not theirs.size:
            continue
        peak = np.max(np.where(np.isfinite(theirs), np.abs(theirs), 0.0), axis=1, keepdims=True)
        size = np.maximum(np.abs(theirs), SMALL * peak)
        there = np.isfinite(ours) & np.isfinite(theirs)
        error = np.where(there & (size > 0), np.abs(ours - theirs) / np.where(size > 0, size, 1), 0)
        largest = np.fmax(largest, error.max())
    return float(largest)
