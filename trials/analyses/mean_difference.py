"""Difference in means, adjusted for stratification factors and covariates (ANCOVA)."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from trials.analyses._estimates import Estimates, arm_summaries, of_contrast
from trials.analyses._least_squares import arm_contrast, fitted_contrast, nothing_left
from trials.analyses._margins import Margins

# A subject whose leverage is closer to 1 than this is fitted exactly, by a column of its own.
_FITTED_EXACTLY = 1e-10


@partial(jax.jit, static_argnames=("arms", "robust"))
def mean_difference(
    value: Float[Array, "trial subject"],
    arm: Int[Array, "trial subject"],
    used: Bool[Array, "trial subject"],
    columns: Float[Array, "trial subject column"] | None = None,
    *,
    arms: int = 2,
    treatment: int | Int[Array, ""] = 1,
    reference: int | Int[Array, ""] = 0,
    level: float | Float[Array, ""] = 0.95,
    robust: bool = False,
    margins: Margins | None = None,
) -> Estimates:
    """Adjusted mean of `treatment` minus `reference`, by least squares.

    All arms stay in the model (one intercept, the given columns, one indicator an arm), so the
    residual variance is pooled over them; mask other arms out of `used` for a pairwise analysis.

    **Arguments:**

    - `value`: the outcome; what it holds where `used` is false does not matter.
    - `arm`: arm codes 0 … `arms` - 1.
    - `used`: subjects to analyse; padding and missing outcomes are false. Covariates must be
      finite where it is true.
    - `columns`: covariates and indicators of stratification factors (`indicator_columns`), without
      an intercept. Redundant or empty columns are dropped trial by trial.
    - `arms`: number of arms.
    - `treatment`, `reference`: the two arms compared.
    - `level`: of the confidence interval.
    - `robust`: standard error HC3 (MacKinnon & White, J Econometrics 1985;29:305-325), for
      variances that differ between arms, instead of the classical one. Subjects who are
      alone in their stratum are fitted exactly and add nothing to it.
    - `margins`: that the effect is tested against instead of zero.

    Test and interval by t with n - rank degrees of freedom, for either standard error; `mean` is
    the unadjusted mean. `SINGULAR` where arms are confounded with the columns.
    """
    n, mean = arm_summaries(value, arm, used, arms)
    if columns is None:
        columns = jnp.zeros((*value.shape, 0))
    fit = jax.vmap(partial(_fit, arms=arms, robust=robust), in_axes=(0, 0, 0, 0, None, None))
    found = fit(value, arm, used, columns, treatment, reference)
    return of_contrast(*found, level, n, mean, treatment, reference, margins)


def _fit(
    value: Float[Array, " subject"],
    arm: Int[Array, " subject"],
    used: Bool[Array, " subject"],
    columns: Float[Array, "subject column"],
    treatment: int | Int[Array, ""],
    reference: int | Int[Array, ""],
    *,
    arms: int,
    robust: bool,
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""], Bool[Array, ""], Bool[Array, ""]]:
    """Contrast, its variance, residual df, estimability, whether the fit is exact."""
    n = jnp.sum(used)
    share = jnp.where(used, 1 / jnp.maximum(n, 1), 0.0)
    others = jnp.arange(1, arms)
    # Arms come last: where they are confounded with strata they are the ones to go, and the
    # contrast is then reported as not estimable instead of taking the strata's effect for its own.
    design = jnp.concatenate([columns, (arm[:, None] == others).astype(float)], axis=1)
    design = jnp.where(used[:, None], design, 0.0)
    design = jnp.where(used[:, None], design - share @ design, 0.0)
    outcome = jnp.where(used, value, 0.0)
    centred = jnp.where(used, outcome - share @ outcome, 0.0)

    contrast = arm_contrast(columns.shape[1], arms, treatment, reference)
    fit = fitted_contrast(design, centred, contrast)

    freedom = (n - 1 - fit.rank).astype(float)
    if robust:
        leverage = share + jnp.sum((design @ fit.inverse) * design, axis=1)
        exact = 1 - leverage < _FITTED_EXACTLY
        left_out = jnp.where(exact, 0.0, fit.residual / jnp.where(exact, 1.0, 1 - leverage))
        variance = jnp.sum((design @ fit.weights * left_out) ** 2)
    else:
        squares = jnp.sum(fit.residual**2)
        variance = squares / jnp.maximum(freedom, 1) * (contrast @ fit.weights)
    return fit.estimate, variance, freedom, fit.estimable, nothing_left(fit.residual, outcome)
