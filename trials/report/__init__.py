"""The report of a run: one HTML page with figures, tables, evidence and provenance."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from trials.report.page import render
    from trials.report.terminal import SummaryRow, summary

__all__ = ["SummaryRow", "render", "summary"]

# A page takes a while to import, which writing a number need not wait for.
__getattr__, *_ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "page": ["render"],
        "terminal": ["SummaryRow", "summary"],
    },
)
