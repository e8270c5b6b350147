"""Two one-sided tests: whether an effect lies between two margins."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from trials.analyses._estimates import Estimates
from trials.analyses._student_t import student_p


def equivalent_within(estimates: Estimates, margins: Float[Array, "2"] | None) -> Estimates:
    """The same with the p-value of two one-sided t tests (Schuirmann, J Pharmacokinet Biopharm
    1987;15:657-680): the larger of the two, so that it is below alpha when both reject, which is
    when the interval of level 1 - 2 alpha lies between the margins.

    `margins`: lower and upper, on the estimates' scale; none leave the estimates as they are.
    """
    if margins is None:
        return estimates
    above = (estimates.estimate - margins[0]) / estimates.standard_error
    below = (margins[1] - estimates.estimate) / estimates.standard_error
    statistic = jnp.minimum(above, below)
    half = student_p(statistic, estimates.degrees_of_freedom) / 2
    return estimates._replace(p_value=jnp.where(statistic > 0, half, 1 - half))
