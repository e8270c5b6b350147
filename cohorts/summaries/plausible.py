"""Plausible patients: each of a draw of the population's parameters of its own, solved once.

Each is measured several times, with the same residual errors as every other patient, in an order
of its own: a statistic is over all of these, weights are of patients. With one error each, weights
would choose errors as well as patients, and those whom a trial then draws, with errors of their
own, would miss what the weighted ones had met.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri
from jaxtyping import Bool, Float

from cohorts.cohort import Cohort
from cohorts.summaries.comparing import Compared, Published
from cohorts.summaries.evaluation import PERCENTILES, Evaluation, summary
from cohorts.summaries.reweighting import Evaluate, Statistics
from cohorts.summaries.virtual import quantities_of
from insilico.devices import QUICKLY
from insilico.solve.blocks import compiler_options

COPIES = 16
"""How often a patient is measured."""


class Plausible(NamedTuple):
    """Patients of the plausible range, (patients,) each.

    - `covariates`, `parameters`: by name. `sites`: the population's parameters that each is of.
    - `outputs`: by output, (arms, times, patients).
    - `measured`: likewise at `times`, those of the targets, (arms, times, copies · patients), all
      patients once before one comes again.
    - `usable`: whether all solves of a patient went well.
    """

    covariates: Mapping[str, np.ndarray]
    parameters: Mapping[str, np.ndarray]
    sites: Mapping[str, np.ndarray]
    outputs: Mapping[str, Float[np.ndarray, "arms times patients"]]
    measured: Mapping[str, Float[np.ndarray, "arms times copies*patients"]]
    times: Float[np.ndarray, " times"]
    usable: Bool[np.ndarray, " patients"]


def people(cohort: Cohort, seed: int, patients: int, draws: int) -> tuple[Any, Any]:
    """So many subjects of a cohort, patient n of draw n modulo `draws`, and all draws' numbers."""
    numbers = cohort.numbers(seed, draws)
    number = jnp.arange(patients)

    def drawn(numbers: Any, number: Any) -> Any:
        return cohort.sample(numbers, seed, number % draws, 0 * number, number)[0]

    return jax.jit(drawn, compiler_options=QUICKLY)(numbers, number), numbers


def draw(evaluation: Evaluation, seed: int) -> Plausible:
    """The plausible patients of a calibration, under every arm."""
    calibration, cohort = evaluation.calibration, evaluation.cohort
    subjects, numbers = people(calibration.cohort, seed, cohort.patients, cohort.patients)
    covariates = calibration.cohort.population.recoded(
        subjects.covariates, calibration.cohort.vocabulary
    )
    copies = COPIES if cohort.measured else 1
    times = np.unique([t for each in quantities_of(calibration.targets) for t in each.all_times])
    places = np.searchsorted(cohort.times, times)
    copied = dataclasses.replace(cohort, times=times, patients=copies * cohort.patients)

    def again(leaf: Any) -> Any:
        return jnp.tile(leaf, copies) if jnp.ndim(leaf) else leaf

    people_again = {name: again(jnp.asarray(of)) for name, of in covariates.items()}
    fixed = copied.draw(people_again, seed, "virtual patients", calibration.arms)

    def solved(parameters: Any, events: Any, noise: Any, residual: Any) -> Any:
        true, failed = cohort.outputs_of(parameters, events, None)
        at_targets = {name: jnp.tile(of[:, places], copies) for name, of in true.items()}
        measured = copied.measured_of(at_targets, noise, jax.tree.map(again, residual))
        # What failed has no weight, and may not spoil what is multiplied by that.
        spared = {name: jnp.where(failed, 0.0, of) for name, of in true.items()}
        return spared, {n: jnp.where(again(failed), 0.0, of) for n, of in measured.items()}, failed

    program = jax.jit(solved, compiler_options=compiler_options())
    true, measured, failed = program(
        subjects.parameters, evaluation.events, even(fixed.noise, copies), subjects.residual
    )
    return Plausible(
        covariates={name: np.asarray(of) for name, of in subjects.covariates.items()},
        parameters={name: np.asarray(of) for name, of in subjects.parameters._asdict().items()},
        sites={name: np.asarray(of) for name, of in numbers.typical._asdict().items()},
        outputs={name: np.asarray(of) for name, of in true.items()},
        measured={name: np.asarray(of) for name, of in measured.items()},
        times=times,
        usable=~np.asarray(failed),
    )


def even(noise: Mapping[str, Any], copies: int) -> dict[str, np.ndarray]:
    """Standard normal numbers (…, copies · patients) as the same ones for every patient: normal
    quantiles of mean square 1, in the order of the patient's own numbers."""
    if copies == 1:
        return {name: np.asarray(of) for name, of in noise.items()}
    points = np.asarray(ndtri((np.arange(copies) + 0.5) / copies))
    points = points / np.sqrt(np.mean(np.square(points)))
    found = {}
    for name, of in noise.items():
        apart = np.asarray(of).reshape(*of.shape[:-1], copies, -1)
        ranks = np.argsort(np.argsort(apart, axis=-2), axis=-2)
        found[name] = points[ranks].reshape(of.shape)
    return found


class Weighing(NamedTuple):
    """What weights of plausible patients give: for `reweight`, in full, and over time."""

    evaluate: Evaluate
    compare: Any
    courses: Any

    @classmethod
    def of(cls, evaluation: Evaluation, plausible: Plausible) -> Weighing:
        published = Published.of(evaluation.calibration.targets)
        patients, times = evaluation.cohort.patients, plausible.times
        places = np.searchsorted(evaluation.cohort.times, times)
        outputs = {name: of[:, places] for name, of in plausible.outputs.items()}
        measured = plausible.measured
        copies = COPIES if measured else 1
        cohort = dataclasses.replace(evaluation.cohort, times=times)
        comparison = dataclasses.replace(evaluation.comparison, cohort=cohort)
        given = (published, outputs, measured)

        def weighed(weights: Any, given: Any) -> tuple[Any, Any]:
            published, outputs, measured = given
            each = jnp.tile(weights / copies, copies)
            again = {name: jnp.tile(of, copies) for name, of in outputs.items()}
            compared = comparison.compared(published, each, again, measured)
            of_copies = comparison.influences(published, each, again, measured)[2]
            influence = jnp.mean(of_copies.reshape(-1, copies, patients), axis=1)
            # Patients are independent of each other; copies of one are not.
            monte_carlo = (influence * jnp.square(weights)) @ influence.T
            return compared._replace(monte_carlo=monte_carlo), influence

        def moved(weights: Any, given: Any) -> Statistics:
            # Without the values themselves, of which quantiles take long.
            found, influence = weighed(weights, given)
            return Statistics(found.deviation, influence, found.covariance)

        whole, statistics = (jax.jit(of, compiler_options=QUICKLY) for of in (weighed, moved))
        curve = np.searchsorted(evaluation.cohort.times, evaluation.curve_times)
        levels = np.array(PERCENTILES) / 100.0
        over_time = jax.jit(summary, compiler_options=QUICKLY)

        def evaluate(weights: np.ndarray) -> Statistics:
            return jax.tree.map(np.asarray, statistics(weights, given))

        def compare(weights: np.ndarray) -> Compared:
            return jax.tree.map(np.asarray, whole(weights, given)[0])

        def courses(weights: np.ndarray) -> dict[str, np.ndarray]:
            return {
                name: np.asarray(over_time(of[:, curve], weights, levels))
                for name, of in plausible.outputs.items()
            }

        return cls(evaluate, compare, courses)
