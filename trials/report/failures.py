"""What went wrong: subjects that could not be solved, trials that could not be analysed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import xarray as xr

from trials.report.blocks import Block, Cell, Column, Row, Section, Table, Text
from trials.report.numbers import significant, whole
from trials.report.view import View

MOST_LISTED = 50
PARAMETER = "parameter_"


def section(view: View) -> Section:
    """Failures of subjects and of analyses; says so where there are none."""
    blocks: list[Block] = [*_subjects(view), *_analyses(view)]
    return Section("failures", "Failures", blocks)


def _subjects(view: View) -> list[Block]:
    dataset, counts = view.group("failures"), view.group("counts")
    solves = "all" if counts is None else f"{int(counts['solves']):,}"
    size = 0 if dataset is None else dataset.sizes.get("failure", 0)
    if dataset is None or size == 0:
        text = f"Subjects: none. Each of {solves} solves of a subject under an arm reached the end."
        return [Text(text if counts is not None else "Subjects: none.")]
    by_cause = Counter(
        (str(status), view.arm(str(arm)).label)
        for status, arm in zip(dataset["status"].values, dataset["arm"].values, strict=True)
    )
    causes = Table(
        f"Failed solves by cause ({whole(size)} of {solves})",
        (Column("Cause"), Column("Arm"), Column("Solves", number=True)),
        [Row([cause, arm, whole(count)]) for (cause, arm), count in by_cause.most_common()],
        "/failures, /counts",
    )
    return [causes, _listed(view, dataset, size)]


def _listed(view: View, dataset: xr.Dataset, size: int) -> Table:
    parameters = [str(name) for name in dataset.data_vars if str(name).startswith(PARAMETER)]
    quantities = view.study.protocol.model.quantities("Parameters")

    def column(name: str) -> Column:
        short = name.removeprefix(PARAMETER)
        unit = quantities[short].unit if short in quantities else ""
        return Column(view.words(short), "" if unit == "1" else unit, number=True)

    rows = []
    for index in range(min(size, MOST_LISTED)):
        one = dataset.isel(failure=index)
        cells: list[Cell] = [
            f"{int(one['population'])}/{int(one['trial'])}/{int(one['subject'])}",
            view.arm(str(one["arm"].item())).label,
            str(one["status"].item()),
            significant(float(one["stopped"])),
            *(significant(float(one[name])) for name in parameters),
        ]
        rows.append(Row(cells))
    shown = f"the first {MOST_LISTED} of {whole(size)}" if size > MOST_LISTED else "all"
    return Table(
        f"Failed solves with their parameters ({shown})",
        (
            Column("Draw/trial/subject"),
            Column("Arm"),
            Column("Cause"),
            Column("Stopped at", "h", number=True),
            *(column(name) for name in parameters),
        ),
        rows,
        "/failures",
        "n/a: a subject for whom no eligible candidate was found has no parameters.",
    )


def _analyses(view: View) -> list[Block]:
    estimates = view.group("estimates")
    if estimates is None or not view.analyses:
        return []
    meanings = _meanings(estimates)
    rows = []
    for analysis in view.analyses:
        failed = analysis.status[~analysis.usable]
        for code, count in zip(*np.unique(failed, return_counts=True), strict=True):
            cause = meanings.get(int(code), f"status {int(code)}")
            if int(code) == 0:
                cause = "the estimate is not a finite number"
            rows.append(
                Row([analysis.title, cause, whole(float(count)), whole(len(analysis.status))])
            )
    if not rows:
        return [Text(f"Analyses: none. All {view.trials:,} trials gave an estimate of each.")]
    return [
        Table(
            "Trials that could not be analysed",
            (
                Column("Analysis"),
                Column("Cause"),
                Column("Trials", number=True),
                Column("of", number=True),
            ),
            rows,
            "/estimates",
        )
    ]


def _meanings(estimates: xr.Dataset) -> dict[int, str]:
    """Words for status codes, as the results carry them: `3: no_variation`."""
    found = {}
    for entry in estimates["status"].attrs.get("meanings", []):
        code, _, word = str(entry).partition(":")
        found[int(code)] = word.strip().replace("_", " ")
    return found
