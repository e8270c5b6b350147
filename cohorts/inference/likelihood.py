"""How likely measured values are, given the true ones that solves of the subjects give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from cohorts.data import Kind
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
    - `log_share`: of each component, log probability that the subject belongs to it; else None.
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
    found = jax.vmap(
        lambda mean, sd, status: _of_component(
            residuals, Predicted(mean, sd, status, predicted.forgetting), data
        )
    )(predicted.mean, predicted.sd, predicted.status)
    return _log_sum(found + predicted.log_share)


def _of_component(residuals: Residuals, predicted: Predicted, data: Data) -> Array:
    value, limit, logarithm = data.value, data.limit, jnp.zeros_like(data.value)
    for number, residual in enumerate(residuals.values()):
        if residual.logarithmic:
            here = data.output == number
            value = jnp.where(here, residual.scaled(data.value), value)
            limit = jnp.where(here, residual.scaled(data.limit), limit)
            logarithm = jnp.where(here & (data.kind == Kind.VALUE), value, logarithm)
    mean, sd = predicted.mean, predicted.sd
    if predicted.forgetting is not None:
        mean, sd = _given_before(value, mean, sd, predicted.forgetting, data)
    # The density of a value is that of its logarithm over the value itself.
    of_value = log_density(value, mean, sd) - logarithm
    of_limit = log_probability_below(limit, mean, sd)
    found = jnp.where(
        data.kind == Kind.VALUE, of_value, jnp.where(data.kind == Kind.CENSORED, of_limit, 0.0)
    )
    solved = predicted.status == Status.OK
    return jnp.where(solved, jnp.sum(jnp.where(solved, found, 0.0), axis=0), -jnp.inf)


def simulated(
    residuals: Residuals, predicted: Predicted, data: Data, key: Key[Array, ""]
) -> Float[Array, "records subjects"]:
    """Values measured of subjects for whom `predicted` holds; of those that `data` have none, 0.

    They are values, too, where `data` have one below a limit. Of a mixture, each subject is of one
    component. NaN where a solve failed.
    """
    of_component, of_error = jax.random.split(key)
    mean, sd, status = predicted.mean, predicted.sd, predicted.status
    if predicted.log_share is not None:
        component = jax.random.categorical(of_component, predicted.log_share, axis=0)
        subjects = jnp.arange(component.size)
        mean, sd = mean[component, :, subjects].T, sd[component, :, subjects].T
        status = status[component, subjects]
    errors = jax.random.normal(of_error, mean.shape)
    if predicted.forgetting is not None:
        errors = _remembered(errors, predicted.forgetting, data)
    value = mean + sd * errors
    for number, residual in enumerate(residuals.values()):
        value = jnp.where(data.output == number, residual.unscaled(value), value)
    value = jnp.where(status == Status.OK, value, jnp.nan)
    return jnp.where(data.kind == Kind.NOTHING, 0.0, value)


def _remembered(errors: Array, rate: Array, data: Data) -> Array:
    """Standard normal errors of which each has not forgotten the one before it, of independent
    ones."""
    share, left = _memory(rate, data)

    def step(done: Array, record: Array) -> tuple[Array, None]:
        earlier = jnp.take_along_axis(done, jnp.maximum(data.before[record], 0)[None], axis=0)[0]
        now = share[record] * earlier + left[record] * errors[record]
        return done.at[record].set(now), None

    return jax.lax.scan(step, errors, jnp.arange(errors.shape[0]))[0]


def _given_before(
    value: Array, mean: Array, sd: Array, rate: Array, data: Data
) -> tuple[Array, Array]:
    """Mean and sd of each value, given the subject's value of the same output before it."""
    possible = jnp.isfinite(mean) & jnp.isfinite(value) & (sd > 0.0) & (data.kind == Kind.VALUE)
    residual = jnp.where(possible, value - jnp.where(possible, mean, 0.0), 0.0)
    standardised = residual / jnp.where(possible, sd, 1.0)
    earlier = jnp.take_along_axis(standardised, jnp.maximum(data.before, 0), axis=0)
    share, left = _memory(rate, data)
    return mean + sd * share * earlier, sd * left


def _memory(rate: Array, data: Data) -> tuple[Array, Array]:
    """What each error keeps of the one before it, and the standard deviation of what is new."""
    time, place = data.table.time, jnp.maximum(data.before, 0)
    # A reset may have turned the clock back.
    passed = jnp.abs(time - jnp.take_along_axis(time, place, axis=0))
    linked = (data.before >= 0) & jnp.isfinite(rate) & (data.kind != Kind.NOTHING)
    forgotten = jnp.where(linked, rate * passed, 1.0)
    share = jnp.where(linked, jnp.exp(-forgotten), 0.0)
    return share, jnp.where(linked, jnp.sqrt(-jnp.expm1(-2.0 * forgotten)), 1.0)


def _log_sum(each: Array) -> Array:
    """logsumexp over the first axis; minus infinity, with derivatives of zero, where all are."""
    some = jnp.any(each > -jnp.inf, axis=0)
    return jnp.where(
        some, jax.scipy.special.logsumexp(jnp.where(some, each, 0.0), axis=0), -jnp.inf
    )
