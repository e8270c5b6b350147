"""Ratio of geometric means of two groups of subjects: a difference in means of logarithms."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from trials.analyses._estimates import Estimates
from trials.analyses._margins import Margins
from trials.analyses.mean_difference import mean_difference


@partial(jax.jit, static_argnames="arms")
def geometric_mean_ratio(
    value: Float[Array, "trial subject"],
    arm: Int[Array, "trial subject"],
    used: Bool[Array, "trial subject"],
    columns: Float[Array, "trial subject column"] | None = None,
    *,
    arms: int = 2,
    treatment: int | Int[Array, ""] = 1,
    reference: int | Int[Array, ""] = 0,
    level: float | Float[Array, ""] = 0.95,
    margins: Margins | None = None,
) -> Estimates:
    """Logarithm of the geometric mean of `treatment` over that of `reference`.

    `mean_difference` of the logarithms, whose arguments these are: with two arms and no columns a
    t test and interval with pooled variance. A subject whose value is not above 0 has no logarithm
    and is left out.

    `estimate`, its interval and `margins` are logarithms; `mean` is the geometric mean.
    """
    used = used & (value > 0)
    found = mean_difference(
        jnp.log(jnp.where(used, value, 1.0)),
        arm,
        used,
        columns,
        arms=arms,
        treatment=treatment,
        reference=reference,
        level=level,
        margins=margins,
    )
    return found._replace(mean=jnp.exp(found.mean))
