"""`insilico check`: every mistake in a config, before anything is simulated."""

import typer

from insilico.cli._errors import reported
from insilico.cli._options import Config, Debug, Overrides


def check(config: Config, overrides: Overrides = None, debug: Debug = False) -> None:
    """Find every mistake in a config. Exit code 2 if there is one."""
    with reported(debug):
        from insilico.cli._prepare import prepare

        study = prepare(config, overrides or ())

        from insilico.pages.numbers import counted
        from trials.size import shown

        trial, arms = study.config.trial, len(study.config.arms)
        draws = trial.population_draws
        several = study.protocol.periods.number
        periods = f" in {counted(several, 'period')}" if several > 1 else ""
        of = f" for each of {draws:,} population draws" if draws > 1 else ""
        typer.echo(
            f"{config}: ok: {counted(trial.replicates, 'trial')}{of} of "
            f"{counted(trial.subjects, 'subject')} under {counted(arms, 'arm')}{periods}; "
            f"takes {shown(study.bytes)} of memory or more"
        )
