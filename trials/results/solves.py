"""Groups of results about solving: the patients that could not be solved, and totals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from trials.failures import failed_solves
from trials.results.layout import Layout
from trials.study import Study

if TYPE_CHECKING:
    from trials.results.tree import Pieces


def failures(study: Study, pieces: Pieces, layout: Layout) -> xr.Dataset:
    """One entry for each subject and condition that was not solved."""
    patients = pieces.patients
    condition, subject, cause = failed_solves(patients)
    period, arm = np.divmod(condition, len(layout.periods.arms))
    population, trial, number = np.unravel_index(subject, layout.shape)
    variables: dict[str, Any] = {
        "population": ("failure", population),
        "trial": ("failure", trial),
        "subject": ("failure", number),
        "arm": ("failure", np.array(list(study.config.arms), str)[arm]),
        "status": ("failure", cause),
        "stopped": ("failure", patients.treated.stopped[condition, subject], {"units": "h"}),
    }
    if layout.crossover:
        variables["period"] = ("failure", 1 + period)
    for name, column in patients.treated.state.items():
        variables[f"state_{name}"] = ("failure", column)
    drawn, protocol = patients.drawn["parameters"], study.protocol
    stopped = np.nan_to_num(patients.treated.stopped[condition, subject])
    occasion = protocol.occasion(period, stopped)
    for name in protocol.model.Parameters._fields:
        # What varies between occasions has a column in each.
        numbers = range(1, 1 + protocol.number_of_occasions)
        columns = [drawn[name if name in drawn else f"{name}_{each}"] for each in numbers]
        values = np.stack([column[subject] for column in columns])
        variables[f"parameter_{name}"] = (
            "failure",
            np.take_along_axis(values, occasion[None], axis=0)[0],
        )
    return xr.Dataset(variables)


def counts(study: Study, pieces: Pieces) -> xr.Dataset:
    """Totals, and how the patients were solved."""
    patients = pieces.patients
    attempts = patients.drawn["subject"]["attempts"]
    own, truth = pieces.tallies.patients, pieces.tallies.truth
    values = {
        "subjects": attempts.size,
        "solves": own.solves,
        "failed": own.failed,
        "attempts_mean": float(attempts.mean()),
        "visits": int(patients.treated.attended.sum()),
        "steps_mean": float(patients.treated.steps.mean()),
        "truth_subjects": study.config.truth.subjects,
        "truth_solves": truth.solves,
        "truth_failed": truth.failed,
    }
    if pieces.inexact is not None:
        error, otherwise, solves = pieces.inexact
        values["measured_error"] = error
        values["measured_solves"] = solves
        values["measured_otherwise"] = otherwise
    dataset = xr.Dataset({name: ((), value) for name, value in values.items()})
    dataset["truth_failed"].attrs["causes"] = truth.told
    method = pieces.method
    return dataset.assign_attrs(method=method.name, method_reason=method.reason)
