"""How subjects come into a trial, stay, keep their visits and take their doses.

Everything is drawn beforehand by key and handed on as tables. What belongs to a subject is
addressed by that subject's key; what happens on a day is addressed by the *nominal* time, in whole
minutes, so another visit or a denser dosing scheme leaves all other draws as they were.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from insilico import devices as _devices  # noqa: F401  (float64)
from insilico.randomness import address, name_hash

_CENTRE = name_hash("centre")
_PROPENSITY = name_hash("propensity")
_MINUTES_A_DAY = 1440


def centre_shares(
    keys: Key[Array, " trial"],
    centres: int,
    coefficient_of_variation: float | Float[Array, ""] = 0.0,
) -> Float[Array, "trial {centres}"]:
    """Expected share of each trial's subjects that each centre enrols.

    Centres' rates are gamma distributed (Anisimov & Fedorov, Stat Med 2007;26:4958-4975) and drawn
    anew in every trial; a coefficient of variation of 0 makes all centres equal.
    """
    spread = jnp.asarray(coefficient_of_variation, float)
    shape = 1 / jnp.where(spread > 0, spread, 1.0) ** 2

    def rate(key: Key[Array, ""], centre: Int[Array, ""]) -> Float[Array, ""]:
        # On the log scale: with a small shape most rates underflow, and their sum must not.
        return jax.random.loggamma(address(key, _CENTRE, centre), shape)

    drawn = jax.vmap(jax.vmap(rate, in_axes=(None, 0)), in_axes=(0, None))(
        keys, jnp.arange(centres)
    )
    return jax.nn.softmax(jnp.where(spread > 0, drawn, 0.0), axis=-1)


def draw_centres(
    keys: Key[Array, "trial subject"], shares: Float[Array, "trial centre"]
) -> Int[Array, "trial subject"]:
    """Centre of each subject, drawn with its trial's `shares`."""
    drawn = _each(lambda key: jax.random.uniform(key), keys)
    upper = jnp.cumsum(shares, axis=-1)
    centre = jax.vmap(lambda edges, u: jnp.searchsorted(edges, u, side="right"))(upper, drawn)
    # The shares' sum may be rounded to just below 1.
    return jnp.minimum(centre, shares.shape[-1] - 1)


def uniform_accrual(
    keys: Key[Array, "trial subject"], period: float | Float[Array, ""]
) -> Float[Array, "trial subject"]:
    """Enrolment times spread evenly over `period` (d): a Poisson process, given its total."""
    return period * _each(lambda key: jax.random.uniform(key), keys)


def dropout_times(
    keys: Key[Array, "*subjects"],
    share: float | Float[Array, "..."],
    by_day: float | Float[Array, ""],
) -> Float[Array, "..."]:
    """Days from randomisation to dropout, under a constant hazard.

    **Arguments:**

    - `keys`: one a subject.
    - `share`: share of subjects, in [0, 1), who have dropped out by `by_day`; an array broadcasts
      against `keys` (arms with different shares then share each subject's luck).
    - `by_day`: the day the share refers to (d, > 0).

    Times (d) of the broadcast shape; infinite where `share` is 0.
    """
    hazard = -jnp.log1p(-jnp.asarray(share, float)) / by_day
    unit = _each(lambda key: jax.random.exponential(key), keys)
    return jnp.where(hazard > 0, unit / jnp.where(hazard > 0, hazard, 1.0), jnp.inf)


def adherence(
    keys: Key[Array, "*subjects"],
    nominal_days: Float[Array, " dose"],
    share: float | Float[Array, ""],
    correlation: float | Float[Array, ""] = 0.0,
) -> Bool[Array, "*subjects dose"]:
    """Whether each subject takes each scheduled dose.

    A subject's own probability is beta distributed with mean `share` and variance `correlation` ·
    `share` · (1 - `share`), so `correlation` is that of any two doses of one subject: 0 makes
    subjects alike, towards 1 they take all or nothing.

    **Arguments:**

    - `keys`: one a subject.
    - `nominal_days`: scheduled times (d since randomisation), no two within a minute.
    - `share`: expected share of doses taken, in [0, 1].
    - `correlation`: in [0, 1).
    """
    share = jnp.asarray(share, float)
    correlation = jnp.asarray(correlation, float)
    spread = (correlation > 0) & (share > 0) & (share < 1)
    pair = jnp.where(spread, correlation, 0.5)
    inner = jnp.where(spread, share, 0.5)
    size = 1 / pair - 1

    def one(key: Key[Array, ""]) -> Bool[Array, " dose"]:
        drawn = jax.random.beta(address(key, _PROPENSITY), inner * size, (1 - inner) * size)
        return _on_days(key, nominal_days) < jnp.where(spread, drawn, share)

    return _each(one, keys)


def attendance(
    keys: Key[Array, "*subjects"],
    nominal_days: Float[Array, " visit"],
    share: float | Float[Array, ""] | Float[Array, " visit"],
) -> Bool[Array, "*subjects visit"]:
    """Whether each subject attends each visit, independently.

    **Arguments:**

    - `keys`: one a subject.
    - `nominal_days`: scheduled times (d since randomisation), no two within a minute.
    - `share`: probability of attending, in [0, 1], of all visits or of each.
    """
    return _each(lambda key: _on_days(key, nominal_days) < share, keys)


def _on_days(key: Key[Array, ""], nominal_days: Float[Array, " day"]) -> Float[Array, " day"]:
    """A uniform draw for each nominal time, addressed by it."""
    minutes = jnp.round(nominal_days * _MINUTES_A_DAY).astype(jnp.int32)
    return jax.vmap(lambda minute: jax.random.uniform(address(key, minute)))(minutes)


def _each(draw: Callable[[Key[Array, ""]], Array], keys: Key[Array, "*batch"]) -> Array:
    """`draw` from every key, whatever the shape they are in."""
    drawn = jax.vmap(draw)(keys.reshape(-1))
    return drawn.reshape(*keys.shape, *drawn.shape[1:])
