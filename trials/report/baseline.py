"""Who was enrolled: covariates by arm, as a trial's first table has them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from insilico.pages.blocks import Cell, Column, Row, Section, Table, absent
from insilico.pages.numbers import fixed, quartiles, whole
from trials.report.view import View

NOT_BASELINE = ("attempts",)
PARAMETER = "parameter_"


def section(view: View) -> Section:
    """Baseline characteristics by arm."""
    title = "Baseline characteristics"
    subjects = view.group("subjects")
    if subjects is None or view.groups is None:
        return Section("baseline", title, [absent("The results hold no subjects.")])
    return Section("baseline", title, [_table(view, subjects.isel(view.pooled), *view.groups)])


def _table(view: View, subjects: xr.Dataset, labels: Sequence[str], group: np.ndarray) -> Table:
    groups = [group == number for number in range(len(labels))]
    trials = group.shape[0] * group.shape[1]
    by = "arm" if view.config.trial.crossover is None else "sequence"
    columns = [Column("Characteristic")]
    for label, members in zip(labels, groups, strict=True):
        columns.append(Column(label, f"n = {whole(members.sum() / trials)} a trial", number=True))
    groups.append(group >= 0)
    columns.append(Column("All", f"n = {whole(groups[-1].sum() / trials)} a trial", number=True))
    rows: list[Row] = []
    known = list(view.study.protocol.vocabulary)
    held = [str(name) for name in subjects.data_vars]
    shown = [n for n in held if not n.startswith(PARAMETER) and n not in NOT_BASELINE]
    for name in sorted(shown, key=lambda n: known.index(n) if n in known else len(known)):
        rows += _rows(view, subjects[name], name, groups)
    return Table(
        f"Baseline characteristics by {by}",
        columns,
        rows,
        "/subjects, /randomisation",
        "Numbers: median (quartiles); categories and conditions: percentage of patients. Over "
        f"{view.pooled_words}, so that differences between arms are those of chance over all of "
        "them, much smaller than in one trial.",
    )


def _rows(view: View, column: xr.DataArray, name: str, groups: list[np.ndarray]) -> list[Row]:
    values = np.asarray(column.values)
    known = view.study.protocol.vocabulary.get(name)
    label = _label(view.words(name), "" if known is None else known.description)
    categories = column.attrs.get("categories")
    if categories is not None:
        rows = [Row([f"{label}, %"], span=True)]
        for code, category in enumerate(categories):
            shares = [_percent(values[members] == code) for members in groups]
            rows.append(Row([str(category).replace("_", " "), *shares], indent=True))
        return rows
    if known is not None and known.kind == "flag":
        return [Row([f"{label}, %", *(_percent(values[members] > 0.5) for members in groups)])]
    unit = str(column.attrs.get("units", "")) or ("" if known is None else known.unit)
    heading = f"{label}, {unit.replace('^2', '²')}" if unit else label
    cells: list[Cell] = [heading, *(_quartiles(values[members]) for members in groups)]
    return [Row(cells)]


def _label(plain: str, description: str) -> str:
    """What a one-word name stands for, where that is said; the name itself otherwise."""
    short = description.split(",")[0].split(" as ")[0]
    return f"{short[:1].upper()}{short[1:]}" if short and " " not in plain and short else plain


def _percent(holds: np.ndarray) -> str:
    return fixed(100 * float(holds.mean()), 1) if holds.size else "–"


def _quartiles(values: np.ndarray) -> str:
    values = values[np.isfinite(values)]
    if not values.size:
        return "–"
    low, middle, high = np.percentile(values, (25, 50, 75))
    return quartiles(float(low), float(middle), float(high))
