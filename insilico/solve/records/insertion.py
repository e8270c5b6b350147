"""Records of no event put between those of a table, so that there are outputs at more times."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

from insilico.solve.records.cells import filled
from insilico.solve.records.laying_out import Columns
from insilico.solve.records.reading import OTHER, Records


def also_at(
    records: Records,
    times: Float[np.ndarray, " times"] | Float[np.ndarray, "patients times"],
) -> Records:
    """The table with a record of no event (EVID 2) for every patient at each of these times.

    Times, the same for all or each patient's own, are in the model's unit and increase; those
    before a patient's first record are left out.
    A record goes behind the table's own of the same instant. Inputs have there what their
    interpolation gives. `data` of the result holds patients and times alone.

    Raises `ValueError` where a reset turns a patient's clock back: a time is no place there.
    """
    columns = records.columns
    same = columns.patient[1:] == columns.patient[:-1]
    if np.any(same & (columns.time[1:] < columns.time[:-1])):
        raise ValueError("records cannot be put between those of a clock that a reset turns back")
    first = np.flatnonzero(columns.place == 0)
    of_each = np.broadcast_to(np.asarray(times, float), (len(first), np.shape(times)[-1]))
    patient, time = np.repeat(np.arange(len(first)), of_each.shape[1]), of_each.ravel()
    within = time >= columns.time[first][patient]
    patient, time = patient[within], time[within]
    table = len(columns.time)
    all_patients = np.concatenate([columns.patient, patient])
    all_times = np.concatenate([columns.time, time])
    added = np.arange(len(all_times)) >= table
    order = np.lexsort((np.arange(len(all_times)), added, all_times, all_patients))

    def inserted(column: np.ndarray, fill: float = 0) -> np.ndarray:
        return np.concatenate([column, np.full(len(time), fill, column.dtype)])[order]

    patient, time = all_patients[order], all_times[order]
    names = ("amount", "rate", "additional", "interval", "steady", "compartment")
    together = Columns.of(
        patient=patient,
        time=time,
        event=inserted(columns.event, OTHER),
        **{name: inserted(getattr(columns, name)) for name in names},
        values=tuple(
            filled(inserted(values), added[order], patient, time, how)
            for values, how in zip(columns.values, columns.interpolations, strict=True)
        ),
        interpolations=columns.interpolations,
    )
    labels = np.array(records.patients, dtype=object)[patient]
    return dataclasses.replace(
        records, columns=together, data={"ID": labels, "TIME": time, "EVID": together.event}
    )
