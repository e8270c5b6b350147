"""A study run into a folder: config, results, datasets, report, and what it says of itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from insilico.pages import provenance
from insilico.runs import NewRun, RunFolder, RunFolderError, Stages
from insilico.runs.writing import finish, write_config, write_results
from trials import adam, datasets
from trials.report import render
from trials.simulation import Progress, TooManyFailures, simulate
from trials.study import Study, needed


def run(
    study: Study,
    out: str | os.PathLike[str] | None = None,
    *,
    progress: Progress | None = None,
    force: bool = False,
) -> RunFolder:
    """Simulate a study and leave results, datasets and a report in a folder.

    It is what the command `insilico run` does, with the same numbers.

    **Arguments:**

    - `study`: as `trials.read` gives it, which has checked it.
    - `out`: the folder to make; left out, `runs/` and the config's name, with a number where that
      is taken and `force` does not replace it.
    - `progress`: called as work goes on, with a stage, and how much of how much of it is done. With
      a `Stages`, the seconds that it has counted before belong to the run.
    - `force`: whether an earlier run at that place is replaced once this one is complete.

    Returns the finished run; `results()` of it reads the results as a `DataTree`. Raises
    `RunFolderError` where the folder cannot be made or written (then nothing is kept), and
    `TooManyFailures` where more solves failed than the config allows: only after the run was
    written, marked as failed, to the error's `folder`.
    """
    needed(study)
    stages = progress if isinstance(progress, Stages) else Stages(progress)
    new = RunFolder.create(out, Path(study.document.file).stem, force=force)
    with new:
        failure = None
        try:
            tree = simulate(study, stages)
        except TooManyFailures as error:
            failure, tree = error, error.results
        try:
            folder = _write(new, study, tree, stages, None if failure is None else str(failure))
        except RunFolderError as error:
            raise RunFolderError(f"{error}\nnothing was kept") from error
    if failure is not None:
        failure.folder = folder
        raise failure
    return folder


def page(tree: xr.DataTree, study: Study, told: Mapping[str, Any]) -> str:
    """The report as HTML, with what a manifest says of the run but not its longest lists."""
    return render(tree, study, provenance.told(told))


def _write(
    new: NewRun, study: Study, tree: xr.DataTree, stages: Stages, failure: str | None
) -> RunFolder:
    write_config(new, study.document, study.overrides, study.estimate_files)
    write_results(new, tree, stages)
    tables = datasets.datasets(tree, study)
    stages("datasets", 0, len(tables))
    for number, (name, frame) in enumerate(tables.items(), start=1):
        with new.writing(f"{name}.parquet") as path:
            adam.write(frame, path)
        stages("datasets", number, len(tables))
    return finish(
        new,
        lambda told: page(tree, study, told),
        stages,
        study.document,
        overrides=study.overrides,
        counts=_counts(tree),
        failure=failure,
        solver=dict(tree["counts"].attrs),
    )


def _counts(tree: xr.DataTree) -> dict[str, Any]:
    """The run's totals, and its failures by cause."""
    causes = tree["failures"].to_dataset()["status"].values.tolist()
    by_cause = {cause: causes.count(cause) for cause in sorted(set(causes))}
    return {
        **{str(name): column.item() for name, column in tree["counts"].to_dataset().items()},
        "failed_by_cause": by_cause,
    }
