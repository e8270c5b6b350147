"""`insilico calibrate`: from published summaries and a config to a population with a report."""

from __future__ import annotations

from insilico.cli._errors import reported
from insilico.cli._learning import Restart, carried_out, tell
from insilico.cli._options import Cache, Config, Debug, Force, Models, Out, Overrides, Seed


def calibrate(
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
    """Bring a plausible population to published summaries; leave it and a report in a folder.

    An interrupted calibration by mcmc goes on where it was when the same command is given again.

    Exit code 0: done. 1: the run failed. 2: a mistake in the config, or a folder that cannot be
    written. 3: the population was written, but failed its diagnostics.
    """
    with reported(debug, left="the same command goes on from what was drawn, if anything"):
        from cohorts import summaries
        from insilico.cli._prepare import prepare_calibration, prepare_devices, tell_abandoned

        changes = (*(overrides or ()), *([f"seed={seed}"] if seed is not None else ()))
        read = prepare_calibration(config, changes)
        tell_abandoned(out, config.stem)
        prepare_devices(cache=cache)
        folder, failure = carried_out(
            lambda stages: summaries.run(read, out, progress=stages, force=force, restart=restart),
            summaries.unfinished(read, out),
            restart=restart,
        )
        tell(folder, failure, "calibration")
