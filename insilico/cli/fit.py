"""`insilico fit`: from patient data and a config to a posterior with a report."""

from __future__ import annotations

from typing import Annotated

import typer

from insilico.cli._errors import NOT_TRUSTED, BadInput, Failed, reported, say
from insilico.cli._options import Cache, Config, Debug, Force, Out, Overrides, Seed


def fit(
    config: Config,
    out: Out = None,
    overrides: Overrides = None,
    seed: Seed = None,
    force: Force = False,
    restart: Annotated[
        bool,
        typer.Option("--restart", help="Put aside what an interrupted run of this fit has left."),
    ] = False,
    cache: Cache = True,
    debug: Debug = False,
) -> None:
    """Learn a population from patient data; leave posterior, checks and a report in a folder.

    An interrupted fit goes on where it was when the same command is given again; one by an
    approximation (`method: focei`, `laplace` or `svi`) begins anew.

    Exit code 0: done. 1: the run failed. 2: a mistake in the config or the data, or a folder that
    cannot be written. 3: the fit was written, but failed its diagnostics.
    """
    with reported(debug, left="the same command goes on from what was drawn, if anything was"):
        from cohorts import fits
        from insilico.cli._prepare import prepare_devices, prepare_fit
        from insilico.cli._progress import progress, spoken

        changes = (*(overrides or ()), *([f"seed={seed}"] if seed is not None else ()))
        read = prepare_fit(config, changes)
        from insilico.runs import RunFolderError, Stages

        for note in read.notes:
            say(f"note: {note}")
        prepare_devices(cache=cache)
        from cohorts.inference import CheckpointError, ModelError

        begun = fits.unfinished(read, out)
        for other in begun.others():
            say(f"note: {other} was left by a run with another config, data or versions")
        if begun.begun and not restart:
            say("going on where an interrupted run of this fit was; --restart begins anew")
        failure = None
        try:
            with progress() as watch:
                stages = Stages(watch, words=spoken())
                folder = fits.run(read, out, progress=stages, force=force, restart=restart)
        except RunFolderError as error:
            raise BadInput(str(error)) from None
        except (CheckpointError, ModelError) as error:
            raise Failed(str(error)) from None
        except fits.NotTrusted as error:
            folder, failure = error.folder, error
        if read.config.method != "nuts":
            typer.echo(f"Approximation: {read.label}; not a sampled posterior")
        typer.echo(f"Report: {folder.path / 'report.html'}")
        for text in folder.manifest.get("warnings", []):
            say(f"worth knowing: {text}")
        if failure is not None:
            say("the fit failed its diagnostics:")
            for reason in failure.verdict.reasons:
                say(f"- {reason}")
            raise typer.Exit(NOT_TRUSTED)
