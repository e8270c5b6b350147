"""Student's t distribution, which `jax.scipy` has no quantile or tail of.

Infinite degrees of freedom mean the normal distribution, so that one code path serves both t- and
z-based estimators.
"""

import math

import jax
import jax.numpy as jnp
from jax.scipy.special import betainc, ndtr, ndtri
from jaxtyping import Array, Float

# Above this many degrees of freedom t and normal tails differ by less (relatively, at |t| = 5)
# than the rounding error of the incomplete beta function there (measured: 2e-7 at 1e8).
_PRACTICALLY_NORMAL = 1e8

# Newton's method on (log t, log tail) needs at most this many steps from the normal quantile to
# machine precision, for 1 degree of freedom or more and levels up to 0.999999.
_NEWTON_STEPS = 8


def two_sided_p(
    statistic: Float[Array, "*batch"], degrees_of_freedom: Float[Array, "*batch"]
) -> Float[Array, "*batch"]:
    """P(|T| ≥ |statistic|) for T with `degrees_of_freedom` (> 0; infinite: the normal)."""
    normal = degrees_of_freedom > _PRACTICALLY_NORMAL
    finite = jnp.where(normal, 1.0, degrees_of_freedom)
    tail = betainc(finite / 2, 0.5, finite / (finite + statistic**2))
    return jnp.where(normal, 2 * ndtr(-jnp.abs(statistic)), tail)


def central_quantile(
    level: float | Float[Array, ""], degrees_of_freedom: Float[Array, "*batch"]
) -> Float[Array, "*batch"]:
    """The t > 0 with P(|T| ≤ t) = `level` (in (0, 1)): the multiplier of a two-sided interval.

    The log of the tail is concave in log t, so Newton's method on those scales overshoots at most
    once and then falls monotonically to the root: no bracket is needed.
    """
    tail = 1 - jnp.asarray(level)
    normal_quantile = jnp.broadcast_to(-ndtri(tail / 2), degrees_of_freedom.shape)
    normal = degrees_of_freedom > _PRACTICALLY_NORMAL
    finite = jnp.where(normal, 1.0, degrees_of_freedom)
    log_scale = (
        math.log(2.0)
        + jax.lax.lgamma((finite + 1) / 2)
        - jax.lax.lgamma(finite / 2)
        - 0.5 * jnp.log(finite * jnp.pi)
    )

    def newton(_: int, log_t: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
        t = jnp.exp(log_t)
        reached = two_sided_p(t, finite)
        density = jnp.exp(log_scale - (finite + 1) / 2 * jnp.log1p(t**2 / finite))
        return log_t + (jnp.log(reached) - jnp.log(tail)) * reached / (t * density)

    log_t = jax.lax.fori_loop(0, _NEWTON_STEPS, newton, jnp.log(normal_quantile))
    return jnp.where(normal, normal_quantile, jnp.exp(log_t))
