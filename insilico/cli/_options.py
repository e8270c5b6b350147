"""Options that several commands have."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from insilico.cli._errors import BadInput

Config = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="The config file.", show_default=False)
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a value of the config: --set trial.dropout.share=0.1, of a list's entry: "
        "--set arms.0.name=a. Repeatable, for another key.",
        show_default=False,
    ),
]


def _added(files: list[Path] | None) -> list[Path] | None:
    """Add the models before the command reads a config that names them."""
    from insilico.models import ModelFileError, add

    for file in files or ():
        try:
            add(file)
        except ModelFileError as error:
            raise typer.BadParameter(str(error)) from None
    return files


Models = Annotated[
    list[Path] | None,
    typer.Option(
        "--model",
        metavar="FILE.py",
        callback=_added,
        help="Python source with a MODEL of your own, which the config then names: model: FILE. "
        "It is executed. Repeatable.",
        show_default=False,
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an unexpected error.")]
Cache = Annotated[
    bool,
    typer.Option(
        "--cache/--no-cache",
        help="Keep compiled programs for the next run in ~/.cache/insilico (or below "
        "$XDG_CACHE_HOME), at most 1 GiB a kind of processor; it may be deleted at any time.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(help="Folder to leave the run in.", show_default="runs/ and the config's name"),
]
Seed = Annotated[
    int | None, typer.Option(metavar="N", help="Seed of all randomness.", show_default=False)
]
Force = Annotated[
    bool, typer.Option("--force", help="Replace an earlier run in the folder, --out or not.")
]


def once(changes: Sequence[str]) -> tuple[str, ...]:
    """What `--set` and its shortcuts change. Raises `BadInput` where two change the same."""
    values: dict[str, str] = {}
    for change in changes:
        key, _, value = (part.strip() for part in change.partition("="))
        if key in values:
            raise BadInput(
                f"{key} is given twice on the command line, as {values[key]} and as {value}; "
                "leave one out"
            )
        values[key] = value
    return tuple(changes)
