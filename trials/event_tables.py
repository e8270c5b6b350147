"""Simulated trials as event tables with NONMEM's columns, and the exposure that they lead to.

They hold what was done to subjects and what was measured of them, so that another program, or
`insilico fit`, may be given a simulated trial as it would be given a real one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from cohorts.data import exposures, time_after_dose
from cohorts.data.config import ColumnsSpec, CovariateSpec, DataSpec, OutputSpec, UnitsSpec
from insilico.config import dimensions
from trials.dosing import HOURS_A_DAY
from trials.occasions import Occasions, Visits

if TYPE_CHECKING:
    from trials.study import Study

COLUMNS = (
    "ID", "TIME", "EVID", "AMT", "CMT", "DV", "MDV", "DVID", "CENS", "LLOQ", "IPRED", "TAD", "OCC",
    "ARM", "SIMDRAW", "SIMTRIAL", "SIMSUBJ",
)  # fmt: skip

OBSERVATION, DOSE, OTHER, RESET = 0, 1, 2, 3
"""NONMEM's EVID."""

CONCENTRATION = ({"[mass]": 1, "[length]": -3}, {"[substance]": 1, "[length]": -3})
"""Dimensions of outputs that subjects are exposed to."""


class EventTable(NamedTuple):
    """Simulated trials as an event table.

    - `frame`: records in the order of ID and TIME, with the columns of `COLUMNS` and a column for
      each covariate and quantity by its name in capitals.
    - `spec`: what it means: the section `data` of a config that reads it.
    - `left_out`: how many subjects are not in it since a solve of theirs failed.
    """

    frame: pd.DataFrame
    spec: DataSpec
    left_out: int


def event_table(
    tree: xr.DataTree, study: Study, trials: int | None = 1, file: str = "nonmem.csv"
) -> EventTable:
    """Simulated trials as NONMEM, nlmixr2 and Monolix read them.

    Times are in hours since day 1 of the trial began. AMT is what enters the model: of a dose that
    was taken the drug's `fraction`, times the arm's bioavailability; doses that were not taken are
    not there, nor is anything after a subject left. DV is the measured value, its limit where it is
    censored (CENS 1), IPRED the true one; DVID counts the measured outputs from 1. A visit at the
    time of a dose comes before it. TAD is the time since the last dose. ARM, OCC (the period of a
    crossover, each of which begins with a reset) and DVID count from 1, the rest is the subject's
    place in the tree. Codes of categories stand in `spec`.

    **Arguments:**

    - `tree`: results with the groups `/randomisation`, `/outcomes`, `/doses` and `/endpoints`.
    - `study`: the study they are of.
    - `trials`: how many simulated trials of each draw of the population, from the first; None: all.
    - `file`: the table's name, for the spec.

    Raises `ValueError` where results hold no visits.
    """
    if "doses" not in tree.children:
        raise ValueError("the results hold no visits and doses; run it with keep: outcomes")
    who = Occasions.of(tree, study, trials)
    solved = who.given(tree["endpoints"].to_dataset()["solved"].values[:, :trials])
    kept = (solved | (who.arm < 0)).reshape(-1, who.periods).all(axis=1)
    parts = [_doses(tree, study, who, trials), _resets(who), _beginnings(tree, study, who, trials)]
    parts += _observations(tree, study, trials)
    records = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    here = np.repeat(kept, who.periods)[records["row"]] & (who.arm[records["row"]] >= 0)
    records = {name: column[here] for name, column in records.items()}
    # Of one time: what ends a period, then what is seen, then what is given.
    rank = np.select([records["EVID"] == RESET, records["EVID"] == OBSERVATION], [0, 1], 2)
    order = np.lexsort((records["DVID"], rank, records["TIME"], records["row"]))
    records = {name: column[order] for name, column in records.items()}
    row = records.pop("row")
    draw, trial, subject, period = np.unravel_index(row, who.shape)
    records |= {
        "ID": row // who.periods + 1,
        "OCC": 1 + _occasion(study, period, records),
        "ARM": who.arm[row] + 1,
        "SIMDRAW": draw,
        "SIMTRIAL": trial,
        "SIMSUBJ": subject,
    }
    frame = pd.DataFrame(records)
    frame["TAD"] = time_after_dose(frame.assign(ID=row))
    covariates, values = _covariates(tree, study, draw, trial, subject)
    frame = frame[list(COLUMNS)].assign(**values)
    return EventTable(frame, _spec(study, file, covariates), int((~kept).sum()))


def exposure_table(table: EventTable, study: Study) -> pd.DataFrame:
    """Exposure after each dose by its true concentrations at the visits: AUC, Cmax, Tmax, Cmin.

    A row for each dose and measured output that is a concentration, as
    `cohorts.data.exposures` gives them, with the output's name and the subject's arm and period.
    """
    frame = table.frame
    # Nothing of one period is left in the next.
    own = ["ID"] if study.config.trial.crossover is None else ["ID", "OCC"]
    occasion = frame.groupby(own, sort=False).ngroup().to_numpy()
    about = frame.assign(OCCASION=occasion).drop_duplicates("OCCASION").set_index("OCCASION")
    units = {name: q.unit for name, q in study.protocol.model.quantities("Outputs").items()}
    found = []
    for number, name in enumerate(study.protocol.measured, start=1):
        if dict(dimensions(units[name])) not in CONCENTRATION:
            continue
        own = (frame["DVID"] == number) | (frame["EVID"] == DOSE)
        each = exposures(frame[own].assign(ID=occasion[own]), "IPRED")
        subject = about.loc[each["subject"]]
        each.insert(0, "output", name)
        for column in ("OCC", "ARM", "SIMDRAW", "SIMTRIAL", "SIMSUBJ"):
            each.insert(2, column.lower(), subject[column].to_numpy())
        each["subject"] = subject["ID"].to_numpy()
        found.append(each)
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


Part = dict[str, np.ndarray]
"""Records by column, with `row`, that of `Occasions`."""


def _part(row: np.ndarray, time: np.ndarray, event: int, **columns: Any) -> Part:
    blank: dict[str, Any] = {
        "AMT": 0.0,
        "CMT": 0,
        "DV": np.nan,
        "MDV": 1,
        "DVID": 0,
        "CENS": 0,
        "LLOQ": np.nan,
        "IPRED": np.nan,
    }
    whole = {"row": row, "TIME": time, "EVID": event, **blank, **columns}
    return {name: np.broadcast_to(column, row.shape) for name, column in whole.items()}


def _doses(tree: xr.DataTree, study: Study, who: Occasions, trials: int | None) -> Part:
    group = tree["doses"].to_dataset()
    taken = who.given(group["taken"].values[:, :trials]).astype(float)
    left = tree["randomisation"].to_dataset()["dropout_time"].values[:, :trials].ravel()
    day = who.starts[:, None] + group["time"].values
    there = (taken > 0) & (day <= np.repeat(left, who.periods)[:, None])
    row, dose = np.nonzero(there)
    drug, protocol = study.config.drug, study.protocol
    entering = drug.fraction * np.array([arm.bioavailability for arm in protocol.arms])
    return _part(
        row,
        HOURS_A_DAY * who.starts[row] + protocol.dosing_times[dose],
        DOSE,
        AMT=taken[row, dose] * entering[who.arm[row]],
        CMT=protocol.model.compartment(drug.compartment) + 1,
    )


def _resets(who: Occasions) -> Part:
    row = np.flatnonzero(who.period > 0)
    return _part(row, HOURS_A_DAY * who.starts[row], RESET)


def _beginnings(tree: xr.DataTree, study: Study, who: Occasions, trials: int | None) -> Part:
    """A record at the beginning of each occasion after the first, in a parallel trial."""
    left = tree["randomisation"].to_dataset()["dropout_time"].values[:, :trials].ravel()
    starts = np.array(study.protocol.occasions, float)
    there = starts[None] / HOURS_A_DAY <= np.repeat(left, who.periods)[:, None]
    row, number = np.nonzero(there)
    return _part(row, starts[number], OTHER)


def _occasion(study: Study, period: np.ndarray, records: Part) -> np.ndarray:
    """Number of each record's occasion, from 0. What is seen as one begins is of the one before."""
    if study.config.trial.crossover is not None:
        return period
    # Times of visits are good to a second.
    late = np.where(records["EVID"] == OBSERVATION, -1 / 1800, 1 / 1800)
    return study.protocol.occasion(period, records["TIME"] + late)


def _observations(tree: xr.DataTree, study: Study, trials: int | None) -> list[Part]:
    """A part for each measured output."""
    visits = Visits.of(tree, study, trials)
    time = HOURS_A_DAY * visits.who.starts[visits.row] + visits.hours
    parts = []
    for number, name in enumerate(study.protocol.measured, start=1):
        value, true = (visits.values(each) for each in (f"{name}_measured", name))
        limit = study.config.visits.quantified_from.get(name)
        below = np.zeros(len(value), bool) if limit is None else value < limit
        parts.append(
            _part(
                visits.row,
                time,
                OBSERVATION,
                DV=value if limit is None else np.where(below, limit, value),
                MDV=0,
                DVID=number,
                CENS=below.astype(int),
                LLOQ=np.nan if limit is None else limit,
                IPRED=true,
            )
        )
    return parts


def _covariates(
    tree: xr.DataTree, study: Study, draw: np.ndarray, trial: np.ndarray, subject: np.ndarray
) -> tuple[dict[str, CovariateSpec], dict[str, np.ndarray]]:
    """What covariates and quantities mean, and their values at each record, by column."""
    people = tree["subjects"].to_dataset()
    specs, values = {}, {}
    for name, word in study.protocol.vocabulary.items():
        if name not in people:
            continue
        column = name.upper()
        while column in COLUMNS or column in values:
            column += "_"
        number = people[name].values[draw, trial, subject]
        values[column] = number if word.categories else number.astype(float)
        specs[name] = CovariateSpec(
            column=column,
            unit="" if word.categories else word.unit,
            categories={each: code for code, each in enumerate(word.categories)} or None,
        )
    return specs, values


def _spec(study: Study, file: str, covariates: dict[str, CovariateSpec]) -> DataSpec:
    model, measured = study.protocol.model, study.protocol.measured
    outputs, states = model.quantities("Outputs"), model.quantities("State")
    compartment = study.config.drug.compartment.partition("[")[0]
    limited = bool(study.config.visits.quantified_from)
    return DataSpec(
        file=file,
        columns=ColumnsSpec(
            subject="ID",
            time="TIME",
            event="EVID",
            amount="AMT",
            compartment="CMT",
            measured="DV",
            missing="MDV",
            output="DVID",
            censored="CENS" if limited else None,
            limit="LLOQ" if limited else None,
            occasion="OCC" if study.protocol.number_of_occasions > 1 else None,
        ),
        units=UnitsSpec(time="h", amount=states[compartment].unit),
        outputs={
            name: OutputSpec(where=number, unit=outputs[name].unit)
            for number, name in enumerate(measured, start=1)
        },
        covariates=covariates,
    )
