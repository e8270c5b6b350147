"""What was fitted to what: the data, the model, and what was assumed."""

from __future__ import annotations

from cohorts.fits.report.view import View
from insilico.pages.blocks import Block, Bullets, Section, facts
from insilico.pages.numbers import counted, plain


def data(view: View) -> Section:
    """How much there is, and what is odd about it."""
    patients = view.fit.patients
    summary = patients.summary()
    first, last = summary.times
    doses = view.fit.config.data.doses
    rows = [
        ("File", view.fit.config.data.file),
        *([] if doses is None else [("File of doses", doses.file)]),
        ("Subjects", f"{summary.subjects:,}"),
        ("Doses", f"{summary.doses:,}"),
        ("Time", f"{plain(first)} to {plain(last)} {view.fit.model.time_unit}"),
    ]
    if patients.occasion is not None:
        rows.append(("Occasions", f"{int(patients.occasions_of_subjects.sum()):,}"))
    for output, count in summary.observations.items():
        below = summary.censored[output]
        also = f", {below:,} below the limit of quantification" if below else ""
        rows.append((view.output_label(output), f"{counted(count, 'value')}{also}"))
    for reason, count in summary.left_out.items():
        rows.append(("Left out", f"{counted(count, 'row')}: {reason}"))
    if summary.unused:
        rows.append(("Columns not used", ", ".join(summary.unused)))
    blocks: list[Block] = [facts("The data", rows, "/observed_data")]
    if patients.notes:
        blocks.append(Bullets(patients.notes, "Worth knowing:"))
    return Section("data", "The data", blocks)


def model(view: View) -> Section:
    """The structural model and the population's description."""
    structural = view.fit.model
    rows = [("Structural model", structural.title), ("Source", structural.citation)]
    blocks: list[Block] = [facts("The model", rows)]
    blocks.append(Bullets(view.fit.population.assumptions, "The population, as the config has it:"))
    if view.fit.config.assumptions:
        blocks.append(Bullets(view.fit.config.assumptions, "Assumed:"))
    if structural.limits:
        blocks.append(Bullets(structural.limits, "Where the structural model was not checked:"))
    return Section("model", "The model", blocks)
