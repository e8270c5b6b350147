"""The report of a run: one HTML page with figures, tables, evidence and provenance."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trials.report.page import render
    from trials.report.terminal import SummaryRow, summary

__all__ = ["SummaryRow", "render", "summary"]

_LATER = {"SummaryRow": "terminal", "render": "page", "summary": "terminal"}
"""Names by their module: a page takes a while to import, which writing a number need not wait for.
"""


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(f"trials.report.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
