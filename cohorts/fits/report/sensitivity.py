"""What the fit rests on: how much is the priors', and how it predicts subjects it has not seen."""

from __future__ import annotations

import numpy as np
import xarray as xr

from cohorts.diagnosis.prior_sensitivity import SENSITIVE
from cohorts.fits.report.view import View
from insilico.pages.blocks import (
    Block,
    Column,
    Details,
    Row,
    Section,
    Table,
    Text,
    absent,
    facts,
)
from insilico.pages.numbers import counted, fixed

FINDINGS = {"": "", "conflict": "both count: do they agree?", "strong_prior": "the prior decides"}

MOST_LISTED = 100
"""Subjects in a table at the most."""


def priors(view: View) -> list[Block]:
    """What the priors do, parameter by parameter; nothing where that was not looked at."""
    if "prior_sensitivity" not in view.tree:
        return []
    found = view.group("prior_sensitivity")
    rows = []
    for parameter in view.parameters:
        if parameter.name not in found["parameter"].values:
            continue
        at = found.sel(parameter=parameter.name)
        rows.append(
            Row(
                (
                    parameter.label,
                    fixed(100 * float(at["overlap"]), 0),
                    fixed(float(at["prior"]), 3),
                    fixed(float(at["likelihood"]), 3),
                    FINDINGS[str(at["finding"].item())],
                )
            )
        )
    return [
        Table(
            "What the priors do",
            (
                Column("Parameter"),
                Column("Overlap with the prior", "%", number=True),
                Column("prior", number=True, group="Sensitivity to the"),
                Column("likelihood", number=True, group="Sensitivity to the"),
                Column(""),
            ),
            rows,
            "/prior_sensitivity",
            "Overlap: what prior and posterior have in common; near 100 % the data said nothing. "
            "Sensitivity: how fast the posterior changes as the prior, or the likelihood, is "
            f"raised to a power (Kallioinen et al. 2024). At {SENSITIVE} or more of both, prior "
            "and data may pull apart, if the prior was not meant to count; of the prior alone, it "
            "decides. From "
            f"{found.attrs['draws']:,} draws, random effects integrated out.",
        )
    ]


def section(view: View) -> Section:
    """Leaving subjects out."""
    title = "Subjects left out"
    if "leave_one_out" not in view.tree:
        text = "How subjects are predicted by the others was not looked at."
        return Section("left_out", title, [absent(text)])
    found = view.group("leave_one_out")
    bound = found.attrs["most_pareto_k"]
    reliable = found["pareto_k"].values <= bound
    rows = [
        (
            "Expected log predictive density",
            f"{fixed(found.attrs['elpd'], 1)} ± {fixed(found.attrs['standard_error'], 1)}",
        ),
        ("Effective number of parameters", fixed(found.attrs["p_loo"], 1)),
        ("Largest Pareto k", fixed(float(found["pareto_k"].max()), 2)),
        ("Draws", f"{found.attrs['draws']:,}"),
    ]
    blocks: list[Block] = [
        facts(
            "Leaving out one subject at a time",
            rows,
            "/leave_one_out",
            "Of a subject's data given those of all others, its random effects integrated out "
            "(first-order conditional expansion). By Pareto-smoothed importance sampling "
            f"(Vehtari et al. 2017, 2024), to be trusted for Pareto k up to {fixed(bound, 2)}.",
        )
    ]
    if not reliable.all():
        order = np.argsort(-found["pareto_k"].values)
        worst = found.isel(subject=order[~reliable[order]][:MOST_LISTED])
        number = counted(int(np.sum(~reliable)), "subject")
        caption = f"{number} with Pareto k above {fixed(bound, 2)}: influential, or not described"
        blocks.append(_subjects(worst, caption))
    else:
        blocks.append(Text("No subject decides the fit: all Pareto k are below the bound."))
    order = np.argsort(found["elpd"].values)[:MOST_LISTED]
    everyone = _subjects(found.isel(subject=order), "Subjects, the worst predicted first")
    blocks.append(Details(f"{counted(len(order), 'subject')} one by one", [everyone]))
    return Section("left_out", title, blocks)


def _subjects(found: xr.Dataset, caption: str) -> Table:
    return Table(
        caption,
        (
            Column("Subject"),
            Column("Log predictive density", number=True),
            Column("Effective parameters", number=True),
            Column("Pareto k", number=True),
        ),
        [
            Row(
                (
                    str(found["subject"].values[place]),
                    fixed(float(found["elpd"].values[place]), 2),
                    fixed(float(found["p_loo"].values[place]), 2),
                    fixed(float(found["pareto_k"].values[place]), 2),
                )
            )
            for place in range(found.sizes["subject"])
        ],
        "/leave_one_out",
    )
