"""Joint covariate models of patients, one source a file of estimated numbers (`<name>.json`).

A source is found by its file's name; `scripts/estimate_covariates.py` shows how one is made.
"""

import functools
import json
from importlib import resources

from cohorts._faults import CohortError, unknown
from cohorts.covariates.draws import Keyed, Sampled
from cohorts.covariates.marginals import AgeMargin, MarginalsSpec, age_bins, state_marginals
from cohorts.covariates.model import (
    NOTHING_STATED,
    CovariateModel,
    Covariates,
    Marginals,
    Stated,
)
from cohorts.covariates.observed import ObservedCovariates
from cohorts.covariates.stated import StatedSpec, state_covariates

__all__ = [
    "NOTHING_STATED",
    "AgeMargin",
    "CovariateModel",
    "Covariates",
    "Keyed",
    "Marginals",
    "MarginalsSpec",
    "ObservedCovariates",
    "Sampled",
    "Stated",
    "StatedSpec",
    "age_bins",
    "get",
    "names",
    "state_covariates",
    "state_marginals",
]


def names() -> list[str]:
    """Names of the sources that come with the package, sorted."""
    files = resources.files(__name__).iterdir()
    return sorted(f.name.removesuffix(".json") for f in files if f.name.endswith(".json"))


@functools.cache
def get(name: str) -> CovariateModel:
    """The covariate model of that name. Raises `CohortError` with the nearest valid name."""
    if name not in names():
        raise CohortError([unknown((), "covariate source", name, names())])
    text = resources.files(__name__).joinpath(f"{name}.json").read_text(encoding="utf-8")
    return CovariateModel(json.loads(text))
