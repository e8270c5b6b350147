"""`insilico schema`: the JSON schema of configs, for editors."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from insilico.cli._errors import BadInput, reported


def schema(
    out: Annotated[
        Path | None, typer.Option(help="File to write it to.", show_default="standard output")
    ] = None,
    fit: Annotated[bool, typer.Option("--fit", help="That of fits, in place of trials.")] = False,
    calibration: Annotated[
        bool, typer.Option("--calibration", help="That of calibrations, in place of trials.")
    ] = False,
) -> None:
    """The JSON schema of configs, with which editors complete and check them."""
    with reported():
        from cohorts.fits import FitConfig
        from cohorts.summaries import CalibrationConfig
        from insilico.config import json_schema
        from trials.config import TrialConfig

        if fit and calibration:
            raise BadInput("--fit and --calibration are two schemas; ask for one of them")
        chosen = FitConfig if fit else CalibrationConfig if calibration else TrialConfig
        spec = json_schema(chosen)
        text = json.dumps(spec, indent=2, ensure_ascii=False) + "\n"
        if out is None:
            typer.echo(text, nl=False)
            return
        try:
            out.write_text(text, encoding="utf-8")
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            raise BadInput(f"{out}: the file cannot be written: {reason}") from None
