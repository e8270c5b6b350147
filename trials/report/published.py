"""The simulated trial beside the published one: how far apart, in words and in standard errors."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from insilico.pages.blocks import Block, Bullets, Cell, Column, Row, Section, Table, Text, absent
from insilico.pages.numbers import Measured, counted, fixed, interval, measured, significant
from trials.report.analysis_view import AnalysisView
from trials.report.arms import groups, under_headings
from trials.report.assumptions import assumed
from trials.report.effects import published_effect
from trials.report.view import View


class Distance(NamedTuple):
    """How far the simulated mean is from the published value."""

    difference: float
    """Simulated minus published, as stored."""
    error: float
    """Monte-Carlo error of the difference."""
    in_errors: float
    """In standard errors of the difference, which has the published estimate's and the simulated
    mean's (the root of the sum of their squares); NaN where either is not known."""
    percentile: float
    """Percentage of simulated trials with an estimate below the published one."""


def distance(analysis: AnalysisView) -> Distance | None:
    """The distance of an analysis' mean estimate from the published effect."""
    entry = analysis.published
    if entry is None or not analysis.available:
        return None
    found = analysis.characteristics
    estimates = analysis.estimate[analysis.usable]
    difference = found["mean_estimate"] - entry.value
    simulated = found.get("mean_estimate_mcse", float("nan"))
    error = math.hypot(entry.standard_error, simulated)
    ties = 0.5 * float((estimates == entry.value).mean())
    return Distance(
        difference,
        simulated,
        difference / error if math.isfinite(error) and error > 0 else float("nan"),
        100 * (float((estimates < entry.value).mean()) + ties),
    )


def in_words(found: Distance) -> str:
    """A distance put as a reader would.

    It is judged by both errors together: the published estimate's and, as few trials leave the
    simulated mean unsure, that of the simulation (the root of the sum of their squares).
    """
    if not math.isfinite(found.error):
        return "too few trials to judge by"
    size = abs(found.in_errors)
    if not math.isfinite(size):
        return "no published interval to judge by"
    if size < 1:
        return "within one standard error of the published effect"
    if size < 2:
        return "within two standard errors of the published effect"
    if size < 3:
        return "further from the published effect than chance explains"
    return "in disagreement with the published effect"


def section(view: View) -> Section | None:
    """Simulated against published; nothing where the config states nothing published."""
    spec = view.config.published
    if spec is None:
        return None
    blocks: list[Block] = [Text(f"Published numbers: {spec.source}.")]
    effects = [analysis for analysis in view.analyses if analysis.published is not None]
    if effects:
        blocks.append(_effects(effects, several=len(view.arms) > 2))
    if any(analysis.published_arms for analysis in view.analyses):
        blocks.append(_arms(view))
    if len(blocks) == 1:
        blocks.append(absent("No published effect or mean belongs to an analysis of this run."))
    else:
        blocks += _honest(view, effects)
    return Section("published", "Compared with the published trial", blocks)


def _effects(effects: list[AnalysisView], *, several: bool) -> Table:
    rows = []
    heading = ""
    for title, analysis in [
        (title, analysis)
        for title, group in under_headings(effects, lambda a: a.effect_unit)
        for analysis in group
    ]:
        if title != heading:
            heading = title
            rows.append(Row([heading], span=True))
        found = distance(analysis)
        name = f"{analysis.label} ({analysis.contrast})" if several else analysis.label
        mean: Cell = Measured("n/a")
        gap, errors, percentile, words = "n/a", "n/a", "n/a", "no simulated estimate"
        if found is not None:
            numbers = analysis.characteristics
            mean = analysis.scale.effect(
                numbers["mean_estimate"], numbers.get("mean_estimate_mcse", float("nan"))
            )
            factor = analysis.scale.stored_factor
            gap = measured(factor * found.difference, factor * found.error)
            errors = fixed(found.in_errors, 1) if math.isfinite(found.in_errors) else "–"
            percentile = fixed(found.percentile, 0)
            words = in_words(found)
        cells: list[Cell] = [
            name,
            mean,
            published_effect(analysis),
            gap,
            errors,
            percentile,
            words,
        ]
        rows.append(Row(cells, indent=True))
    return Table(
        "Effects: simulated against published",
        (
            Column("Endpoint and patients"),
            Column("Simulated mean", number=True),
            Column("Published (interval)", number=True),
            Column("Difference", number=True),
            Column("in SE", number=True),
            Column("Trials below", "%", number=True),
            Column("In words"),
        ),
        rows,
        "/estimates, /published",
        "Difference: simulated minus published (of logarithms for a ratio). SE: published and "
        "Monte-Carlo standard error together, the root of the sum of their squares; published SE: "
        "width of the interval over 3.92, taking it for a 95 % interval. Trials below: simulated "
        "trials with an estimate below the published one; near 0 or 100, a trial like the "
        "published one hardly ever happens in this simulation. ±: Monte-Carlo standard error.",
    )


def _arms(view: View) -> Table:
    rows = []
    reported = [analysis for analysis in view.analyses if analysis.published_arms]
    for heading, analyses in under_headings(reported, lambda a: a.scale.arm_unit):
        rows.append(Row([heading], span=True))
        for analysis in analyses:
            for name, group in groups(analysis, view.arms).items():
                if not math.isfinite(group.published):
                    continue
                spread = (group.high - group.low) / 3.92
                difference = group.mean - group.published
                in_spreads = difference / spread if spread > 0 else float("nan")
                cells: list[Cell] = [
                    f"{analysis.label}, {view.arm(name).label}",
                    measured(group.mean, group.mcse),
                    interval(group.low, group.high),
                    significant(group.published),
                    measured(difference, group.mcse),
                    fixed(in_spreads, 1),
                ]
                rows.append(Row(cells, indent=True))
    return Table(
        "Arms: simulated against published",
        (
            Column("Endpoint, patients and arm"),
            Column("Simulated mean", number=True),
            Column("95 % of trials", number=True),
            Column("Published", number=True),
            Column("Difference", number=True),
            Column("in trial SD", number=True),
        ),
        rows,
        "/estimates, /published",
        "Trial SD: how much an arm's mean varies between simulated trials of this size. "
        "±: Monte-Carlo standard error.",
    )


def _honest(view: View, effects: list[AnalysisView]) -> list[Block]:
    """Where simulated and published differ, and what may explain it."""
    found = [(analysis, distance(analysis)) for analysis in effects]
    judged = [(a, d) for a, d in found if d is not None and math.isfinite(d.in_errors)]
    near = sum(abs(d.in_errors) < 2 for _, d in judged)
    parts = []
    if judged:
        parts.append(
            f"Of {counted(len(judged), 'published effect')}, {near} "
            f"{'lies' if near == 1 else 'lie'} within two standard errors (published and "
            "Monte-Carlo together) of the simulated mean."
        )
        worst, furthest = max(judged, key=lambda pair: abs(pair[1].in_errors))
        size = significant(abs(furthest.in_errors), 2)
        side = "above" if furthest.difference > 0 else "below"
        parts.append(
            f"The furthest is “{worst.label}”: simulated {size} standard errors {side} published."
        )
    opposite = [a.label for a, d in found if d is not None and _opposite(a)]
    if opposite:
        parts.append(
            "Simulated and published effects point in opposite directions for "
            + ", ".join(f"“{label}”" for label in opposite)
            + "."
        )
    parts += _levels(view)
    parts.append(
        "A distance that chance does not explain is one of the model, the population or the "
        "design as it was written down. What this run takes on trust:"
    )
    card = view.study.protocol.cohort.population.card(view.study.protocol.cohort.options)
    shaky = [n["name"] for n in card["numbers"] if n["status"] == "unverified"]
    stated = assumed(view.study.document.file)
    items = []
    if stated:
        fields = ", ".join(dict.fromkeys(entry.field for entry in stated))
        marked = f"{counted(len(stated), 'value')} of the config"
        items.append(f"{marked} {'is' if len(stated) == 1 else 'are'} marked ASSUMED: {fields}.")
    items += [f"Stated assumption: {text}" for text in view.config.assumptions]
    if shaky:
        items.append(f"Numbers of the population that were not verified: {', '.join(shaky)}.")
    items += [f"Known limit of the population: {text}" for text in card["limits"]]
    items += [f"Known limit of the model: {text}" for text in view.study.protocol.model.limits]
    items += _scenarios(view)
    if not items:
        items = ["Nothing is marked as assumed, and no number is unverified."]
    return [Bullets(items, lead=" ".join(parts))]


def _levels(view: View) -> list[str]:
    """How far the arms' own means are from the published ones, where all have one unit."""
    reported = [analysis for analysis in view.analyses if analysis.published_arms]
    if len({analysis.scale.arm_unit for analysis in reported}) != 1:
        return []
    gaps = [
        group.mean - group.published
        for analysis in reported
        for group in groups(analysis, view.arms).values()
        if math.isfinite(group.published)
    ]
    if not gaps:
        return []
    unit = reported[0].scale.unit or reported[0].scale.arm_unit
    return [
        f"The means of single arms differ from the published ones by {significant(min(gaps), 2)} "
        f"to {significant(max(gaps), 2)} {unit}."
    ]


def _opposite(analysis: AnalysisView) -> bool:
    entry = analysis.published
    mean = analysis.characteristics.get("mean_estimate", float("nan"))
    return entry is not None and mean * entry.value < 0


def _scenarios(view: View) -> list[str]:
    """Which readings of what is unsure bring the primary effect nearer to the published one."""
    dataset = view.group("sensitivity")
    if dataset is None or not view.decisive:
        return []
    primary = view.decisive[0]
    if primary.published is None:
        return []
    reported = primary.published.value
    items = []
    for scenario in map(str, dataset["scenario"].values):
        chosen = dataset.sel(scenario=scenario, analysis=primary.name)
        value, error = float(chosen["value"]), float(chosen["mcse"])
        if not np.isfinite(value):
            continue
        moved = abs(primary.truth - reported) - abs(value - reported)
        if abs(moved) < 2 * math.hypot(error, primary.truth_mcse):
            words = "moves the true primary effect no more than Monte-Carlo error"
        else:
            side = "nearer to" if moved > 0 else "further from"
            words = f"moves the true primary effect {side} the published one"
        items.append(f"Scenario “{chosen['scenario_label'].item()}” {words}.")
    return items
