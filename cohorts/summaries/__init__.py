"""Calibrations: a plausible population brought to what was published of others, without their data.

`README.md` beside this file says how.
"""

import importlib
from typing import TYPE_CHECKING, Any

from cohorts.summaries.calibration import Calibration, read
from cohorts.summaries.config import CalibrationConfig

if TYPE_CHECKING:
    from cohorts.summaries.report import render
    from cohorts.summaries.running import run, unfinished

__all__ = ["Calibration", "CalibrationConfig", "read", "render", "run", "unfinished"]

_COMPUTING = {"report": ("render",), "running": ("run", "unfinished")}


def __getattr__(name: str) -> Any:
    # What computes needs JAX, which reading a config should not wait for.
    for module, names in _COMPUTING.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
