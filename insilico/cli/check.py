"""`insilico check`: every mistake in a config, before anything is simulated."""

import typer

from insilico.cli._errors import reported, say
from insilico.cli._options import Config, Debug, Models, Overrides


def check(
    config: Config, overrides: Overrides = None, models: Models = None, debug: Debug = False
) -> None:
    """Find every mistake in the config of a trial, a fit or a calibration.

    Exit code 2 if there is one.
    """
    with reported(debug):
        from insilico.cli._learning import tell_notes
        from insilico.cli._prepare import kind_of, prepare, prepare_calibration, prepare_fit
        from insilico.pages.numbers import counted

        kind = kind_of(config)
        if kind == "calibration":
            calibration = prepare_calibration(config, overrides or ())
            typer.echo(
                f"{config}: ok: {counted(len(calibration.targets), 'target')} in "
                f"{counted(len(calibration.arms), 'arm')} to be met by "
                f"{counted(calibration.config.virtual_patients, 'virtual patient')}"
            )
            return
        if kind == "fit":
            fit = prepare_fit(config, overrides or ())
            summary = fit.patients.summary()
            values = sum(summary.observations.values())
            approximate = "" if fit.config.method == "nuts" else ", an approximation"
            typer.echo(
                f"{config}: ok: {counted(summary.subjects, 'subject')} with "
                f"{counted(values, 'measured value')} to be fitted by {fit.label}{approximate}"
            )
            tell_notes(fit)
            return
        study = prepare(config, overrides or ())

        from trials.size import shown

        trial, arms = study.config.trial, len(study.config.arms)
        draws = trial.population_draws
        several = study.protocol.periods.number
        periods = f" in {counted(several, 'period')}" if several > 1 else ""
        over = f" over {draws:,} draws of the population" if draws > 1 else ""
        typer.echo(
            f"{config}: ok: {counted(trial.replicates, 'trial')}{over} of "
            f"{counted(trial.subjects, 'subject')} under {counted(arms, 'arm')}{periods}; "
            f"takes {shown(study.bytes)} of memory or more"
        )
        for note in study.notes:
            say(f"note: {note}")
