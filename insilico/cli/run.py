"""`insilico run`: from a config to a run folder with a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from insilico.cli._errors import BadInput, reported, say
from insilico.cli._options import Cache, Config, Debug, Force, Models, Out, Overrides, Seed

if TYPE_CHECKING:
    from insilico.runs import RunFolder


def run(
    config: Config,
    out: Out = None,
    overrides: Overrides = None,
    replicates: Annotated[
        int | None,
        typer.Option(metavar="N", help="Simulated trials: trial.replicates.", show_default=False),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(metavar="N", help="Patients a trial: trial.subjects.", show_default=False),
    ] = None,
    seed: Seed = None,
    force: Force = False,
    cache: Cache = True,
    models: Models = None,
    debug: Debug = False,
) -> None:
    """Simulate a trial; leave results, datasets and a report in a folder.

    Exit code 0: done. 1: the run failed; if too many subjects could not be solved, the folder is
    written all the same and says so. 2: a mistake in the input, or a folder that cannot be
    written; nothing was kept.
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


def _warn_of_memory(needed: int) -> None:
    """Tell of a run that this machine can hardly hold, which systems end without a word."""
    import os

    from trials.size import shown

    try:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not every system says
        return
    if needed > there:
        say(
            f"warning: this takes {shown(needed)} of memory or more; the machine has {shown(there)}"
        )


def _run(
    config: Path, changes: tuple[str, ...], out: Path | None, *, force: bool, cache: bool
) -> tuple[RunFolder, str | None]:
    """The finished run, and why it counts as failed if it does."""
    from insilico.cli._prepare import prepare, prepare_devices, tell_abandoned
    from insilico.cli._progress import progress
    from insilico.runs import RunFolderError, Stages

    stages = Stages()
    study = prepare(config, changes)
    stages("check", 1, 1)
    _warn_of_memory(study.bytes)
    for note in study.notes:
        say(f"note: {note}")
    tell_abandoned(out, config.stem)
    # Only now, because starting JAX takes a while: a mistake in the config is told before.
    prepare_devices(cache=cache)

    import trials
    from insilico.cli._summary import show

    failure = None
    try:
        with progress() as watch:
            stages.watch = watch
            folder = trials.run(study, out, progress=stages, force=force)
    except RunFolderError as error:
        raise BadInput(str(error)) from None
    except trials.TooManyFailures as error:
        if error.folder is None:
            raise
        folder, failure = error.folder, str(error)
    show(folder, study, stages.total, failure)
    return folder, failure
