"""The endpoints that a config names, from visits."""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
from jax import Array

from trials import curves
from trials.config import (
    AreaUnderCurveSpec,
    CourseSpec,
    MaximumSpec,
    TimeOfMaximumSpec,
    TrialConfig,
)
from trials.dosing import MINUTE
from trials.endpoints import (
    Endpoint,
    last_value,
    mean_value,
    time_in_range,
    time_to_range,
    visits_at_or_above,
)
from trials.windows import window

ROUNDED = 1e-4
"""Days by which times may be off that are stored in single precision, and more."""


def endpoints_of(
    config: TrialConfig, time: Array, attended: Array, values: Mapping[str, Array]
) -> dict[str, dict[str, Array]]:
    """Every endpoint of a config from visits (…, visits); times in days since day 1 began."""
    result: dict[str, dict[str, Array]] = {}
    time, attended = jnp.asarray(time, float), jnp.asarray(attended, bool)
    for name, spec in config.endpoints.items():
        measured = f"{spec.of}_measured" if f"{spec.of}_measured" in values else spec.of
        if spec.of == "weekly_dose":
            value = jnp.asarray(values["daily_dose"], float) * 7.0
        else:
            value = jnp.asarray(values[measured], float)
        if isinstance(spec, CourseSpec):
            result[name] = _of_course(config, spec, time, attended, value)._asdict()
            continue
        start, end = window(config, spec)
        # Visits are found in it by times that are stored in single precision.
        rounded = {"start": start - ROUNDED, "end": end + ROUNDED}
        match spec.kind:
            case "time_in_range":
                found = time_in_range(
                    time,
                    attended,
                    value,
                    low=spec.low,
                    high=spec.high,
                    start=start,
                    end=end,
                    longest_gap=spec.longest_gap,
                )
                result[name] = {"value": found.within, "valid": found.valid}
            case "time_to_range":
                low = -jnp.inf if spec.low is None else spec.low
                high = jnp.inf if spec.high is None else spec.high
                to_event = time_to_range(time, attended, value, low=low, high=high, **rounded)
                result[name] = {
                    "value": to_event.time,
                    "event": to_event.event,
                    "valid": to_event.valid,
                }
            case "any_at_or_above":
                seen = visits_at_or_above(
                    time, attended, value, threshold=spec.threshold, **rounded
                )
                result[name] = {"value": seen.ever.astype(float), "valid": seen.valid}
            case "last":
                found = last_value(time, attended, value, **rounded)
                result[name] = {"value": found.value, "valid": found.valid}
            case "mean":
                found = mean_value(time, attended, value, **rounded)
                result[name] = {"value": found.value, "valid": found.valid}
            case unknown:
                raise AssertionError(f"no endpoint of kind {unknown}")
    return result


def _of_course(
    config: TrialConfig, spec: CourseSpec, time: Array, attended: Array, value: Array
) -> Endpoint:
    """An endpoint of the course after the first dose."""
    # Days in single precision are good to a second.
    hours = jnp.round(3600.0 * (24.0 * time - config.drug.first_dose)) / 3600.0
    course = curves.samples(
        hours,
        attended,
        value,
        start=spec.from_time - 0.5 * MINUTE,
        end=jnp.inf if spec.to_time is None else spec.to_time + 0.5 * MINUTE,
        limit=config.visits.quantified_from.get(spec.of, 0.0),
        below=spec.below_limit,
    )
    match spec:
        case AreaUnderCurveSpec(to="infinity"):
            return curves.area_to_infinity(course, spec.method, spec.terminal_points)
        case AreaUnderCurveSpec():
            return curves.area_to_last(course, spec.method)
        case MaximumSpec():
            return curves.maximum(course)
        case TimeOfMaximumSpec():
            return curves.time_of_maximum(course)
