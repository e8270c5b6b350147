"""`insilico export`: a run's simulated data as tables that NONMEM and its like read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from insilico.cli._errors import BadInput, reported, say
from insilico.cli._options import Debug, Models, Seed

if TYPE_CHECKING:
    import pandas as pd

    from insilico.runs import NewRun, RunFolder

TABLE, EXPOSURE, MEANING = "nonmem.csv", "exposure.csv", "data.yaml"


def export(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="Folder of a finished trial or fit.", show_default=False
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to leave the tables in.", show_default="RUN and _nonmem"),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Trials of each draw of the population, from the first.",
            show_default="1",
        ),
    ] = None,
    replicates: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Data sets simulated from a fit.", show_default="100"
        ),
    ] = None,
    seed: Seed = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an earlier export in the folder.")
    ] = False,
    models: Models = None,
    debug: Debug = False,
) -> None:
    """Export simulated trials, or data sets simulated from a fit, with NONMEM's columns.

    Of a trial: doses as they were taken, measured and true values at the visits that were kept, and
    covariates, with the exposure after each dose (AUC, Cmax, Tmax, Cmin) beside them. Of a fit: new
    subjects in the design of its data, as many times as --replicates says. data.yaml says what the
    columns mean, as the section `data` of a config for `insilico fit`.
    """
    with reported(debug):
        from insilico.cli._prepare import tell_abandoned
        from insilico.runs import RunFolder, RunFolderError

        try:
            folder = RunFolder.open(run)
            folder.check({"report.html"})
            kind = folder.manifest.get("kind", "trial")
            options = {"--trials": trials, "--replicates": replicates, "--seed": seed}
            _only(kind, options)
            target = out or run.resolve().with_name(f"{run.resolve().name}_nonmem")
            tell_abandoned(target, target.name)
            with RunFolder.create(target, target.name, force=force) as new:
                if kind == "fit":
                    counts = _of_fit(folder, new, replicates or 100, seed)
                else:
                    counts = _of_trial(folder, new, trials or 1)
                new.finish({"kind": "export", "of": str(run), "counts": counts})
        except RunFolderError as error:
            raise BadInput(str(error)) from None
        typer.echo(new.target)


def _only(kind: str, options: Mapping[str, Any]) -> None:
    """Raise `BadInput` for a run of another kind, and for options that mean nothing to it."""
    meant = {"trial": {"--trials"}, "fit": {"--replicates", "--seed"}}
    if kind not in meant:
        raise BadInput(f"a run of kind {kind!r} has nothing to export; a trial or a fit has")
    for name, value in options.items():
        if value is not None and name not in meant[kind]:
            raise BadInput(f"{name} means nothing to the folder of a {kind}")


def _of_trial(folder: RunFolder, new: NewRun, trials: int) -> dict[str, int]:
    from insilico.cli._prepare import prepare_devices

    prepare_devices(cache=False)
    import trials as of_trials
    from trials.event_tables import event_table, exposure_table

    study = of_trials.read(folder.path / "config.yaml")
    tree = folder.results()
    there = study.config.trial.per_draw
    if trials > there:
        raise BadInput(f"--trials: found {trials}; the run has {there:,} of each draw")
    try:
        table = event_table(tree, study, trials, TABLE)
    except ValueError as error:
        raise BadInput(f"{folder.path}: {error}") from None
    if table.left_out:
        say(f"note: {table.left_out:,} subjects are left out, since a solve of theirs failed")
    _write(new, TABLE, table.frame)
    exposure = exposure_table(table, study)
    if len(exposure):
        _write(new, EXPOSURE, exposure)
    _write_meaning(new, study.config.model, table.spec)
    return {"records": len(table.frame), "left_out": table.left_out}


def _of_fit(folder: RunFolder, new: NewRun, replicates: int, seed: int | None) -> dict[str, int]:
    from insilico.cli._prepare import prepare_devices

    prepare_devices(cache=True)
    from cohorts import fits
    from cohorts.fits.exporting import simulated_data

    fit = fits.read(folder.path / "config.yaml")
    found = simulated_data(fit, folder.results("posterior"), replicates, seed, TABLE)
    if found.unsolved:
        say(f"note: {found.unsolved:,} subjects have no values, since a solve of theirs failed")
    _write(new, TABLE, found.frame)
    _write_meaning(new, fit.config.model, found.spec)
    return {"records": len(found.frame), "unsolved": found.unsolved}


def _write(new: NewRun, name: str, frame: pd.DataFrame) -> None:
    with new.writing(name) as path:
        frame.to_csv(path, index=False, na_rep=".")


def _write_meaning(new: NewRun, model: str, spec: Any) -> None:
    from insilico.runs.resolved import as_yaml

    told = {"model": model, "data": spec.model_dump(mode="json", exclude_defaults=True)}
    with new.writing(MEANING) as path:
        path.write_text(
            f"# What the columns of {TABLE} mean, for the config of a fit.\n{as_yaml(told)}",
            encoding="utf-8",
        )
