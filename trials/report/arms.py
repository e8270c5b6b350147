"""The primary endpoint by arm, in all patients and in the subsets that analyses look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from insilico.pages import plotting
from insilico.pages.blocks import Block, Cell, Column, Figure, Row, Section, Table, absent
from insilico.pages.numbers import interval, measured, significant, whole
from insilico.pages.words import readable
from trials.estimators import ESTIMATORS
from trials.report.analysis_view import AnalysisView, ArmView
from trials.report.view import View


class Group(NamedTuple):
    """An endpoint's mean in one arm of one group of patients: over trials, then as published."""

    mean: float
    mcse: float
    low: float
    high: float
    patients: float
    published: float


def section(view: View) -> Section:
    """The endpoints' means by arm."""
    title = "Endpoints by arm"
    if not view.analyses:
        return Section("arms", title, [absent("The results hold no analysis.")])
    primary = view.decisive[0]
    blocks: list[Block] = [_figure(view, primary), _table(view)]
    return Section("arms", title, blocks)


def groups(analysis: AnalysisView, arms: tuple[ArmView, ...]) -> dict[str, Group]:
    """An analysis' mean by arm; the range is what 95 % of single trials see."""
    factor = analysis.scale.arm_factor
    found = {}
    for number, arm in enumerate(arms):
        column = analysis.mean[:, number] * factor
        column = column[np.isfinite(column)]
        if arm.name not in (analysis.treatment.name, analysis.reference.name) or not column.size:
            continue
        error = column.std(ddof=1) / np.sqrt(column.size) if column.size > 1 else float("nan")
        low, high = np.percentile(column, (2.5, 97.5))
        published = analysis.published_arms.get(arm.name, float("nan")) * factor
        patients = float(analysis.n[:, number].mean())
        found[arm.name] = Group(
            float(column.mean()), float(error), float(low), float(high), patients, published
        )
    return found


def _by_factor(view: View, primary: AnalysisView) -> list[tuple[str, dict[str, Group]]]:
    """The primary endpoint by the factors of randomisation, from the endpoints themselves."""
    endpoints, randomised = view.group("endpoints"), view.group("randomisation")
    name = primary.spec.endpoint
    if endpoints is None or randomised is None or view.config.trial.crossover is not None:
        return []
    if primary.endpoint.kind == "time_to_range" or primary.scale.ratio:
        return []
    value, valid = view.observed(endpoints, name), view.observed(endpoints, f"{name}_valid")
    solved = view.observed(endpoints, "solved")
    if value is None or valid is None or view.assigned is None:
        return []
    usable = valid.astype(bool) if solved is None else valid.astype(bool) & solved.astype(bool)
    found = []
    for factor in view.config.trial.randomisation.strata.by:
        held = f"factor_{factor}"
        if held not in randomised:
            continue
        codes = np.asarray(randomised[held].isel(view.pooled).values, bool)
        for level, word in ((True, "yes"), (False, "no")):
            by_arm = {}
            for number, arm in enumerate(view.arms):
                here = (view.assigned == number) & (codes == level) & usable
                group = _of_trials(value, here, primary.scale.arm_factor)
                if group is not None:
                    by_arm[arm.name] = group
            found.append((f"{readable(factor)}: {word}", by_arm))
    return found


def _of_trials(value: np.ndarray, here: np.ndarray, factor: float) -> Group | None:
    count = here.sum(axis=-1)
    total = np.where(here, value, 0.0).sum(axis=-1)
    means = (factor * total[count > 0] / count[count > 0]).ravel()
    if not means.size:
        return None
    error = means.std(ddof=1) / np.sqrt(means.size) if means.size > 1 else float("nan")
    low, high = np.percentile(means, (2.5, 97.5))
    nothing = float("nan")
    return Group(
        float(means.mean()), float(error), float(low), float(high), float(count.mean()), nothing
    )


def _figure(view: View, primary: AnalysisView) -> Block:
    same = [a for a in view.analyses if a.spec.endpoint == primary.spec.endpoint]
    same = [a for a in same if a.scale.arm_unit == primary.scale.arm_unit]
    rows = [(analysis.label, groups(analysis, view.arms)) for analysis in same]
    if not any(analysis.spec.subset is not None for analysis in same):
        rows += _by_factor(view, primary)
    rows = [(label, by_arm) for label, by_arm in rows if by_arm]
    if not rows:
        return absent(f"{primary.endpoint_label} by arm: no trial gave a mean.")
    spec, height = _spec(view.arms, rows, _axis_label(primary))
    published = any(np.isfinite(g.published) for _, by_arm in rows for g in by_arm.values())
    diamonds = (
        " Open diamonds in the arm's colour: as the trial itself reported."
        if published
        else " No published values are given for these."
    )
    subsets = ", in all patients and in subsets" if len(rows) > 1 else ""
    alt = "; ".join(
        f"{label}: "
        + ", ".join(
            f"{view.arm(name).label} {significant(group.mean)} {primary.scale.arm_unit}".strip()
            for name, group in by_arm.items()
        )
        for label, by_arm in rows
    )
    return Figure(
        key="arms-primary",
        caption=f"{primary.endpoint_label} by arm{subsets}",
        alt=f"Means by arm. {alt}.",
        note=(
            "Dot: mean over the simulated trials. Bar: range of the arm's mean in 95 % of single "
            f"trials.{diamonds}"
        ),
        source="/estimates, /published" if published else "/estimates, /endpoints",
        spec=spec,
        height=height,
    )


def _axis_label(analysis: AnalysisView) -> str:
    what = analysis.endpoint_label + ESTIMATORS[analysis.spec.estimator].summary
    return plotting.with_unit(what, analysis.scale.arm_unit)


def _spec(
    arms: tuple[ArmView, ...], rows: list[tuple[str, dict[str, Group]]], label: str
) -> tuple[dict[str, Any], int]:
    shown = [arm for arm in arms if any(arm.name in by_arm for _, by_arm in rows)]
    room = 0.24
    traces = []
    for number, arm in enumerate(shown):
        offset = ((len(shown) - 1) / 2 - number) * room
        here = [
            (len(rows) - 1 - row + offset, name, by_arm[arm.name])
            for row, (name, by_arm) in enumerate(rows)
            if arm.name in by_arm
        ]
        traces.append(
            {
                "type": "scatter",
                "name": plotting.safe(arm.label),
                "x": plotting.plain_list([group.mean for _, _, group in here]),
                "y": [y for y, _, _ in here],
                "mode": "markers",
                "marker": {"size": 10, "color": arm.colour},
                "error_x": {
                    "type": "data",
                    "symmetric": False,
                    "array": plotting.plain_list([g.high - g.mean for _, _, g in here]),
                    "arrayminus": plotting.plain_list([g.mean - g.low for _, _, g in here]),
                    "color": arm.colour,
                    "thickness": 2,
                    "width": 0,
                },
                "customdata": [[plotting.safe(name)] for _, name, _ in here],
                "hovertemplate": "%{customdata[0]}: %{x:.3g}<extra>%{fullData.name}</extra>",
            }
        )
        reported = [(y, g.published) for y, _, g in here if np.isfinite(g.published)]
        if reported:
            traces.append(
                {
                    "type": "scatter",
                    "name": f"{plotting.safe(arm.label)}, published",
                    "x": plotting.plain_list([value for _, value in reported]),
                    "y": [y for y, _ in reported],
                    "mode": "markers",
                    "marker": {
                        "size": 12,
                        "symbol": "diamond-open",
                        "color": arm.colour,
                        "line": {"width": 2.2},
                    },
                    "hovertemplate": "%{x:.3g}<extra>%{fullData.name}</extra>",
                }
            )
    names = [plotting.wrapped(name) for name, _ in rows]
    height = 110 + len(rows) * max(58, 26 * len(shown), plotting.height_of(names))
    return {
        "data": traces,
        "layout": plotting.layout(
            height,
            xaxis=plotting.axis(plotting.safe(label)),
            yaxis=_labels(names),
            showlegend=True,
            margin={"l": 20, "r": 16, "t": 46, "b": 50},
        ),
    }, height


def _labels(names: list[str]) -> dict[str, Any]:
    """A vertical axis with a wrapped name a row, the first on top."""
    return plotting.axis(
        tickvals=list(range(len(names))),
        ticktext=names[::-1],
        range=[-0.6, len(names) - 0.4],
        showgrid=False,
        showline=False,
        ticks="",
    )


def _table(view: View) -> Table:
    columns = [Column("Endpoint and patients")]
    compared = [a for a in view.arms if any(a in (x.treatment, x.reference) for x in view.analyses)]
    published = any(analysis.published_arms for analysis in view.analyses)
    for arm in compared:
        columns += [
            Column("n", number=True, group=arm.label),
            Column("Mean", number=True, group=arm.label),
            Column("95 % of trials", number=True, group=arm.label),
        ]
        if published:
            columns.append(Column("Published", number=True, group=arm.label))
    rows = []
    for heading, analyses in under_headings(view.analyses, lambda a: a.scale.arm_unit):
        rows.append(Row([heading], span=True))
        for analysis in analyses:
            found = groups(analysis, view.arms)
            cells: list[Cell] = [analysis.label]
            for arm in compared:
                cells += _cells(found.get(arm.name), published=published)
            rows.append(Row(cells, indent=True))
    return Table(
        "Endpoints by arm: mean over the simulated trials, and what 95 % of single trials see",
        columns,
        rows,
        "/estimates, /published" if published else "/estimates",
        "n: analysed patients of the arm in one trial, on average. Means are not adjusted. Times "
        "to an event: restricted mean, or with a hazard ratio the share of patients with the "
        f"event. {_geometric(view)}±: Monte-Carlo standard error.",
    )


def _geometric(view: View) -> str:
    ratios = any(a.spec.estimator == "geometric_mean_ratio" for a in view.analyses)
    return "With a ratio of geometric means: geometric mean. " if ratios else ""


def _cells(group: Group | None, *, published: bool) -> list[Cell]:
    if group is None:
        return ["–"] * (4 if published else 3)
    cells: list[Cell] = [
        whole(group.patients),
        measured(group.mean, group.mcse),
        interval(group.low, group.high),
    ]
    if published:
        cells.append(significant(group.published) if np.isfinite(group.published) else "–")
    return cells


def under_headings(
    analyses: Sequence[AnalysisView], unit: Callable[[AnalysisView], str]
) -> list[tuple[str, list[AnalysisView]]]:
    """Analyses under their endpoint and unit as one heading, in the config's order."""
    found: dict[tuple[str, str], list[AnalysisView]] = {}
    for analysis in analyses:
        found.setdefault((analysis.spec.endpoint, unit(analysis)), []).append(analysis)
    return [
        (plotting.with_unit(group[0].endpoint_label, named), group)
        for (_, named), group in found.items()
    ]
