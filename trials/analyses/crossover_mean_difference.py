"""Difference in means within subjects: the analysis of variance of a crossover."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from trials.analyses._estimates import Estimates, arm_summaries, of_contrast
from trials.analyses._least_squares import arm_contrast, fitted_contrast, nothing_left
from trials.analyses._margins import Margins


@partial(jax.jit, static_argnames="arms")
def crossover_mean_difference(
    value: Float[Array, "trial subject period"],
    arm: Int[Array, "trial subject period"],
    used: Bool[Array, "trial subject period"],
    *,
    arms: int = 2,
    treatment: int | Int[Array, ""] = 1,
    reference: int | Int[Array, ""] = 0,
    level: float | Float[Array, ""] = 0.95,
    margins: Margins | None = None,
) -> Estimates:
    """Mean of `treatment` minus that of `reference`, within subjects.

    The analysis of variance with fixed effects of sequence, subject in its sequence, period and
    arm that agencies ask for (EMA CPMP/EWP/QWP/1401/98 Rev. 1, 2010, section 4.1.8). Effects of
    subjects hold those of sequences. They are taken out by centring each subject's values and
    design, which is the same least squares. All arms stay in the model.

    **Arguments:**

    - `value`: what it holds where `used` is false does not matter. A subject with a single period
      left, which says nothing of the difference, is left out.
    - `arm`: arm codes 0 … `arms` - 1.
    - `treatment`, `reference`: the two arms compared.
    - `level`: of the confidence interval.
    - `margins`: that the effect is tested against instead of zero.

    `n` are each arm's values, `mean` is their mean. `SINGULAR` where the arms are confounded with
    periods.
    """
    used = used & (jnp.sum(used, axis=-1, keepdims=True) > 1)
    value = jnp.where(used, value, 0.0)
    rows = (value.shape[0], -1)
    n, mean = arm_summaries(value.reshape(rows), arm.reshape(rows), used.reshape(rows), arms)
    fit = jax.vmap(partial(_fit, arms=arms), in_axes=(0, 0, 0, None, None))
    found = fit(value, arm, used, treatment, reference)
    return of_contrast(*found, level, n, mean, treatment, reference, margins)


def _fit(
    value: Float[Array, "subject period"],
    arm: Int[Array, "subject period"],
    used: Bool[Array, "subject period"],
    treatment: int | Int[Array, ""],
    reference: int | Int[Array, ""],
    *,
    arms: int,
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""], Bool[Array, ""], Bool[Array, ""]]:
    """Contrast, its variance, residual df, estimability, whether the fit is exact."""
    subjects, periods = value.shape
    others = jnp.arange(1, arms)
    each_period = jnp.broadcast_to(jnp.eye(periods)[:, 1:], (subjects, periods, periods - 1))
    # Arms come last, so that one which is confounded with periods is the one to go.
    design = jnp.concatenate([each_period, (arm[..., None] == others).astype(float)], axis=-1)
    design = _centred(design, used[..., None]).reshape(subjects * periods, -1)
    outcome = _centred(value, used).ravel()
    contrast = arm_contrast(periods - 1, arms, treatment, reference)
    fit = fitted_contrast(design, outcome, contrast)
    taken = jnp.sum(jnp.any(used, axis=-1))
    freedom = (jnp.sum(used) - taken - fit.rank).astype(float)
    variance = jnp.sum(fit.residual**2) / jnp.maximum(freedom, 1) * (contrast @ fit.weights)
    exact = nothing_left(fit.residual, jnp.where(used, value, 0.0).ravel())
    return fit.estimate, variance, freedom, fit.estimable, exact


def _centred(column: Float[Array, "subject period ..."], used: Bool[Array, "subject period ..."]):
    """Each subject's numbers about their mean; zeros where they are not used."""
    count = jnp.maximum(jnp.sum(used, axis=1, keepdims=True), 1)
    mean = jnp.sum(jnp.where(used, column, 0.0), axis=1, keepdims=True) / count
    return jnp.where(used, column - mean, 0.0)
