"""The results of a calibration, read once into what its report is written from."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import xarray as xr

from cohorts.fits.report.view import PosteriorView
from cohorts.population import Population
from cohorts.summaries.calibration import Calibration
from cohorts.summaries.config import CalibrationConfig
from insilico.pages.words import readable


@dataclasses.dataclass(frozen=True, eq=False)
class View(PosteriorView):
    """A calibration and its results."""

    tree: xr.DataTree
    calibration: Calibration

    @property
    def config(self) -> CalibrationConfig:
        """The calibration's."""
        return self.calibration.config

    @property
    def population(self) -> Population:
        """The plausible one."""
        return self.calibration.cohort.population

    @property
    def sampled(self) -> bool:
        """Whether the result is a posterior, and not weights."""
        return self.config.method == "mcmc"

    @property
    def method_words(self) -> str:
        """How the population was found."""
        return "posterior by NUTS" if self.sampled else "reweighted patients"

    @functools.cached_property
    def targets(self) -> xr.Dataset:
        """The group of that name."""
        return self.group("targets")

    @property
    def worst(self) -> int:
        """Number of the target that is missed most."""
        return int(np.nanargmax(np.abs(self.targets["mismatch"].to_numpy())))

    @property
    def weights(self) -> np.ndarray:
        """Of reweighted patients."""
        return self.group("virtual_patients")["weight"].to_numpy()

    def output_label(self, name: str) -> str:
        """An output with its unit."""
        unit = self.calibration.model.quantities("Outputs")[name].unit
        return readable(name) if unit == "1" else f"{readable(name)} ({unit})"

    @property
    def time_label(self) -> str:
        """The axis of time."""
        return f"Time ({self.calibration.model.time_unit})"
