"""`insilico sbc`: whether a fit would find what made its data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from insilico.cli._errors import reported
from insilico.cli._learning import finished, tell
from insilico.cli._options import Cache, Config, Debug, Force, Models, Overrides, Seed

Folder = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="Folder to leave the run in.",
        show_default="runs/ and the config's name with _sbc",
    ),
]


def _count(words: str) -> typer.models.OptionInfo:
    return typer.Option(metavar="N", help=words, show_default=False)


def sbc(
    config: Config,
    out: Folder = None,
    overrides: Overrides = None,
    datasets: Annotated[int | None, _count("Simulated data sets: sbc.datasets.")] = None,
    subjects: Annotated[int | None, _count("The first N subjects alone: sbc.subjects.")] = None,
    draws: Annotated[int | None, _count("Draws of each posterior: sbc.draws.")] = None,
    thin: Annotated[int | None, _count("Every how manyth draw is kept: sbc.thin.")] = None,
    seed: Seed = None,
    force: Force = False,
    cache: Cache = True,
    models: Models = None,
    debug: Debug = False,
) -> None:
    """Test a fit on data simulated from its own priors; leave ranks and a report in a folder.

    Simulation-based calibration: each simulated data set is fitted, and intervals have to hold what
    made it as often as they say. The config is that of the fit, whose section `sbc` says how; its
    data give the design: who, which doses, which times, which limits of quantification.

    Exit code 0: the fit is calibrated. 1: the run failed. 2: a mistake in the config or the data,
    or a folder that cannot be written. 3: the ranks were written, and are not those of a right fit.
    """
    with reported(debug):
        from cohorts.sbc import run
        from insilico.cli._prepare import prepare_devices, prepare_fit, tell_abandoned

        shortcuts = {
            "sbc.datasets": datasets,
            "sbc.subjects": subjects,
            "sbc.draws": draws,
            "sbc.thin": thin,
            "seed": seed,
        }
        given = [f"{key}={value}" for key, value in shortcuts.items() if value is not None]
        read = prepare_fit(config, (*(overrides or ()), *given))
        tell_abandoned(out, f"{config.stem}_sbc")
        prepare_devices(cache=cache)
        folder, failure = finished(lambda stages: run(read, out, progress=stages, force=force))
        tell(folder, failure, "simulation-based calibration")
