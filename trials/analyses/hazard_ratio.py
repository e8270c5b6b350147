"""Cox proportional-hazards regression for the log hazard ratio of an arm."""

from functools import partial
from typing import NamedTuple

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
from trials.analyses._least_squares import generalised_inverse
from trials.analyses._margins import Margins
from trials.analyses._risk_sets import RiskSets, risk_sets

# Evaluations of the likelihood until NOT_CONVERGED; a regular fit takes five to seven.
_STEPS = 30

# Converged when g'I⁻¹g, the squared distance to the maximum in standard errors, is below this.
_DECREMENT = 1e-18

# Loss of log likelihood, relative to its size, that is rounding and not a step too long.
_ROUNDING = 1e-12

# A coefficient has run off to infinity when less than this share of the information it had at
# zero is left. Measured with 400 subjects: 1e-2 at finite maxima with hazard ratios of 1,000,
# 1e-13 where the arms' times do not overlap.
_INFORMATION_LEFT = 1e-6


@partial(jax.jit, static_argnames=("arms",))
def hazard_ratio(
    time: Float[Array, "trial subject"],
    event: Bool[Array, "trial subject"],
    arm: Int[Array, "trial subject"],
    used: Bool[Array, "trial subject"],
    columns: Float[Array, "trial subject column"] | None = None,
    stratum: Int[Array, "trial subject"] | None = None,
    *,
    arms: int = 2,
    treatment: int | Int[Array, ""] = 1,
    reference: int | Int[Array, ""] = 0,
    level: float | Float[Array, ""] = 0.95,
    margins: Margins | None = None,
) -> Estimates:
    """Log hazard ratio of `treatment` to `reference` by Cox regression, ties by Efron's method.

    **Arguments:**

    - `time`: time to event or censoring, any unit, where `used`.
    - `event`: whether the event was seen.
    - `arm`: arm codes 0 … `arms` - 1.
    - `used`: subjects to analyse; covariates must be finite where it is true.
    - `columns`: covariates; redundant or empty columns are dropped trial by trial.
    - `stratum`: stratum codes (any integers), each with a baseline hazard of its own.
    - `arms`: number of arms.
    - `treatment`, `reference`: the two arms compared; others do not enter.
    - `level`: of the confidence interval.
    - `margins`: that the effect is tested against instead of zero.

    `estimate` and interval are *log* hazard ratios, by z (Wald); `mean` is the share of subjects
    with an event. `NO_EVENTS` where an arm has none (the ratio is 0 or infinite), `NOT_CONVERGED`
    where the likelihood rises for ever for another reason.
    """
    n, mean = arm_summaries(event.astype(float), arm, used, arms)
    compared = used & ((arm == treatment) | (arm == reference))
    if columns is None:
        columns = jnp.zeros((*time.shape, 0))
    design = jnp.concatenate([columns, (arm == treatment)[..., None].astype(float)], axis=-1)
    axes = (0, 0, 0, 0, None if stratum is None else 0)
    fitted = jax.vmap(_fit, in_axes=axes)(time, event, compared, design, stratum)
    seen = n * jnp.nan_to_num(mean)
    status = first_failure(
        (too_few(n, treatment, reference), Status.TOO_FEW),
        ((seen[..., treatment] < 0.5) | (seen[..., reference] < 0.5), Status.NO_EVENTS),
        (fitted.aliased, Status.SINGULAR),
        (~fitted.converged, Status.NOT_CONVERGED),
    )
    return wald(fitted.coefficient, fitted.variance, level, n, mean, status, margins=margins)


class _Fitted(NamedTuple):
    """The last (arm's) coefficient of one trial."""

    coefficient: Float[Array, ""]
    variance: Float[Array, ""]
    aliased: Bool[Array, ""]
    converged: Bool[Array, ""]


class _Newton(NamedTuple):
    coefficients: Float[Array, " column"]
    """The best so far."""
    step: Float[Array, " column"]
    """Added to them to get the ones to try next."""
    log_likelihood: Float[Array, ""]
    variance: Float[Array, ""]
    """Of the last coefficient, by the information at the best so far."""
    variance_at_zero: Float[Array, ""]
    """The same at zero, where the search starts."""
    decrement: Float[Array, ""]
    steps: Int[Array, ""]


def _fit(
    time: Float[Array, " subject"],
    event: Bool[Array, " subject"],
    used: Bool[Array, " subject"],
    design: Float[Array, "subject column"],
    stratum: Int[Array, " subject"] | None,
) -> _Fitted:
    """Newton's method with step halving from zero."""
    sets = risk_sets(time, used, stratum)
    design = jnp.where(used[:, None], design, 0.0)
    # Centring changes no coefficient and keeps the exponentials in range.
    design = jnp.where(used[:, None], design - design.sum(0) / jnp.maximum(used.sum(), 1), 0.0)
    sorted_design = design[sets.order]
    events = (sets.used & event[sets.order]).astype(float)

    def unfinished(state: _Newton) -> Bool[Array, ""]:
        return (state.decrement > _DECREMENT) & (state.steps < _STEPS)

    def advance(state: _Newton) -> _Newton:
        candidate = state.coefficients + state.step
        value, gradient, information = _partial_likelihood(candidate, sets, sorted_design, events)
        floor = state.log_likelihood - _ROUNDING * (1 + jnp.abs(value))
        better = (value >= floor) | (state.steps == 0)  # false for NaN too
        inverse, _ = generalised_inverse(information)
        step = inverse @ gradient
        variance = inverse[-1, -1]
        at_zero = jnp.where(state.steps == 0, variance, state.variance_at_zero)
        steps = state.steps + 1
        taken = _Newton(candidate, step, value, variance, at_zero, gradient @ step, steps)
        halved = state._replace(step=state.step / 2, steps=steps)
        return jax.tree.map(lambda new, old: jnp.where(better, new, old), taken, halved)

    zeros = jnp.zeros(design.shape[1])
    nowhere = jnp.zeros(())
    start = _Newton(zeros, zeros, nowhere, nowhere, nowhere, jnp.full((), jnp.inf), jnp.array(0))
    end = jax.lax.while_loop(unfinished, advance, start)
    # A column found redundant only on the way (its information vanished) has run off as well.
    kept = end.variance_at_zero >= _INFORMATION_LEFT * end.variance
    return _Fitted(
        coefficient=end.coefficients[-1],
        variance=end.variance,
        aliased=~(end.variance_at_zero > 0),
        converged=(end.variance > 0) & kept & (end.decrement <= _DECREMENT),
    )


def _partial_likelihood(
    coefficients: Float[Array, " column"],
    sets: RiskSets,
    design: Float[Array, "subject column"],
    events: Float[Array, " subject"],
) -> tuple[Float[Array, ""], Float[Array, " column"], Float[Array, "column column"]]:
    """Efron's log partial likelihood (JASA 1977;72:557-565), its gradient and information.

    The l-th of d tied events (l = 0 … d - 1) has l / d of the tied events' hazard taken out of its
    risk set, so every event is one term of a sum over subjects, without a loop over ties. Sums
    over events of sums over their risk sets are turned around into one weight a subject (its
    `expected` events), so that the second moments need one matrix product and no running sums.
    """
    linear = design @ coefficients
    hazard = sets.used * jnp.exp(linear)
    tied = events * hazard
    removed = sets.before_in_tie(events) / jnp.maximum(sets.in_tie(events), 1.0)

    total = jnp.where(events > 0, sets.at_risk(hazard) - removed * sets.in_tie(tied), 1.0)
    sums = sets.at_risk(hazard[:, None] * design)
    sums = sums - removed[:, None] * sets.in_tie(tied[:, None] * design)
    mean = jnp.where(events[:, None] > 0, sums / total[:, None], 0.0)

    increment = events / total
    expected = hazard * (sets.so_far(increment) - events * sets.in_tie(increment * removed))
    value = jnp.sum(events * (linear - jnp.log(total)))
    gradient = (events - expected) @ design
    information = (design.T * expected) @ design - mean.T @ mean
    return value, gradient, information
