"""True effects under other readings of what is unsure, beside the base case."""

from __future__ import annotations

import json
import math

from insilico.pages import plotting
from insilico.pages.blocks import Block, Cell, Column, Row, Section, Table, Text
from insilico.pages.numbers import Measured, measured
from trials.report.failures import stages
from trials.report.view import View


def section(view: View) -> Section | None:
    """A table of every scenario's true effects; nothing without scenarios."""
    dataset = view.group("sensitivity")
    if dataset is None or dataset.sizes.get("scenario", 0) == 0:
        return None
    scenarios = [str(name) for name in dataset["scenario"].values]
    rows = []
    for scenario in scenarios:
        chosen = dataset.sel(scenario=scenario)
        rows.append(Row([str(chosen["scenario_label"].item()) or scenario], span=True))
        for analysis in view.analyses:
            one = chosen.sel(analysis=analysis.name)
            value, error = float(one["value"]), float(one["mcse"])
            together = math.hypot(error, analysis.truth_mcse)
            factor = analysis.scale.stored_factor
            difference: Cell = Measured("n/a")
            if math.isfinite(value) and math.isfinite(analysis.truth):
                difference = measured(factor * (value - analysis.truth), factor * together)
            cells: list[Cell] = [
                plotting.with_unit(analysis.title, analysis.effect_unit),
                analysis.scale.effect(analysis.truth, analysis.truth_mcse),
                analysis.scale.effect(value, error),
                difference,
                _verdict(value - analysis.truth, together),
            ]
            rows.append(Row(cells, indent=True))
    table = Table(
        "True effects by scenario",
        (
            Column("Endpoint and patients"),
            Column("Base case", number=True),
            Column("Scenario", number=True),
            Column("Difference", number=True),
            Column("Beyond Monte-Carlo error"),
        ),
        rows,
        "/sensitivity, /truth",
        "Difference: scenario minus base case (of logarithms for a ratio). Its error takes the two "
        "as independent, which is on the safe side. ±: Monte-Carlo standard error.",
    )
    blocks: list[Block] = [Text(text) for text in _changes(view, scenarios)]
    failed = [
        Text(f"{stage.told} What failed is left out of its true effects.")
        for stage in stages(view)
        if stage.scenario and stage.failed
    ]
    return Section("sensitivity", "Sensitivity", [*blocks, table, *failed])


def _changes(view: View, scenarios: list[str]) -> list[str]:
    texts = []
    for name in scenarios:
        spec = view.config.sensitivity.get(name)
        if spec is not None:
            changes = ", ".join(f"{key} = {_value(value)}" for key, value in spec.set.items())
            texts.append(f"“{spec.label}” changes {changes}; everything else stays.")
    return texts


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _verdict(difference: float, error: float) -> str:
    if not (math.isfinite(difference) and math.isfinite(error)):
        return "not available"
    return "yes" if abs(difference) > 2 * error else "no"
