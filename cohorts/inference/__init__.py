"""What can be learned of a population from data: posteriors, sampled."""

import importlib
from typing import TYPE_CHECKING, Any

from cohorts.inference.settings import TARGETS, Sampling

if TYPE_CHECKING:
    from cohorts.inference.calibration import Calibration, calibrate, simulator
    from cohorts.inference.checkpoints import CheckpointError
    from cohorts.inference.density import ModelError
    from cohorts.inference.posterior import Counts, Draws, sample
    from cohorts.inference.run import Progress

__all__ = [
    "TARGETS",
    "Calibration",
    "CheckpointError",
    "Counts",
    "Draws",
    "ModelError",
    "Progress",
    "Sampling",
    "calibrate",
    "sample",
    "simulator",
]

_COMPUTING = {
    "calibration": ("Calibration", "calibrate", "simulator"),
    "checkpoints": ("CheckpointError",),
    "density": ("ModelError",),
    "run": ("Progress",),
    "posterior": ("Counts", "Draws", "sample"),
}


def __getattr__(name: str) -> Any:
    # What computes needs JAX and NumPyro, which reading a config should not wait for.
    for module, names in _COMPUTING.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
