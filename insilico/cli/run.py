"""`insilico run`: from a config to a run folder with a report."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from insilico.cli._errors import BadInput, Failed, reported, say
from insilico.cli._options import Cache, Config, Debug, Overrides

if TYPE_CHECKING:
    import xarray as xr

    from insilico.runs import NewRun, RunFolder, Stages
    from trials import Study


def run(
    config: Config,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder to leave the run in.", show_default="runs/ and the config's name"
        ),
    ] = None,
    overrides: Overrides = None,
    replicates: Annotated[
        int | None,
        typer.Option(metavar="N", help="Simulated trials: trial.replicates.", show_default=False),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(metavar="N", help="Patients a trial: trial.subjects.", show_default=False),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Seed of all randomness.", show_default=False)
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an earlier run in the folder.")
    ] = False,
    cache: Cache = True,
    debug: Debug = False,
) -> None:
    """Simulate a trial; leave results, datasets and a report in a folder.

    Exit code 0: done. 1: the run failed; if too many subjects could not be solved, the folder is
    written all the same and says so. 2: a mistake in the input; nothing was written.
    """
    with reported(debug):
        shortcuts = {"trial.replicates": replicates, "trial.subjects": size, "seed": seed}
        given = [f"{key}={value}" for key, value in shortcuts.items() if value is not None]
        changes = (*(overrides or ()), *given)
        folder, failure = _run(config, changes, out, force=force, cache=cache)
        if failure is not None:
            say(f"the run failed: {failure}")
            say(f"{folder.path}: what it found is kept there, marked as failed")
            raise typer.Exit(1)


def _run(
    config: Path, changes: tuple[str, ...], out: Path | None, *, force: bool, cache: bool
) -> tuple[RunFolder, str | None]:
    """The finished run, and why it counts as failed if it does."""
    from insilico.cli._prepare import prepare, prepare_devices
    from insilico.cli._progress import progress
    from insilico.runs import RunFolder, RunFolderError, Stages

    started, stages = datetime.datetime.now(datetime.UTC), Stages()
    study = prepare(config, changes)
    stages("check", 1, 1)
    # Only now, because starting JAX takes a while: a mistake in the config is told before.
    prepare_devices(cache=cache)

    from insilico.cli._summary import show

    try:
        new = RunFolder.create(out, config.stem, force=force)
    except RunFolderError as error:
        raise BadInput(str(error)) from None
    with new, progress() as watch:
        stages.watch = watch
        tree, failure = _simulate(study, stages)
        try:
            folder = _write(new, study, tree, stages, changes, started, failure)
        except RunFolderError as error:
            raise Failed(f"{error}\nnothing was kept") from None
    show(tree, study, folder.path, stages.total, failure)
    return folder, failure


def _simulate(study: Study, stages: Stages) -> tuple[xr.DataTree, str | None]:
    import trials

    try:
        return trials.simulate(study, stages), None
    except trials.TooManyFailures as failure:
        return failure.results, str(failure)


def _write(
    new: NewRun,
    study: Study,
    tree: xr.DataTree,
    stages: Stages,
    changes: tuple[str, ...],
    started: datetime.datetime,
    failure: str | None,
) -> RunFolder:
    from insilico.cli._page import page
    from insilico.runs import manifest, resolved_text
    from insilico.runs.store import write_tree
    from trials import datasets

    with new.writing("config.yaml") as path:
        path.write_text(resolved_text(study.document, changes), encoding="utf-8")
    stages("results", 0, 1)
    with new.writing("results.zarr") as path:
        write_tree(tree, path)
    stages("results", 1, 1)
    tables = datasets.datasets(tree, study)
    stages("datasets", 0, len(tables))
    for number, (name, frame) in enumerate(tables.items(), start=1):
        with new.writing(f"{name}.parquet") as path:
            datasets.write(frame, path)
        stages("datasets", number, len(tables))
    stages("report", 0, 1)
    told = manifest(
        study.document,
        overrides=changes,
        started=started,
        seconds=stages.seconds,
        counts=_counts(tree),
        failure=failure,
    )
    with new.writing("report.html") as path:
        path.write_text(page(tree, study, told), encoding="utf-8")
    stages("report", 1, 1)
    told["seconds"] = {stage: round(value, 3) for stage, value in stages.seconds.items()}
    return new.finish(told)


def _counts(tree: xr.DataTree) -> dict[str, Any]:
    """The run's totals, and its failures by cause."""
    causes = tree["failures"].to_dataset()["status"].values.tolist()
    by_cause = {cause: causes.count(cause) for cause in sorted(set(causes))}
    return {
        **{str(name): column.item() for name, column in tree["counts"].to_dataset().items()},
        "failed_by_cause": by_cause,
    }
