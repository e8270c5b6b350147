"""`insilico init`: a config to start from."""

import importlib.resources
import os
from pathlib import Path
from typing import Annotated

import typer

from insilico.cli._errors import BadInput, reported

STARTING_CONFIG = "starting_config.yaml"


def init(
    file: Annotated[Path, typer.Argument(metavar="[FILE]", help="The file to write.")] = Path(
        "trial.yaml"
    ),
) -> None:
    """Write a commented config to start from. An existing file is left alone."""
    with reported():
        shipped = importlib.resources.files("insilico.cli").joinpath(STARTING_CONFIG)
        text = shipped.read_text("utf-8")
        try:
            with file.open("x", encoding="utf-8") as stream:
                stream.write(text)
        except FileExistsError:
            raise BadInput(f"{file}: the file exists; choose another name") from None
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            raise BadInput(f"{file}: the file cannot be written: {reason}") from None
        typer.echo(f"{file}: next, insilico check {file} and insilico run {file}")
