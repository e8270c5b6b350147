"""One-sided tests of an effect against margins: non-inferiority, superiority, equivalence."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from trials.analyses._student_t import two_sided_p

type Margins = Float[Array, "2"]
"""Lower and upper margin on the scale of the estimates: `-inf` and `inf` where there is none."""


def p_against(
    above: Float[Array, "*batch"],
    below: Float[Array, "*batch"],
    degrees_of_freedom: Float[Array, "*batch"] | None,
) -> Float[Array, "*batch"]:
    """The p-value for an effect not being above the lower and below the upper margin.

    Of two one-sided tests (Schuirmann, J Pharmacokinet Biopharm 1987;15:657-680) it is the larger,
    so that it is below alpha when both reject, which is when the interval of level 1 - 2 alpha lies
    between the margins. A test against an infinite margin always rejects.

    **Arguments:**

    - `above`, `below`: how far the estimate lies above the lower and below the upper margin, in
      standard errors.
    - `degrees_of_freedom`: of the t distribution; none is the normal.
    """
    statistic = jnp.minimum(above, below)
    half = two_sided_p(statistic, degrees_of_freedom) / 2
    return jnp.where(statistic > 0, half, 1 - half)
