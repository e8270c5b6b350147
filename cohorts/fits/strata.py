"""Groups of subjects for which a predictive check is shown apart."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from cohorts.data import PatientData
from insilico.pages.numbers import plain

FEW = 4
"""Different values of a number up to which each is a group, like the doses of a study; from there
on the halves above and below the median are."""


class Stratum(NamedTuple):
    """A group in words, and who is in it."""

    label: str
    subjects: Bool[np.ndarray, " subjects"]


def strata(patients: PatientData, covariate: str) -> list[Stratum]:
    """The groups of a covariate that have any subjects: its categories, its few values, or halves.

    Subjects without a value are in none.
    """
    values, name = np.asarray(patients.covariates[covariate]), patients.vocabulary[covariate]
    words = covariate.replace("_", " ")
    if name.kind != "number":
        categories = name.categories or ("no", "yes")
        found = [
            Stratum(f"{words}: {category}", values == code)
            for code, category in enumerate(categories)
        ]
        return [stratum for stratum in found if stratum.subjects.any()]

    def of(value: float) -> str:
        return f"{plain(float(f'{value:.4g}'))} {name.unit or ''}".strip()

    different = np.unique(values[np.isfinite(values)])
    if len(different) <= FEW:
        return [Stratum(f"{words} {of(value)}", values == value) for value in different]
    middle = float(np.nanmedian(values))
    return [
        Stratum(f"{words} up to {of(middle)}", values <= middle),
        Stratum(f"{words} above {of(middle)}", values > middle),
    ]
