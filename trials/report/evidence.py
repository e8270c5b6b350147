"""What the numbers rest on: dosing algorithms, the structural model and the population."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from insilico.pages.blocks import (
    Block,
    Bullets,
    Cell,
    Column,
    Details,
    Row,
    Section,
    Table,
    Text,
    absent,
    facts,
)
from insilico.pages.numbers import plain, significant
from insilico.pages.words import readable
from trials.config import TrialConfig
from trials.dosing import Formula, library
from trials.report.view import View


def section(view: View) -> Section:
    """Algorithms, model card and population card."""
    blocks: list[Block] = [*_algorithms(view), *_model(view), *_population(view)]
    return Section("evidence", "Evidence", blocks)


def uses_of_formulas(config: TrialConfig) -> dict[str, list[str]]:
    """Where each dose formula of a trial is used, by the formula's name."""
    found: dict[str, list[str]] = {}
    for spec in config.arms.values():
        for name in spec.start:
            found.setdefault(name, []).append(f"{spec.label}: first dose")
        for name in spec.revision.formulas if spec.revision else []:
            found.setdefault(name, []).append(f"{spec.label}: revision")
    for name, quantity in config.quantities.items():
        if quantity.formula is not None:
            found.setdefault(quantity.formula, []).append(f"quantity {name}")
    return found


def _algorithms(view: View) -> list[Block]:
    used = uses_of_formulas(view.config)
    own = {
        name: Formula(name, spec.expression, spec.unit, readable(name), spec.source)
        for name, spec in view.config.formulas.items()
    }
    formulas = {**library(), **own}
    rows, texts = [], []
    for name, places in used.items():
        formula = formulas.get(name)
        if formula is None:
            continue
        status = formula.status or "the config's own formula"
        source = formula.source or "none stated"
        rows.append(Row([formula.title or name, "; ".join(places), formula.unit, source, status]))
        texts.append((formula.title or name, " ".join(formula.expression.text.split())))
    if not rows:
        return [absent("No dose formula is used.")]
    columns = ("Algorithm", "Used for", "Result in", "Source", "Status of its coefficients")
    table = Table(
        "Dosing algorithms used",
        [Column(label) for label in columns],
        rows,
        "the config and trials.dosing.library",
    )
    formulae = Table(
        "The algorithms as they are computed",
        (Column("Algorithm"), Column("Formula", code=True)),
        [Row(text) for text in texts],
        "the config and trials.dosing.library",
    )
    return [table, Details("The algorithms as they are computed", [formulae])]


def _model(view: View) -> list[Block]:
    model = view.study.protocol.model
    states = [
        Row(
            [
                readable(name),
                q.unit if q.size is None else f"{q.unit}, {q.size} components",
                q.description,
            ]
        )
        for name, q in model.quantities("State").items()
    ]
    outputs = [
        Row([view.output_short(name), q.unit, q.description])
        for name, q in model.quantities("Outputs").items()
    ]
    columns = (Column("Name"), Column("Unit"), Column("What it is"))
    evidence = [
        ("Model", f"{model.title} ({model.name})"),
        ("Source of the equations", model.citation),
    ]
    source = f"insilico.models.{model.name}"
    return [
        facts("Structural model", evidence, source),
        *_how_sure("model", model.validated, model.limits),
        _parameters(view),
        Details(
            "States and outputs of the model",
            [
                Table("States", columns, states, source),
                Table("Outputs", columns, outputs, source),
            ],
        ),
    ]


def _parameters(view: View) -> Table:
    subjects = view.group("subjects")
    rows = []
    for name, quantity in view.study.protocol.model.quantities("Parameters").items():
        held = [f"parameter_{name}"]
        if name in view.study.protocol.cohort.population.between_occasion:
            occasions = range(1, 1 + view.study.protocol.number_of_occasions)
            held += [f"parameter_{name}_{each}" for each in occasions]
        middle = spread = "–"
        if subjects is not None and any(each in subjects for each in held):
            columns = [subjects[each].isel(view.pooled).values for each in held if each in subjects]
            values = np.stack(columns).astype(float)
            values = values[np.isfinite(values)]
            if values.size:
                low, median, high = np.percentile(values, (5, 50, 95))
                middle = significant(median)
                same = np.isclose(low, high, rtol=1e-6)
                spread = (
                    "the same for all"
                    if same
                    else f"{significant(float(low))} to {significant(float(high))}"
                )
        unit = "" if quantity.unit == "1" else quantity.unit
        cells: list[Cell] = [view.words(name), unit, middle, spread, quantity.description]
        rows.append(Row(cells))
    return Table(
        "Individual parameters of the simulated patients",
        (
            Column("Parameter"),
            Column("Unit"),
            Column("Median", number=True),
            Column("5th to 95th percentile", number=True),
            Column("What it is"),
        ),
        rows,
        "/subjects",
        f"Over {view.pooled_words}." if subjects is not None else "",
    )


def _population(view: View) -> list[Block]:
    cohort = view.study.protocol.cohort
    card = cohort.population.card(cohort.options)
    options = ", ".join(f"{name} = {value}" for name, value in card["options"].items())
    rows = [
        ("Population", f"{card['title']} ({card['name']})"),
        ("Source", card["citation"]),
        ("Choices made", options or "it offers none"),
        ("Covariates from", f"{cohort.source.title} ({cohort.source.source})"),
    ]
    counts: dict[str, int] = {}
    for number in card["numbers"]:
        counts[number["status"]] = counts.get(number["status"], 0) + 1
    tally = ", ".join(f"{count} {status}" for status, count in counts.items())
    numbers = Table(
        f"Numbers of the population and how sure they are ({tally})" if tally else "Its numbers",
        (
            Column("Number"),
            Column("Value", number=True),
            Column("Unit"),
            Column("RSE", "%", number=True),
            Column("What it is"),
            Column("Where it stands"),
            Column("Status"),
        ),
        [_number(view, number) for number in card["numbers"]],
        f"cohorts.populations.{card['name']}",
        "Verified: seen in the publication itself. Transcribed: several independent transcriptions "
        "agree. Unverified: one transcription, or transcriptions that differ. RSE: relative "
        "standard error of the published estimate.",
    )
    blocks: list[Block] = [
        facts("Population", rows, f"cohorts.populations.{card['name']}"),
        *_how_sure("population", card["validated"], card["limits"]),
        numbers,
    ]
    if card["assumptions"]:
        blocks.append(Bullets(card["assumptions"], lead="The population assumes:"))
    if cohort.source.notes:
        notes = Bullets(cohort.source.notes)
        blocks.append(Details(f"Notes on the covariates ({cohort.source.name})", [notes]))
    if not card["numbers"]:
        blocks.append(Text("The population names no published numbers.", tone="absent"))
    return blocks


def _how_sure(what: str, validated: Sequence[str], limits: Sequence[str]) -> list[Block]:
    """What was checked and what is known to fail, a statement a line."""
    return [
        Bullets(validated, lead=f"The {what} was validated against:")
        if validated
        else absent(f"The {what} states nothing that it was validated against."),
        Bullets(limits, lead=f"Known limits of the {what}:")
        if limits
        else absent(f"The {what} states no limits."),
    ]


def _number(view: View, number: Mapping[str, Any]) -> Row:
    error = number["relative_standard_error"]
    return Row(
        [
            view.words(number["name"]),
            plain(number["value"]),
            "" if number["unit"] == "1" else number["unit"],
            "–" if error is None else plain(round(100 * error, 2)),
            number["meaning"],
            number["source"],
            number["status"],
        ]
    )
