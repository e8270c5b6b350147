"""Cells of a table as numbers, and what stands for those that are empty."""

from __future__ import annotations

import numpy as np

from insilico.solve.records.table import Interpolation

MISSING = ("", ".", "na", "nan", "null")
"""Texts that stand for a missing value, which NONMEM takes for 0."""


def as_numbers(column: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A column as finite numbers (0 where it has none), where it is missing, where it is wrong."""
    if column.dtype.kind in "fiub":
        values = column.astype(float)
        missing = np.isnan(values)
        wrong = np.isinf(values)
        return np.where(missing | wrong, 0.0, values), missing, wrong
    values = np.zeros(len(column))
    missing, wrong = np.zeros(len(column), bool), np.zeros(len(column), bool)
    for row, entry in enumerate(column):
        if entry is None or str(entry).strip().lower() in MISSING or str(entry) == "<NA>":
            missing[row] = True
            continue
        try:
            values[row] = float(entry)
        except (TypeError, ValueError):
            wrong[row] = True
    wrong |= ~np.isfinite(values)
    return np.where(wrong, 0.0, values), missing, wrong


def filled(
    values: np.ndarray,
    missing: np.ndarray,
    patient: np.ndarray,
    time: np.ndarray,
    interpolation: Interpolation,
) -> np.ndarray:
    """A covariate with its missing values filled from the patient's others.

    `patient` numbers each row's patient from 0, whose rows stand together and have one value at
    least. Where a reset turned the clock back between two values, their line goes no further.
    """
    if not np.any(missing):
        return values
    rows = np.arange(len(values))
    # The nearest known row in each direction; at a patient's ends, the only one near.
    before = np.maximum.accumulate(np.where(missing, -1, rows))
    after = np.minimum.accumulate(np.where(missing, len(rows), rows)[::-1])[::-1]
    none_before = before < np.searchsorted(patient, patient, side="left")
    none_after = after >= np.searchsorted(patient, patient, side="right")
    before = np.where(none_before, after, before)
    after = np.where(none_after, before, after)
    if interpolation == "nocb":
        return values[after]
    if interpolation == "locf":
        return values[before]
    length = time[after] - time[before]
    passed = np.where(length > 0, time - time[before], 0.0) / np.where(length > 0, length, 1.0)
    return values[before] + np.clip(passed, 0.0, 1.0) * (values[after] - values[before])
