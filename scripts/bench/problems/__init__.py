"""The benchmark problems: equations, schedule, virtual patients and reference of each.

A file a problem; `PROBLEMS` names them. A problem is written once, for one patient, on tuples of
scalars; because every function is elementwise the same code runs on a block of patients, one array
a state, and its right-hand side can be put into other languages (`tools/_equations.py`).
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from scripts.bench.problems.indirect_response import indirect_response
from scripts.bench.problems.lorenz import DEFAULT_TRAJECTORIES, lorenz
from scripts.bench.problems.problem import Forced, Problem, Rows, State, TooFewPatients
from scripts.bench.problems.target_mediated_disposition import target_mediated_disposition
from scripts.bench.problems.type_1_diabetes import type_1_diabetes

__all__ = [
    "PROBLEMS",
    "Forced",
    "MissingProblems",
    "Problem",
    "Rows",
    "State",
    "TooFewPatients",
    "load",
]

ARCHIVE = "ensemble_problems.npz"

ARCHIVED: dict[str, Callable[[Mapping[str, np.ndarray]], Problem]] = {
    "P1": indirect_response,
    "P2": target_mediated_disposition,
    "P3": type_1_diabetes,
}
"""Problems whose patients are those of the archive."""
GENERATED: dict[str, Callable[[int], Problem]] = {"lorenz": lorenz}
"""Problems of any number of patients."""
PROBLEMS: tuple[str, ...] = (*ARCHIVED, *GENERATED)


class MissingProblems(Exception):
    """The archive of problems is not where it was looked for."""


def load(name: str, folder: Path, patients: int | None = None) -> Problem:
    """Problem `name` (one of `PROBLEMS`) with `patients`, or as many as it has.

    Raises `MissingProblems` where it needs the archive and `folder` has none, `TooFewPatients`
    where the archive has fewer patients.
    """
    if name in GENERATED:
        return GENERATED[name](DEFAULT_TRAJECTORIES if patients is None else patients)
    path = folder / ARCHIVE
    if not path.is_file():
        raise MissingProblems(
            f"the benchmark problems are missing: {path} is not a file; "
            f"name the folder that holds {ARCHIVE} with --data"
        )
    with np.load(path) as archive:
        problem = ARCHIVED[name](archive)
    return problem if patients is None else problem.first(patients)
