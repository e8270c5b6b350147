"""What the arms received, and what was assumed."""

from __future__ import annotations

from collections.abc import Iterator

from cohorts.summaries.arms import Arm
from cohorts.summaries.report.view import View
from insilico.model import Model
from insilico.pages.blocks import Block, Bullets, Section, facts
from insilico.pages.numbers import plain
from insilico.solve import Dose, Infusion, Input


def arms(view: View) -> Section:
    """Doses by arm."""
    model = view.calibration.model
    rows = []
    for arm in view.calibration.arms:
        words = "; ".join(_received(arm, model)) or "nothing"
        subjects = f"; {arm.subjects} subjects" if arm.subjects else ""
        errors = "" if arm.same_subjects else "; errors of its targets are independent"
        rows.append((arm.label, words + subjects + errors))
    return Section("arms", "The arms", [facts("What subjects received", rows, "the config")])


def model(view: View) -> Section:
    """The structural model and the plausible range."""
    structural = view.calibration.model
    cohort = view.calibration.cohort
    rows = [
        ("Structural model", structural.title),
        ("Source", structural.citation),
        ("Covariates from", f"{cohort.source.title}"),
    ]
    blocks: list[Block] = [facts("The model", rows)]
    blocks.append(
        Bullets(view.population.assumptions, "The plausible range, as the config has it:")
    )
    if view.config.assumptions:
        blocks.append(Bullets(view.config.assumptions, "Assumed:"))
    if structural.limits:
        blocks.append(Bullets(structural.limits, "Where the structural model was not checked:"))
    return Section("model", "The model", blocks)


def _received(arm: Arm, model: Model) -> Iterator[str]:
    """Equal doses told together."""
    units = {name: quantity.unit for name, quantity in model.quantities("State").items()}
    time = model.time_unit
    alike: dict[tuple[str, float, float], list[float]] = {}
    for action in arm.actions:
        match action:
            case Dose(at, into, amount):
                alike.setdefault((into, amount, 0.0), []).append(at)
            case Infusion(at, into, amount, duration):
                alike.setdefault((into, amount, duration), []).append(at)
            case Input(_, name, value):
                yield f"{name} {plain(value)}"
    for (into, amount, duration), times in alike.items():
        over = f" over {plain(duration)} {time}" if duration else ""
        when = f"at {plain(times[0])} {time}"
        if len(times) > 1:
            when = f"{len(times)} times from {plain(times[0])} to {plain(times[-1])} {time}"
        yield f"{plain(amount)} {units[into]} into {into}{over}, {when}"
