"""`insilico fit`: from patient data and a config to a posterior with a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from insilico.cli._errors import reported
from insilico.cli._learning import Restart, carried_out, tell, tell_notes
from insilico.cli._options import Cache, Config, Debug, Force, Models, Out, Overrides, Seed

if TYPE_CHECKING:
    from insilico.runs import RunFolder


def fit(
    config: Config,
    out: Out = None,
    overrides: Overrides = None,
    seed: Seed = None,
    force: Force = False,
    restart: Restart = False,
    cache: Cache = True,
    models: Models = None,
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
        from insilico.cli._prepare import prepare_devices, prepare_fit, tell_abandoned

        changes = (*(overrides or ()), *([f"seed={seed}"] if seed is not None else ()))
        read = prepare_fit(config, changes)
        tell_notes(read)
        tell_abandoned(out, config.stem)
        prepare_devices(cache=cache)
        folder, failure = carried_out(
            lambda stages: fits.run(read, out, progress=stages, force=force, restart=restart),
            fits.unfinished(read, out),
            restart=restart,
        )
        if read.config.method != "nuts":
            typer.echo(f"Approximation: {read.label}; not a sampled posterior")
        if read.config.mixtures:
            _tell_subpopulations(folder)
        tell(folder, failure, "fit")


def _tell_subpopulations(folder: RunFolder) -> None:
    """How many subjects most probably belong to each component of each mixture."""
    for name, node in folder.results("membership")["membership"].children.items():
        found = node.to_dataset()
        likeliest = found["most_probable"].values
        told = [
            f"{int((likeliest == component).sum())} {component}"
            for component in found["component"].values
        ]
        typer.echo(
            f"Most probable subpopulation ({name}) of {len(likeliest)} subjects: {', '.join(told)}"
        )
