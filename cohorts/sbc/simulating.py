"""Data sets that a fit's own population would have given: parameters from the prior, then values.

Who was measured, what they received, when, and from what on a value is quantified are those of the
fit's data. True values are those of `Predictive`, which reports and trials draw from, too, and not
of the density that is to be calibrated.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from numpyro import handlers

from cohorts._faults import Fault, raise_any
from cohorts.addressing import addressed
from cohorts.data import Kind, PatientData
from cohorts.inference.coordinates import categories, sampled
from cohorts.inference.density import ModelError
from cohorts.inference.joint import Joint
from cohorts.inference.patients import Data
from cohorts.inference.predictive import Predictive
from cohorts.population import Population
from insilico.programs import quickly
from insilico.randomness import address, purpose_key
from insilico.solve import Status

MOST_ROUNDS = 4
"""Data sets are drawn again until as many as wanted could be solved, at most so often as many."""


class Simulated(NamedTuple):
    """Simulated data sets.

    - `sites`: what made each, values by the names of the population's and its subjects' sites,
      arrays (data sets, …).
    - `data`: what was measured; all arrays have a leading axis of data sets.
    - `number`: of each data set, counted from 0 among all that were drawn.
    - `failed`: numbers of those that were left out since a solve failed under their parameters,
      with how many subjects that befell. To a density they are impossible whatever is measured, so
      that the others are draws of the very prior that a fit has.
    """

    sites: dict[str, np.ndarray]
    data: Data
    number: np.ndarray
    failed: dict[int, int]

    @property
    def drawn(self) -> int:
        """How many data sets were drawn, those left out included."""
        return len(self.number) + len(self.failed)


def check_simulated(population: Population, patients: PatientData) -> None:
    """Raise `CohortError` with everything of a fit that cannot be simulated."""
    faults: list[Fault] = []
    for number, output in enumerate(patients.outputs):
        here = (patients.measured.output == number) & (patients.measured.kind != Kind.NOTHING)
        remembers = population.residual[output].autocorrelation is not None
        if remembers and np.any(patients.measured.limit[here] != 0.0):
            faults.append(
                Fault(
                    ("residual", output),
                    "with autocorrelation, simulated values below the limit of quantification "
                    "could not be fitted",
                    "limits in the data",
                    None,
                    "leave the limits out, or autocorrelation",
                )
            )
    raise_any(faults)


def simulated(
    joint: Joint,
    data: Data,
    limit: Float[np.ndarray, "records subjects"],
    *,
    seed: int,
    datasets: int,
) -> Simulated:
    """Data sets of the subjects of `data`; measured values that those have are not looked at.

    A value below its record's `limit` of quantification is censored; 0 where there is none. Which
    component of a mixture a subject belongs to is drawn, too.

    Raises `ModelError` where fewer than `datasets` of `MOST_ROUNDS` times as many can be solved.
    """
    root = purpose_key(seed, "simulated data sets")
    predictive = Predictive(joint, data)

    def of_number(number: Array, data: Data) -> dict[str, Array]:
        return _prior(joint, data, address(root, number))

    draw = quickly(jax.vmap(of_number, in_axes=(0, None)))
    found: list[dict[str, np.ndarray]] = []
    values: list[np.ndarray] = []
    numbers: list[int] = []
    failed: dict[int, int] = {}
    for number in range(MOST_ROUNDS):
        first = number * datasets
        sites = {
            name: np.asarray(of) for name, of in draw(first + np.arange(datasets), data).items()
        }
        outputs = predictive.individual(sites)
        # Of another round other errors: draws are addressed by their place.
        measured = predictive.measured(outputs, sites, seed + number)
        unsolved = (outputs.status != Status.OK).sum(axis=1)
        failed |= {first + int(at): int(unsolved[at]) for at in np.flatnonzero(unsolved)}
        usable = np.flatnonzero(unsolved == 0)
        found.append({name: of[usable] for name, of in sites.items()})
        values.append(measured[usable])
        numbers += [first + int(at) for at in usable]
        if len(numbers) >= datasets:
            break
    else:
        raise ModelError(
            f"of {MOST_ROUNDS * datasets} data sets drawn from the prior only {len(numbers)} could "
            f"be solved, and {datasets} are wanted; narrow the priors, or raise solver.max_steps"
        )
    kept = slice(datasets)
    # Those drawn after the last one that is needed count as never drawn.
    failed = {at: subjects for at, subjects in failed.items() if at < numbers[datasets - 1]}
    return Simulated(
        sites={name: np.concatenate([each[name] for each in found])[kept] for name in found[0]},
        data=_measured(data, limit, np.concatenate(values)[kept]),
        number=np.array(numbers[kept]),
        failed=failed,
    )


def _prior(joint: Joint, data: Data, key: Any) -> dict[str, Array]:
    """One draw of the population and its subjects, by site."""
    with handlers.block(), handlers.trace() as sites, addressed(key=key):
        numbers = data.hyperparameters
        typical = joint.population.typical_values(joint.options, numbers)
        with joint.plate:
            joint.population.parameters(
                typical, data.covariates, joint.options, numbers, joint.occasions
            )
    drawn = [*sampled(sites), *categories(sites)]
    return {site["name"]: site["value"] for site in drawn}


def _measured(data: Data, limit: np.ndarray, values: np.ndarray) -> Data:
    """Data sets with these values, (data sets, records, subjects)."""
    kind = np.asarray(data.kind)
    there: Bool[np.ndarray, ...] = kind != Kind.NOTHING
    with np.errstate(invalid="ignore"):
        below = there & (limit != 0.0) & (values < limit)
    many = len(values)
    repeated = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (many, *jnp.shape(leaf))), data)
    kinds = np.where(there, np.where(below, Kind.CENSORED, Kind.VALUE), Kind.NOTHING)
    limited = bool(np.any(there & (limit != 0.0)))
    return repeated._replace(
        # Without limits a density has none to look for.
        limit=jnp.broadcast_to(jnp.asarray(limit), values.shape) if limited else None,
        value=jnp.asarray(np.where(there, np.where(below, limit, values), 0.0)),
        kind=jnp.asarray(kinds, kind.dtype),
    )
