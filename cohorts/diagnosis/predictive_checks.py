"""Visual predictive checks: percentiles of measured values beside those that a model simulates.

Observations are one long axis; simulated data sets have the same design, so they are arrays
(replicates, observations). A value below its limit of quantification is known only to lie below it,
in the data as in the simulations.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

PERCENTILES = (5.0, 50.0, 95.0)
INTERVAL = 0.9
"""Probability that the simulated intervals of a percentile hold."""


class PredictiveCheck(NamedTuple):
    """A visual predictive check of one output; arrays by (percentile, bin) or (bin,).

    What lies below the limit of quantification is NaN: it was not measured.
    """

    time: Float[np.ndarray, " bin"]
    """Median time of the bin's observations."""
    count: Int[np.ndarray, " bin"]
    observed: Float[np.ndarray, "percentile bin"]
    lower: Float[np.ndarray, "percentile bin"]
    """Ends and median of the simulated percentiles over replicates."""
    median: Float[np.ndarray, "percentile bin"]
    upper: Float[np.ndarray, "percentile bin"]
    censored: Float[np.ndarray, " bin"]
    """Observed share below the limit of quantification."""
    censored_lower: Float[np.ndarray, " bin"]
    censored_median: Float[np.ndarray, " bin"]
    censored_upper: Float[np.ndarray, " bin"]

    def covered(self) -> float:
        """Share of the observed percentiles that lie in their simulated intervals."""
        known = np.isfinite(self.observed) & np.isfinite(self.lower) & np.isfinite(self.upper)
        inside = (self.observed >= self.lower) & (self.observed <= self.upper)
        return float(np.mean(inside[known])) if known.any() else float("nan")


def visual_predictive_check(
    time: Float[np.ndarray, " observation"],
    observed: Float[np.ndarray, " observation"],
    censored: Bool[np.ndarray, " observation"],
    limit: Float[np.ndarray, " observation"],
    simulated: Float[np.ndarray, "replicate observation"],
    bins: Int[np.ndarray, " observation"],
    *,
    percentiles: tuple[float, ...] = PERCENTILES,
    interval: float = INTERVAL,
) -> PredictiveCheck:
    """The check of one output (Holford, PAGE 14, 2005; Karlsson and Holford, PAGE 17, 2008).

    **Arguments:**

    - `time`, `observed`: of each observation; `observed` is not looked at where `censored`.
    - `limit`: of quantification, -inf where there is none.
    - `simulated`: uncensored values of data sets of the same design.
    - `bins`: of each observation, from 0; see `cohorts.diagnosis.time_bins`.
    - `percentiles`, `interval`: change them to look further out, which takes more replicates.
    """
    count = int(bins.max()) + 1
    below = simulated < limit
    ranked = np.where(censored, -np.inf, observed)
    ranked_simulated = np.where(below, -np.inf, simulated)
    tails = np.array([(1 - interval) / 2, 0.5, (1 + interval) / 2])
    shape = (len(percentiles), count)
    found, ends = np.full(shape, np.nan), np.full((3, *shape), np.nan)
    share, share_ends = np.zeros(count), np.zeros((3, count))
    for number in range(count):
        here = bins == number
        found[:, number] = _percentiles(ranked[here], percentiles)
        of_replicates = _percentiles(ranked_simulated[:, here], percentiles)
        ends[..., number] = _quantiles(of_replicates, tails)
        share[number] = np.mean(censored[here])
        share_ends[:, number] = np.quantile(below[:, here].mean(axis=1), tails)
    return PredictiveCheck(
        time=np.array([np.median(time[bins == number]) for number in range(count)]),
        count=np.bincount(bins, minlength=count),
        observed=found,
        lower=ends[0],
        median=ends[1],
        upper=ends[2],
        censored=share,
        censored_lower=share_ends[0],
        censored_median=share_ends[1],
        censored_upper=share_ends[2],
    )


def prediction_corrected(
    values: Float[np.ndarray, "*replicate observation"],
    predicted: Float[np.ndarray, " observation"],
    bins: Int[np.ndarray, " observation"],
    *,
    logarithmic: bool = False,
) -> Float[np.ndarray, "*replicate observation"]:
    """Values as they would be if each observation's typical prediction were its bin's median.

    So differences in dose and covariates within a bin do not blur the percentiles (Bergstrand,
    Hooker, Wallin and Karlsson, AAPS J 2011;13:143-151). Ratios are kept, or with `logarithmic`
    differences, for outputs that are logarithms or can be negative. Predictions of zero are left as
    they are: nothing can be scaled to them.
    """
    medians = np.array([np.median(predicted[bins == b]) for b in range(int(bins.max()) + 1)])
    target = medians[bins]
    if logarithmic:
        return values + (target - predicted)
    factor = np.where(predicted > 0.0, target / np.where(predicted > 0.0, predicted, 1.0), 1.0)
    return values * factor


def _percentiles(
    values: Float[np.ndarray, "*replicate n"], percentiles: tuple[float, ...]
) -> Float[np.ndarray, "percentile ..."]:
    """Percentiles of values of which some are known only to be low (-inf); NaN where one is."""
    found = np.quantile(values, np.asarray(percentiles) / 100, axis=-1, method="inverted_cdf")
    return np.where(np.isfinite(found), found, np.nan)


def _quantiles(
    values: Float[np.ndarray, "percentile replicate"], at: Float[np.ndarray, " three"]
) -> Float[np.ndarray, "three percentile"]:
    """Quantiles over replicates; those that were not measured count as the lowest."""
    low = np.where(np.isnan(values), -np.inf, values)
    found = np.quantile(low, at, axis=-1, method="inverted_cdf")
    return np.where(np.isfinite(found), found, np.nan)
