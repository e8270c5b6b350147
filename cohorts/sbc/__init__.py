"""Simulation-based calibration of fits: whether a fit would find what made its data.

Data sets are simulated from a fit's own priors for its own design, and each is fitted; what made
them has to lie among the draws of their posteriors as evenly as chance has it.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cohorts.sbc.calibrating import Ranked, rank
    from cohorts.sbc.judging import Judged, judged
    from cohorts.sbc.report import render
    from cohorts.sbc.running import run

__all__ = ["Judged", "Ranked", "judged", "rank", "render", "run"]

_COMPUTING = {
    "calibrating": ("Ranked", "rank"),
    "judging": ("Judged", "judged"),
    "report": ("render",),
    "running": ("run",),
}


def __getattr__(name: str) -> Any:
    # What computes needs JAX, which a command's help should not wait for.
    for module, names in _COMPUTING.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
