"""What a design achieves over its simulated trials, each number with its Monte-Carlo error.

Definitions and standard errors are those of Morris, White & Crowther, Stat Med 2019;38:2074-2102,
Table 6. Trials that could not be analysed are failures: they count against power (such a trial
convinces nobody), are left out of everything else, and are themselves counted.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from insilico import devices as _devices  # noqa: F401  (float64)
from trials.analyses import Estimates, Status

STATUSES = len(Status)


class Simulated(NamedTuple):
    """A number estimated from simulated trials."""

    value: Float[Array, "*batch"]
    mcse: Float[Array, "*batch"]
    """Monte-Carlo standard error of `value`."""


class OperatingCharacteristics(NamedTuple):
    """How one analysis performs over the trials. NaN where too few trials could be analysed."""

    power: Simulated
    """Share of trials with p < alpha (under a true null: the type I error)."""
    power_favourable: Simulated
    """Share of trials with p < alpha and the estimate in the favourable direction; NaN where none
    is known to be."""
    type_i_error: Simulated
    """Share of trials that would show what they look for if a margin stood at the truth; of two
    margins the larger share. NaN without margins."""
    mean_estimate: Simulated
    bias: Simulated
    """Mean estimate minus truth; its error includes the truth's."""
    empirical_sd: Simulated
    """Standard deviation of the estimates over trials."""
    mean_se: Simulated
    """Root mean square of the estimated standard errors (Morris' average model SE)."""
    relative_se_error: Simulated
    """100 · (mean_se / empirical_sd - 1): how far standard errors are off, in percent."""
    coverage: Simulated
    """Share of intervals that contain the truth."""
    mse: Simulated
    """Mean squared error; its Monte-Carlo error includes the truth's."""
    mean_n: Float[Array, "*batch arm"]
    """Analysed subjects of each arm, over all trials."""
    trials: Int[Array, "*batch"]
    """Trials simulated."""
    failures: Int[Array, "*batch"]
    """Trials among them with a status other than `OK`, or without a finite estimate."""
    statuses: Int[Array, "*batch {STATUSES}"]
    """Trials of each `Status` code."""


@partial(jax.jit, static_argnames="favourable")
def operating_characteristics(
    estimates: Estimates,
    truth: float | Float[Array, "*batch"],
    truth_mcse: float | Float[Array, "*batch"] = 0.0,
    *,
    alpha: float | Float[Array, ""] = 0.05,
    favourable: int | None = None,
    margins: Float[Array, "2"] | None = None,
    counted: Bool[Array, "*batch trial"] | None = None,
) -> OperatingCharacteristics:
    """Summarise `estimates` over their trial axis.

    **Arguments:**

    - `estimates`: arrays (…, trial), `n` and `mean` (…, trial, arm).
    - `truth`: true value of the estimand, on the estimates' scale.
    - `truth_mcse`: its own Monte-Carlo standard error (it is itself a mean over simulated
      potential outcomes), taken as independent of the trials. It enters the errors of bias
      and mean squared error; coverage refers to `truth` as given, so it should be small
      against the trials' standard errors.
    - `alpha`: significance level of the p-values. A p-value of exactly `alpha` is not a success.
    - `favourable`: +1 if positive estimates favour the treatment, -1 if negative ones do. Default:
      nobody has said which.
    - `margins`: that the p-values are against, on the estimates' scale, infinite where there is
      none; the intervals are then of level 1 - 2 alpha. Default: p-values are for no effect.
    - `counted`: false for padding, which is no trial at all.
    """
    p_value = estimates.p_value
    counted = jnp.ones(p_value.shape, bool) if counted is None else counted
    truth = jnp.asarray(truth, float)
    truth_variance = jnp.square(jnp.asarray(truth_mcse, float))
    usable = counted & (estimates.status == Status.OK) & jnp.isfinite(estimates.estimate)
    significant = usable & (p_value < alpha)
    sign = jnp.nan if favourable is None else favourable
    right_way = significant & (estimates.estimate * sign > 0)

    n = jnp.sum(usable, axis=-1).astype(float)
    several = n > 1
    spare = jnp.where(several, n - 1, jnp.nan)
    estimate = jnp.where(usable, estimates.estimate, 0.0)
    squared_se = jnp.where(usable, estimates.standard_error, 0.0) ** 2
    mean_estimate = _mean(estimate, usable)
    sd = jnp.sqrt(_squares(estimate, usable) / spare)
    error = jnp.where(usable, estimate - truth[..., None], 0.0)
    bias = mean_estimate - truth
    mse = _mean(error**2, usable)
    mse_variance = _squares(error**2, usable) / (n * spare) + 4 * bias**2 * truth_variance
    mean_se = jnp.sqrt(_mean(squared_se, usable))
    squared_se_variance = _squares(squared_se, usable) / spare
    ratio = mean_se / sd
    ratio_spread = jnp.sqrt(squared_se_variance / (4 * n * mean_se**4) + 1 / (2 * spare))
    covered = (estimates.lower <= truth[..., None]) & (truth[..., None] <= estimates.upper)

    codes = estimates.status[..., None] == jnp.arange(STATUSES)
    everyone = counted[..., None]
    trials = jnp.sum(counted, axis=-1)
    return OperatingCharacteristics(
        power=proportion(significant, counted),
        power_favourable=Simulated(*(jnp.abs(sign) * x for x in proportion(right_way, counted))),
        type_i_error=_at_the_margin(estimates, truth, margins, usable, counted),
        mean_estimate=Simulated(mean_estimate, sd / jnp.sqrt(n)),
        bias=Simulated(bias, jnp.sqrt(sd**2 / n + truth_variance)),
        empirical_sd=Simulated(sd, sd / jnp.sqrt(2 * spare)),
        mean_se=Simulated(mean_se, jnp.sqrt(squared_se_variance / (4 * n * mean_se**2))),
        relative_se_error=Simulated(100 * (ratio - 1), 100 * ratio * ratio_spread),
        coverage=proportion(covered, usable),
        mse=Simulated(mse, jnp.sqrt(mse_variance)),
        mean_n=jnp.sum(jnp.where(everyone, estimates.n, 0), axis=-2)
        / jnp.where(trials > 0, trials, jnp.nan)[..., None],
        trials=trials,
        failures=trials - jnp.sum(usable, axis=-1),
        statuses=jnp.sum(codes & everyone, axis=-2),
    )


def over_populations(
    estimates: Estimates,
    truth: float,
    truth_mcse: float,
    *,
    alpha: float,
    draws: int,
    favourable: int | None = None,
    margins: tuple[float, float] | None = None,
) -> OperatingCharacteristics:
    """Characteristics over trials of several draws of the population, (draws * trials,) in order.

    Trials of one draw share its parameters, so that errors are those of a mean of draws. That of a
    share is never below the one it would have if all trials were independent: a few draws may agree
    by chance.
    """
    ends = None if margins is None else jnp.asarray(margins, float)
    options: dict[str, Any] = {"alpha": alpha, "favourable": favourable, "margins": ends}
    pooled = operating_characteristics(estimates, truth, truth_mcse, **options)
    if draws == 1:
        return pooled
    split = jax.tree.map(lambda leaf: leaf.reshape(draws, -1, *leaf.shape[1:]), estimates)
    each = operating_characteristics(split, jnp.full(draws, truth), **options)

    def clustered(name: str, own: float = 0.0) -> Simulated:
        error = assurance(getattr(each, name).value).mcse
        return Simulated(getattr(pooled, name).value, jnp.sqrt(error**2 + own**2))

    def clustered_share(name: str) -> Simulated:
        found, independent = clustered(name), getattr(pooled, name).mcse
        return Simulated(found.value, jnp.maximum(found.mcse, independent))

    return pooled._replace(
        power=clustered_share("power"),
        power_favourable=clustered_share("power_favourable"),
        type_i_error=clustered_share("type_i_error"),
        mean_estimate=clustered("mean_estimate"),
        bias=clustered("bias", truth_mcse),
        coverage=clustered_share("coverage"),
    )


def proportion(
    success: Bool[Array, "*batch trial"], counted: Bool[Array, "*batch trial"] | None = None
) -> Simulated:
    """Share of successes among counted trials, with its binomial Monte-Carlo error."""
    counted = jnp.ones(success.shape, bool) if counted is None else counted
    n = jnp.sum(counted, axis=-1)
    share = _mean(success.astype(float), counted)
    return Simulated(share, jnp.sqrt(share * (1 - share) / jnp.where(n > 0, n, jnp.nan)))


def assurance(power: Float[Array, "*batch population"]) -> Simulated:
    """Power averaged over draws of the population parameters (assurance).

    Trials of one population share its parameters, so the Monte-Carlo error is that of a mean of
    populations (clusters), not of trials; NaN for a single population.
    """
    everyone = jnp.ones(power.shape, bool)
    populations = power.shape[-1]
    variance = _squares(power, everyone) / (populations * (populations - 1) or jnp.nan)
    return Simulated(jnp.mean(power, axis=-1), jnp.sqrt(variance))


def _at_the_margin(
    estimates: Estimates,
    truth: Float[Array, "..."],
    margins: Float[Array, "2"] | None,
    usable: Bool[Array, "*batch trial"],
    counted: Bool[Array, "*batch trial"],
) -> Simulated:
    """The type I error of tests against margins, with each of them moved to the truth.

    A one-sided test at alpha against a margin rejects when the interval of level 1 - 2 alpha lies
    beyond it, so that the intervals tell what a test against the truth would have said. Another
    margin keeps its distance.
    """
    if margins is None:
        nothing = jnp.full(usable.shape[:-1], jnp.nan)
        return Simulated(nothing, nothing)
    lower, upper = margins
    truth, apart = truth[..., None], upper - lower
    above = (estimates.lower > truth) & (estimates.upper < truth + apart)
    below = (estimates.upper < truth) & (estimates.lower > truth - apart)
    of_each = [
        proportion(usable & rejected & jnp.isfinite(margin), counted)
        for rejected, margin in ((above, lower), (below, upper))
    ]
    larger = of_each[0].value >= of_each[1].value
    return Simulated(*(jnp.where(larger, *pair) for pair in zip(*of_each, strict=True)))


def _mean(
    value: Float[Array, "*batch trial"], counted: Bool[Array, "*batch trial"]
) -> Float[Array, "*batch"]:
    n = jnp.sum(counted, axis=-1)
    total = jnp.sum(jnp.where(counted, value, 0.0), axis=-1)
    return total / jnp.where(n > 0, n, jnp.nan)


def _squares(
    value: Float[Array, "*batch trial"], counted: Bool[Array, "*batch trial"]
) -> Float[Array, "*batch"]:
    """Sum of squared deviations from the mean."""
    deviation = value - _mean(value, counted)[..., None]
    return jnp.sum(jnp.where(counted, deviation**2, 0.0), axis=-1)
