"""Calibrations: a plausible population brought to what was published of others, without their data.

`README.md` beside this file says how.
"""

from typing import TYPE_CHECKING

import lazy_loader

from cohorts.summaries.calibration import Calibration, read
from cohorts.summaries.config import CalibrationConfig

if TYPE_CHECKING:
    from cohorts.summaries.report import render
    from cohorts.summaries.running import run, unfinished

__all__ = ["Calibration", "CalibrationConfig", "read", "render", "run", "unfinished"]

# What computes needs JAX, which reading a config should not wait for.
__getattr__, *_ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "report": ["render"],
        "running": ["run", "unfinished"],
    },
)
