"""What is done to patients and what is learned: designs, dosing, endpoints, analyses, reports."""

from typing import TYPE_CHECKING

import lazy_loader

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

# JAX and xarray take a while to import, which checking a config should not wait for.
__getattr__, *_ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "event_tables": ["event_table", "exposure_table"],
        "running": ["run"],
        "simulation": ["TooManyFailures", "simulate"],
    },
)
