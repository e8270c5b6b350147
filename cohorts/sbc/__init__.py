"""Simulation-based calibration of fits: whether a fit would find what made its data.

Data sets are simulated from a fit's own priors for its own design, and each is fitted; what made
them has to lie among the draws of their posteriors as evenly as chance has it.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cohorts.sbc.calibrating import Ranked, rank
    from cohorts.sbc.judging import Judged, judged
    from cohorts.sbc.report import render
    from cohorts.sbc.running import run

__all__ = ["Judged", "Ranked", "judged", "rank", "render", "run"]

# What computes needs JAX, which a command's help should not wait for.
__getattr__, *_ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "calibrating": ["Ranked", "rank"],
        "judging": ["Judged", "judged"],
        "report": ["render"],
        "running": ["run"],
    },
)
