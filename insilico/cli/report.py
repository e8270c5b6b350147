"""`insilico report`: the report of a finished run, rendered anew."""

from pathlib import Path
from typing import Annotated

import typer

from insilico.cli._errors import BadInput, Failed, reported
from insilico.cli._options import Debug, Models


def report(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A finished run's folder.", show_default=False)
    ],
    models: Models = None,
    debug: Debug = False,
) -> None:
    """Render report.html of a finished run again, without simulating."""
    with reported(debug):
        from insilico.runs import RunFolder, RunFolderError

        try:
            folder = RunFolder.open(run)
            folder.check({"report.html"})
        except RunFolderError as error:
            raise BadInput(str(error)) from None

        from insilico.cli._prepare import prepare_devices

        prepare_devices(cache=False)
        config = folder.path / "config.yaml"
        if folder.manifest.get("kind") == "fit":
            from cohorts import fits

            text = fits.render(folder.results(), fits.read(config), folder.manifest)
        elif folder.manifest.get("kind") == "calibration":
            from cohorts import summaries

            text = summaries.render(folder.results(), summaries.read(config), folder.manifest)
        elif folder.manifest.get("kind") == "sbc":
            from cohorts import fits, sbc

            text = sbc.render(folder.results(), fits.read(config), folder.manifest)
        else:
            import trials
            from trials.running import page

            text = page(folder.results(), trials.read(config), folder.manifest)
        try:
            folder.replace("report.html", text)
        except RunFolderError as error:
            raise Failed(str(error)) from None
        typer.echo(folder.path / "report.html")
