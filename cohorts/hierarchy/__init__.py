"""Populations written in a config: typical values, covariates, variability, residual error.

`population_of` makes of them what a published population is, so that both are fitted and drawn
from in the same way.
"""

from cohorts.hierarchy.building import population_of
from cohorts.hierarchy.specs import HierarchySpec, ParameterSpec

__all__ = ["HierarchySpec", "ParameterSpec", "population_of"]
