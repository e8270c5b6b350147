"""To which subpopulation of a mixture each subject belongs, as far as its data say."""

from __future__ import annotations

import numpy as np
import xarray as xr

from cohorts.fits.report.view import View
from insilico.pages.blocks import Block, Column, Details, Row, Section, Table
from insilico.pages.numbers import counted, fixed, interval
from insilico.pages.words import readable

CLEAR = 0.9
"""Probability from which a subject is said to belong to a subpopulation clearly."""

MOST_LISTED = 200
"""Subjects in a table at the most."""


def sections(view: View) -> list[Section]:
    """A section with a summary and a table of subjects for each mixture; none without."""
    if not view.mixtures:
        return []
    blocks: list[Block] = []
    for name, found in view.mixtures.items():
        blocks.append(_summary(view, name, found))
        blocks.append(_subjects(view, name, found))
    return [Section("membership", "Subpopulations", blocks)]


def _summary(view: View, name: str, found: xr.Dataset) -> Table:
    probability, likeliest = found["probability"].values, found["most_probable"].values
    shares = view.group("posterior")[f"shares_{name}"].values.reshape(-1, len(probability))
    rows = []
    for number, component in enumerate(found["component"].values):
        here = likeliest == component
        own, share = probability[number], 100.0 * shares[:, number]
        known = np.ptp(share) == 0.0
        rows.append(
            Row(
                (
                    str(component),
                    fixed(float(np.median(share)), 1),
                    "known" if known else interval(*view.bounds(share)),
                    f"{int(np.sum(here)):,}",
                    f"{int(np.sum(here & (own >= CLEAR))):,}",
                    fixed(float(np.sum(own)), 1),
                )
            )
        )
    return Table(
        f"Subpopulations: {readable(name)}",
        (
            Column("Subpopulation"),
            Column("Median", "%", number=True, group="Share in the population"),
            Column(f"{view.percent} interval", "%", number=True, group="Share in the population"),
            Column("most probably", number=True, group="Subjects"),
            Column(f"of these ≥ {100 * CLEAR:g} %", number=True, group="Subjects"),
            Column("expected", number=True, group="Subjects"),
        ),
        rows,
        f"/posterior, /membership/{name}",
        "Nobody observes who belongs where; the likelihood is the sum over subpopulations. Of "
        f"{counted(len(likeliest), 'subject')}, those for whom each is the most probable one given "
        f"their data, and for how many of these its probability is {100 * CLEAR:g} % or more. "
        "Expected: the sum of all subjects' probabilities.",
    )


def _subjects(view: View, name: str, found: xr.Dataset) -> Block:
    components = [str(component) for component in found["component"].values]
    probability = found["probability"].values
    at_estimates = None
    if "estimates" in view.tree:
        at_estimates = view.group("estimates")[f"probability_{name}"].values
    order = np.argsort(np.max(probability, axis=0), kind="stable")[:MOST_LISTED]
    rows = []
    for subject in order:
        cells = [str(found["subject"].values[subject]), str(found["most_probable"].values[subject])]
        cells += [fixed(100.0 * float(each[subject]), 1) for each in probability]
        if at_estimates is not None:
            cells += [fixed(100.0 * float(each[subject]), 1) for each in at_estimates]
        rows.append(Row(cells))
    columns = [Column("Subject"), Column("Most probable")]
    heading = "Posterior probability"
    columns += [Column(each, "%", number=True, group=heading) for each in components]
    note = (
        "Averaged over draws of the posterior, so that the uncertainty of the population is in it."
    )
    source = f"/membership/{name}"
    if at_estimates is not None:
        heading = "At the estimates"
        columns += [Column(each, "%", number=True, group=heading) for each in components]
        note += " At the estimates: with the population's parameters as they were estimated."
        source += ", /estimates"
    listed = counted(len(order), "subject")
    more = f" of {probability.shape[1]:,}" if len(order) < probability.shape[1] else ""
    table = Table("Subjects, the least clear first", columns, rows, source, note)
    return Details(f"{listed}{more} one by one", [table])
