"""Kaplan-Meier survival curves."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from trials.analyses._risk_sets import risk_sets
from trials.analyses._student_t import normal_quantile


class Curve(NamedTuple):
    """One group's survival curve, a step at every subject's own time (ties share their steps)."""

    time: Float[Array, " subject"]
    """Sorted; infinite where unused."""
    used: Bool[Array, " subject"]
    at_risk: Float[Array, " subject"]
    events: Float[Array, " subject"]
    """Events at that time, at the last subject of a tie; 0 at the others."""
    survival: Float[Array, " subject"]
    """Just after that time (at the last subject of a tie)."""


def curve(
    time: Float[Array, " subject"], event: Bool[Array, " subject"], used: Bool[Array, " subject"]
) -> Curve:
    """The product-limit estimate (Kaplan & Meier, JASA 1958;53:457-481) of one group."""
    sets = risk_sets(time, used)
    here = sets.used.astype(float)
    at_risk = sets.at_risk(here)
    events = jnp.where(sets.closes_tie, sets.in_tie(here * event[sets.order]), 0.0)
    survival = jnp.cumprod(1 - events / jnp.maximum(at_risk, 1.0))
    return Curve(sets.time, sets.used, at_risk, events, survival)


class KaplanMeier(NamedTuple):
    """Survival at chosen times, and the median, in every trial."""

    survival: Float[Array, "trial at"]
    """Probability of being without the event after `at`; NaN beyond the last censored time."""
    standard_error: Float[Array, "trial at"]
    """Greenwood's."""
    lower: Float[Array, "trial at"]
    upper: Float[Array, "trial at"]
    """Log-log limits (Kalbfleisch & Prentice); NaN where survival is 0 or 1."""
    at_risk: Int[Array, "trial at"]
    """Number at risk just before `at`."""
    median: Float[Array, " trial"]
    """Where survival falls to one half (the middle of the step if it rests there); NaN if never."""


@partial(jax.jit)
def kaplan_meier(
    time: Float[Array, "trial subject"],
    event: Bool[Array, "trial subject"],
    used: Bool[Array, "trial subject"],
    at: Float[Array, " at"],
    *,
    level: float | Float[Array, ""] = 0.95,
) -> KaplanMeier:
    """Survival of one group of subjects (mask others out of `used`) in every trial.

    **Arguments:**

    - `time`: time to event or censoring, any unit, where `used`.
    - `event`: whether the event was seen.
    - `used`: subjects of the group.
    - `at`: times to report, same unit.
    - `level`: of the confidence limits.
    """
    return jax.vmap(partial(_report, at=at, level=level))(time, event, used)


def _report(
    time: Float[Array, " subject"],
    event: Bool[Array, " subject"],
    used: Bool[Array, " subject"],
    at: Float[Array, " at"],
    level: float | Float[Array, ""],
) -> KaplanMeier:
    steps = curve(time, event, used)
    remaining = steps.at_risk * (steps.at_risk - steps.events)
    greenwood = jnp.cumsum(
        jnp.where(remaining > 0, steps.events / jnp.maximum(remaining, 1.0), 0.0)
    )
    passed = jnp.searchsorted(steps.time, at, side="right")
    before = jnp.searchsorted(steps.time, at, side="left")
    survival = jnp.concatenate([jnp.ones(1), steps.survival])[passed]
    relative = jnp.sqrt(jnp.concatenate([jnp.zeros(1), greenwood])[passed])
    at_risk = jnp.sum(used) - before

    last = jnp.max(jnp.where(steps.used, steps.time, -jnp.inf), initial=-jnp.inf)
    known = (at <= last) | (survival == 0)
    survival = jnp.where(known, survival, jnp.nan)
    inner = (survival > 0) & (survival < 1)
    logarithm = jnp.log(jnp.where(inner, survival, 0.5))
    spread = jnp.exp(normal_quantile(level) * relative / -logarithm)
    return KaplanMeier(
        survival=survival,
        standard_error=survival * relative,
        lower=jnp.where(inner, jnp.exp(logarithm * spread), jnp.nan),
        upper=jnp.where(inner, jnp.exp(logarithm / spread), jnp.nan),
        at_risk=jnp.maximum(at_risk, 0),
        median=_crossing(steps, 0.5),
    )


def _crossing(steps: Curve, share: float) -> Float[Array, ""]:
    """Where the curve falls to `share`: R's convention, the middle of a step that rests there."""
    # The product-limit accumulates rounding, so "rests at" needs a tolerance (R's is 1.5e-8).
    tolerance = 1e-9
    drops = steps.events > 0
    reached = jnp.min(
        jnp.where(drops & (steps.survival <= share + tolerance), steps.time, jnp.inf),
        initial=jnp.inf,
    )
    passed = jnp.min(
        jnp.where(drops & (steps.survival < share - tolerance), steps.time, jnp.inf),
        initial=jnp.inf,
    )
    rests = jnp.isfinite(passed) & (passed > reached)
    time = jnp.where(rests, (reached + passed) / 2, reached)
    return jnp.where(jnp.isfinite(time), time, jnp.nan)
