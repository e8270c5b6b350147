"""What is done to patients and what is learned: designs, dosing, endpoints, analyses, reports."""

import importlib
from typing import TYPE_CHECKING, Any

from trials.config import TrialConfig
from trials.study import Study, read

if TYPE_CHECKING:
    from trials.simulation import TooManyFailures, simulate

__all__ = ["Study", "TooManyFailures", "TrialConfig", "read", "simulate"]


def __getattr__(name: str) -> Any:
    # Simulating needs xarray and more, which checking a config should not wait for.
    if name in ("TooManyFailures", "simulate"):
        return getattr(importlib.import_module("trials.simulation"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
