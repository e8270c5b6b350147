"""Estimates that other programs have left: NONMEM's `.ext` and `.cov`, nlmixr2's as JSON.

`read_estimates` gives them by their names in the file, with what is known of their uncertainty.
"""

from cohorts.estimates.estimates import Estimate, Estimates
from cohorts.estimates.reading import read_estimates

__all__ = ["Estimate", "Estimates", "read_estimates"]
