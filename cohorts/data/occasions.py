"""Which occasion of its subject a record belongs to: a column says it, or doses or times do."""

from __future__ import annotations

import numpy as np

from cohorts.data.config import DataSpec
from cohorts.data.events import Events
from cohorts.data.mistakes import Findings
from cohorts.data.table import Table
from insilico.config import to_unit
from insilico.solve.records.reading import RESET, RESET_AND_DOSE


def read_occasions(
    spec: DataSpec, table: Table, events: Events, findings: Findings
) -> np.ndarray | None:
    """Number of each row's occasion, from 0 for its subject's first; None where nothing says it.

    A column's cells may be anything. Who returns to an earlier one's cell is in it again.
    """
    column = spec.columns.occasion
    if column is not None:
        texts = table.texts(column)
        findings.wrong(texts == "", column, "is missing", hint="every record has an occasion")
        return numbered(events.subject, np.unique(texts, return_inverse=True)[1])
    if spec.occasions is None:
        return None
    if spec.occasions == "doses":
        # Doses of one instant begin one occasion, and what comes before the first dose is in its.
        begins = events.doses & ~_again(events)
        count = np.cumsum(begins)
        earlier = (count - begins)[np.flatnonzero(events.first)][events.subject]
        return numbered(events.subject, np.maximum(count - earlier, 1))
    resets = np.isin(events.event, (RESET, RESET_AND_DOSE)) & ~events.first
    back = resets & np.concatenate([[False], events.time[1:] < events.time[:-1]])
    findings.wrong(
        back,
        spec.columns.time or "",
        "turns the clock back, so that times cannot say which occasion it is",
        hint="name a column by `columns: {occasion: …}`, or write `occasions: doses`",
    )
    starts = [to_unit(str(start), spec.units.time) for start in spec.occasions]
    # A start in another unit is within a rounding of the records' times.
    slack = 1e-9 * max(1.0, float(np.max(np.abs(starts))))
    return numbered(events.subject, np.searchsorted(starts, events.time + slack, side="right"))


def _again(events: Events) -> np.ndarray:
    """Whether a row is a dose at the instant of the subject's last one, with no reset since."""
    rows = np.flatnonzero(events.doses)
    resets = np.cumsum(np.isin(events.event, (RESET, RESET_AND_DOSE)))
    instants = np.stack([events.subject, events.time, resets])[:, rows]
    result = np.zeros(len(events.time), bool)
    result[rows[1:]] = np.all(instants[:, 1:] == instants[:, :-1], axis=0)
    return result


def numbered(subject: np.ndarray, occasion: np.ndarray) -> np.ndarray:
    """Occasions numbered from 0 for each subject in the order in which they come.

    `occasion` may have several columns: rows that agree in all are of one.
    """
    pairs = np.column_stack([subject, occasion])
    _, first, which = np.unique(pairs, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    start = np.searchsorted(subject[np.sort(first)], np.arange(int(subject.max()) + 1))
    return place[which.ravel()] - start[subject]
