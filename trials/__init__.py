"""What is done to patients and what is learned: designs, dosing, endpoints, analyses, reports."""

import importlib
from typing import TYPE_CHECKING, Any

from trials.config import TrialConfig
from trials.study import Study, read

if TYPE_CHECKING:
    from trials.event_tables import event_table, exposure_table
    from trials.running import run
    from trials.simulation import TooManyFailures, simulate

__all__ = [
    "Study",
    "TooManyFailures",
    "TrialConfig",
    "event_table",
    "exposure_table",
    "read",
    "run",
    "simulate",
]

_LATER = {
    "TooManyFailures": "simulation",
    "event_table": "event_tables",
    "exposure_table": "event_tables",
    "run": "running",
    "simulate": "simulation",
}
"""Names by their module, whose imports (JAX, xarray) checking a config should not wait for."""


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(f"trials.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
