"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="The config file.", show_default=False)
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a value of the config: --set trial.dropout.share=0.1. Repeatable.",
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
