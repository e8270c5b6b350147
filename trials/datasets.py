"""Analysis datasets: a run's results as tables in the shape of CDISC's Analysis Data Model.

They hold what a trial would have: each subject under the arm it was given, measured values at the
visits it kept. What only a simulation knows (true values, the outcomes under the other arms) stays
in the results tree. Variables have ADaM's names and at most eight characters; `SIMDRAW`,
`SIMTRIAL` and `SIMSUBJ` are the subject's place in the tree. Days count from 1, the day of the
first dose.

- ADSL: subjects, one row each, of every simulated trial.
- ADEFF: endpoints, one row a subject and endpoint, of every simulated trial.
- ADLB: measured values, one row a subject, visit and measurement.
- ADEX: prescribed doses, one row a subject and visit.

In a crossover a subject has rows in each period, and days within a study count from its first dose.

The last two are of the first trials only (by default one): of hundreds, the tree is the place to
look. Labels and units are in `frame.attrs`, and in the metadata of the parquet files' columns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from insilico.config import Name
from trials.adam import (
    Variable,
    coded,
    days,
    flag,
    labelled,
    sentence,
    short_names,
    stacked,
    with_unit,
)
from trials.config import TrialConfig
from trials.study import Study

_TERMS = {
    "ancestry": ("RACE", {"black": "BLACK OR AFRICAN AMERICAN"}),
    "sex": ("SEX", {"female": "F", "male": "M", "unknown": "U"}),
}
"""Categorical covariates that have a controlled terminology, and where it is not the upper case."""

_BASELINES = {
    "age": "AGE", "height": "HEIGHTBL", "weight": "WEIGHTBL", "bmi": "BMIBL", "bsa": "BSABL",
}  # fmt: skip


def adsl(tree: xr.DataTree, study: Study) -> pd.DataFrame:
    """ADSL, the subjects of every simulated trial.

    Args:
        tree: results with the groups `/subjects` and `/randomisation`; `/endpoints` where kept.
        study: the study they are of.
    """
    config = study.config
    people, randomised = tree["subjects"].to_dataset(), tree["randomisation"].to_dataset()
    who = _Who.of(tree, study)
    subjects = who.subjects
    # Out of the trial before its end; times count from the start of the first day.
    left, end = randomised["dropout_time"].values.ravel(), who.last_start + config.trial.duration
    discontinued = left < end
    columns = [
        *who.columns(subjects),
        Variable("ARM", "Description of Planned Arm", who.groups(subjects, _LABEL)),
        Variable("ARMCD", "Planned Arm Code", who.groups(subjects, _CODE)),
        *who.sequence(subjects),
    ]
    for period in range(who.periods):
        here, number = subjects + period, f"{period + 1:02d}"
        columns += [
            Variable(f"TRT{number}P", f"Planned Treatment for Period {number}", who.arms(here)),
            Variable(
                f"TRT{number}PN", f"Planned Treatment for Period {number} (N)", who.arm[here] + 1
            ),
            Variable(f"TRT{number}A", f"Actual Treatment for Period {number}", who.arms(here)),
            Variable(
                f"TRT{number}AN", f"Actual Treatment for Period {number} (N)", who.arm[here] + 1
            ),
        ]
    columns.append(
        Variable("ITTFL", "Intent-To-Treat Population Flag", flag(who.arm[subjects] >= 0))
    )
    if "endpoints" in tree.children:
        solved = who.given(tree["endpoints"].to_dataset()["solved"].values)
        solved = solved.reshape(-1, who.periods).all(axis=1)
        columns.append(Variable("SOLVFL", "Simulated Without Failure Flag", flag(solved)))
    columns += [
        Variable(
            "ENRLDY", "Day of Enrolment Since the Trial Opened",
            randomised["enrolment_time"].values.ravel(), "d",
        ),
        Variable("EOSSTT", "End of Study Status", coded(
            discontinued.astype(int), ("COMPLETED", "DISCONTINUED")
        )),
        Variable(
            "EOSDY", "End of Study Day",
            np.floor(np.minimum(left, end - 1)).astype(np.int32) + 1,
        ),
    ]  # fmt: skip
    columns += [
        Variable(
            "STRATARN", "Strata Used for Randomization (N)", randomised["stratum"].values.ravel()
        )
    ]
    taken = [column.name for column in columns]
    columns += _covariates(people, study.protocol.vocabulary, taken)
    flags = {
        name: f"{what}: {name.split('_', 1)[1]}"
        for prefix, what in (("factor_", "Stratum"), ("subset_", "Subset of analysis"))
        for name in map(str, randomised.data_vars)
        if name.startswith(prefix)
    }
    taken = [column.name for column in columns]
    short = short_names([name.split("_", 1)[1] for name in flags], taken, suffix="FL")
    columns += [
        Variable(code, label, flag(randomised[name].values.ravel()))
        for code, (name, label) in zip(short, flags.items(), strict=True)
    ]
    return labelled("Subject-Level Analysis Dataset", columns)


def adeff(tree: xr.DataTree, study: Study) -> pd.DataFrame:
    """ADEFF, the endpoints of every subject of every simulated trial.

    `ANL01FL` marks the rows that the trial's analyses use. `CNSR` is 0 for an event and 1 where a
    time was censored, and missing for endpoints that are no time to an event.

    Args:
        tree: results with the groups `/randomisation` and `/endpoints`.
        study: the study they are of.
    """
    who = _Who.of(tree, study)
    endpoints = tree["endpoints"].to_dataset()
    solved = who.given(endpoints["solved"].values)
    specs = study.config.endpoints
    codes = short_names(list(specs), [])
    parts = []
    for name in specs:
        parts.append(
            {
                "value": who.given(endpoints[name].values).astype(float),
                "valid": who.given(endpoints[f"{name}_valid"].values) & solved & (who.arm >= 0),
                "event": who.given(endpoints[f"{name}_event"].values)
                if f"{name}_event" in endpoints
                else None,
            }
        )
    rows = who.arm.size
    censored = np.concatenate(
        [
            np.full(rows, np.nan) if part["event"] is None else (~part["event"]).astype(float)
            for part in parts
        ]
    )
    which = np.repeat(np.arange(len(specs)), rows)
    labels = [spec.label or name for name, spec in specs.items()]
    everybody = np.tile(np.arange(rows), len(specs))
    columns = [
        *who.columns(everybody),
        *who.treatment(everybody),
        Variable("PARAMCD", "Parameter Code", coded(which, codes)),
        Variable("PARAM", "Parameter", coded(which, labels)),
        Variable("AVAL", "Analysis Value", np.concatenate([part["value"] for part in parts])),
        Variable("CNSR", "Censor", pd.array(censored, dtype="Int8")),
        Variable(
            "ANL01FL", "Analysis Flag 01", flag(np.concatenate([part["valid"] for part in parts]))
        ),
    ]
    return labelled("Efficacy Analysis Dataset", columns)


def adlb(tree: xr.DataTree, study: Study, trials: int = 1) -> pd.DataFrame:
    """ADLB, the measured values at the visits that were kept.

    The baseline is the last value before the first dose.

    Args:
        tree: results with the groups `/randomisation` and `/outcomes`.
        study: the study they are of.
        trials: how many simulated trials of each draw of the population, from the first.
    """
    visits = _Visits.of(tree, study, trials)
    measured = list(study.protocol.measured)
    codes = short_names(measured, [])
    units = study.protocol.model.quantities("Outputs")
    drug = study.config.drug
    first_dose = drug.first_day - 1 + drug.time_of_day / 24.0
    limits = study.config.visits.quantified_from
    tables = [
        visits.table(
            f"{name}_measured",
            code,
            with_unit(sentence(units[name].description or name), units[name].unit),
            first_dose,
            limits.get(name, np.nan) if limits else None,
        )
        for name, code in zip(measured, codes, strict=True)
    ]
    return labelled("Laboratory Analysis Dataset", stacked(tables))


def adex(tree: xr.DataTree, study: Study, trials: int = 1) -> pd.DataFrame:
    """ADEX, the daily dose that was prescribed at each visit.

    It is what the patient takes from then on, apart from a hold, a single changed dose, or one
    that is not taken.

    Arguments as of `adlb`.
    """
    visits = _Visits.of(tree, study, trials)
    label = f"Prescribed daily dose of {study.config.drug.name} (mg)"
    return labelled(
        "Exposure Analysis Dataset", visits.table("daily_dose", "DOSE", label, baseline_before=None)
    )


def datasets(tree: xr.DataTree, study: Study, trials: int = 1) -> dict[str, pd.DataFrame]:
    """The datasets that the kept results allow, by name, in a fixed order.

    Arguments as of `adlb`.
    """
    found = {"adsl": adsl(tree, study)}
    if "endpoints" in tree.children:
        found["adeff"] = adeff(tree, study)
    if "outcomes" in tree.children:
        found["adlb"] = adlb(tree, study, trials)
        found["adex"] = adex(tree, study, trials)
    return found


_LABEL = ", then "
_CODE = "-"
"""What stands between the arms of a sequence, in words and in a code."""


class _Who:
    """Every subject of a run in each of its periods, a row each, periods of a subject together.

    `shape` is (population, trial, subject, period); `arm` the number of the arm of each row, -1
    where there was none; `group` that of the arm or the sequence its subject was randomised to.
    """

    def __init__(self, study: Study, randomised: Mapping[str, np.ndarray]):
        self.study = study
        self.crossover = study.config.trial.crossover
        arm = randomised["arm_number"]
        # Periods, which only a crossover has, last.
        arm = arm[..., None] if self.crossover is None else np.moveaxis(arm, 2, -1)
        self.shape, self.periods = arm.shape, arm.shape[-1]
        self.arm = arm.ravel().astype(np.int32)
        group = randomised["arm_number" if self.crossover is None else "sequence_number"]
        self.group = np.repeat(group.ravel().astype(np.int32), self.periods)
        self.centre = np.repeat(randomised["centre"].ravel(), self.periods)

    @classmethod
    def of(cls, tree: xr.DataTree, study: Study, trials: int | None = None) -> _Who:
        randomised = tree["randomisation"].to_dataset()
        names = {"arm_number", "sequence_number", "centre"} & set(map(str, randomised.data_vars))
        return cls(study, {name: randomised[name].values[:, :trials] for name in names})

    @property
    def subjects(self) -> np.ndarray:
        """The row of each subject's first period."""
        return np.arange(0, self.arm.size, self.periods)

    @property
    def period(self) -> np.ndarray:
        """Number of each row's period, from 0."""
        return np.arange(self.arm.size) % self.periods

    @property
    def starts(self) -> np.ndarray:
        """Days from the first dose to that of each row's period."""
        return np.array(self.study.protocol.periods.starts)[self.period]

    @property
    def last_start(self) -> float:
        """Days from the first dose to that of the last period."""
        return self.study.protocol.periods.starts[-1]

    def arms(self, index: np.ndarray) -> pd.Categorical:
        """Label of the arm of each of these rows."""
        labels = [spec.label for spec in self.study.config.arms.values()]
        return coded(self.arm[index], labels)

    def groups(self, index: np.ndarray, between: str) -> pd.Categorical:
        """What the subjects of these rows were randomised to: with `_CODE` codes, else labels."""
        arms = self.study.config.arms
        name = {key: key.upper() if between == _CODE else spec.label for key, spec in arms.items()}
        sequences = [[key] for key in arms] if self.crossover is None else self.crossover.sequences
        texts = [between.join(name[key] for key in sequence) for sequence in sequences]
        return coded(self.group[index], texts)

    def sequence(self, index: np.ndarray) -> list[Variable]:
        """The sequence of these rows, in a crossover."""
        if self.crossover is None:
            return []
        label = "Planned Sequence of Treatments"
        return [Variable("TRTSEQP", label, self.groups(index, _LABEL))]

    def treatment(self, index: np.ndarray) -> list[Variable]:
        """What the subjects of these rows were given, and in a crossover when."""
        planned = Variable("TRTP", "Planned Treatment", self.arms(index))
        if self.crossover is None:
            return [planned]
        period = self.period[index]
        names = [f"Period {number + 1:02d}" for number in range(self.periods)]
        return [
            planned,
            *self.sequence(index),
            Variable("APERIOD", "Period", (period + 1).astype(np.int32)),
            Variable("APERIODC", "Period (C)", coded(period, names)),
        ]

    def given(self, potential: np.ndarray) -> np.ndarray:
        """Of (population, trial, period, arm, subject, …), what happened: (row, …).

        A parallel trial's has no axis of periods.
        """
        if self.crossover is None:
            potential = potential[:, :, None]
        arm = np.maximum(self.arm.reshape(self.shape), 0)
        draw, trial, subject, period = np.ix_(*map(np.arange, self.shape))
        chosen = potential[draw, trial, period, arm, subject]
        return chosen.reshape(self.arm.size, *potential.shape[5:])

    def columns(self, index: np.ndarray) -> list[Variable]:
        """Who each of these rows is about."""
        draw, trial, subject, _ = np.unravel_index(np.arange(self.arm.size), self.shape)
        study_id = study_identifier(self.study.config)
        several = self.shape[0] > 1
        unique = [
            f"{study_id}-{d + 1}-{t + 1:04d}-{s + 1:05d}" if several
            else f"{study_id}-{t + 1:04d}-{s + 1:05d}"
            for d, t, s in zip(draw.tolist(), trial.tolist(), subject.tolist(), strict=True)
        ]  # fmt: skip
        names = pd.array(unique, dtype="str").take(index)
        numbers = [f"{number + 1:05d}" for number in range(self.shape[2])]
        centres = [f"{c + 1:03d}" for c in range(int(self.centre.max(initial=0)) + 1)]
        return [
            Variable("STUDYID", "Study Identifier", coded(np.zeros(len(index), int), [study_id])),
            Variable("USUBJID", "Unique Subject Identifier", names),
            Variable(
                "SUBJID", "Subject Identifier for the Study", coded(subject[index], numbers)
            ),
            Variable("SITEID", "Study Site Identifier", coded(self.centre[index], centres)),
            Variable("SIMDRAW", "Simulated Population Draw", draw[index].astype(np.int32)),
            Variable("SIMTRIAL", "Simulated Trial", trial[index].astype(np.int32)),
            Variable("SIMSUBJ", "Simulated Subject", subject[index].astype(np.int32)),
        ]  # fmt: skip


class _Visits:
    """The visits that were kept under the arm that was given, a row each."""

    def __init__(self, who: _Who, outcomes: Mapping[str, np.ndarray]):
        self.who = who
        self.outcomes = outcomes
        self.time = who.given(outcomes["time"]).astype(float)
        kept = who.given(outcomes["attended"]) & (who.arm >= 0)[:, None]
        self.row, self.slot = np.nonzero(kept)

    @classmethod
    def of(cls, tree: xr.DataTree, study: Study, trials: int) -> _Visits:
        group = tree["outcomes"].to_dataset()
        outcomes = {str(name): column.values[:, :trials] for name, column in group.items()}
        return cls(_Who.of(tree, study, trials), outcomes)

    def table(
        self,
        name: str,
        code: str,
        label: str,
        baseline_before: float | None,
        limit: float | None = None,
    ) -> list[Variable]:
        """The rows of one measurement, with a baseline where a time (d) for it is given, and which
        values are below a limit of quantification where measurements have one; NaN: this has none.
        """
        value = self.who.given(self.outcomes[name]).astype(float)[self.row, self.slot]
        time = self.time[self.row, self.slot]
        day = np.floor(self.who.starts[self.row] + time).astype(np.int32) + 1
        same = np.zeros(len(day), int)
        columns = [
            *self.who.columns(self.row),
            *self.who.treatment(self.row),
            Variable("TRTA", "Actual Treatment", self.who.arms(self.row)),
            Variable("PARAMCD", "Parameter Code", coded(same, [code])),
            Variable("PARAM", "Parameter", coded(same, [label])),
            Variable("AVAL", "Analysis Value", value),
            Variable("AVISIT", "Analysis Visit", days(day)),
            Variable("AVISITN", "Analysis Visit (N)", day),
            Variable("ADY", "Analysis Relative Day", day),
            Variable("ARELTM", "Analysis Relative Time Since the First Day Began", time, "d"),
            *self._timepoints(time),
            Variable("VISITNUM", "Visit Number", (self.slot + 1).astype(np.int32)),
        ]
        if limit is not None:
            columns += [
                Variable("ALLOQ", "Analysis Lower Limit of Quantitation", np.full(len(day), limit)),
                Variable("BLQFL", "Below Limit of Quantitation Flag", flag(value < limit)),
            ]
        if baseline_before is not None:
            is_baseline = self._last_before(time, baseline_before)
            base = np.full(self.who.arm.size, np.nan)
            base[self.row[is_baseline]] = value[is_baseline]
            base = base[self.row]
            columns += [
                Variable("ABLFL", "Baseline Record Flag", coded(is_baseline - 1, ["Y"])),
                Variable("BASE", "Baseline Value", base),
                Variable("CHG", "Change from Baseline", value - base),
            ]
        columns.append(Variable("ANL01FL", "Analysis Flag 01", coded(same, ["Y"])))
        return columns

    def _timepoints(self, time: np.ndarray) -> list[Variable]:
        """The planned times of visits after the first dose, where visits are at such times."""
        times = self.who.study.config.visits.times
        if times is None:
            return []
        hours = 24.0 * time - self.who.study.config.drug.first_dose
        nearest = np.abs(hours[:, None] - np.array(times)).argmin(axis=1)
        return [
            Variable("ATPT", "Analysis Timepoint", coded(nearest, [f"{h:g} h" for h in times])),
            Variable("ATPTN", "Analysis Timepoint (N)", np.array(times)[nearest], "h"),
        ]

    def _last_before(self, time: np.ndarray, limit: float) -> np.ndarray:
        """Which rows are their subject's last at or before a time."""
        # A time stored in single precision is good to a second.
        before = time <= limit + 1 / 86_400
        # Rows of a subject stand together in order of time, so the last is followed by a later
        # row or by somebody else's.
        following = np.append(before[1:] & (self.row[1:] == self.row[:-1]), False)
        return before & ~following


def study_identifier(config: TrialConfig) -> str:
    """STUDYID: the trial's title up to a colon, in capitals, at most 20 characters."""
    words = re.sub(r"[^A-Z0-9]+", "-", config.title.partition(":")[0].upper())
    return words[:20].strip("-") or "STUDY"


def _covariates(
    people: xr.Dataset, vocabulary: Mapping[str, Name], taken: Sequence[str]
) -> list[Variable]:
    known = {name: entry for name, entry in vocabulary.items() if name in people}
    standard = {**_BASELINES, **{name: code for name, (code, _) in _TERMS.items()}}
    taken = [*taken, *standard.values(), "AGEU"]
    others = [name for name in known if name not in standard]
    is_flag = {name: known[name].kind == "flag" for name in others}
    plain = short_names([name for name in others if not is_flag[name]], taken)
    flags = short_names([n for n in others if is_flag[n]], [*taken, *plain], suffix="FL")
    codes = dict(standard)
    codes.update(zip([n for n in others if not is_flag[n]], plain, strict=True))
    codes.update(zip([n for n in others if is_flag[n]], flags, strict=True))
    columns = []
    for name, entry in known.items():
        values = people[name].values.ravel()
        label = sentence(entry.description or name)
        match entry.kind:
            case "category":
                special = _TERMS.get(name)
                terms = [
                    special[1].get(text, text.upper()) if special else text
                    for text in entry.categories
                ]
                values = coded(values.astype(int), terms)
            case "flag":
                values = flag(values > 0.5)
        columns.append(Variable(codes[name], label, values, entry.unit))
        if name == "age":
            years = coded(np.zeros(len(values), int), ["YEARS"])
            columns.append(Variable("AGEU", "Age Units", years))
    return columns
