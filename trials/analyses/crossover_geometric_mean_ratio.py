"""Ratio of geometric means within subjects: a difference in means of logarithms, in a crossover."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from trials.analyses._estimates import Estimates
from trials.analyses._margins import Margins
from trials.analyses.crossover_mean_difference import crossover_mean_difference


@partial(jax.jit, static_argnames="arms")
def crossover_geometric_mean_ratio(
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
    """Logarithm of the geometric mean of `treatment` over that of `reference`, within subjects.

    `crossover_mean_difference` of the logarithms, whose arguments these are. A value not above 0
    has no logarithm and is left out.

    `estimate`, its interval and `margins` are logarithms; `mean` is the geometric mean.
    """
    used = used & (value > 0)
    found = crossover_mean_difference(
        jnp.log(jnp.where(used, value, 1.0)),
        arm,
        used,
        arms=arms,
        treatment=treatment,
        reference=reference,
        level=level,
        margins=margins,
    )
    return found._replace(mean=jnp.exp(found.mean))
