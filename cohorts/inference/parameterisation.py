"""How random effects are sampled: as themselves, as standard normal numbers, or in between."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cohorts.inference.expansions import at_centre, expand_expected
from cohorts.inference.joint import Joint
from cohorts.inference.patients import Data
from insilico.programs import quickly
from insilico.randomness import address, purpose_key

PRIOR_DRAWS = 101
"""Draws of the prior whose median, coordinate by coordinate, is the population looked at."""


def centring(joint: Joint, data: Data, seed: int) -> dict[str, np.ndarray]:
    """How much each subject's data say of each of its random effects: by name, (subjects,).

    It is 1 less the variance of an effect given the data over that in the population, for a subject
    at the centre of a population in the middle of the prior. That is the share of itself by which
    an effect of a linear model is best sampled (Papaspiliopoulos, Roberts and Sköld, Stat Sci
    2007;22:59-73): 1 where data tell all, so that effects and their population's mean are not
    correlated given the data; 0 where they tell nothing and the prior's funnel is sampled. An
    effect of an occasion lies about the subject's own, and both variances are those given that.
    """

    def shares(data: Data) -> jax.Array:
        theta = jnp.median(prior_draws(joint, data, seed), axis=0)
        centre, precision = at_centre(joint, theta, data)
        information = expand_expected(joint, theta, centre, data).information
        shares = 1.0 - _variances(information) / _variances(precision)
        given_others = 1.0 - _diagonals(precision) / _diagonals(information)
        return jnp.where(np.array(joint.of_occasions)[:, None], given_others, shares)

    found = np.asarray(quickly(shares)(data))
    # Where a solve fails at the centre nothing is known: such subjects are taken for informative.
    found = np.where(np.isfinite(found), np.clip(found, 0.0, 1.0), 1.0)
    return dict(zip(joint.effects, found, strict=True))


def prior_draws(joint: Joint, data: Data, seed: int) -> Float[Array, "draws P"]:
    """Draws of the population's coordinates from their prior; their median is its middle."""
    root = purpose_key(seed, "parameterisation")
    keys = jax.vmap(lambda draw: address(root, draw))(jnp.arange(PRIOR_DRAWS))
    return jax.vmap(lambda key: joint.draw(key, data)[0])(keys)


def _variances(precision: jax.Array) -> jax.Array:
    """Diagonals of the inverses of matrices (K, K, subjects), (K, subjects)."""
    covariance = jnp.linalg.inv(jnp.moveaxis(precision, -1, 0))
    return _diagonals(jnp.moveaxis(covariance, 0, -1))


def _diagonals(matrices: jax.Array) -> jax.Array:
    """Of matrices (K, K, subjects), (K, subjects)."""
    return jnp.diagonal(matrices, axis1=0, axis2=1).T
