"""The report of a fit's own calibration: one HTML page."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cohorts.sbc.report.page import render

__all__ = ["render"]

# A page takes a while to import.
__getattr__, *_ = lazy_loader.attach(__name__, submod_attrs={"page": ["render"]})
