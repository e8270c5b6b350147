"""`insilico estimates`: what a file of estimates has, under the names that a config imports."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from insilico.cli._errors import BadInput, reported
from insilico.cli._options import Debug

if TYPE_CHECKING:
    from cohorts.estimates import Estimate, Estimates


def estimates(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="NONMEM's .ext, or JSON of nlmixr2.", show_default=False
        ),
    ],
    covariance: Annotated[
        Path | None, typer.Option(help="NONMEM's .cov.", show_default=False)
    ] = None,
    table: Annotated[
        int | None, typer.Option(metavar="N", help="Table of an .ext.", show_default="the last")
    ] = None,
    debug: Debug = False,
) -> None:
    """What a file of estimates has, by the names under which a config imports it."""
    with reported(debug):
        from cohorts.data import DataError
        from cohorts.estimates import read_estimates

        try:
            found = read_estimates(file, covariance, table=table)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise BadInput(f"{error.filename}: cannot be read: {reason}") from None
        except DataError as error:
            raise BadInput(str(error)) from None
        _show(found)


def _show(found: Estimates) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from insilico.cli._model_checks import LOG_WIDTH

    console = Console(width=None if sys.stdout.isatty() else LOG_WIDTH, markup=False)
    title = Text(f"{found.source}: {found.method}" if found.method else found.source)
    table = Table(title=title, title_justify="left", pad_edge=False, box=None)
    for heading in ("Name", "Estimate", "Standard error", "RSE %", "As sd or correlation", ""):
        table.add_column(heading, justify="left" if heading in ("Name", "") else "right")
    for name in found.names:
        each = found[name]
        error, relative = each.standard_error, each.relative_standard_error
        cells = (
            name,
            f"{each.value:.5g}",
            "" if error is None else f"{error:.4g}",
            "" if relative is None else f"{100 * relative:.1f}",
            _standardised(found, each),
            "fixed" if each.fixed else "",
        )
        table.add_row(*(Text(cell, no_wrap=True) for cell in cells))
    console.print(table)
    if found.covariance is not None:
        told = f"covariance matrix of {len(found.covariance_names)} from {found.covariance_source}"
    elif any(found.uncertain(name) for name in found.names):
        told = "no covariance matrix: as far as this tells, the estimates are independent"
    else:
        told = "no standard errors and no covariance matrix: imported numbers are known"
    console.print(told[0].upper() + told[1:] + ".")
    if found.unfinished is not None:
        console.print(f"Not to be trusted: {found.unfinished}.")


def _standardised(found: Estimates, each: Estimate) -> str:
    """The sd of a variance, the correlation of a covariance."""
    if each.role == "variance" and each.value >= 0.0:
        return f"{each.value**0.5:.4g}"
    if each.role == "covariance":
        product = 1.0
        for name in each.of:
            product *= found[name].value
        return f"{each.value / product**0.5:.4g}" if product > 0.0 else ""
    return ""
