"""Statistics of virtual patients with weights: smooth in the values, with their influences.

The influence of a patient on a statistic is the statistic's derivative by that patient's weight
(Hampel FR. The influence curve and its role in robust estimation. J Am Stat Assoc 1974;
69:383-393).
Its variance over subjects, divided by their number, is the usual large-sample variance of a
statistic, and its covariances say how the errors of two statistics of the same subjects go
together.

Weights are not below 0 and have the sum 1. Arrays are (patients,).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax.scipy.special import betainc, ndtr
from jaxtyping import Array, Float

TINY = 1e-300

LEAST = 0.02
"""Share of the mean value below which a logarithm goes on in a straight line: noise that takes a
value below 0 has no logarithm, and near 0 one that a whole mean would follow. Of a log-normal
variable with a coefficient of variation of 1 that is one value in 100,000."""

SMOOTHING = 0.5
"""Width of a smoothed indicator, in standard deviations times patients^(-1/3): the rate at which
that of a distribution function may shrink (Azzalini A. Biometrika 1981; 68:326-328)."""

DENSITY = 1.06
"""Width of the kernel of a density, in standard deviations times patients^(-1/5) (Silverman BW.
Density Estimation. Chapman and Hall; 1986, section 3.4.2)."""


class Statistic(NamedTuple):
    """A statistic, and the influence of each patient on it; the weighted mean of these is 0."""

    value: Float[Array, ""]
    influence: Float[Array, " patients"]


def mean(x: Array, weights: Array) -> Statistic:
    """The mean."""
    value = jnp.sum(weights * x)
    return Statistic(value, x - value)


def sd(x: Array, weights: Array) -> Statistic:
    """The standard deviation."""
    squares = jnp.square(mean(x, weights).influence)
    variance = jnp.maximum(jnp.sum(weights * squares), TINY)
    value = jnp.sqrt(variance)
    return Statistic(value, (squares - variance) / (2.0 * value))


def cv(x: Array, weights: Array) -> Statistic:
    """The standard deviation over the mean."""
    centre, spread = mean(x, weights), sd(x, weights)
    value = spread.value / centre.value
    return Statistic(value, (spread.influence - value * centre.influence) / centre.value)


def geometric_mean(x: Array, weights: Array) -> Statistic:
    """The exponential of the mean logarithm; see `LEAST` for values near 0 and below."""
    of_logarithm = mean(_logarithms(x, weights), weights)
    value = jnp.exp(of_logarithm.value)
    return Statistic(value, value * of_logarithm.influence)


def geometric_cv(x: Array, weights: Array) -> Statistic:
    """sqrt(exp(s²) - 1), with s the standard deviation of the logarithm; see `LEAST`."""
    spread = sd(_logarithms(x, weights), weights)
    value = jnp.sqrt(jnp.maximum(jnp.expm1(jnp.square(spread.value)), TINY))
    slope = spread.value * (1.0 + jnp.square(value)) / value
    return Statistic(value, slope * spread.influence)


def _logarithms(x: Array, weights: Array) -> Array:
    """Logarithms that go on along their tangent below `LEAST`."""
    least = jnp.maximum(LEAST * jnp.sum(weights * jnp.abs(x)), TINY)
    above = x > least
    return jnp.where(above, jnp.log(jnp.where(above, x, 1.0)), jnp.log(least) + x / least - 1.0)


def share_above(x: Array, weights: Array, level: Array, *, smooth: bool) -> Statistic:
    """The share of patients above a level.

    If `smooth`, patients near it count in part, so that the share has a derivative: the indicator
    becomes a normal distribution function, `SMOOTHING` wide. The share is then that of a
    distribution widened by so much, which is off by width² / 2 times the slope of the density at
    the level: of a normal distribution by less than 0.0004 for 1000 patients.
    """
    if smooth:
        above = ndtr((x - level) / _width(x, weights, SMOOTHING, 1 / 3))
    else:
        above = jnp.where(x > level, 1.0, 0.0)
    return mean(above, weights)


def quantile(x: Array, weights: Array, probability: Array) -> Statistic:
    """A quantile: the mean of order statistics by Harrell and Davis (Biometrika 1982; 69:635-640).

    It moves smoothly with all values around it, where a single order statistic would follow one.
    """
    patients = 1.0 / jnp.sum(jnp.square(weights))
    order = jnp.argsort(x)
    below = jnp.clip(jnp.cumsum(weights[order]), 0.0, 1.0)
    a, b = (patients + 1.0) * probability, (patients + 1.0) * (1.0 - probability)
    parts = jnp.diff(betainc(a, b, below), prepend=0.0)
    value = jnp.sum(parts * x[order])
    width = _width(x, weights, DENSITY, 1 / 5)
    kernel = jnp.exp(-0.5 * jnp.square((x - value) / width)) / (width * jnp.sqrt(2.0 * jnp.pi))
    density = jnp.maximum(jnp.sum(weights * kernel), TINY)
    above = share_above(x, weights, value, smooth=True)
    return Statistic(value, above.influence / density)


def correlation(x: Array, weights: Array, other: Array) -> Statistic:
    """Pearson's correlation of two values of each patient."""
    standard = [mean(v, weights).influence / sd(v, weights).value for v in (x, other)]
    value = jnp.sum(weights * standard[0] * standard[1])
    squares = jnp.square(standard[0]) + jnp.square(standard[1])
    return Statistic(value, standard[0] * standard[1] - 0.5 * value * squares)


PLAIN: dict[str, Callable[[Array, Array], Statistic]] = {
    "mean": mean,
    "sd": sd,
    "cv": cv,
    "geometric_mean": geometric_mean,
    "geometric_cv": geometric_cv,
}
"""Those that need nothing but values and weights."""


def _width(x: Array, weights: Array, factor: float, power: float) -> Array:
    patients = 1.0 / jnp.sum(jnp.square(weights))
    spread = sd(x, weights).value
    return jnp.maximum(factor * spread * patients**-power, TINY)
