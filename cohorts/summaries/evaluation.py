"""What calibrated and plausible patients come to: statistics, their errors, courses over time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpyro import handlers

from cohorts.summaries.calibration import Calibration
from cohorts.summaries.comparing import Comparison, Published
from cohorts.summaries.virtual import Patients, VirtualCohort
from insilico.programs import shared
from insilico.solve import Events
from insilico.solve.blocks import compiler_options

CURVE_POINTS = 48
"""Times of a course in figures."""

PERCENTILES = (5.0, 50.0, 95.0)


class Evaluated(NamedTuple):
    """What virtual patients give at draws of the population's parameters; NaN where a solve failed.

    - `value`, `mismatch`, `standard_error`, `monte_carlo_error`: see `Compared`, (draws, targets).
    - `covariance`: of the targets' errors, that of the patients' number included.
    - `courses`: by output true values at `Evaluation.curve_times`, percentiles and then the mean
      over patients, (draws, arms, statistics, times).
    - `failed`: how many patients' solves failed, (draws,).
    """

    value: Float[np.ndarray, "draws targets"]
    mismatch: Float[np.ndarray, "draws targets"]
    standard_error: Float[np.ndarray, "draws targets"]
    monte_carlo_error: Float[np.ndarray, "draws targets"]
    covariance: Float[np.ndarray, "draws targets targets"]
    courses: Mapping[str, Float[np.ndarray, "draws arms statistics times"]]
    failed: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """A calibration's virtual cohort, observed at the times of figures too, without derivatives."""

    calibration: Calibration
    comparison: Comparison
    events: Events
    curve_times: Float[np.ndarray, " times"]

    @classmethod
    def of(cls, calibration: Calibration, tolerances: Any, *, smooth: bool) -> Evaluation:
        config, targets = calibration.config, calibration.targets
        last = max(
            time
            for target in targets
            for which in (target.quantity, target.other)
            if which is not None
            for time in which.all_times
        )
        times = np.linspace(0.0, max(last, 1e-6), CURVE_POINTS)
        cohort, events = VirtualCohort.of(
            calibration.cohort.population,
            calibration.cohort.options,
            calibration.model,
            calibration.arms,
            targets,
            config.virtual_patients,
            also_at=tuple(times.tolist()),
            method=config.solver.method,
            tolerances=tolerances,
        )
        return cls(calibration, Comparison(cohort, tuple(targets), smooth), events, times)

    @property
    def cohort(self) -> VirtualCohort:
        return self.comparison.cohort

    def at(self, draws: Mapping[str, Any], patients: Patients) -> Evaluated:
        """What these patients come to at draws of the population's sites, (draws, …) by name."""
        found = self._program(
            {name: jnp.asarray(values) for name, values in draws.items()},
            patients,
            self.events,
            Published.of(self.calibration.targets),
        )
        return Evaluated(*jax.tree.map(np.asarray, found))

    @property
    def _program(self) -> Callable[..., tuple[Any, ...]]:
        """Of draws, patients, events and published numbers the fields of an `Evaluated`."""
        cohort, comparison = self.cohort, self.comparison
        places = jnp.asarray(np.searchsorted(cohort.times, self.curve_times))
        levels = jnp.asarray(PERCENTILES) / 100.0

        def one(sites: Any, patients: Patients, events: Events, published: Published) -> Any:
            with handlers.block(), handlers.substitute(data=sites), handlers.seed(rng_seed=0):
                typical = cohort.population.typical_values(cohort.options, patients.hyperparameters)
            course = cohort.course(typical, patients, events, None)
            compared = comparison.compared(
                published, course.weights, course.outputs, course.measured
            )
            courses = {
                name: summary(values[:, places], course.weights, levels)
                for name, values in course.outputs.items()
            }
            found = (
                compared.value,
                compared.mismatch,
                compared.standard_error,
                compared.monte_carlo_error,
                compared.covariance + compared.monte_carlo,
                courses,
                course.failed,
            )
            bad = course.failed > 0
            return jax.tree.map(
                lambda leaf: jnp.where(bad, jnp.nan, leaf) if leaf.dtype.kind == "f" else leaf,
                found,
            )

        def every(draws: Any, patients: Patients, events: Events, published: Published) -> Any:
            return jax.lax.map(lambda sites: one(sites, patients, events, published), draws)

        options = compiler_options()
        return shared(jax.jit(every, compiler_options=options), options)


def summary(values: Any, weights: Any, levels: Any) -> Any:
    """Percentiles and the mean over patients with weights: from (arms, times, patients) to (arms,
    statistics, times)."""
    order = jnp.argsort(values, axis=-1)
    ordered = jnp.take_along_axis(values, order, axis=-1)
    below = jnp.cumsum(weights[order], axis=-1)
    last = values.shape[-1] - 1
    places = jnp.sum(below[..., None] < levels, axis=-2)
    quantiles = jnp.take_along_axis(ordered, jnp.minimum(places, last), axis=-1)
    mean = jnp.sum(values * weights, axis=-1, keepdims=True)
    return jnp.moveaxis(jnp.concatenate([quantiles, mean], axis=-1), -1, -2)
