"""Whether a fit is calibrated: tests of its ranks, and the verdict in words."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from cohorts.diagnosis.convergence import Verdict
from cohorts.diagnosis.ranks import (
    Band,
    Coverage,
    coverage,
    ecdf_difference,
    ecdf_p_values,
    holm,
    in_words,
    simultaneous_band,
)
from cohorts.inference.calibration import uniform_p_value
from cohorts.sbc.calibrating import Ranked

LEVEL = 0.01
"""Chance that a fit that is right fails, half of it of each test."""

SHOWN = 0.95
"""Probability of the narrower of the bands that figures show, for one parameter alone."""

INTERVALS = (0.5, 0.8, 0.9, 0.95)
"""Probabilities of the intervals whose coverage is told."""

MOST_IMPOSSIBLE = 0.1
"""Share of data sets to which the density gives no value at what made them. A few have numbers that
overflow under far draws of the prior; many come from a simulator that the density contradicts."""

LEAST_EFFECTIVE = 0.5
"""Share of the draws kept that their effective sample size should have, in the middle data set."""


class Judged(NamedTuple):
    """Numbers by which ranks are judged, arrays (parameters,) but for the bands, and the verdict.

    - `chi_square`, `ecdf`: p-values of the tests of uniformity, one by one; `chi_square_holm`,
      `ecdf_holm`: for all parameters together.
    - `difference`: ECDF of ranks less that of uniform ones, (points, parameters).
    - `band`: of one parameter, with probability `SHOWN`; `band_of_all`: beyond it the fit fails.
    """

    chi_square: np.ndarray
    chi_square_holm: np.ndarray
    ecdf: np.ndarray
    ecdf_holm: np.ndarray
    difference: np.ndarray
    band: Band
    band_of_all: Band
    coverage: Coverage
    verdict: Verdict


def judged(found: Ranked) -> Judged:
    """Tests, bands and coverage of ranks, and the verdict."""
    ranks, draws = found.ranks, found.calibration.draws
    datasets, parameters = ranks.shape
    chi_square, ecdf = uniform_p_value(ranks, draws), ecdf_p_values(ranks, draws)
    adjusted, strayed = holm(chi_square), holm(ecdf)
    failed = (adjusted < LEVEL / 2) | (strayed < LEVEL / 2)
    reasons = [
        f"{found.parameters[at]}: ranks are not uniform (chi-square p {adjusted[at]:.2g}, ECDF p "
        f"{strayed[at]:.2g}, for all parameters together): {WORDS[in_words(ranks[:, at], draws)]}"
        for at in np.flatnonzero(failed)
    ]
    impossible, tried = len(found.impossible), datasets + len(found.impossible)
    told = (
        f"to {impossible} of {tried} data sets the density gives no value at the parameters that "
        "made them; they are left out"
    )
    if impossible > MOST_IMPOSSIBLE * tried:
        reasons.append(f"{told}: what it was simulated by is not what it is fitted by")
    warnings = [told] if 0 < impossible <= MOST_IMPOSSIBLE * tried else []
    verdict = Verdict(not reasons, tuple(reasons), _table(found), (*warnings, *_warnings(found)))
    return Judged(
        chi_square=chi_square,
        chi_square_holm=adjusted,
        ecdf=ecdf,
        ecdf_holm=strayed,
        difference=ecdf_difference(ranks, draws),
        band=simultaneous_band(datasets, draws, SHOWN),
        band_of_all=simultaneous_band(datasets, draws, 1.0 - LEVEL / 2 / parameters),
        coverage=coverage(ranks, draws, INTERVALS),
        verdict=verdict,
    )


WORDS = {
    "too low": "posteriors lie too low",
    "too high": "posteriors lie too high",
    "too narrow": "posteriors are too narrow, and their intervals hold the truth too rarely",
    "too wide": "posteriors are too wide",
}


def _warnings(found: Ranked) -> list[str]:
    """What may make ranks uneven of a fit that is right, and what was left out."""
    calibration, made = found.calibration, found.simulated
    texts = []
    if made.failed:
        texts.append(
            f"of {made.drawn} data sets drawn {len(made.failed)} could not be solved and are left "
            "out, as the fit takes their parameters for impossible"
        )
    middle = np.median(found.effective, axis=0) / calibration.draws
    slow = np.flatnonzero(middle < LEAST_EFFECTIVE)
    if len(slow):
        worst = slow[np.argmin(middle[slow])]
        texts.append(
            f"draws kept of {len(slow)} of {len(middle)} parameters are correlated, which makes "
            f"ranks uneven by itself (of {found.parameters[worst]} {middle[worst]:.0%} are "
            "effective): raise sbc.thin"
        )
    if calibration.divergences:
        total = len(found.ranks) * calibration.iterations
        texts.append(
            f"{calibration.divergences:,} of {total:,} trajectories diverged: narrow regions of "
            "some posteriors are missed"
        )
    return texts


def _table(found: Ranked) -> xr.Dataset:
    return xr.Dataset(
        {
            "effective": ("parameter", np.median(found.effective, axis=0)),
            "least_effective": ("parameter", found.effective.min(axis=0)),
        },
        coords={"parameter": list(found.parameters)},
    )
