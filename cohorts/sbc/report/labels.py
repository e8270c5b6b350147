"""Ranked parameters in words."""

from __future__ import annotations

from cohorts.fits.report.view import labelled


def label_of(name: str) -> str:
    """`typical_clearance` in words: "Typical clearance"; of `eta_…[7]` with the subject."""
    site, _, index = str(name).partition("[")
    index = index.rstrip("]")
    if site.startswith("eta_"):
        return f"η of {site.removeprefix('eta_').replace('_', ' ')}, subject {index}"
    if site.startswith("kappa_"):
        occasion, _, subject = index.partition(", ")
        words = site.removeprefix("kappa_").replace("_", " ")
        return f"κ of {words}, occasion {occasion} of subject {subject}"
    return f"{labelled(site)}{f' [{index}]' if index else ''}"
