"""What eligibility does to a cohort, where a reader of its margins may not expect it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from cohorts import MAX_ATTEMPTS, Cohort
from cohorts.covariates import MarginalsSpec
from insilico.config import shown
from insilico.pages.numbers import plain

LEAST = 0.03
"""Difference of shares from which on it is worth a word."""

ERRORS = 4.0
"""Standard errors that a difference has to be above, so that none is told that chance made."""

UNFOUND = 1e-3
"""Share of patients without an eligible candidate from which on it is worth a word."""


def eligibility_notes(
    cohort: Cohort, margins: MarginalsSpec, values: Mapping[str, np.ndarray]
) -> list[str]:
    """Who is enrolled but not as the margins state it, and whether enough are found.

    `values`: covariates of candidates by name. Margins are of candidates, before any criterion.
    """
    number = len(next(iter(values.values())))
    everybody = np.ones(number, bool)
    eligible = np.logical_and.reduce(
        [everybody, *(np.asarray(cohort.holds(rule, values)) for rule in cohort.criteria)]
    )
    passing = int(eligible.sum())
    if passing in (0, number):
        return []
    notes = []
    unfound = (1.0 - passing / number) ** MAX_ATTEMPTS
    if unfound > UNFOUND:
        notes.append(
            f"cohort.eligibility: {passing} of {number:,} candidates pass, so that for about "
            f"{_percent(unfound)} of the patients none of {MAX_ATTEMPTS:,} candidates is eligible, "
            "and their solves fail"
        )
    for name, what, share, holds in _stated(cohort, margins, values):
        found = float(np.mean(holds[eligible]))
        error = math.sqrt(share * (1.0 - share) / passing)
        if abs(found - share) > max(LEAST, ERRORS * error):
            notes.append(
                f"cohort.covariates.marginals.{name}: {what} are {_percent(share)} of candidates, "
                f"but {_percent(found)} of those who meet cohort.eligibility and are enrolled"
            )
    return notes


def _stated(
    cohort: Cohort, margins: MarginalsSpec, values: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, str, float, np.ndarray]]:
    """Each stated share: its covariate, whose it is, its size, and for whom that holds."""
    for name, shares in margins.shares.items():
        categories = cohort.vocabulary[name].categories or ("no", "yes")
        by_category: Mapping[str, Any] = shares if isinstance(shares, Mapping) else {"yes": shares}
        for category, share in by_category.items():
            yield name, shown(category), float(share), values[name] == categories.index(category)
    age = margins.age
    if age is None or age.median is None:
        return
    lower, upper = age.quartiles or (None, None)
    for share, quantile in ((0.25, lower), (0.5, age.median), (0.75, upper)):
        if quantile is not None:
            yield "age", f"below {plain(quantile)} yr", share, values["age"] < quantile


def _percent(share: float) -> str:
    return f"{plain(float(f'{100 * share:.2g}'))} %"
