"""Solves that failed: how many of each stage of a run, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from insilico.solve import DESCRIPTIONS, Status

if TYPE_CHECKING:
    from trials.simulation import Patients

NO_CANDIDATE = "no eligible candidate found"
NO_ROOM = "more visits than there is room for"

REMEDIES = {
    NO_CANDIDATE: "loosen cohort.eligibility",
    NO_ROOM: "raise visits.most",
    DESCRIPTIONS[Status.STEP_LIMIT]: "raise solver.max_steps",
    DESCRIPTIONS[Status.STIFF]: "set solver.method to auto or rodas4",
}
"""What in a config mends a cause, where anything does."""


class Tally(NamedTuple):
    """A stage's solves of a subject under an arm, and by cause those among them that failed."""

    solves: int
    causes: Mapping[str, int]

    @property
    def failed(self) -> int:
        """How many failed, whatever the cause."""
        return sum(self.causes.values())

    @property
    def told(self) -> str:
        """The causes with their counts, the most frequent first; empty where none failed."""
        return ", ".join(f"{cause}: {self.causes[cause]:,}" for cause in self._ordered())

    @property
    def remedies(self) -> str:
        """What may be changed in the config; empty where nothing is known to help."""
        return " and ".join(REMEDIES[cause] for cause in self._ordered() if cause in REMEDIES)

    def exceeds(self, share: float) -> bool:
        """Whether more than that share of the solves failed."""
        return self.failed > share * self.solves

    def _ordered(self) -> list[str]:
        return sorted(self.causes, key=lambda cause: -self.causes[cause])


class Tallies(NamedTuple):
    """The tally of every stage of a run in which subjects are solved."""

    patients: Tally
    truth: Tally
    scenarios: Mapping[str, Tally]

    def by_stage(self) -> dict[str, Tally]:
        """All of them, by the stage's name as it stands in a sentence."""
        scenarios = {f"the scenario {name}": tally for name, tally in self.scenarios.items()}
        return {"the trials' patients": self.patients, "the truth": self.truth, **scenarios}


class FailedSolves(NamedTuple):
    """Solves that failed, an entry each: number of the condition (`trials.periods`), place of the
    subject, and why."""

    condition: np.ndarray
    subject: np.ndarray
    cause: np.ndarray


def failed_solves(patients: Patients) -> FailedSolves:
    """Every solve that did not reach its end."""
    condition, subject = np.nonzero(~patients.solved)
    status = patients.treated.status[condition, subject]
    described = np.array([DESCRIPTIONS[Status(code)] for code in status], str)
    crowded = patients.treated.overflow[condition, subject] > 0
    missing = patients.drawn["subject"]["attempts"][subject] == 0
    # What went wrong first: a subject that does not exist cannot have been solved either.
    cause = np.where(missing, NO_CANDIDATE, np.where(crowded, NO_ROOM, described))
    return FailedSolves(condition, subject, cause)


def tally(patients: Patients) -> Tally:
    """How many solves these patients took, and how many failed by cause."""
    return Tally(patients.solved.size, Counter(failed_solves(patients).cause.tolist()))
