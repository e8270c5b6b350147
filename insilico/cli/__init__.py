"""The commands. Only typer is imported here: everything heavy is imported inside the commands."""

import io
import sys

import typer

from insilico.cli.calibrate import calibrate
from insilico.cli.check import check
from insilico.cli.estimates import estimates
from insilico.cli.export import export
from insilico.cli.fit import fit
from insilico.cli.init import init
from insilico.cli.models import models
from insilico.cli.report import report
from insilico.cli.run import run
from insilico.cli.sbc import sbc
from insilico.cli.schema import schema

app = typer.Typer(
    help="Clinical trials in silico: from one config file to a report.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help takes half the time
    # A traceback is for those who ask for one with --debug; see `_errors.reported`.
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from insilico.cli._errors import program

        typer.echo(program())
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", help="Show the version and exit.", callback=_show_version, is_eager=True
    ),
) -> None:
    pass


app.command()(run)
app.command()(fit)
app.command()(calibrate)
app.command()(sbc)
app.command()(check)
app.command()(report)
app.command()(export)
app.command()(init)
app.command()(estimates)
app.command()(schema)
app.add_typer(models, name="models")


def main() -> None:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets a substitute rather than an error.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    app()
