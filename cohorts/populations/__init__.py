"""The library of populations: one published population a file, found by the file's name.

A file defines `POPULATION`, a `cohorts.population.Population`.
"""

import importlib
import pkgutil

from cohorts._faults import CohortError, unknown
from cohorts.population import Population


def names() -> list[str]:
    """Names of the populations that come with the library, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def get(name: str) -> Population:
    """The population of that name. Raises `CohortError` with the nearest valid name."""
    if name not in names():
        raise CohortError([unknown((), "population", name, names())])
    return importlib.import_module(f"{__name__}.{name}").POPULATION
