"""Who is treated: published populations, their covariates, and cohorts drawn from both."""

from typing import TYPE_CHECKING, Any

from cohorts._faults import CohortError, Fault
from cohorts.cohort import (
    MAX_ATTEMPTS,
    Cohort,
    CohortSpec,
    CovariatesSpec,
    EligibleShare,
    Numbers,
    Subjects,
)
from cohorts.population import Number, Population
from cohorts.residual import Residual, ResidualNumbers

if TYPE_CHECKING:
    from cohorts.addressing import addressed

__all__ = [
    "MAX_ATTEMPTS",
    "Cohort",
    "CohortError",
    "CohortSpec",
    "CovariatesSpec",
    "EligibleShare",
    "Fault",
    "Number",
    "Numbers",
    "Population",
    "Residual",
    "ResidualNumbers",
    "Subjects",
    "addressed",
]


def __getattr__(name: str) -> Any:
    # NumPyro and JAX take over a second to import, which checking a config should not wait for.
    if name == "addressed":
        from cohorts.addressing import addressed

        return addressed
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
