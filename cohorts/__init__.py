"""Who is treated: published populations, their covariates, and cohorts drawn from both."""

from cohorts._faults import CohortError, Fault
from cohorts.addressing import addressed
from cohorts.cohort import (
    MAX_ATTEMPTS,
    Cohort,
    CohortSpec,
    CovariatesSpec,
    EligibleShare,
    Subjects,
)
from cohorts.population import Number, Population, Residual
from insilico import devices as _devices  # noqa: F401 - float64 before anything computes

__all__ = [
    "MAX_ATTEMPTS",
    "Cohort",
    "CohortError",
    "CohortSpec",
    "CovariatesSpec",
    "EligibleShare",
    "Fault",
    "Number",
    "Population",
    "Residual",
    "Subjects",
    "addressed",
]
