"""Whether a fit can be trusted."""

from cohorts.diagnosis.individual_fits import (
    Shrinkage,
    conditional_weighted_residuals,
    individual_weighted_residuals,
    shrinkage,
)

__all__ = [
    "Shrinkage",
    "conditional_weighted_residuals",
    "individual_weighted_residuals",
    "shrinkage",
]
