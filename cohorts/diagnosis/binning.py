"""Observation times grouped into bins, for checks that compare distributions over time."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

MOST_BINS = 12
"""More bins than this are hard to read and leave few observations in each."""

FEWEST_IN_BIN = 5
"""Observations below which an outer percentile of a bin says little."""


WITHIN = 1e-3
"""Share of the variance of times that may be left within bins, where there are enough of them."""


def time_bins(times: Float[np.ndarray, " n"], most: int = MOST_BINS) -> Int[np.ndarray, " n"]:
    """The bin of each time, numbered from 0 in order of time.

    Times are cut into groups so that the sum of squared distances from the groups' means, on ranks
    and times alike, is least (Lavielle and Bleakley, J Pharmacokinet Pharmacodyn 2011;38:861-871):
    the fewest that leave no more than `WITHIN` of the variance, but `most` at the most, and no more
    than leave `FEWEST_IN_BIN` in each on average. Equal times are never parted: where a protocol
    has nominal times that everybody keeps, they are the bins.
    """
    distinct, inverse, counts = np.unique(times, return_inverse=True, return_counts=True)
    if len(distinct) <= 1:
        return np.zeros(len(times), int)
    groups = int(min(most, len(distinct), max(1, len(times) // FEWEST_IN_BIN)))
    # Sampling is dense early and sparse late: by time alone the early bins would be one, by rank
    # alone the late ones.
    ranks = np.cumsum(counts) - counts / 2
    scaled = ranks / ranks[-1] + (distinct - distinct[0]) / (distinct[-1] - distinct[0])
    return _least_squares_groups(scaled, counts, groups)[inverse]


def _least_squares_groups(
    values: Float[np.ndarray, " n"], weights: Int[np.ndarray, " n"], groups: int
) -> Int[np.ndarray, " n"]:
    """Sorted values cut into at most `groups` runs of least weighted within-group sum of squares.

    By dynamic programming over the ends of the runs: exact, in O(groups · n²).
    """
    n = len(values)
    total = np.concatenate([[0.0], np.cumsum(weights)])
    first = np.concatenate([[0.0], np.cumsum(weights * values)])
    second = np.concatenate([[0.0], np.cumsum(weights * values**2)])

    def within(start: np.ndarray, end: int) -> np.ndarray:
        weight, sums = total[end] - total[start], first[end] - first[start]
        return second[end] - second[start] - sums**2 / weight

    best = np.full((groups + 1, n + 1), np.inf)
    cut = np.zeros((groups + 1, n + 1), int)
    best[0, 0] = 0.0
    for group in range(1, groups + 1):
        for end in range(group, n + 1):
            starts = np.arange(group - 1, end)
            costs = best[group - 1, starts] + within(starts, end)
            cut[group, end] = starts[np.argmin(costs)]
            best[group, end] = np.min(costs)
    enough = np.flatnonzero(best[1:, n] <= WITHIN * best[1, n])
    needed = int(enough[0]) + 1 if enough.size else groups
    labels, end = np.zeros(n, int), n
    for group in range(needed, 0, -1):
        start = cut[group, end]
        labels[start:end] = group - 1
        end = start
    return labels
