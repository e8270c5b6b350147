"""Tests and intervals of a difference by its score statistic, a function of the difference."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from trials.analyses._estimates import Estimates, blank_failures
from trials.analyses._margins import Margins, p_against
from trials.analyses._student_t import normal_quantile, two_sided_p

# Halvings of an interval no longer than 2: leaves 1e-16.
_BISECTIONS = 54


def by_score(
    score: Callable[[Float[Array, " trial"]], Float[Array, " trial"]],
    arms: tuple[Int[Array, "trial arm"], Float[Array, "trial arm"]],
    estimate: Float[Array, " trial"],
    standard_error: Float[Array, " trial"],
    status: Int[Array, " trial"],
    level: float | Float[Array, ""],
    margins: Margins | None,
) -> Estimates:
    """Estimates with the differences from -1 to 1 that a score test does not reject, and its p.

    **Arguments:**

    - `score`: the statistic for differences, standard normal where they are true and falling as
      they rise; 0 at the estimate.
    - `arms`: `n` and `mean` of the arms, as in `Estimates`; so are `estimate`, `standard_error` and
      `status`.
    - `level`: of the interval.
    - `margins`: tested against; none is no difference.
    """
    z = normal_quantile(level)

    def bound(end: float) -> Float[Array, " trial"]:
        """Where the score falls to -z (towards 1) or rises to z (towards -1)."""

        def halve(
            _: Int[Array, ""], bracket: tuple[Float[Array, " trial"], Float[Array, " trial"]]
        ) -> tuple[Float[Array, " trial"], Float[Array, " trial"]]:
            inside, outside = bracket
            middle = (inside + outside) / 2
            accepted = jnp.abs(score(middle)) <= z
            return jnp.where(accepted, middle, inside), jnp.where(accepted, outside, middle)

        start = (estimate, jnp.full_like(estimate, end))
        inside, outside = jax.lax.fori_loop(0, _BISECTIONS, halve, start)
        return (inside + outside) / 2

    def at(difference: float | Float[Array, ""]) -> Float[Array, " trial"]:
        return score(jnp.full_like(estimate, difference))

    if margins is None:
        p_value = two_sided_p(at(0.0), None)
    else:
        # No risk difference is beyond 1, so that a margin there is as good as none.
        lower, upper = jnp.clip(margins, -1.0, 1.0)
        above = jnp.where(lower > -1.0, at(lower), jnp.inf)
        below = jnp.where(upper < 1.0, -at(upper), jnp.inf)
        p_value = p_against(above, below, None)
    infinite = jnp.full_like(estimate, jnp.inf)
    return blank_failures(
        Estimates(
            estimate, standard_error, infinite, bound(-1.0), bound(1.0), p_value, *arms, status
        )
    )
