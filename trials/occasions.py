"""What rows of analysis datasets are about: subjects in their periods, and their visits there."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from trials.adam import Variable, coded, days, flag
from trials.config import TrialConfig
from trials.study import Study

LABEL = ", then "
CODE = "-"
"""What stands between the arms of a sequence, in words and in a code."""


class Occasions:
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
    def of(cls, tree: xr.DataTree, study: Study, trials: int | None = None) -> Occasions:
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
        """What the subjects of these rows were randomised to: with `CODE` codes, else labels."""
        arms = self.study.config.arms
        name = {key: key.upper() if between == CODE else spec.label for key, spec in arms.items()}
        sequences = [[key] for key in arms] if self.crossover is None else self.crossover.sequences
        texts = [between.join(name[key] for key in sequence) for sequence in sequences]
        return coded(self.group[index], texts)

    def sequence(self, index: np.ndarray) -> list[Variable]:
        """The sequence of these rows, in a crossover."""
        if self.crossover is None:
            return []
        label = "Planned Sequence of Treatments"
        return [Variable("TRTSEQP", label, self.groups(index, LABEL))]

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
            f"{study_id}-{d + 1}-{t + 1:04d}-{s + 1:05d}"
            if several
            else f"{study_id}-{t + 1:04d}-{s + 1:05d}"
            for d, t, s in zip(draw.tolist(), trial.tolist(), subject.tolist(), strict=True)
        ]
        names = pd.array(unique, dtype="str").take(index)
        numbers = [f"{number + 1:05d}" for number in range(self.shape[2])]
        centres = [f"{c + 1:03d}" for c in range(int(self.centre.max(initial=0)) + 1)]
        return [
            Variable("STUDYID", "Study Identifier", coded(np.zeros(len(index), int), [study_id])),
            Variable("USUBJID", "Unique Subject Identifier", names),
            Variable("SUBJID", "Subject Identifier for the Study", coded(subject[index], numbers)),
            Variable("SITEID", "Study Site Identifier", coded(self.centre[index], centres)),
            Variable("SIMDRAW", "Simulated Population Draw", draw[index].astype(np.int32)),
            Variable("SIMTRIAL", "Simulated Trial", trial[index].astype(np.int32)),
            Variable("SIMSUBJ", "Simulated Subject", subject[index].astype(np.int32)),
        ]


class Visits:
    """The visits that were kept under the arm that was given, a row each."""

    def __init__(self, who: Occasions, outcomes: Mapping[str, np.ndarray]):
        self.who = who
        self.outcomes = outcomes
        self.time = who.given(outcomes["time"]).astype(float)
        kept = who.given(outcomes["attended"]) & (who.arm >= 0)[:, None]
        self.row, self.slot = np.nonzero(kept)

    @classmethod
    def of(cls, tree: xr.DataTree, study: Study, trials: int | None) -> Visits:
        group = tree["outcomes"].to_dataset()
        outcomes = {str(name): column.values[:, :trials] for name, column in group.items()}
        return cls(Occasions.of(tree, study, trials), outcomes)

    def values(self, name: str) -> np.ndarray:
        """What a variable of the outcomes is at each visit."""
        return self.who.given(self.outcomes[name]).astype(float)[self.row, self.slot]

    @property
    def hours(self) -> np.ndarray:
        """Of each visit since day 1 of its period began; stored times are good to a second."""
        spec, hours = self.who.study.config.visits, 24.0 * self.time[self.row, self.slot]
        if spec.times is None:
            return 24.0 * np.round((hours - spec.time_of_day) / 24.0) + spec.time_of_day
        return self.who.study.config.drug.first_dose + np.array(spec.times)[self._nearest(hours)]

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
        value = self.values(name)
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
        nearest = self._nearest(24.0 * time)
        return [
            Variable("ATPT", "Analysis Timepoint", coded(nearest, [f"{h:g} h" for h in times])),
            Variable("ATPTN", "Analysis Timepoint (N)", np.array(times)[nearest], "h"),
        ]

    def _nearest(self, hours: np.ndarray) -> np.ndarray:
        """The number of the planned time that each of these is about."""
        config = self.who.study.config
        after = hours - config.drug.first_dose
        return np.abs(after[:, None] - np.array(config.visits.times)).argmin(axis=1)

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
