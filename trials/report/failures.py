"""What went wrong: subjects that could not be solved, trials that could not be analysed."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
import xarray as xr

from insilico.pages.blocks import Block, Cell, Column, Row, Section, Table, Text
from insilico.pages.numbers import significant, whole
from trials.report.analysis_view import AnalysisView
from trials.report.view import View

MOST_LISTED = 50
PARAMETER, STATE = "parameter_", "state_"


class Stage(NamedTuple):
    """Solves of the truth's or of a scenario's subjects; none of them is listed one by one."""

    title: str
    scenario: str
    """Name of the scenario; empty for the truth."""
    failed: int
    solves: int
    causes: str

    @property
    def told(self) -> str:
        """The sentence, also where none failed."""
        causes = f" ({self.causes})" if self.causes else ""
        return f"{self.title}: {self.failed:,} of {self.solves:,} solves failed{causes}."


def section(view: View) -> Section:
    """Failures of subjects and of analyses; says so where there are none."""
    beyond = [Text(stage.told) for stage in stages(view)]
    blocks: list[Block] = [*_subjects(view), *beyond, *_analyses(view)]
    return Section("failures", "Failures", blocks)


def stages(view: View) -> list[Stage]:
    """The truth, then every scenario; empty where the results do not say how they fared."""
    found = []
    counts, scenarios = view.group("counts"), view.group("sensitivity")
    if counts is not None and "truth_failed" in counts:
        failed = counts["truth_failed"]
        causes = str(failed.attrs.get("causes", ""))
        found.append(Stage("Truth", "", int(failed), int(counts["truth_solves"]), causes))
    if scenarios is not None and "failed" in scenarios:
        for name in map(str, scenarios["scenario"].values):
            one = scenarios.sel(scenario=name)
            title = f"Scenario “{one['scenario_label'].item() or name}”"
            causes = str(one["causes"].item())
            found.append(Stage(title, name, int(one["failed"]), int(one["solves"]), causes))
    return found


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
    model = view.study.protocol.model
    known = {PARAMETER: model.quantities("Parameters"), STATE: model.quantities("State")}
    numbers = [
        name for prefix in known for name in map(str, dataset.data_vars) if name.startswith(prefix)
    ]

    def column(name: str) -> Column:
        prefix = PARAMETER if name.startswith(PARAMETER) else STATE
        whole, bracket, index = name.removeprefix(prefix).partition("[")
        unit = known[prefix][whole].unit if whole in known[prefix] else ""
        return Column(view.words(whole) + bracket + index, "" if unit == "1" else unit, number=True)

    rows = []
    for index in range(min(size, MOST_LISTED)):
        one = dataset.isel(failure=index)
        period = f", period {int(one['period'])}" if "period" in one else ""
        cells: list[Cell] = [
            f"{int(one['population'])}/{int(one['trial'])}/{int(one['subject'])}",
            f"{view.arm(str(one['arm'].item())).label}{period}",
            str(one["status"].item()),
            significant(float(one["stopped"])),
            *(significant(float(one[name])) for name in numbers),
        ]
        rows.append(Row(cells))
    shown = f"the first {MOST_LISTED} of {whole(size)}" if size > MOST_LISTED else "all"
    return Table(
        f"Failed solves with their parameters, and the state in which each stopped ({shown})",
        (
            Column("Draw/trial/subject"),
            Column("Arm"),
            Column("Cause"),
            Column("Stopped at", "h", number=True),
            *(column(name) for name in numbers),
        ),
        rows,
        "/failures",
        "n/a: a subject for whom no eligible candidate was found has no parameters.",
    )


def _analyses(view: View) -> list[Block]:
    estimates = view.group("estimates")
    if estimates is None or not view.analyses:
        return []
    rows = [
        Row([analysis.title, cause, whole(float(count)), whole(len(analysis.status))])
        for analysis in view.analyses
        for cause, count in causes(view, analysis).items()
    ]
    if not rows:
        which = "The trial" if view.trials == 1 else f"All {view.trials:,} trials"
        return [Text(f"Analyses: none. {which} gave an estimate of each.")]
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


def causes(view: View, analysis: AnalysisView) -> dict[str, int]:
    """Why trials gave no estimate of an analysis, each cause with how many they are."""
    estimates = view.group("estimates")
    meanings = {} if estimates is None else _meanings(estimates)
    found = {}
    failed = analysis.status[~analysis.usable]
    for code, count in zip(*np.unique(failed, return_counts=True), strict=True):
        cause = meanings.get(int(code), f"status {int(code)}")
        found["the estimate is not a finite number" if int(code) == 0 else cause] = int(count)
    return found


def never_analysed(view: View) -> list[str]:
    """A sentence for each analysis that no trial could do, which so has no power."""
    return [
        f"“{analysis.label}” has no estimate in any trial ({', '.join(causes(view, analysis))})."
        for analysis in view.analyses
        if not analysis.available
    ]


def _meanings(estimates: xr.Dataset) -> dict[int, str]:
    """Words for status codes, as the results carry them: `3: no_variation`."""
    found = {}
    for entry in estimates["status"].attrs.get("meanings", []):
        code, _, word = str(entry).partition(":")
        found[int(code)] = word.strip().replace("_", " ")
    return found
