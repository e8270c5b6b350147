"""The posterior of a population's parameters, given what was published of its subjects."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpyro
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from cohorts.summaries.comparing import Compared, Comparison, Published
from cohorts.summaries.virtual import Patients
from insilico.solve import Events

ROUNDING = 1e-9
"""Added to a correlation matrix's diagonal, so that targets which say the same can be factored."""


class Given(NamedTuple):
    """What the density of a calibration depends on besides the population's parameters."""

    patients: Patients
    events: Events
    published: Published


class Frozen(NamedTuple):
    """The covariance of the targets' errors as it is somewhere, and which targets count."""

    covariance: Float[Array, "targets targets"]
    included: Float[Array, " targets"]


def model_of(comparison: Comparison) -> Callable[[Given], None]:
    """The NumPyro model of a calibration.

    Published statistics are normal about those of the virtual patients, together: with the
    covariance that such statistics of so many subjects have, and that of the virtual patients'
    own number. Sites: those of the population, `statistic`, `mismatch` and `monte_carlo_error`,
    (targets,), `failed_solves`, and the factor `published`.
    """

    def model(given: Given) -> None:
        compared, failed = _compared(comparison, given)
        numpyro.deterministic("statistic", compared.value)
        numpyro.deterministic("mismatch", compared.mismatch)
        numpyro.deterministic("monte_carlo_error", compared.monte_carlo_error)
        numpyro.deterministic("failed_solves", failed)
        whole = compared.covariance + compared.monte_carlo
        density = log_density(compared.deviation, whole)
        numpyro.factor("published", jnp.where(failed == 0, density, -jnp.inf))

    return model


def frozen_model_of(comparison: Comparison) -> Callable[[Given, Frozen], None]:
    """The same with a covariance that stays, for some of the targets: others have no say.

    Minus the log density of a point is then that of the prior and half the sum of squares of the
    targets' standardised deviations, up to a constant.
    """

    def model(given: Given, frozen: Frozen) -> None:
        compared, failed = _compared(comparison, given)
        numpyro.deterministic("deviation", compared.deviation)
        chosen = frozen.included
        own = frozen.covariance * chosen[:, None] * chosen + jnp.diag(1.0 - chosen)
        density = log_density(compared.deviation * chosen, own)
        numpyro.factor("published", jnp.where(failed == 0, density, -jnp.inf))

    return model


def _compared(comparison: Comparison, given: Given) -> tuple[Compared, Array]:
    cohort = comparison.cohort
    typical = cohort.population.typical_values(cohort.options, given.patients.hyperparameters)
    course = cohort.course(typical, given.patients, given.events, "reverse")
    compared = comparison.compared(given.published, course.weights, course.outputs, course.measured)
    return compared, course.failed


def log_density(deviation: Array, covariance: Array) -> Float[Array, ""]:
    """Of a multivariate normal deviation about 0."""
    scale = jnp.sqrt(jnp.diagonal(covariance))
    correlation = covariance / (scale[:, None] * scale)
    factor = jnp.linalg.cholesky(correlation + ROUNDING * jnp.eye(len(scale)))
    standardised = solve_triangular(factor, deviation / scale, lower=True)
    log_determinant = jnp.sum(jnp.log(jnp.diagonal(factor)) + jnp.log(scale))
    constant = 0.5 * len(scale) * jnp.log(2.0 * jnp.pi)
    return -0.5 * jnp.sum(jnp.square(standardised)) - log_determinant - constant
