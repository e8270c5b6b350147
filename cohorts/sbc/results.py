"""What a calibration of a fit found, as a tree that says everything its report needs.

- `ranks`: by `dataset` and `parameter`, the `rank` of what made the data among the draws of the
  posterior, the `truth` itself, and the `effective` sample size of the draws; `least_effective`
  is the number below which, in the middle parameter, a data set's chain has hardly moved.
- `uniformity`: by `parameter`, p-values of both tests, alone and for all together, and by `point`
  the ECDF's difference with its bands.
- `coverage`: by `interval` and `parameter`, the share of data sets found in it.
- `left_out`: numbers of data sets that are in none of these, and why.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from cohorts.fits.fit import Fit
from cohorts.sbc.calibrating import Ranked
from cohorts.sbc.judging import INTERVALS, LEVEL, SHOWN, Judged, least_effective


def tree(fit: Fit, found: Ranked, judged: Judged) -> xr.DataTree:
    """All groups, and the verdict in the attributes of the root."""
    names = list(found.parameters)
    shared: dict[str, Any] = {"parameter": names}
    of = ("parameter",)
    at = ("point",)
    verdict, covered = judged.verdict, judged.coverage
    ranks = xr.Dataset(
        {
            "rank": (("dataset", "parameter"), found.ranks.astype(np.int32)),
            "truth": (("dataset", "parameter"), found.truth),
            "effective": (("dataset", "parameter"), found.effective),
            "of_subject": (of, found.of_subjects),
        },
        coords={"dataset": found.numbers, **shared},
        attrs={
            "draws": found.calibration.draws,
            "least_effective": least_effective(found.calibration.draws),
        },
    )
    uniformity = xr.Dataset(
        {
            "chi_square": (of, judged.chi_square),
            "chi_square_holm": (of, judged.chi_square_holm),
            "ecdf": (of, judged.ecdf),
            "ecdf_holm": (of, judged.ecdf_holm),
            "difference": (("point", "parameter"), judged.difference),
            "low": (at, judged.band.low),
            "high": (at, judged.band.high),
            "low_of_all": (at, judged.band_of_all.low),
            "high_of_all": (at, judged.band_of_all.high),
        },
        coords={"point": judged.band.points, **shared},
        attrs={"level": LEVEL, "shown": SHOWN},
    )
    both = ("interval", "parameter")
    intervals = xr.Dataset(
        {
            "expected": ("interval", covered.expected),
            "found": (both, covered.found),
            "low": (both, covered.low),
            "high": (both, covered.high),
        },
        coords={"interval": list(INTERVALS), **shared},
    )
    failed = found.simulated.failed
    numbers = np.array([*failed, *found.impossible], int)
    left_out = xr.Dataset(
        {
            "reason": (
                "left",
                np.array([*["solve"] * len(failed), *["density"] * len(found.impossible)], str),
            ),
            "subjects": ("left", np.array([*failed.values(), *[0] * len(found.impossible)], int)),
        },
        coords={"left": numbers},
        attrs={"drawn": found.simulated.drawn},
    )
    return xr.DataTree.from_dict(
        {
            "/": xr.Dataset(
                attrs={
                    "title": fit.config.title,
                    "model": fit.config.model,
                    "seed": fit.config.seed,
                    "subjects": len(fit.patients.subjects),
                    "passed": int(verdict.passed),
                    "reasons": list(verdict.reasons),
                    "warnings": list(verdict.warnings),
                    "divergences": found.calibration.divergences,
                    "saturated": found.calibration.saturated,
                }
            ),
            "ranks": ranks,
            "uniformity": uniformity,
            "coverage": intervals,
            "left_out": left_out,
        }
    )
