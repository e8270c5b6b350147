"""What can be learned of a population from data: its joint density, and posteriors, sampled."""

import importlib
from typing import TYPE_CHECKING, Any

from cohorts.inference.settings import TARGETS, Sampling

if TYPE_CHECKING:
    from cohorts.inference.checkpoints import CheckpointError
    from cohorts.inference.density import ModelError
    from cohorts.inference.joint import Joint
    from cohorts.inference.likelihood import Predicted
    from cohorts.inference.numpyro_model import model_of
    from cohorts.inference.patients import Data
    from cohorts.inference.posterior import Counts, Draws, sample
    from cohorts.inference.run import Progress

__all__ = [
    "TARGETS",
    "CheckpointError",
    "Counts",
    "Data",
    "Draws",
    "Joint",
    "ModelError",
    "Predicted",
    "Progress",
    "Sampling",
    "model_of",
    "sample",
]

_COMPUTING = {
    "checkpoints": ("CheckpointError",),
    "density": ("ModelError",),
    "joint": ("Joint",),
    "likelihood": ("Predicted",),
    "numpyro_model": ("model_of",),
    "patients": ("Data",),
    "run": ("Progress",),
    "posterior": ("Counts", "Draws", "sample"),
}


def __getattr__(name: str) -> Any:
    # What computes needs JAX and NumPyro, which reading a config should not wait for.
    for module, names in _COMPUTING.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
