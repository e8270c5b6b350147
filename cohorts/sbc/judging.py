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
    ranks_of_correlated,
    simultaneous_band,
)
from cohorts.inference.settings import BINS
from cohorts.inference.simulation_based_calibration import uniform_p_value
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

BY_CORRELATION, TIMES = 0.05, 400
"""How often, of so many times, correlated draws of a right fit have ranks as uneven as those found
where they may be the cause."""

LEAST_SHARE = 0.4
"""Of the draws that are to be effective, if that is less than there are `BINS`: with fewer, ranks
of 100 data sets that are right fail a test at 5 % twice as often (autoregressions, 15 and 79
draws)."""

MANY_HARDLY = 0.1
"""Share of data sets with chains that hardly moved from which on uneven ranks are no proof."""


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


def least_effective(draws: int) -> float:
    """Effective draws of so many below which a chain has hardly moved."""
    return min(BINS, LEAST_SHARE * draws)


def judged(found: Ranked) -> Judged:
    """Tests, bands and coverage of ranks, and the verdict."""
    ranks, draws = found.ranks, found.calibration.draws
    datasets, parameters = ranks.shape
    chi_square, ecdf = uniform_p_value(ranks, draws), ecdf_p_values(ranks, draws)
    adjusted, strayed = holm(chi_square), holm(ecdf)
    failed = (adjusted < LEVEL / 2) | (strayed < LEVEL / 2)
    reasons = [
        f"{found.parameters[at]}: ranks are not uniform (chi-square p {adjusted[at]:.2g}, ECDF p "
        f"{strayed[at]:.2g}, for all parameters together): {WORDS[in_words(ranks[:, at], draws)]}; "
        f"{_cause(found, at)}"
        for at in map(int, np.flatnonzero(failed))
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
    least = least_effective(calibration.draws)
    middle = np.median(found.effective, axis=0)
    slow = middle < least
    if slow.any():
        worst = int(np.argmin(middle))
        texts.append(
            f"draws kept of {slow.sum()} of {len(middle)} parameters are correlated, which makes "
            f"ranks uneven by itself (of {found.parameters[worst]} {_effective(found, worst)}): "
            f"set sbc.thin to {_thinner(found, worst)}"
        )
    if hardly := _hardly(found):
        still = int((np.median(found.effective, axis=1) <= 1.0).sum())
        texts.append(
            f"the chains of {hardly} of {len(found.ranks)} data sets hardly moved"
            + (f", of {still} not at all" if still else "")
            + f" (fewer than {np.ceil(least):.0f} of {calibration.draws} draws are effective, in "
            "the middle parameter): intervals of these hold too rarely, of a fit that is right, "
            "too; raise sbc.thin and sbc.warmup"
        )
    if calibration.divergences:
        total = len(found.ranks) * calibration.iterations
        texts.append(
            f"{calibration.divergences:,} of {total:,} trajectories diverged: narrow regions of "
            "some posteriors are missed"
        )
    return texts


def _cause(found: Ranked, at: int) -> str:
    """Whether correlation of draws may be what makes the ranks of a parameter uneven."""
    draws = found.calibration.draws
    others = ranks_of_correlated(found.effective[:, at], draws, TIMES)
    if np.mean(_least_p(others, draws) <= _least_p(found.ranks[:, [at]], draws)) >= BY_CORRELATION:
        return (
            f"correlation of its draws alone makes ranks as uneven ({_effective(found, at)}): set "
            f"sbc.thin to {_thinner(found, at)} before the density is blamed"
        )
    hardly = _hardly(found)
    if hardly >= MANY_HARDLY * len(found.ranks):
        # What a chain would have found elsewhere, and how seldom, its own draws do not tell.
        return (
            f"correlation that its draws show does not explain it ({_effective(found, at)}), but "
            f"the chains of {hardly} of {len(found.ranks)} data sets hardly moved, which show too "
            f"little of theirs: set sbc.thin to {_thinner(found, at)} and raise sbc.warmup before "
            "the density is blamed"
        )
    return (
        f"correlation of its draws does not explain it ({_effective(found, at)}): simulator, "
        "density or sampler is wrong"
    )


def _hardly(found: Ranked) -> int:
    """Data sets whose chains hardly moved, in the middle parameter."""
    of_dataset = np.median(found.effective, axis=1)
    return int((of_dataset < least_effective(found.calibration.draws)).sum())


def _least_p(ranks: np.ndarray, draws: int) -> np.ndarray:
    """Of both tests the smaller p-value."""
    return np.minimum(uniform_p_value(ranks, draws), ecdf_p_values(ranks, draws))


def _effective(found: Ranked, at: int) -> str:
    draws = found.calibration.draws
    middle = min(draws, np.median(found.effective[:, at]))
    return f"{middle:.0f} of {draws} are effective in the middle data set"


def _thinner(found: Ranked, at: int) -> int:
    """The thinning that leaves about as many iterations as there are to an effective draw."""
    iterations = found.calibration.iterations
    thin = iterations // found.calibration.draws
    return max(thin + 1, int(np.ceil(iterations / np.median(found.effective[:, at]))))


def _table(found: Ranked) -> xr.Dataset:
    return xr.Dataset(
        {
            "effective": ("parameter", np.median(found.effective, axis=0)),
            "least_effective": ("parameter", found.effective.min(axis=0)),
        },
        coords={"parameter": list(found.parameters)},
    )
