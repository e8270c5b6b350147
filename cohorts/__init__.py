"""Who is treated: published populations, their covariates, and cohorts drawn from both."""

from typing import TYPE_CHECKING

import lazy_loader

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

# NumPyro and JAX take over a second to import, which checking a config should not wait for.
__getattr__, *_ = lazy_loader.attach(__name__, submod_attrs={"addressing": ["addressed"]})
