"""Exposure of virtual patients from their courses, with derivatives: AUC, extremes, their time.

`cohorts.data.exposure` has the same of measured tables, by subject and dose.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

TINY = 1e-300

NEAR = 1e-4
"""Relative difference of two values below which their logarithmic mean is the plain one to 1e-9."""


STEEPEST = (0.02, 0.1)
"""Ratio of a value to the one before at which the smooth area begins to be logarithmic, and that
from which on it is: the logarithmic mean goes to 0 with the second value, and the linear one, which
holds where that is not above 0, does not."""

SHARPNESS = 0.02
"""How far below the highest value, as a share of it, another counts exp(-1) times as much for the
smooth time of the maximum."""


def exposure(
    kind: str,
    times: Float[np.ndarray, " times"],
    values: Float[Array, "times patients"],
    *,
    smooth: bool,
) -> Float[Array, " patients"]:
    """`auc`, `cmax`, `cmin` or `tmax` of each patient's values at increasing times.

    The area is logarithmic where values fall and both are above 0, else linear; the time of the
    maximum is that of the highest value. Both jump as values move. If `smooth`, they do not: the
    area is linear, too, where a value falls to less than a tenth of the one before, and the time is
    a mean of times in which values near the highest count in part.
    """
    match kind:
        case "auc":
            return _area(times, values, smooth)
        case "cmax":
            return jnp.max(values, axis=0)
        case "cmin":
            return jnp.min(values, axis=0)
        case "tmax":
            at = jnp.asarray(times)
            if not smooth:
                return at[jnp.argmax(values, axis=0)]
            highest = jnp.maximum(jnp.max(values, axis=0), TINY)
            return at @ jax.nn.softmax(values / (SHARPNESS * highest), axis=0)
    raise AssertionError(kind)


def _area(times: np.ndarray, values: Array, smooth: bool) -> Array:
    length = jnp.asarray(np.diff(times))[:, None]
    first, second = values[:-1], values[1:]
    falls = (second > 0.0) & (second < first * (1.0 - NEAR))
    ratio = jnp.where(falls, first, 2.0) / jnp.where(falls, second, 1.0)
    logarithmic = jnp.where(falls, first - second, 1.0) / jnp.log(ratio)
    linear = 0.5 * (first + second)
    mean = jnp.where(falls, logarithmic, linear)
    if smooth:
        part = jnp.clip((1.0 / ratio - STEEPEST[0]) / (STEEPEST[1] - STEEPEST[0]), 0.0, 1.0)
        part = part * part * (3.0 - 2.0 * part)
        mean = jnp.where(falls, part * logarithmic + (1.0 - part) * linear, linear)
    return jnp.sum(length * mean, axis=0)
