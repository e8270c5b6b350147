"""The page of a fit's own calibration: the verdict, then ranks, coverage, what was left out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from cohorts.fits.fit import Fit
from cohorts.fits.report.view import texts
from cohorts.sbc.report import ranks
from cohorts.sbc.report.labels import label_of
from insilico import pages
from insilico.pages.blocks import Block, Bullets, Column, Row, Section, Table, Text, Tile, facts
from insilico.pages.numbers import Measured, counted, fixed, significant, whole
from insilico.pages.provenance import flat, told

TEMPLATE = Path(__file__).with_name("templates") / "sbc.html"

HEADLINE = 0.9
"""The interval whose coverage is told first."""


def render(tree: xr.DataTree, fit: Fit, manifest: Mapping[str, Any] | None = None) -> str:
    """The report as one HTML page that needs nothing else.

    **Arguments:**

    - `tree`: the results (see `cohorts.sbc.results`).
    - `fit`: the fit that was calibrated.
    - `manifest`: what is known of the run, nested as it comes.
    """
    sections = [
        ranks.section(tree),
        _coverage(tree),
        _sampling(tree, fit),
        _left_out(tree),
        _how(tree, fit),
        _provenance(fit, manifest),
    ]
    passed = bool(tree.attrs["passed"])
    return pages.render(
        TEMPLATE,
        sections,
        title=fit.config.title,
        fit=fit,
        datasets=tree["ranks"].sizes["dataset"],
        subjects=int(tree.attrs["subjects"]),
        draws=int(tree["ranks"].attrs["draws"]),
        lead=_lead(tree),
        answer="",
        tiles=_tiles(tree),
        failures=[] if passed else texts(tree.attrs["reasons"]),
        warnings=texts(tree.attrs["warnings"]),
    )


def _lead(tree: xr.DataTree) -> str:
    sizes = tree["ranks"].sizes
    if tree.attrs["passed"]:
        return (
            f"The fit is calibrated: in {sizes['dataset']:,} data sets simulated from its priors, "
            f"what made them lies among the draws as evenly as chance has it, for each of "
            f"{counted(sizes['parameter'], 'parameter')}."
        )
    return (
        "The fit is not calibrated: fitted to data simulated from its own priors, it does not find "
        "what made them as often as its intervals say. Do not use it before you know why."
    )


def _tiles(tree: xr.DataTree) -> list[Tile]:
    tests, covered = tree["uniformity"].to_dataset(), tree["coverage"].to_dataset()
    at = covered.sel(interval=HEADLINE)
    worst = int(np.argmax(np.abs(at["found"].values - at["expected"].item())))
    names = tests["parameter"].values
    least = {test: int(np.argmin(tests[test].values)) for test in ("chi_square", "ecdf")}
    adjusted = {test: float(tests[f"{test}_holm"].values[at]) for test, at in least.items()}
    return [
        Tile("Least p, chi-square", Measured(fixed(adjusted["chi_square"], 3)), "",
             f"for all together; {label_of(names[least['chi_square']])}"),
        Tile("Least p, ECDF", Measured(fixed(adjusted["ecdf"], 3)), "",
             f"for all together; {label_of(names[least['ecdf']])}"),
        Tile(f"{100 * at['expected'].item():.4g} % intervals hold", Measured(
             fixed(100 * float(at["found"].mean()), 1)), "%", "on average over parameters"),
        Tile("Farthest from that", Measured(fixed(100 * float(at["found"].values[worst]), 0)), "%",
             label_of(names[worst])),
    ]  # fmt: skip


def _coverage(tree: xr.DataTree) -> Section:
    covered = tree["coverage"].to_dataset()
    rows = []
    for name in covered["parameter"].values:
        cells: list[str] = [label_of(name)]
        for interval in covered["interval"].values:
            at = covered.sel(interval=interval, parameter=name)
            low, high = (100 * float(at[end]) for end in ("low", "high"))
            inside = low <= 100 * float(at["expected"]) <= high
            mark = "" if inside else " *"
            cells.append(f"{100 * float(at['found']):.0f} ({low:.0f} to {high:.0f}){mark}")
        rows.append(Row(cells))
    expected = covered["expected"].values
    columns = [Column("Parameter")] + [
        Column(f"{100 * share:.4g} % interval", "%", number=True) for share in expected
    ]
    outside = (
        (covered["low"] > covered["expected"]) | (covered["high"] < covered["expected"])
    ).values
    table = Table(
        "How often intervals hold what made the data",
        columns,
        rows,
        "/coverage",
        "Equal-tailed intervals of the draws; in brackets the exact 95 % binomial interval of the "
        "share. * The interval's own probability lies outside: of numbers that are right 1 in 20 "
        "does, or fewer.",
    )
    count = counted(int(outside.sum()), "share")
    text = f"Of {outside.size:,} shares {count.split()[0]} lie outside by themselves."
    return Section("coverage", "Coverage of intervals", [table, Text(text + _by_movement(tree))])


def _by_movement(tree: xr.DataTree) -> str:
    """Coverage apart of data sets whose chains hardly moved: there it says little of the fit."""
    group = tree["ranks"].to_dataset()
    draws, rank = int(group.attrs["draws"]), group["rank"].values
    middle = np.median(group["effective"].values, axis=1)
    hardly = middle < float(group.attrs["least_effective"])
    if not hardly.any() or hardly.all():
        return ""
    expected = float(tree["coverage"].to_dataset()["expected"].sel(interval=HEADLINE))
    cut = round((draws + 1) * (1.0 - expected) / 2.0)
    inside = np.minimum(rank, draws - rank) >= cut
    chains = "chain hardly moved" if hardly.sum() == 1 else "chains hardly moved"
    return (
        f" {100 * expected:.4g} % intervals hold {100 * inside[~hardly].mean():.1f} % of all "
        f"parameters in the {(~hardly).sum():,} data sets whose chains moved, and "
        f"{100 * inside[hardly].mean():.1f} % in the {hardly.sum():,} whose {chains}."
    )


def _sampling(tree: xr.DataTree, fit: Fit) -> Section:
    group, settings = tree["ranks"].to_dataset(), fit.config.sbc
    draws = int(group.attrs["draws"])
    effective = group["effective"].values
    total = group.sizes["dataset"] * draws * settings.thin
    rows = [
        ("Draws kept of each posterior", f"{draws}, every {settings.thin} iterations"),
        ("Warm-up", f"{settings.warmup} iterations, from the parameters that made the data"),
        ("Effective draws, median", whole(float(np.median(effective)))),
        ("Effective draws, of the slowest tenth", whole(float(np.quantile(effective, 0.1)))),
        ("Divergences", f"{int(tree.attrs['divergences']):,} of {total:,} trajectories"),
        (
            "Ended at the largest tree depth",
            f"{100 * float(tree.attrs['saturated']):.1f} % (depth {settings.max_tree_depth})",
        ),
    ]
    block = facts(
        "How the posteriors were sampled",
        rows,
        "/ranks, manifest",
        "Where draws are correlated, or a chain hardly moves, ranks gather at both ends of a right "
        "fit, too: raise sbc.thin and sbc.warmup before you look for another cause. Where many "
        "trajectories end at the largest depth, sbc.max_tree_depth helps, at twice the time for "
        "each step of it.",
    )
    return Section("sampling", "The posteriors", [block])


def _left_out(tree: xr.DataTree) -> Section:
    group = tree["left_out"].to_dataset()
    drawn = int(group.attrs["drawn"])
    reasons = group["reason"].values
    rows = [
        ("Drawn", f"{drawn:,}"),
        ("Fitted and ranked", f"{tree['ranks'].sizes['dataset']:,}"),
        ("Left out: a solve failed", f"{int((reasons == 'solve').sum()):,}"),
        ("Left out: no density at what made them", f"{int((reasons == 'density').sum()):,}"),
    ]
    blocks: list[Block] = [facts("Data sets", rows, "/left_out")]
    if group.sizes["left"]:
        words = {"solve": "a solve failed of", "density": "no density"}
        told_of = [
            f"number {int(number)}: {words[str(reason)]}"
            + (f" {counted(int(subjects), 'subject')}" if reason == "solve" else "")
            for number, reason, subjects in zip(
                group["left"].values, reasons, group["subjects"].values, strict=True
            )
        ]
        blocks.append(Bullets(told_of[:MOST_TOLD], "Left out:"))
        if len(told_of) > MOST_TOLD:
            blocks.append(Text(f"And {len(told_of) - MOST_TOLD:,} more.", tone="note"))
    return Section("left-out", "What was left out", blocks)


MOST_TOLD = 20
"""Data sets that are told one by one."""


def _how(tree: xr.DataTree, fit: Fit) -> Section:
    level = float(tree["uniformity"].attrs["level"])
    subjects = list(map(str, fit.patients.subjects[: int(tree.attrs["subjects"])]))
    ends = " and ".join(dict.fromkeys([subjects[0], subjects[-1]]))
    items = [
        "The population's parameters are drawn from the fit's priors, then random effects, true "
        "values, and measured ones with residual error, for the subjects, doses, times and limits "
        "of quantification of the fit's data.",
        "Each data set is fitted by the density that the fit samples, and what made it is ranked "
        "among the draws of its posterior. Ranks of a right fit are uniform (Talts et al., "
        "arXiv:1804.06788).",
        f"Ranked are the population's parameters and the random effects of subject {ends}.",
        f"The fit fails where Pearson's test of {BINS_WORDS} or the ECDF's distance from uniform "
        f"(Säilynoja, Bürkner and Vehtari, Stat Comput 2022;32:32) says so at a level of "
        f"{significant(100 * level / 2, 2)} % each, for all parameters together (Holm).",
        "A calibration says that simulator, density and sampler agree; it says nothing of whether "
        "the model is right about real data.",
    ]
    return Section("method", "What was done", [Bullets(items)])


BINS_WORDS = "ranks in 16 bins"


def _provenance(fit: Fit, manifest: Mapping[str, Any] | None) -> Section:
    blocks: list[Block] = [
        facts(
            "The fit",
            [
                ("Config", fit.document.file),
                ("Config digest (SHA-256)", fit.document.digest()),
                ("Seed", str(fit.config.seed)),
            ],
            "the config",
        )
    ]
    if manifest:
        blocks.append(facts("The run", flat(told(manifest)), "manifest"))
    return Section("provenance", "Provenance", blocks)
