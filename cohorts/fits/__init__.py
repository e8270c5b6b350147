"""Fits: a population learned from patient data, from one config to a folder with a report."""

import importlib
from typing import TYPE_CHECKING, Any

from cohorts.fits.config import FitConfig
from cohorts.fits.fit import Fit, read
from cohorts.fits.posterior import Learned, learned

if TYPE_CHECKING:
    from cohorts.fits.exporting import SimulatedData, simulated_data
    from cohorts.fits.report import render
    from cohorts.fits.running import NotTrusted, run, unfinished

__all__ = [
    "Fit",
    "FitConfig",
    "Learned",
    "NotTrusted",
    "SimulatedData",
    "learned",
    "read",
    "render",
    "run",
    "simulated_data",
    "unfinished",
]

_COMPUTING = {
    "exporting": ("SimulatedData", "simulated_data"),
    "report": ("render",),
    "running": ("NotTrusted", "run", "unfinished"),
}


def __getattr__(name: str) -> Any:
    # What computes needs JAX, which reading a config should not wait for.
    for module, names in _COMPUTING.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
