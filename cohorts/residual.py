"""Residual error: how measured values scatter about true ones, and how likely each is.

One description serves both sides. A trial draws measured values from true ones; a fit asks for the
log density of what was measured. Both are elementwise over subjects and times, and neither is ever
NaN, nor are its derivatives: what cannot have been measured has a log density of minus infinity
and a derivative of zero.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from insilico.vocabulary import Value, absolute, exp, log, power, sqrt, where

if TYPE_CHECKING:
    from jaxtyping import Array, Float

Kind = Literal["additive", "proportional", "combined", "combined_linear", "log_additive", "power"]


class ResidualNumbers(NamedTuple):
    """The numbers of one output's residual error; see `Residual` for which a kind has."""

    sd: Value
    proportional: Value | None = None
    exponent: Value | None = None
    autocorrelation: Value | None = None


class Residual(NamedTuple):
    """How a measured output scatters about the true one, f; epsilon is standard normal.

    | kind | measured value |
    |---|---|
    | `additive` | f + sd · epsilon |
    | `proportional` | f + sd · f · epsilon |
    | `combined` | f + √(sd² + (proportional · f)²) · epsilon |
    | `combined_linear` | f + (sd + proportional · f) · epsilon |
    | `log_additive` | f · exp(sd · epsilon) |
    | `power` | f + sd · f^exponent · epsilon; `sd` is that of a true value of 1 |

    `sd`, `proportional`, `exponent` and `autocorrelation` name fields of the typical values. With
    `autocorrelation`, a rate above 0 per time unit of the model, the epsilons of one subject's
    values of the output have the correlation exp(-rate · time between them); without, they are
    independent.
    """

    kind: Kind
    sd: str
    proportional: str | None = None
    exponent: str | None = None
    autocorrelation: str | None = None

    def numbers(self, typical: Any) -> ResidualNumbers:
        """The numbers that the population's parameters give."""
        names = self._asdict()
        return ResidualNumbers(
            *(
                None if names[field] is None else getattr(typical, names[field])
                for field in ResidualNumbers._fields
            )
        )

    @property
    def logarithmic(self) -> bool:
        """Whether the error is normal about the logarithm of the true value."""
        return self.kind == "log_additive"

    def scaled(self, value: Value) -> Value:
        """A true or measured value on the scale on which the error is normal.

        On the logarithmic one, values at or below 0 are minus infinity.
        """
        if not self.logarithmic:
            return value
        positive = value > 0
        return where(positive, log(where(positive, value, 1.0)), -math.inf)

    def spread(self, true: Value, numbers: ResidualNumbers) -> Value:
        """Standard deviation of the error, on the scale on which it is normal; at least 0."""
        match self.kind:
            case "additive" | "log_additive":
                return numbers.sd + 0.0 * true
            case "proportional":
                return numbers.sd * absolute(true)
            case "combined":
                proportional = numbers.proportional * true
                variance = numbers.sd * numbers.sd + proportional * proportional
                positive = variance > 0
                return where(positive, sqrt(where(positive, variance, 1.0)), 0.0)
            case "combined_linear":
                return numbers.sd + numbers.proportional * absolute(true)
            case "power":
                return numbers.sd * power(absolute(true), numbers.exponent)

    def measured(self, true: Value, draw: Value, numbers: ResidualNumbers) -> Value:
        """The value measured where the true one is `true` and epsilon is `draw`."""
        if self.logarithmic:
            return true * exp(numbers.sd * draw)
        return true + self.spread(true, numbers) * draw


def log_density(
    value: Float[Array, ...], mean: Float[Array, ...], sd: Float[Array, ...]
) -> Float[Array, ...]:
    """Normal log density of `value`, elementwise; `mean` and `sd` from `scaled` and `spread`.

    Of a value on the logarithmic scale, its logarithm less itself is still to be taken off to have
    the density of the measured value. Minus infinity where an argument is not finite, or `sd` is
    not above 0.
    """
    import jax.numpy as jnp

    possible = jnp.isfinite(value) & jnp.isfinite(mean) & jnp.isfinite(sd) & (sd > 0.0)
    value, mean = jnp.where(possible, value, 0.0), jnp.where(possible, mean, 0.0)
    sd = jnp.where(possible, sd, 1.0)
    standardised = (value - mean) / sd
    density = -0.5 * standardised**2 - jnp.log(sd) - 0.5 * math.log(2.0 * math.pi)
    return jnp.where(possible, density, -jnp.inf)


def log_probability_below(
    limit: Float[Array, ...], mean: Float[Array, ...], sd: Float[Array, ...]
) -> Float[Array, ...]:
    """Log probability of a value below `limit`, elementwise: M3 of Beal (2001).

    Beal SL. Ways to fit a PK model with some data below the quantification limit. J Pharmacokinet
    Pharmacodyn 2001; 28:481-504. On the logarithmic scale a `mean` of minus infinity (a true value
    of 0) is certainly below; so is a `mean` below the limit where `sd` is 0.
    """
    import jax.numpy as jnp
    from jax.scipy.special import log_ndtr

    ordinary = jnp.isfinite(limit) & jnp.isfinite(mean) & jnp.isfinite(sd) & (sd > 0.0)
    certain = (mean == -jnp.inf) | (jnp.isfinite(mean) & (sd == 0.0) & (mean < limit))
    distance = jnp.where(ordinary, limit, 0.0) - jnp.where(ordinary, mean, 0.0)
    found = log_ndtr(distance / jnp.where(ordinary, sd, 1.0))
    return jnp.where(ordinary, found, jnp.where(certain, 0.0, -jnp.inf))


def autocorrelated(
    draws: Float[Array, " times *lanes"],
    times: Float[Array, " times"],
    rate: Float[Array, " *lanes"],
) -> Float[Array, " times *lanes"]:
    """Standard normal draws with correlations exp(-rate · time between them), of independent ones.

    **Arguments:** `draws`, independent, at increasing `times`; `rate`, above 0, per time unit.
    """
    import jax
    import jax.numpy as jnp

    def step(before: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        draw, length = now
        share = jnp.exp(-rate * length)
        after = share * before + jnp.sqrt(-jnp.expm1(-2.0 * rate * length)) * draw
        return after, after

    # Before the first draw nothing is remembered.
    lengths = jnp.diff(times, prepend=-jnp.inf)
    return jax.lax.scan(step, jnp.zeros_like(draws[0]), (draws, lengths))[1]
