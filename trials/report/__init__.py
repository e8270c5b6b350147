"""The report of a run: one HTML page with figures, tables, evidence and provenance."""

from trials.report.page import render
from trials.report.summary import SummaryRow, summary

__all__ = ["SummaryRow", "render", "summary"]
