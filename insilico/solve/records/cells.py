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
    """A covariate with its missing values filled from the patient's others."""
    if not np.any(missing):
        return values
    result = values.copy()
    for group in np.unique(patient[missing]):
        rows = np.flatnonzero(patient == group)
        known = rows[~missing[rows]]
        if interpolation == "linear":
            result[rows] = np.where(
                missing[rows], np.interp(time[rows], time[known], values[known]), values[rows]
            )
            continue
        # The nearest known value in the direction it is carried; at the ends, the only one near.
        if interpolation == "nocb":
            place = np.searchsorted(known, rows, side="left")
        else:
            place = np.searchsorted(known, rows, side="right") - 1
        result[rows] = values[known[np.clip(place, 0, len(known) - 1)]]
    return result
