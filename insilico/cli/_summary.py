"""The few numbers that a run ends with on the screen."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from insilico.pages.numbers import counted, share
from trials.report.failures import never_analysed
from trials.report.terminal import summary
from trials.report.view import View

if TYPE_CHECKING:
    from insilico.runs import RunFolder
    from trials import Study

LOG_WIDTH = 120
"""Characters of a line where there is no terminal to ask."""


SHOWN = ("estimates", "truth", "operating_characteristics", "published", "counts")
"""Groups of the results that the screen's numbers come from; the large ones are not among them."""


def show(folder: RunFolder, study: Study, seconds: float, failure: str | None) -> None:
    """Print what a run found: a row an analysis, then counts and where the report is."""
    tree = folder.results(*SHOWN)
    console = Console(width=None if sys.stdout.isatty() else LOG_WIDTH, markup=False)
    view = View(tree, study)
    console.print(_table(view))
    for sentence in never_analysed(view):
        console.print(f"Warning: {sentence}")
    if study.config.success is not None:
        probability = share(*view.success, view.trials)
        console.print(f"Success of the trial: {probability} %")
    counts = tree["counts"].to_dataset()
    failed, solves = int(counts["failed"]), int(counts["solves"])
    console.print(
        f"{counted(view.trials, 'trial')}, {counted(int(counts['subjects']), 'subject')}, "
        f"{counted(solves, 'solve')}, {failed:,} failed; {seconds:.1f} s"
    )
    marked = "" if failure is None else " (failed run)"
    console.print(Text(f"Report{marked}: {folder.path / 'report.html'}"), soft_wrap=True)


def _table(view: View) -> Table:
    table = Table(title=Text(view.config.title), title_justify="left", pad_edge=False, box=None)
    for heading in (
        "Analysis",
        "Mean estimate",
        "Typical interval",
        "Published",
        "Power (%)",
        "Failed trials",
    ):
        table.add_column(heading, justify="left" if heading == "Analysis" else "right")
    for row in summary(view):
        label = f"{row.analysis} ({row.unit})" if row.unit else row.analysis
        cells = (label, row.estimate, row.interval, row.published, row.power, row.failed)
        table.add_row(*map(Text, cells))
    return table
