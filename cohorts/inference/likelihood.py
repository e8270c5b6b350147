"""How likely measured values are, given the true ones that solves of the subjects give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from cohorts.data import Kind
from cohorts.inference.components import log_sum, probabilities
from cohorts.inference.patients import Data
from cohorts.residual import Residual, log_density, log_probability_below
from insilico.solve import Status

Residuals = Mapping[str, Residual]
"""The residual error of each measured output, in the order of their numbers."""


class Predicted(NamedTuple):
    """What a population with given random effects says of its subjects' records.

    Where a population is a mixture, `mean`, `sd` and `status` have a leading axis of components.

    - `mean`, `sd`: of measured values, on the scale on which the residual error is normal: the
      logarithm for log-normal error. 0 and 1 where nothing was measured.
    - `status`: how each solve ended, an `insilico.solve.Status`.
    - `forgetting`: rate at which the error of a record's output forgets the one before it; infinite
      for independent errors. None if all are.
    - `log_share`: of each component, log probability that a subject belongs to it, and log density
      of the subject's effects in it over that in the first component; else None.
    """

    mean: Float[Array, "*components records subjects"]
    sd: Float[Array, "*components records subjects"]
    status: Int[Array, "*components subjects"]
    forgetting: Float[Array, "records subjects"] | None = None
    log_share: Float[Array, "components subjects"] | None = None


def observed(
    residuals: Residuals,
    typical: Any,
    outputs: tuple[Float[Array, "records subjects"], ...],
    status: Int[Array, " subjects"],
    data: Data,
) -> Predicted:
    """How the true `outputs` of solves are measured; `typical` are the typical values."""
    mean, sd = jnp.zeros_like(data.value), jnp.ones_like(data.value)
    forgetting = jnp.full_like(data.value, jnp.inf)
    for number, (residual, output) in enumerate(zip(residuals.values(), outputs, strict=True)):
        numbers = residual.numbers(typical)
        here = (data.kind != Kind.NOTHING) & (data.output == number)
        # Where nothing is asked for, no derivative should come from whatever the output is.
        true = jnp.where(here & (status == Status.OK), output, 1.0)
        mean = jnp.where(here, residual.scaled(true), mean)
        sd = jnp.where(here, residual.spread(true, numbers), sd)
        if numbers.autocorrelation is not None:
            forgetting = jnp.where(here, numbers.autocorrelation, forgetting)
    remembering = any(residual.autocorrelation is not None for residual in residuals.values())
    return Predicted(mean, sd, status, forgetting if remembering else None)


def log_likelihood(
    residuals: Residuals, predicted: Predicted, data: Data
) -> Float[Array, " subjects"]:
    """Log density of each subject's measured values; see `Joint.log_likelihood`."""
    if predicted.log_share is None:
        return _of_component(residuals, predicted, data)
    return log_sum(_of_components(residuals, predicted, data))


def membership(
    residuals: Residuals, predicted: Predicted, data: Data
) -> Float[Array, "components subjects"]:
    """Probability that a subject of a mixture belongs to each component; see `Joint.membership`."""
    return probabilities(_of_components(residuals, predicted, data))


def _of_components(residuals: Residuals, predicted: Predicted, data: Data) -> Array:
    """Log density of belonging to each component and having the measured values."""
    found = jax.vmap(
        lambda mean, sd, status: _of_component(
            residuals, Predicted(mean, sd, status, predicted.forgetting), data
        )
    )(predicted.mean, predicted.sd, predicted.status)
    assert predicted.log_share is not None, "of a mixture alone"
    return found + predicted.log_share


def _of_component(residuals: Residuals, predicted: Predicted, data: Data) -> Array:
    value, limit, logarithm = data.value, data.limit, jnp.zeros_like(data.value)
    for number, residual in enumerate(residuals.values()):
        if residual.logarithmic:
            here = data.output == number
            value = jnp.where(here, residual.scaled(data.value), value)
            if limit is not None:
                limit = jnp.where(here, residual.scaled(data.limit), limit)
            logarithm = jnp.where(here & (data.kind == Kind.VALUE), value, logarithm)
    mean, sd = predicted.mean, predicted.sd
    if predicted.forgetting is not None:
        mean, sd = _given_before(value, mean, sd, predicted.forgetting, data)
    # The density of a value is that of its logarithm over the value itself.
    of_value = log_density(value, mean, sd) - logarithm
    found = jnp.where(data.kind == Kind.VALUE, of_value, 0.0)
    if limit is not None:
        below = data.kind == Kind.CENSORED
        found = jnp.where(below, log_probability_below(limit, mean, sd), found)
    solved = predicted.status == Status.OK
    return jnp.where(solved, jnp.sum(jnp.where(solved, found, 0.0), axis=0), -jnp.inf)


def _given_before(
    value: Array, mean: Array, sd: Array, rate: Array, data: Data
) -> tuple[Array, Array]:
    """Mean and sd of each value, given the subject's value of the same output before it."""
    possible = jnp.isfinite(mean) & jnp.isfinite(value) & (sd > 0.0) & (data.kind == Kind.VALUE)
    residual = jnp.where(possible, value - jnp.where(possible, mean, 0.0), 0.0)
    standardised = residual / jnp.where(possible, sd, 1.0)
    time, place = data.table.time, jnp.maximum(data.before, 0)
    earlier = jnp.take_along_axis(standardised, place, axis=0)
    # A reset may have turned the clock back.
    passed = jnp.abs(time - jnp.take_along_axis(time, place, axis=0))
    linked = (data.before >= 0) & jnp.isfinite(rate) & (data.kind == Kind.VALUE)
    forgotten = jnp.where(linked, rate * passed, 1.0)
    share = jnp.where(linked, jnp.exp(-forgotten), 0.0)
    left = jnp.where(linked, jnp.sqrt(-jnp.expm1(-2.0 * forgotten)), 1.0)
    return mean + sd * share * earlier, sd * left
