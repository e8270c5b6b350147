"""The few numbers that a run ends with on the screen."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from trials.report.numbers import share, whole
from trials.report.view import AnalysisView, View

if TYPE_CHECKING:
    import xarray as xr

    from trials import Study

LOG_WIDTH = 120
"""Characters of a line where there is no terminal to ask."""


def show(
    tree: xr.DataTree, study: Study, folder: Path, seconds: float, failure: str | None
) -> None:
    """Print what a run found: a row an analysis, then counts and where the report is."""
    console = Console(width=None if sys.stdout.isatty() else LOG_WIDTH, markup=False)
    view = View(tree, study)
    console.print(_table(view))
    if study.config.success is not None:
        probability = share(*view.success, view.trials)
        console.print(f"Success of the trial: {probability} %")
    counts = tree["counts"].to_dataset()
    failed, solves = int(counts["failed"]), int(counts["solves"])
    console.print(
        f"{view.trials:,} trials, {int(counts['subjects']):,} subjects, {solves:,} solves, "
        f"{failed:,} failed; {seconds:.1f} s"
    )
    marked = "" if failure is None else " (failed run)"
    console.print(Text(f"Report{marked}: {folder / 'report.html'}"), soft_wrap=True)


def _table(view: View) -> Table:
    table = Table(title=Text(view.config.title), title_justify="left", pad_edge=False, box=None)
    for heading in ("Analysis", "Mean estimate", "Typical interval", "Published", "Power (%)",
                    "Failed trials"):  # fmt: skip
        table.add_column(heading, justify="left" if heading == "Analysis" else "right")
    for analysis in view.analyses:
        table.add_row(*(Text(cell) for cell in _row(analysis, view.trials)))
    return table


def _row(analysis: AnalysisView, trials: int) -> list[str]:
    scale, found = analysis.scale, analysis.characteristics
    unit = analysis.effect_unit
    published = ""
    if analysis.published is not None:
        value, lower, upper = analysis.published
        published = f"{float(scale.shown(value)):g}"
        if lower == lower and upper == upper:
            published += f" ({float(scale.shown(lower)):g} to {float(scale.shown(upper)):g})"
    return [
        f"{analysis.label} ({unit})" if unit else analysis.label,
        str(scale.effect(found["mean_estimate"], found["mean_estimate_mcse"])),
        f"{scale.interval(*analysis.typical_interval())}",
        published.replace("-", "\N{MINUS SIGN}"),
        str(share(found["power"], found["power_mcse"], trials)),
        whole(found["failures"]),
    ]
