"""Weights of plausible patients with which their statistics are those that were published.

Of all weights those nearest to equal ones are taken, by Kullback and Leibler's divergence, that
meet the targets as well as their errors ask for:

    minimise  Σ w log(n w) + ½ d(w)ᵀ S⁻¹ d(w),

d being the targets' deviations and S the covariance of their errors. Where d is linear in w, as for
means and shares, the weights are an exponential tilt, w ∝ exp(λ·g), and λ minimises the convex dual

    log Σ exp(λ·g) / n + ½ λᵀ S λ,

by Newton's method. Other statistics are linear to first order, by the patients' influences, and are
taken anew about the weights that were found until these do not change.

Targets that contradict each other give a compromise, since S is above 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

MOST_ROUNDS = 60
"""Times that statistics are taken anew."""

NEWTON_STEPS = 100

FARTHEST = -690.0
"""The least logarithm of a weight, against that of the heaviest: below it numbers are 0."""

SAME = 1e-7
"""Change of a mismatch, in standard errors, that counts as none."""


class Statistics(NamedTuple):
    """What some weights give: deviations (targets,), influences (targets, patients), and the
    covariance of the targets' errors."""

    deviation: Float[np.ndarray, " targets"]
    influence: Float[np.ndarray, "targets patients"]
    covariance: Float[np.ndarray, "targets targets"]


Evaluate = Callable[[Float[np.ndarray, " patients"]], Statistics]


class Weighted(NamedTuple):
    """Weights that were found.

    - `weights`: of sum 1. `multipliers`: λ of the targets that count, 0 of the others.
    - `statistics`: with these weights.
    - `objective`: divergence and half the sum of squared standardised deviations.
    - `converged`: whether the weights no longer changed.
    """

    weights: Float[np.ndarray, " patients"]
    multipliers: Float[np.ndarray, " targets"]
    statistics: Statistics
    objective: float
    converged: bool

    @property
    def effective(self) -> float:
        """Effective number of patients: 1 / Σ w² (Kish L. Survey Sampling. Wiley; 1965)."""
        return float(1.0 / np.sum(np.square(self.weights)))


def reweight(
    evaluate: Evaluate,
    usable: Bool[np.ndarray, " patients"],
    included: Bool[np.ndarray, " targets"] | None = None,
    covariance: Float[np.ndarray, "targets targets"] | None = None,
) -> Weighted:
    """The weights of patients with which their statistics meet the targets.

    **Arguments:**

    - `evaluate`: what some weights give.
    - `usable`: patients that may have a weight; others were not solved.
    - `included`: the targets that count; default: all.
    - `covariance`: of the targets' errors; default: that of the weights which are found.
    """
    base = usable / usable.sum()
    weights = base
    found = evaluate(weights)
    chosen = np.ones(len(found.deviation), bool) if included is None else included
    multipliers = np.zeros(chosen.sum())
    converged = False
    for turn in range(MOST_ROUNDS):
        errors = (found.covariance if covariance is None else covariance)[np.ix_(chosen, chosen)]
        linear = found.deviation[chosen, None] + found.influence[chosen]
        multipliers = _dual(linear, base, errors, multipliers)
        new = _tilted(linear, base, multipliers)
        if turn >= MOST_ROUNDS // 4:
            # A statistic that bends much goes back and forth; the way between is its end.
            new = np.sqrt(new) * np.sqrt(weights)
            new /= new.sum()
        after = evaluate(new)
        scale = np.sqrt(np.diag(after.covariance))
        change = np.abs(after.deviation - found.deviation)[chosen] / scale[chosen]
        weights, found = new, after
        if change.size == 0 or change.max() < SAME:
            converged = True
            break
    errors = (found.covariance if covariance is None else covariance)[np.ix_(chosen, chosen)]
    missed = found.deviation[chosen]
    positive = weights > 0
    divergence = np.sum(weights[positive] * np.log(weights[positive] / base[positive]))
    objective = float(divergence + 0.5 * missed @ np.linalg.solve(_firm(errors), missed))
    everyone = np.zeros(len(chosen))
    everyone[chosen] = multipliers
    return Weighted(weights, everyone, found, objective, converged)


def _dual(
    linear: np.ndarray, base: np.ndarray, errors: np.ndarray, start: np.ndarray
) -> np.ndarray:
    """The multipliers at the minimum of the dual."""

    def value(multipliers: np.ndarray) -> float:
        exponents = multipliers @ linear
        highest = exponents[base > 0].max()
        total = np.sum(base * np.exp(np.minimum(exponents - highest, 0.0)))
        return float(highest + np.log(total) + 0.5 * multipliers @ errors @ multipliers)

    errors = _firm(errors)
    multipliers, now = start, value(start)
    for _ in range(NEWTON_STEPS):
        weights = _tilted(linear, base, multipliers)
        means = linear @ weights
        centred = linear - means[:, None]
        slope = means + errors @ multipliers
        curvature = (centred * weights) @ centred.T + errors
        step = np.linalg.solve(curvature, slope)
        decrement = float(slope @ step)
        size = 1.0
        while size > 1e-12 and value(multipliers - size * step) > now - 1e-4 * size * decrement:
            size /= 2.0
        multipliers = multipliers - size * step
        now = value(multipliers)
        if decrement < 1e-16 * (1.0 + abs(now)):
            break
    return multipliers


def _tilted(linear: np.ndarray, base: np.ndarray, multipliers: np.ndarray) -> np.ndarray:
    """Weights of everybody who may have one: never 0, however far off a patient is."""
    exponents = multipliers @ linear
    highest = exponents[base > 0].max()
    weights = base * np.exp(np.clip(exponents - highest, FARTHEST, 0.0))
    return weights / weights.sum()


def _firm(errors: np.ndarray) -> np.ndarray:
    """A covariance matrix that can be inverted where targets say the same."""
    return errors + 1e-9 * np.diag(np.diag(errors))
