"""Risk difference pooled over strata with Mantel-Haenszel weights."""

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
    wald,
)
from trials.analyses._margins import Margins


@partial(jax.jit, static_argnames=("strata", "arms"))
def risk_difference_mantel_haenszel(
    response: Bool[Array, "trial subject"],
    arm: Int[Array, "trial subject"],
    used: Bool[Array, "trial subject"],
    stratum: Int[Array, "trial subject"],
    *,
    strata: int,
    arms: int = 2,
    treatment: int | Int[Array, ""] = 1,
    reference: int | Int[Array, ""] = 0,
    level: float | Float[Array, ""] = 0.95,
    margins: Margins | None = None,
) -> Estimates:
    """Mantel-Haenszel risk of `treatment` minus `reference`, with Sato's variance.

    The variance (Sato, Greenland & Robins, Biometrics 1989;45:1323-1324) is consistent both for
    few large and for many small strata; strata that lack one of the two arms have no weight.

    **Arguments:**

    - `response`: whether the subject responded.
    - `arm`: arm codes 0 … `arms` - 1.
    - `used`: subjects to analyse; padding and missing outcomes are false.
    - `stratum`: stratum codes 0 … `strata` - 1.
    - `strata`, `arms`: numbers of strata and arms.
    - `treatment`, `reference`: the two arms compared; others do not enter.
    - `level`: of the confidence interval.
    - `margins`: that the effect is tested against instead of zero.

    Test and interval by z; `mean` is the unstratified share of responders.
    """
    n, mean = arm_summaries(response.astype(float), arm, used, arms)

    def counts(
        which: int | Int[Array, ""],
    ) -> tuple[Float[Array, "trial stratum"], Float[Array, "trial stratum"]]:
        belongs = used & (arm == which)
        return _per_stratum(belongs, stratum, strata), _per_stratum(
            belongs & response, stratum, strata
        )

    n1, x1 = counts(treatment)
    n0, x0 = counts(reference)
    total = jnp.maximum(n1 + n0, 1)
    weight = jnp.sum(n1 * n0 / total, axis=-1)
    confounded = ~(weight > 0)
    weight = jnp.where(confounded, 1.0, weight)
    estimate = jnp.sum((x1 * n0 - x0 * n1) / total, axis=-1) / weight
    # A stratum without one of the arms adds nothing to either sum.
    p = (n1**2 * x0 - n0**2 * x1 + n1 * n0 * (n0 - n1) / 2) / total**2
    q = (x1 * (n0 - x0) + x0 * (n1 - x1)) / (2 * total)
    variance = (estimate * jnp.sum(p, axis=-1) + jnp.sum(q, axis=-1)) / weight**2

    status = first_failure(
        (too_few(n, treatment, reference), Status.TOO_FEW),
        (confounded, Status.SINGULAR),
        (~(variance > 0), Status.NO_VARIATION),
    )
    return wald(estimate, variance, level, n, mean, status, margins=margins)


def _per_stratum(
    counted: Bool[Array, "trial subject"], stratum: Int[Array, "trial subject"], strata: int
) -> Float[Array, "trial stratum"]:
    """Number of counted subjects in each stratum (whole numbers: any order of adding is exact)."""

    def one(counted: Bool[Array, " subject"], stratum: Int[Array, " subject"]) -> Array:
        return jnp.zeros(strata).at[stratum].add(counted.astype(float), mode="drop")

    return jax.vmap(one)(counted, stratum)
