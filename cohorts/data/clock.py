"""Dates, clock times and dosing frequencies as CDISC writes them."""

from __future__ import annotations

import datetime
import re
from typing import NamedTuple

import numpy as np

HOUR = 3600.0

_ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.\d*)?)?)?", re.ASCII)
_SAS = re.compile(
    r"(\d\d)([A-Z]{3})(\d{4})(?::(\d\d):(\d\d)(?::(\d\d)(?:\.\d*)?)?)?", re.ASCII | re.IGNORECASE
)
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_EPOCH = datetime.datetime(1960, 1, 1)

_FREQUENCIES = {
    "QD": 24.0,
    "DAILY": 24.0,
    "QOD": 48.0,
    "BID": 12.0,
    "TID": 8.0,
    "QID": 6.0,
    "QW": 168.0,
    "EVERY WEEK": 168.0,
}
_EVERY = re.compile(r"(?:Q|EVERY )(\d{1,3}) ?(H|D|W)(?:(?:OUR|AY|EEK)S?)?", re.ASCII)
_UNITS = {"H": 1.0, "D": 24.0, "W": 168.0}


class Instants(NamedTuple):
    """Texts as instants; arrays as the texts."""

    seconds: np.ndarray
    """Since 1960, NaN where there is none."""
    dates: np.ndarray
    """Whether it is a date without a clock time; its seconds are those of midnight."""
    wrong: np.ndarray
    """Whether there is something else than an instant."""


def instants(texts: np.ndarray) -> Instants:
    """Dates and times of ISO 8601 (`2024-01-05T08:30`, as SDTM has them) or SAS's DATETIME
    (`05JAN2024:08:30:00`); an empty text is none."""
    known = {text: _instant(text) for text in set(texts.tolist())}
    found = [known[text] for text in texts.tolist()]
    seconds = np.array([np.nan if each is None else each[0] for each in found], float)
    dates = np.array([each is not None and each[1] for each in found], bool)
    wrong = np.array([each is None for each in found], bool) & (texts != "")
    return Instants(seconds, dates, wrong)


def _instant(text: str) -> tuple[float, bool] | None:
    """Seconds since 1960, and whether it is a date alone."""
    parts = None
    if match := _ISO.fullmatch(text):
        parts = match.groups()
    elif match := _SAS.fullmatch(text):
        day, month, year, *clock = match.groups()
        if month.upper() in _MONTHS:
            parts = (year, str(_MONTHS.index(month.upper()) + 1), day, *clock)
    if parts is None:
        return None
    try:
        year, month, day, hour, minute, second = (int(part or 0) for part in parts)
        at = datetime.datetime(year, month, day, hour, minute, second)
    except ValueError:
        return None
    return (at - _EPOCH).total_seconds(), parts[3] is None


def written(seconds: float) -> str:
    """An instant in ISO 8601, to the minute."""
    at = _EPOCH + datetime.timedelta(seconds=float(seconds))
    return at.isoformat(timespec="minutes")


def interval_of(frequency: str) -> float | None:
    """Hours between two doses of a frequency of CDISC's terminology (QD, BID, Q8H, EVERY 2 WEEKS);
    0 where it is given once, None where it is no such frequency."""
    text = " ".join(frequency.upper().split())
    if text in ("", "ONCE"):
        return 0.0
    if match := _EVERY.fullmatch(text):
        return int(match[1]) * _UNITS[match[2]] or None
    return _FREQUENCIES.get(text)
