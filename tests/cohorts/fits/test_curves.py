"""Curves of single subjects: where they are looked at."""

import itertools

import numpy as np
import pandas as pd

from cohorts.fits.results import CURVE_POINTS, curve_times
from insilico import models
from insilico.solve import read_records

MODEL = models.get("one_compartment")


def test_a_subject_s_curve_shows_its_records_however_long_others_were_followed():
    """Of doses within two days, the last of three subjects followed for a year."""
    short = [0.0, 6.0, 12.0, 18.0, 24.0, 48.0]
    visits = [0.0, 24.0, 48.0, 4320.0, 4326.0, 4332.0, 8760.0]
    rows = [(1, time) for time in short] + [(2, 5.0)] + [(3, time) for time in visits]
    table = pd.DataFrame(rows, columns=["ID", "TIME"])
    table["AMT"], table["EVID"] = 100.0, 1
    times = curve_times(read_records(MODEL, table))
    assert times.shape == (3, CURVE_POINTS)
    assert np.all(np.diff(times, axis=1) >= 0.0)
    assert (times[0, 0], times[0, -1]) == (0.0, 48.0)
    assert np.all(times[1] == 5.0)
    # Between any two of its records some are of the subject who was followed for a year.
    for begin, end in itertools.pairwise(visits):
        assert np.sum((times[2] >= begin) & (times[2] <= end)) >= 4
