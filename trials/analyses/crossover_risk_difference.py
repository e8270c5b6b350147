"""Risk difference within subjects: a score test and interval of paired proportions."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from trials.analyses._estimates import Estimates, Status, first_failure
from trials.analyses._margins import Margins
from trials.analyses._score import by_score


@partial(jax.jit, static_argnames="arms")
def crossover_risk_difference(
    response: Bool[Array, "trial subject period"],
    arm: Int[Array, "trial subject period"],
    used: Bool[Array, "trial subject period"],
    *,
    arms: int = 2,
    treatment: int | Int[Array, ""] = 1,
    reference: int | Int[Array, ""] = 0,
    level: float | Float[Array, ""] = 0.95,
    margins: Margins | None = None,
) -> Estimates:
    """Risk of `treatment` minus `reference` in pairs, all differences a score test accepts.

    Tango, Stat Med 1998;17:891-908: the test of no difference is McNemar's without continuity
    correction, and test and interval agree, against margins, too. A pair is a subject's response
    under both arms, so that effects of periods are not estimated: they cancel where as many
    subjects go through the arms in one order as in the other.

    **Arguments:**

    - `response`: whether the subject responded in the period.
    - `arm`: arm codes 0 … `arms` - 1; of the two that are compared each in one period at most.
    - `used`: what to analyse. A subject without one of the two arms is left out.
    - `arms`: number of arms.
    - `treatment`, `reference`: the two arms compared; others do not enter.
    - `level`: of the confidence interval.
    - `margins`: that the effect is tested against instead of zero.

    `p_value` is 1 where nobody responds to one arm alone; `standard_error` is the Wald one of
    paired shares, for description only. `n` are the pairs, and responses of other arms' subjects;
    `mean` is the share of responders.
    """
    each = jnp.arange(arms)
    under = used[..., None] & (arm[..., None] == each)
    had = jnp.any(under, axis=-2)
    responded = jnp.any(under & response[..., None], axis=-2)
    paired = had[..., treatment] & had[..., reference]
    compared = (each == treatment) | (each == reference)
    counted = had & (paired[..., None] | ~compared)
    n = jnp.sum(counted, axis=-2)
    share = jnp.sum(counted & responded, axis=-2) / jnp.maximum(n, 1)
    mean = jnp.where(n > 0, share, jnp.nan)

    pairs = jnp.sum(paired, axis=-1)
    first, second = responded[..., treatment], responded[..., reference]
    # Discordant pairs: a response under the treatment alone, and under the reference alone.
    b = jnp.sum(paired & first & ~second, axis=-1).astype(float)
    c = jnp.sum(paired & second & ~first, axis=-1).astype(float)
    total = jnp.maximum(pairs, 1).astype(float)
    estimate = (b - c) / total
    error = jnp.sqrt(jnp.maximum(b + c - (b - c) ** 2 / total, 0.0)) / total
    status = first_failure((pairs < 2, Status.TOO_FEW))
    return by_score(
        partial(_score, b, c, total), (n, mean), estimate, error, status, level, margins
    )


def _score(
    b: Float[Array, " trial"],
    c: Float[Array, " trial"],
    pairs: Float[Array, " trial"],
    difference: Float[Array, " trial"],
) -> Float[Array, " trial"]:
    """Score statistic for a risk difference of `difference`, at the restricted maximum likelihood.

    The restricted probability of a response under the reference alone solves a quadratic equation;
    symbols are Tango's.
    """
    room = difference * (1 - difference)
    linear = (2 * pairs - b + c) * difference - b - c
    root = jnp.sqrt(jnp.maximum(linear**2 + 8 * pairs * c * room, 0.0))
    alone = jnp.maximum((root - linear) / (4 * pairs), 0.0)
    gap = b - c - pairs * difference
    variance = pairs * jnp.maximum(2 * alone + room, 0.0)
    # No discordant pair and no difference asked for: 0 / 0, and no evidence.
    return jnp.where(gap == 0, 0.0, gap / jnp.sqrt(variance))
