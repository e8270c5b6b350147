"""Unstratified risk difference with Newcombe's hybrid score interval."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from trials.analyses._estimates import (
    Estimates,
    Status,
    arm_summaries,
    blank_failures,
    first_failure,
    too_few,
)
from trials.analyses._student_t import normal_p, normal_quantile


@partial(jax.jit, static_argnames=("arms",))
def risk_difference_newcombe(
    response: Bool[Array, "trial subject"],
    arm: Int[Array, "trial subject"],
    used: Bool[Array, "trial subject"],
    *,
    arms: int = 2,
    treatment: int | Int[Array, ""] = 1,
    reference: int | Int[Array, ""] = 0,
    level: float | Float[Array, ""] = 0.95,
) -> Estimates:
    """Risk of `treatment` minus `reference`, interval from the two Wilson intervals.

    Newcombe, Stat Med 1998;17:873-890, method 10, without continuity correction. It exists for
    every table, also where nobody or everybody responds.

    **Arguments:**

    - `response`: whether the subject responded.
    - `arm`: arm codes 0 … `arms` - 1.
    - `used`: subjects to analyse; padding and missing outcomes are false.
    - `arms`: number of arms.
    - `treatment`, `reference`: the two arms compared; others do not enter.
    - `level`: of the confidence interval.

    `p_value` is Pearson's chi-square test without continuity correction (1 where nobody or
    everybody responds), `standard_error` the unpooled Wald one; neither defines the interval.
    `mean` is the share of responders.
    """
    n, mean = arm_summaries(response.astype(float), arm, used, arms)
    n1, n0 = (jnp.maximum(n[..., which], 1).astype(float) for which in (treatment, reference))
    risk1, risk0 = (jnp.nan_to_num(mean[..., which]) for which in (treatment, reference))
    estimate = risk1 - risk0
    infinite = jnp.full_like(estimate, jnp.inf)
    z = normal_quantile(level)

    lower1, upper1 = _wilson(risk1, n1, z)
    lower0, upper0 = _wilson(risk0, n0, z)
    lower = estimate - jnp.hypot(risk1 - lower1, upper0 - risk0)
    upper = estimate + jnp.hypot(upper1 - risk1, risk0 - lower0)

    pooled = (n1 * risk1 + n0 * risk0) / (n1 + n0)
    null_variance = pooled * (1 - pooled) * (1 / n1 + 1 / n0)
    varied = null_variance > 0
    statistic = jnp.where(varied, estimate / jnp.sqrt(jnp.where(varied, null_variance, 1.0)), 0.0)
    error = jnp.sqrt(risk1 * (1 - risk1) / n1 + risk0 * (1 - risk0) / n0)
    status = first_failure((too_few(n, treatment, reference), Status.TOO_FEW))
    p_value = normal_p(statistic)
    return blank_failures(
        Estimates(estimate, error, infinite, lower, upper, p_value, n, mean, status)
    )


def _wilson(
    risk: Float[Array, " trial"], n: Float[Array, " trial"], z: Float[Array, ""]
) -> tuple[Float[Array, " trial"], Float[Array, " trial"]]:
    """Wilson's score interval of one risk (JASA 1927;22:209-212)."""
    centre = risk + z**2 / (2 * n)
    margin = z * jnp.sqrt(risk * (1 - risk) / n + z**2 / (4 * n**2))
    shrink = 1 + z**2 / n
    return (centre - margin) / shrink, (centre + margin) / shrink
