"""Tails and quantiles of Student's t distribution, which `jax.scipy` lacks, and of the normal."""

import math

import jax
import jax.numpy as jnp
from jax.scipy.special import betainc, ndtr, ndtri
from jaxtyping import Array, Float, Int

# Newton's method on (log t, log tail) needs at most this many steps from the normal quantile to
# machine precision, for 1 degree of freedom or more and levels up to 0.999999.
_NEWTON_STEPS = 8


def normal_p(statistic: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """P(|Z| ≥ |statistic|) for a standard normal Z."""
    return 2 * ndtr(-jnp.abs(statistic))


def normal_quantile(level: float | Float[Array, ""]) -> Float[Array, ""]:
    """The z > 0 with P(|Z| ≤ z) = `level` (in (0, 1))."""
    return -ndtri((1 - jnp.asarray(level, float)) / 2)


def student_p(
    statistic: Float[Array, "*batch"], degrees_of_freedom: Float[Array, "*batch"]
) -> Float[Array, "*batch"]:
    """P(|T| ≥ |statistic|) for T with `degrees_of_freedom` (> 0, finite)."""
    squared = statistic**2
    return betainc(degrees_of_freedom / 2, 0.5, degrees_of_freedom / (degrees_of_freedom + squared))


def two_sided_p(
    statistic: Float[Array, "*batch"], degrees_of_freedom: Float[Array, "*batch"] | None
) -> Float[Array, "*batch"]:
    """`student_p`, or `normal_p` without degrees of freedom."""
    if degrees_of_freedom is None:
        return normal_p(statistic)
    return student_p(statistic, degrees_of_freedom)


def student_quantile(
    level: float | Float[Array, ""], degrees_of_freedom: Float[Array, "*batch"]
) -> Float[Array, "*batch"]:
    """The t > 0 with P(|T| ≤ t) = `level` (in (0, 1)): the multiplier of a two-sided interval.

    The log of the tail is concave in log t, so Newton's method on those scales overshoots at most
    once and then falls monotonically to the root: no bracket is needed.
    """
    tail = 1 - jnp.asarray(level, float)
    log_scale = (
        math.log(2.0)
        + jax.lax.lgamma((degrees_of_freedom + 1) / 2)
        - jax.lax.lgamma(degrees_of_freedom / 2)
        - 0.5 * jnp.log(degrees_of_freedom * jnp.pi)
    )

    def newton(_: Int[Array, ""], log_t: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
        t = jnp.exp(log_t)
        reached = student_p(t, degrees_of_freedom)
        power = (degrees_of_freedom + 1) / 2
        density = jnp.exp(log_scale - power * jnp.log1p(t**2 / degrees_of_freedom))
        return log_t + (jnp.log(reached) - jnp.log(tail)) * reached / (t * density)

    start = jnp.broadcast_to(jnp.log(normal_quantile(level)), degrees_of_freedom.shape)
    return jnp.exp(jax.lax.fori_loop(0, _NEWTON_STEPS, newton, start))
