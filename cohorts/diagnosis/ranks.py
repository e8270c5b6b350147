"""Whether ranks of simulation-based calibration are uniform, and what they say of intervals.

Of data sets that were simulated and fitted, the rank of what made each among the draws of its
posterior: from 0, below all of them, to their number, above all. Ranks of a right fit are uniform.
Talts S, Betancourt M, Simpson D, Vehtari A, Gelman A. arXiv:1804.06788.

Bands are those of Säilynoja T, Bürkner PC, Vehtari A. Graphical test for discrete uniformity and
its applications in goodness-of-fit evaluation and multiple sample comparison. Stat Comput 2022;
32:32, by simulation, at the very values that ranks can have. (ArviZ's are for values without ties,
and in 1.3 leave out the upper tail where the lowest count is 0.)
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import special

SIMULATIONS = 50_000
"""Of uniform ranks, by which a band's simultaneous probability is known: to 5 % of 1 in 1,000."""


class Coverage(NamedTuple):
    """How often equal-tailed intervals of the draws hold what made the data.

    - `expected`: of each interval, (intervals,), the probability that it has: the nearest to the
      one asked for that an interval between two of so many draws can have.
    - `found`: the share of data sets, (intervals, parameters); `low`, `high`: its 95 % interval.
      Clopper CJ, Pearson ES. Biometrika 1934;26:404-413.
    """

    expected: Float[np.ndarray, " intervals"]
    found: Float[np.ndarray, "intervals parameters"]
    low: Float[np.ndarray, "intervals parameters"]
    high: Float[np.ndarray, "intervals parameters"]


class Band(NamedTuple):
    """Where the ECDF of ranks less that of uniform ones stays with some probability, everywhere.

    - `points`: shares of ranks, from 0 to 1, (draws + 2,); `low`, `high`: there.
    """

    points: Float[np.ndarray, " points"]
    low: Float[np.ndarray, " points"]
    high: Float[np.ndarray, " points"]


def coverage(
    ranks: Int[np.ndarray, "datasets parameters"], draws: int, probabilities: tuple[float, ...]
) -> Coverage:
    """Coverage of equal-tailed intervals of these probabilities."""
    cut = np.array([round((draws + 1) * (1.0 - p) / 2.0) for p in probabilities])
    outside = np.minimum(ranks, draws - ranks)
    hits = (outside[None] >= cut[:, None, None]).sum(axis=1)
    low, high = binomial_interval(hits, len(ranks), 0.95)
    return Coverage(1.0 - 2.0 * cut / (draws + 1), hits / len(ranks), low, high)


def binomial_interval(
    hits: Int[np.ndarray, ...], count: int, probability: float
) -> tuple[np.ndarray, np.ndarray]:
    """The exact interval of a share of which `hits` of `count` were found (Clopper and Pearson)."""
    tail = (1.0 - probability) / 2.0
    misses = count - hits
    # A beta distribution without one of its parameters has all its mass at an end.
    low = special.betaincinv(np.maximum(hits, 1), misses + 1, tail)
    high = special.betaincinv(hits + 1, np.maximum(misses, 1), 1.0 - tail)
    return np.where(hits == 0, 0.0, low), np.where(misses == 0, 1.0, high)


def ecdf_difference(
    ranks: Int[np.ndarray, "datasets parameters"], draws: int
) -> Float[np.ndarray, "points parameters"]:
    """The ECDF of ranks less that of uniform ones, at the `points` of a `Band`."""
    below = np.arange(draws + 2)[:, None, None]
    return (ranks[None] < below).mean(axis=1) - below[:, 0] / (draws + 1)


def ecdf_p_values(
    ranks: Int[np.ndarray, "datasets parameters"], draws: int
) -> Float[np.ndarray, " parameters"]:
    """How often uniform ranks would stray as far, somewhere, from a uniform ECDF."""
    below = np.arange(1, draws + 1)[:, None, None]
    found = _smallest_tail((ranks[None] < below).sum(axis=1).T, len(ranks), draws)
    null = _null(len(ranks), draws)
    return (1.0 + np.searchsorted(null, found, side="right")) / (1.0 + len(null))


def simultaneous_band(datasets: int, draws: int, probability: float) -> Band:
    """Where the ECDF's difference stays everywhere with this probability, for uniform ranks."""
    tail = np.quantile(_null(datasets, draws), 1.0 - probability, method="lower")
    counts = np.arange(datasets + 1)
    points = np.arange(draws + 2) / (draws + 1)
    inner = points[1:-1, None]
    inside = (special.bdtr(counts, datasets, inner) >= tail) & (
        _at_least(counts, datasets, inner) >= tail
    )
    low = inside.argmax(axis=1) / datasets
    high = (datasets - inside[:, ::-1].argmax(axis=1)) / datasets
    ends = [0.0], [1.0]
    return Band(
        points,
        np.concatenate([ends[0], low, ends[1]]) - points,
        np.concatenate([ends[0], high, ends[1]]) - points,
    )


def holm(p_values: Float[np.ndarray, " tests"]) -> Float[np.ndarray, " tests"]:
    """P-values for all tests together: each is below a level as often as that says, or less.

    Holm S. A simple sequentially rejective multiple test procedure. Scand J Stat 1979;6:65-70.
    """
    order = np.argsort(p_values)
    factors = len(p_values) - np.arange(len(p_values))
    adjusted = np.maximum.accumulate(factors * p_values[order])
    result = np.empty_like(adjusted)
    result[order] = np.minimum(adjusted, 1.0)
    return result


def ranks_of_correlated(
    effective: Float[np.ndarray, " datasets"], draws: int, times: int
) -> Int[np.ndarray, "datasets times"]:
    """Ranks that a right fit would have, were its draws only correlated; so many `times`.

    Of each data set draws are a first-order autoregression of normal numbers with its `effective`
    sample size, and what made the data is another normal number.
    """
    rng = np.random.default_rng(18041806)
    share = np.minimum(effective, draws) / draws
    before = ((1.0 - share) / (1.0 + share))[:, None]
    truth, draw = rng.standard_normal((2, len(effective), times))
    ranks = (draw < truth).astype(int)
    for _ in range(draws - 1):
        new = rng.standard_normal(draw.shape)
        draw = before * draw + np.sqrt(1.0 - before**2) * new
        ranks += draw < truth
    return ranks


def in_words(ranks: Int[np.ndarray, " datasets"], draws: int) -> str:
    """How the posteriors of one parameter are wrong, if ranks are not uniform."""
    share = (ranks + 0.5) / (draws + 1)
    # Each is a mean of numbers that are uniform, and of the same variance.
    shift, spread = share.mean() - 0.5, (np.abs(2.0 * share - 1.0).mean() - 0.5) / 2.0
    if abs(shift) > abs(spread):
        return "too low" if shift > 0 else "too high"
    return "too narrow" if spread > 0 else "too wide"


@functools.lru_cache(maxsize=8)
def _null(datasets: int, draws: int) -> np.ndarray:
    """The smallest tail probabilities of ECDFs of uniform ranks, in increasing order."""
    rng = np.random.default_rng(20220332)
    cells = np.full(draws + 1, 1.0 / (draws + 1))
    counts = rng.multinomial(datasets, cells, size=SIMULATIONS).cumsum(axis=1)[:, :-1]
    return np.sort(_smallest_tail(counts, datasets, draws))


def _smallest_tail(counts: np.ndarray, datasets: int, draws: int) -> np.ndarray:
    """Of counts of ranks below 1, …, `draws`, (…, draws), the least probable one's tail."""
    points = np.arange(1, draws + 1)[:, None] / (draws + 1)
    every = np.arange(datasets + 1)
    tails = np.minimum(special.bdtr(every, datasets, points), _at_least(every, datasets, points))
    return tails[np.arange(draws), counts].min(axis=-1)


def _at_least(counts: np.ndarray, datasets: int, share: np.ndarray) -> np.ndarray:
    """Probability of so many or more; SciPy has none of more than minus one."""
    found = special.bdtrc(np.maximum(counts - 1, 0), datasets, share)
    return np.where(counts == 0, 1.0, found)
