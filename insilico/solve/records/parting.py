"""Patients of a table told apart by how many rows they have, where padding all to the longest costs
more than a program for each group.

Arrays of a table are padded to its longest patient. One of 5,000 doses among 3,000 of 4 makes them
a thousand times as large as what is in them.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from insilico.solve.records.laying_out import Columns, last_records, times_given, until_when
from insilico.solve.records.reading import Records

WORTH = 2**22
"""Padding, in rows of a patient, that takes about as long as to start another program: a second
each time, and a few hundred megabytes (measured on models of four states)."""


def apart(records: Records) -> list[Int[np.ndarray, " _"]]:
    """The numbers of the patients of each group, in the order of the table; most tables have one.

    It depends on the table alone: the same table needs the same programs.
    """
    columns = records.columns
    until = until_when(columns, last_records(columns))
    rows = np.bincount(columns.patient, weights=1.0 + times_given(columns, until))
    order = np.argsort(rows, kind="stable")
    return [np.sort(group) for group in _split(order, rows[order])]


def only(records: Records, patients: Int[np.ndarray, " group"]) -> Records:
    """The table of the patients of these numbers, in increasing order, without what was read."""
    columns = records.columns
    chosen = np.isin(columns.patient, patients)
    values = tuple(column[chosen] for column in columns.values)
    flat = {
        name: getattr(columns, name)[chosen]
        for name in Columns._fields
        if name not in ("patient", "place", "values", "interpolations")
    }
    return dataclasses.replace(
        records,
        patients=tuple(records.patients[number] for number in patients),
        columns=Columns.of(
            patient=np.searchsorted(patients, columns.patient[chosen]),
            values=values,
            interpolations=columns.interpolations,
            **flat,
        ),
        data=None,
    )


def _split(
    patients: Int[np.ndarray, " patients"], rows: Float[np.ndarray, " patients"]
) -> list[Int[np.ndarray, " _"]]:
    """Groups of patients, given in order of their rows."""
    shorter = np.arange(1, len(rows))
    saved = shorter * (rows[-1] - rows[:-1])
    if not len(saved) or saved.max() <= WORTH:
        return [patients]
    at = int(shorter[np.argmax(saved)])
    return _split(patients[:at], rows[:at]) + _split(patients[at:], rows[at:])
