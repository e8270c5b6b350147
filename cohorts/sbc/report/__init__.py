"""The report of a fit's own calibration: one HTML page."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cohorts.sbc.report.page import render

__all__ = ["render"]


def __getattr__(name: str) -> Any:
    # A page takes a while to import.
    if name == "render":
        from cohorts.sbc.report.page import render

        return render
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
