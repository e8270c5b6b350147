"""Plausible patients: each of a draw of the population's parameters of its own, solved once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from cohorts.cohort import Cohort
from cohorts.summaries.comparing import Compared, Published
from cohorts.summaries.evaluation import PERCENTILES, Evaluation, summary
from cohorts.summaries.reweighting import Evaluate, Statistics
from insilico.devices import QUICKLY
from insilico.solve.blocks import compiler_options


class Plausible(NamedTuple):
    """Patients of the plausible range, (patients,) each.

    - `covariates`, `parameters`: by name. `sites`: the population's parameters that each is of.
    - `outputs`, `measured`: by output, (arms, times, patients).
    - `usable`: whether all solves of a patient went well.
    """

    covariates: Mapping[str, np.ndarray]
    parameters: Mapping[str, np.ndarray]
    sites: Mapping[str, np.ndarray]
    outputs: Mapping[str, Float[np.ndarray, "arms times patients"]]
    measured: Mapping[str, Float[np.ndarray, "arms times patients"]]
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
    fixed = cohort.draw(covariates, seed, "virtual patients", calibration.arms)

    def solved(parameters: Any, events: Any, noise: Any, residual: Any) -> Any:
        true, failed = cohort.outputs_of(parameters, events, None)
        return true, cohort.measured_of(true, noise, residual), failed

    program = jax.jit(solved, compiler_options=compiler_options())
    true, measured, failed = program(
        subjects.parameters, evaluation.events, fixed.noise, subjects.residual
    )
    return Plausible(
        covariates={name: np.asarray(of) for name, of in subjects.covariates.items()},
        parameters={name: np.asarray(of) for name, of in subjects.parameters._asdict().items()},
        sites={name: np.asarray(of) for name, of in numbers.typical._asdict().items()},
        # What failed has no weight, and may not spoil what is multiplied by that.
        outputs={name: np.where(failed, 0.0, of) for name, of in true.items()},
        measured={name: np.where(failed, 0.0, of) for name, of in measured.items()},
        usable=~np.asarray(failed),
    )


class Weighing(NamedTuple):
    """What weights of plausible patients give: for `reweight`, in full, and over time."""

    evaluate: Evaluate
    compare: Any
    courses: Any

    @classmethod
    def of(cls, evaluation: Evaluation, plausible: Plausible) -> Weighing:
        comparison = evaluation.comparison
        published = Published.of(evaluation.calibration.targets)
        given = (published, plausible.outputs, plausible.measured)

        def weighed(weights: Any, given: Any) -> tuple[Any, Any]:
            return (
                comparison.compared(given[0], weights, given[1], given[2]),
                comparison.influences(given[0], weights, given[1], given[2])[2],
            )

        program = jax.jit(weighed, compiler_options=QUICKLY)
        places = np.searchsorted(evaluation.cohort.times, evaluation.curve_times)
        levels = np.array(PERCENTILES) / 100.0
        over_time = jax.jit(summary, compiler_options=QUICKLY)

        def evaluate(weights: np.ndarray) -> Statistics:
            found, influence = program(weights, given)
            return Statistics(
                np.asarray(found.deviation), np.asarray(influence), np.asarray(found.covariance)
            )

        def compare(weights: np.ndarray) -> Compared:
            return jax.tree.map(np.asarray, program(weights, given)[0])

        def courses(weights: np.ndarray) -> dict[str, np.ndarray]:
            return {
                name: np.asarray(over_time(of[:, places], weights, levels))
                for name, of in plausible.outputs.items()
            }

        return cls(evaluate, compare, courses)
