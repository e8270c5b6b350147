"""What `insilico fit`, `calibrate` and `sbc` have in common: runs that go on, and verdicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from insilico.cli._errors import NOT_TRUSTED, BadInput, Failed, say

if TYPE_CHECKING:
    from cohorts import fits
    from insilico.runs import RunFolder, Stages, Unfinished

Restart = Annotated[
    bool, typer.Option("--restart", help="Put aside what an interrupted run of this has left.")
]


def carried_out(
    run: Callable[[Stages], RunFolder], begun: Unfinished, *, restart: bool
) -> tuple[RunFolder, fits.NotTrusted | None]:
    """The finished run, and why its population is not to be trusted, if it is not.

    Raises `BadInput`: its folder cannot be written.
    Raises `Failed`: it cannot go on from its checkpoint, or finds nowhere to start.
    """
    for other in begun.others():
        say(f"note: {other} was left by a run with another config, data or versions")
    if begun.begun and not restart:
        say("going on where an interrupted run was; --restart begins anew")
    return finished(run)


def finished(run: Callable[[Stages], RunFolder]) -> tuple[RunFolder, fits.NotTrusted | None]:
    """`carried_out` of a run that keeps nothing on the way."""
    from cohorts import fits
    from cohorts.inference import CheckpointError, ModelError
    from insilico.cli._progress import progress, spoken
    from insilico.runs import RunFolderError, Stages

    try:
        with progress() as watch:
            return run(Stages(watch, words=spoken())), None
    except RunFolderError as error:
        raise BadInput(str(error)) from None
    except (CheckpointError, ModelError) as error:
        raise Failed(str(error)) from None
    except fits.NotTrusted as error:
        return error.folder, error


def tell_notes(fit: fits.Fit) -> None:
    """Say what is odd about a fit's data, and what its config says to no purpose."""
    left_out = fit.patients.summary().left_out
    rows = [f"{count} rows left out: {reason}" for reason, count in left_out.items() if count]
    for note in (*rows, *fit.patients.notes, *fit.notes):
        say(f"note: {note}")


def tell(folder: RunFolder, failure: fits.NotTrusted | None, what: str) -> None:
    """Say where the report is and what is worth knowing; end with a code of its own on failure."""
    typer.echo(f"Report: {folder.path / 'report.html'}")
    for text in folder.manifest.get("warnings", []):
        say(f"worth knowing: {text}")
    if failure is not None:
        say(f"the {what} failed its diagnostics:")
        for reason in failure.verdict.reasons:
            say(f"- {reason}")
        raise typer.Exit(NOT_TRUSTED)
