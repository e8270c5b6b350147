"""Log-rank test, stratified or not."""

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
from trials.analyses._risk_sets import risk_sets


@partial(jax.jit, static_argnames=("arms",))
def log_rank(
    time: Float[Array, "trial subject"],
    event: Bool[Array, "trial subject"],
    arm: Int[Array, "trial subject"],
    used: Bool[Array, "trial subject"],
    stratum: Int[Array, "trial subject"] | None = None,
    *,
    arms: int = 2,
    treatment: int | Int[Array, ""] = 1,
    reference: int | Int[Array, ""] = 0,
    level: float | Float[Array, ""] = 0.95,
) -> Estimates:
    """Log-rank test of `treatment` against `reference`, with the one-step log hazard ratio.

    Observed minus expected events O - E and their hypergeometric variance V are summed over event
    times and strata; the statistic is (O - E) / √V, so `p_value` is that of the chi-square test.

    **Arguments:**

    - `time`: time to event or censoring, any unit, where `used`.
    - `event`: whether the event was seen.
    - `arm`: arm codes 0 … `arms` - 1.
    - `used`: subjects to analyse.
    - `stratum`: stratum codes; any integers. Default: one stratum.
    - `arms`: number of arms.
    - `treatment`, `reference`: the two arms compared; others do not enter.
    - `level`: of the confidence interval.

    `estimate` is Peto's one-step log hazard ratio (O - E) / V, close to the maximum likelihood one
    where the effect is small (use `hazard_ratio` where it may not be); `standard_error` is 1 / √V;
    `mean` is the share of subjects with an event.
    """
    n, mean = arm_summaries(event.astype(float), arm, used, arms)
    compared = used & ((arm == treatment) | (arm == reference))
    excess, variance = jax.vmap(_score, in_axes=(0, 0, 0, 0, None if stratum is None else 0))(
        time, event, arm == treatment, compared, stratum
    )
    status = first_failure(
        (too_few(n, treatment, reference), Status.TOO_FEW),
        (~(variance > 0), Status.NO_EVENTS),
    )
    information = jnp.where(status == Status.OK, variance, 1.0)
    return wald(excess / information, 1 / information, level, n, mean, status)


def _score(
    time: Float[Array, " subject"],
    event: Bool[Array, " subject"],
    treated: Bool[Array, " subject"],
    used: Bool[Array, " subject"],
    stratum: Int[Array, " subject"] | None,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Observed minus expected events of the treated, and the variance."""
    sets = risk_sets(time, used, stratum)
    here = sets.used.astype(float)
    treated_here = here * treated[sets.order]
    events_here = here * event[sets.order]
    at_risk = jnp.maximum(sets.at_risk(here), 1.0)
    share = sets.at_risk(treated_here) / at_risk
    events = jnp.where(sets.closes_tie, sets.in_tie(events_here), 0.0)
    excess = jnp.sum(events_here * treated_here) - jnp.sum(events * share)
    correction = (at_risk - events) / jnp.maximum(at_risk - 1, 1.0)
    return excess, jnp.sum(events * share * (1 - share) * correction)
