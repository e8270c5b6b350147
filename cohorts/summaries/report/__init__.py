"""The report of a calibration: one HTML page."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cohorts.summaries.report.page import render

__all__ = ["render"]

# A page takes a while to import.
__getattr__, *_ = lazy_loader.attach(__name__, submod_attrs={"page": ["render"]})
