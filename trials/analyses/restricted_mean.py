"""Difference in restricted mean survival time."""

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
from trials.analyses.kaplan_meier import curve


@partial(jax.jit, static_argnames=("arms",))
def restricted_mean_difference(
    time: Float[Array, "trial subject"],
    event: Bool[Array, "trial subject"],
    arm: Int[Array, "trial subject"],
    used: Bool[Array, "trial subject"],
    *,
    horizon: float | Float[Array, ""],
    arms: int = 2,
    treatment: int | Int[Array, ""] = 1,
    reference: int | Int[Array, ""] = 0,
    level: float | Float[Array, ""] = 0.95,
    margins: Margins | None = None,
) -> Estimates:
    """Mean event-free time up to `horizon` of `treatment` minus `reference`.

    The area under each arm's Kaplan-Meier curve; its variance sums, over event times, the squared
    area still to come times d / (n (n - d)) (Royston & Parmar, BMC Med Res Methodol 2013;13:152).

    **Arguments:**

    - `time`: time to event or censoring, any unit, where `used`.
    - `event`: whether the event was seen.
    - `arm`: arm codes 0 … `arms` - 1.
    - `used`: subjects to analyse.
    - `horizon`: the τ to which time is counted, same unit, > 0.
    - `arms`: number of arms.
    - `treatment`, `reference`: the two arms compared; others do not enter.
    - `level`: of the confidence interval.
    - `margins`: that the effect is tested against instead of zero.

    Test and interval by z; `mean` is each arm's restricted mean. `SHORT_FOLLOW_UP` where the last
    time of either arm is a censored one before `horizon`: the curve is unknown from there.
    """
    n, _ = arm_summaries(time, arm, used, arms)
    in_arm = used[..., None, :] & (arm[..., None, :] == jnp.arange(arms)[:, None])
    over_arms = jax.vmap(_restricted_mean, in_axes=(None, None, 0, None))
    mean, variance, complete = jax.vmap(over_arms, in_axes=(0, 0, 0, None))(
        time, event, in_arm, horizon
    )
    estimate = mean[..., treatment] - mean[..., reference]
    total = variance[..., treatment] + variance[..., reference]
    status = first_failure(
        (too_few(n, treatment, reference), Status.TOO_FEW),
        (~(complete[..., treatment] & complete[..., reference]), Status.SHORT_FOLLOW_UP),
        (~(total > 0), Status.NO_VARIATION),
    )
    mean = jnp.where((n > 0) & complete, mean, jnp.nan)
    return wald(estimate, total, level, n, mean, status, margins=margins)


def _restricted_mean(
    time: Float[Array, " subject"],
    event: Bool[Array, " subject"],
    used: Bool[Array, " subject"],
    horizon: float | Float[Array, ""],
) -> tuple[Float[Array, ""], Float[Array, ""], Bool[Array, ""]]:
    """One arm's restricted mean, its variance, and whether follow-up reaches the horizon."""
    steps = curve(time, event, used)
    start = jnp.minimum(steps.time, horizon)
    end = jnp.concatenate([start[1:], jnp.reshape(jnp.asarray(horizon, start.dtype), 1)])
    slices = steps.survival * (end - start)
    to_come = jnp.cumsum(slices[::-1])[::-1]
    remaining = steps.at_risk * (steps.at_risk - steps.events)
    # Where the last at risk have their event nothing is to come, nor is there after the horizon.
    increments = jnp.where(remaining > 0, steps.events / jnp.maximum(remaining, 1.0), 0.0)
    last = jnp.max(jnp.where(steps.used, steps.time, -jnp.inf), initial=-jnp.inf)
    complete = (last >= horizon) | (steps.survival[-1] == 0)
    return start[0] + to_come[0], jnp.sum(to_come**2 * increments), complete
