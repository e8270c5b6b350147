"""Periods of a trial and the arms its subjects are under in them, one after the other.

A parallel trial has one period, and a group of subjects for each arm; a crossover has a group for
each of its sequences. What is done to a patient is the same in both: a *condition* is an arm in a
period, all arms of the first period before those of the next, so that the conditions of a parallel
trial are its arms. Each condition is solved on its own, from the initial state.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from trials.config import TrialConfig

DAYS_APART = 3653
"""Nominal days between the random draws of two periods: more than any period has, so that neither
its length nor the washout changes what is drawn, and another period leaves all others as they
were."""


@dataclasses.dataclass(frozen=True, eq=False)
class Periods:
    """Who is under which arm when.

    - `arms`: names of the trial's arms.
    - `groups`: number of the arm of each group in each period, (group, period).
    - `starts`: days from the first dose of the first period to that of each, (period,).
    """

    arms: tuple[str, ...]
    groups: np.ndarray
    starts: tuple[float, ...]

    @classmethod
    def of(cls, config: TrialConfig) -> Periods:
        """Those of a config that has been checked."""
        arms, crossover = tuple(config.arms), config.trial.crossover
        if crossover is None:
            return cls(arms, np.arange(len(arms))[:, None], (0.0,))
        groups = np.array([[arms.index(name) for name in each] for each in crossover.sequences])
        apart = config.trial.duration + crossover.washout
        return cls(arms, groups, tuple(apart * period for period in range(groups.shape[1])))

    @property
    def number(self) -> int:
        """How many periods there are."""
        return self.groups.shape[1]

    @property
    def conditions(self) -> int:
        """How many conditions there are: periods times arms."""
        return self.number * len(self.arms)

    def condition(self, group: np.ndarray) -> np.ndarray:
        """Number of each subject's condition in every period, (…, period), by its group (…)."""
        return self.groups[group] + len(self.arms) * np.arange(self.number)

    def arm(self, group: np.ndarray) -> np.ndarray:
        """Number of each subject's arm in every period, (…, period), by its group (…)."""
        return self.groups[group]
