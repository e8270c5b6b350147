"""Normalised prediction distribution errors: what a model says of each observation, decorrelated.

Brendel, Comets, Laffont, Laveille and Mentré, Pharm Res 2006;23:2036-2049; values below the limit
of quantification as in Nguyen, Comets and Mentré, J Pharmacokinet Pharmacodyn 2012;39:499-518. A
subject's decorrelated errors are uncorrelated, not independent, where data are far from normal.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats


class PredictionErrors(NamedTuple):
    """Of each observation; both are standard normal if the model is right.

    - `npd`: from the observation's own simulated distribution; a subject's are correlated.
    - `npde`: after a subject's observations were decorrelated.
    """

    npd: Float[np.ndarray, " observation"]
    npde: Float[np.ndarray, " observation"]


class NormalityTest(NamedTuple):
    """p-values of whether errors have mean 0, variance 1 and a normal shape, and of all together.

    `together` is the smallest of the three times three (Bonferroni), 1 at the most.
    """

    mean: float
    variance: float
    shape: float
    together: float


def prediction_errors(
    observed: Float[np.ndarray, " observation"],
    censored: Bool[np.ndarray, " observation"],
    limit: Float[np.ndarray, " observation"],
    simulated: Float[np.ndarray, "replicate observation"],
    subject: np.ndarray,
    seed: int,
) -> PredictionErrors:
    """The errors of every observation of every subject.

    **Arguments:**

    - `observed`: not looked at where `censored`: there a value is drawn from the part of the
      simulated distribution that lies below `limit`.
    - `simulated`: data sets of the same design; some hundred at least, a thousand better: errors
      beyond 1 in twice their number cannot be told apart.
    - `subject`: whose each observation is.
    - `seed`: of those draws, and of ties.
    """
    random = np.random.default_rng(seed)
    observed = _imputed(observed, censored, limit, simulated, random)
    npd = _errors(observed, simulated, random)
    npde = np.empty_like(npd)
    for one in dict.fromkeys(subject.tolist()):
        own = subject == one
        of_subject = simulated[:, own]
        centre = of_subject.mean(axis=0)
        covariance = np.atleast_2d(np.cov(of_subject, rowvar=False))
        # What hardly varies must not make the matrix singular.
        ridge = 1e-12 * np.trace(covariance) / len(centre) + np.finfo(float).tiny
        factor = np.linalg.cholesky(covariance + ridge * np.eye(len(centre)))
        decorrelated = np.linalg.solve(factor, (of_subject - centre).T).T
        own_observed = np.linalg.solve(factor, observed[own] - centre)
        npde[own] = _errors(own_observed, decorrelated, random)
    return PredictionErrors(npd, npde)


def normality(errors: Float[np.ndarray, " n"]) -> NormalityTest:
    """Tests of prediction errors as Brendel et al. use them.

    Wilcoxon's signed-rank test of the mean, a chi-square test of the variance, and Shapiro and
    Wilk's of the shape.
    """
    freedom = len(errors) - 1
    tail = stats.chi2.cdf(freedom * np.var(errors, ddof=1), freedom)
    found = (
        float(stats.wilcoxon(errors).pvalue),  # pyright: ignore[reportAttributeAccessIssue]
        float(2 * min(tail, 1 - tail)),
        float(stats.shapiro(errors).pvalue),
    )
    return NormalityTest(*found, min(1.0, 3 * min(found)))


def _imputed(
    observed: np.ndarray,
    censored: np.ndarray,
    limit: np.ndarray,
    simulated: np.ndarray,
    random: np.random.Generator,
) -> np.ndarray:
    """The observations, those below the limit drawn from the simulated ones that are."""
    filled = observed.astype(float)
    for place in np.flatnonzero(censored):
        values = simulated[:, place]
        below = values[values < limit[place]]
        filled[place] = random.choice(below) if below.size else values.min()
    return filled


def _errors(observed: np.ndarray, simulated: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Normal scores of where observations lie among their simulations, ties broken at random."""
    replicates = simulated.shape[0]
    below = (simulated < observed).sum(axis=0)
    equal = (simulated == observed).sum(axis=0)
    # One of the replicates + 1 gaps that simulations leave, and a place in it: uniform, as it is if
    # the observation is one of them.
    share = (below + random.uniform(size=below.shape) * (equal + 1)) / (replicates + 1)
    return stats.norm.ppf(share)
