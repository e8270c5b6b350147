"""Unstratified risk difference with Miettinen and Nurminen's score test and interval."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from trials.analyses._estimates import (
    Estimates,
    Status,
    arm_summaries,
    first_failure,
    too_few,
)
from trials.analyses._margins import Margins
from trials.analyses._score import by_score


@partial(jax.jit, static_argnames=("arms",))
def risk_difference_miettinen_nurminen(
    response: Bool[Array, "trial subject"],
    arm: Int[Array, "trial subject"],
    used: Bool[Array, "trial subject"],
    *,
    arms: int = 2,
    treatment: int | Int[Array, ""] = 1,
    reference: int | Int[Array, ""] = 0,
    level: float | Float[Array, ""] = 0.95,
    margins: Margins | None = None,
) -> Estimates:
    """Risk of `treatment` minus `reference`, all differences a score test does not reject.

    Miettinen & Nurminen, Stat Med 1985;4:213-226, with their variance factor N / (N - 1). Test and
    interval agree: the interval leaves out 0 exactly when p < 1 - `level`.

    **Arguments:**

    - `response`: whether the subject responded.
    - `arm`: arm codes 0 … `arms` - 1.
    - `used`: subjects to analyse; padding and missing outcomes are false.
    - `arms`: number of arms.
    - `treatment`, `reference`: the two arms compared; others do not enter.
    - `level`: of the confidence interval.
    - `margins`: that the effect is tested against instead of zero.

    `p_value` of the score test (1 where nobody or everybody responds), against margins that of
    Farrington & Manning, Stat Med 1990;9:1447-1454; `standard_error` is the unpooled Wald one, for
    description only. `mean` is the share of responders.
    """
    n, mean = arm_summaries(response.astype(float), arm, used, arms)
    n1, n0 = (jnp.maximum(n[..., which], 1).astype(float) for which in (treatment, reference))
    risk1, risk0 = (jnp.nan_to_num(mean[..., which]) for which in (treatment, reference))
    estimate = risk1 - risk0
    error = jnp.sqrt(risk1 * (1 - risk1) / n1 + risk0 * (1 - risk0) / n0)
    status = first_failure((too_few(n, treatment, reference), Status.TOO_FEW))
    return by_score(
        partial(_score, risk1, risk0, n1, n0), (n, mean), estimate, error, status, level, margins
    )


def _score(
    risk1: Float[Array, " trial"],
    risk0: Float[Array, " trial"],
    n1: Float[Array, " trial"],
    n0: Float[Array, " trial"],
    difference: Float[Array, " trial"],
) -> Float[Array, " trial"]:
    """Score statistic for a risk difference of `difference`, at the restricted maximum likelihood.

    The restricted risks solve a cubic in closed form (Farrington & Manning, Stat Med
    1990;9:1447-1454, appendix), with their symbols.
    """
    theta = n0 / n1
    a = 1 + theta
    b = -(1 + theta + risk1 + theta * risk0 + difference * (theta + 2))
    c = difference**2 + difference * (2 * risk1 + theta + 1) + risk1 + theta * risk0
    d = -risk1 * difference * (1 + difference)
    v = (b / (3 * a)) ** 3 - b * c / (6 * a**2) + d / (2 * a)
    u = jnp.sqrt(jnp.maximum((b / (3 * a)) ** 2 - c / (3 * a), 0.0))
    u = jnp.where(v < 0, -u, u)
    cubed = jnp.where(u == 0, 1.0, u**3)
    w = (jnp.pi + jnp.arccos(jnp.clip(v / cubed, -1.0, 1.0))) / 3
    restricted1 = jnp.clip(2 * u * jnp.cos(w) - b / (3 * a), 0.0, 1.0)
    restricted0 = jnp.clip(restricted1 - difference, 0.0, 1.0)
    total = n1 + n0
    variance = (
        (restricted1 * (1 - restricted1) / n1 + restricted0 * (1 - restricted0) / n0)
        * total
        / (total - 1)
    )
    gap = risk1 - risk0 - difference
    # Nobody or everybody responds and no difference is asked for: 0 / 0, and no evidence.
    return jnp.where(gap == 0, 0.0, gap / jnp.sqrt(variance))
