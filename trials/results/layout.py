"""How results are laid out: the axes, and columns of subjects along them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from trials.study import Study

SUBJECT_AXES = ("population", "trial", "subject")


class Layout:
    """The axes of a study's results, with their coordinates, and the units of what stands there."""

    def __init__(self, study: Study):
        config = study.config
        spec = config.trial
        self.shape = (spec.population_draws, spec.per_draw, spec.subjects)
        self.periods = study.protocol.periods
        self.crossover = spec.crossover is not None
        several = ("period",) if self.crossover else ()
        self.given_axes = ("population", "trial", *several, "subject")
        """Of what a subject has in each period."""
        self.potential_axes = ("population", "trial", *several, "arm", "subject")
        """Of what a subject would have under each arm."""
        self.coordinates = {
            "population": np.arange(spec.population_draws),
            "trial": np.arange(spec.per_draw),
            "subject": np.arange(spec.subjects),
            "arm": list(config.arms),
            "period": 1 + np.arange(self.periods.number),
        }
        vocabulary = study.protocol.cohort.vocabulary
        self.units = {name: entry.unit for name, entry in vocabulary.items()}
        self.categories = {name: entry.categories for name, entry in vocabulary.items()}
        outputs = study.protocol.model.quantities("Outputs")
        self.output_units = {name: quantity.unit for name, quantity in outputs.items()}

    def dataset(
        self, variables: Mapping[str, tuple[tuple[str, ...], Any, dict[str, Any]]], *axes: str
    ) -> xr.Dataset:
        """Variables (axes, values, attributes) with the coordinates of some axes."""
        return xr.Dataset(dict(variables), coords={axis: self.coordinates[axis] for axis in axes})

    def given(self, column: np.ndarray, **attributes: Any) -> tuple:
        """A (subject) column as (population, trial, subject)."""
        return SUBJECT_AXES, column.reshape(self.shape), attributes

    def potential(self, column: np.ndarray, **attributes: Any) -> tuple:
        """A (condition, subject, …) column as (population, trial, period, arm, subject, …), without
        the axis of periods in a parallel trial."""
        extra = column.shape[2:]
        array = np.moveaxis(column.reshape(self.periods.conditions, *self.shape, *extra), 0, 2)
        lengths = {
            **dict(zip(SUBJECT_AXES, self.shape, strict=True)),
            "period": self.periods.number,
            "arm": len(self.periods.arms),
        }
        array = array.reshape(*(lengths[axis] for axis in self.potential_axes), *extra)
        return (*self.potential_axes, *("visit",) * len(extra)), array, attributes


def called(words: str) -> dict[str, str]:
    """A variable's attributes, of which this is what it is called in full."""
    return {"long_name": words}
