"""Fits: a population learned from patient data, from one config to a folder with a report."""

from typing import TYPE_CHECKING

import lazy_loader

from cohorts.fits.config import FitConfig
from cohorts.fits.fit import Fit, read
from cohorts.fits.posterior import Learned, learned

if TYPE_CHECKING:
    from cohorts.fits.exporting import SimulatedData, simulated_data
    from cohorts.fits.newcomers import individuals
    from cohorts.fits.report import render
    from cohorts.fits.running import NotTrusted, run, unfinished

__all__ = [
    "Fit",
    "FitConfig",
    "Learned",
    "NotTrusted",
    "SimulatedData",
    "individuals",
    "learned",
    "read",
    "render",
    "run",
    "simulated_data",
    "unfinished",
]

# What computes needs JAX, which reading a config should not wait for.
__getattr__, *_ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "exporting": ["SimulatedData", "simulated_data"],
        "newcomers": ["individuals"],
        "report": ["render"],
        "running": ["NotTrusted", "run", "unfinished"],
    },
)
