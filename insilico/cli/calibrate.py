"""`insilico calibrate`: from published summaries and a config to a population with a report."""

from __future__ import annotations

from typing import Annotated

import typer

from insilico.cli._errors import NOT_TRUSTED, BadInput, Failed, reported, say
from insilico.cli._options import Cache, Config, Debug, Force, Out, Overrides, Seed


def calibrate(
    config: Config,
    out: Out = None,
    overrides: Overrides = None,
    seed: Seed = None,
    force: Force = False,
    restart: Annotated[
        bool,
        typer.Option("--restart", help="Put aside what an interrupted run has left."),
    ] = False,
    cache: Cache = True,
    debug: Debug = False,
) -> None:
    """Bring a plausible population to published summaries; leave it and a report in a folder.

    An interrupted calibration by mcmc goes on where it was when the same command is given again.

    Exit code 0: done. 1: the run failed. 2: a mistake in the config, or a folder that cannot be
    written. 3: the population was written, but failed its diagnostics.
    """
    with reported(debug, left="the same command goes on from what was drawn, if anything"):
        from cohorts import fits, summaries
        from insilico.cli._prepare import prepare_calibration, prepare_devices
        from insilico.cli._progress import progress

        changes = (*(overrides or ()), *([f"seed={seed}"] if seed is not None else ()))
        read = prepare_calibration(config, changes)
        from insilico.runs import RunFolderError

        prepare_devices(cache=cache)
        from cohorts.inference import CheckpointError, ModelError

        begun = summaries.unfinished(read, out)
        for other in begun.others():
            say(f"note: {other} was left by a run with another config or versions")
        if begun.begun and not restart:
            say("going on where an interrupted run was; --restart begins anew")
        failure = None
        try:
            with progress() as watch:
                folder = summaries.run(read, out, progress=watch, force=force, restart=restart)
        except RunFolderError as error:
            raise BadInput(str(error)) from None
        except (CheckpointError, ModelError) as error:
            raise Failed(str(error)) from None
        except fits.NotTrusted as error:
            folder, failure = error.folder, error
        typer.echo(f"Report: {folder.path / 'report.html'}")
        if failure is not None:
            say("the calibration failed its diagnostics:")
            for reason in failure.verdict.reasons:
                say(f"- {reason}")
            raise typer.Exit(NOT_TRUSTED)
