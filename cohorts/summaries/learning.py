"""A finished calibration as a population to draw from. Does not import JAX."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from cohorts.covariates.observed import ObservedCovariates
from cohorts.fits.posterior import Learned, draws_of
from cohorts.population import Population
from cohorts.summaries.calibration import Calibration, read
from insilico.config import Name
from insilico.model import Model
from insilico.runs import RunFolder

OWN = "own_"
"""What the name of a reweighted patient's parameter begins with among its covariates."""


def of_calibration(run: RunFolder) -> Learned:
    """What a calibration has learned.

    Of `mcmc`: its posterior, and the covariates of its virtual patients, drawn whole. Of
    `reweight`: its patients as they are, parameters and covariates together, each drawn as often as
    its weight says. Their parameters are covariates `own_<parameter>`; residual errors are those of
    the populations that the patients are of, likewise by weight.
    """
    calibration = read(run.path / "config.yaml")
    if calibration.config.method == "mcmc":
        tree = run.results("posterior", "virtual_patients")
        patients = tree["virtual_patients"].to_dataset()
        return Learned(
            population=calibration.cohort.population,
            draws=draws_of(tree["posterior"].to_dataset()),
            covariates=_covariates(calibration, _columns(calibration, patients), {}, None),
        )
    patients = run.results("virtual_patients")["virtual_patients"].to_dataset()
    weights = patients["weight"].to_numpy()
    model, population = calibration.model, calibration.cohort.population
    own = {
        OWN + name: Name("number", unit=quantity.unit, description=quantity.description)
        for name, quantity in model.quantities("Parameters").items()
    }
    table = _columns(calibration, patients)
    for name in model.Parameters._fields:
        table[OWN + name] = patients[f"parameter_{name}"].to_numpy()
    chosen = systematic(weights, len(weights))
    prefix = "population_"
    return Learned(
        population=patients_population(population, model, own),
        draws={
            str(name).removeprefix(prefix): values.to_numpy()[chosen]
            for name, values in patients.items()
            if str(name).startswith(prefix)
        },
        covariates=_covariates(calibration, table, own, weights),
    )


def patients_population(
    population: Population, model: Model, own: Mapping[str, Name]
) -> Population:
    """The population of patients whose parameters are covariates: nothing of them is drawn."""

    def individual(
        typical: Any, covariates: Mapping[str, Any], options: Any, hyperparameters: Any
    ) -> Any:
        return model.Parameters(*(covariates[OWN + name] for name in model.Parameters._fields))

    return dataclasses.replace(
        population,
        title=f"Reweighted patients of: {population.title}",
        covariates=dict(own),
        individual=individual,
        assumptions=(
            "Subjects are plausible patients, drawn by the weights with which their statistics are "
            "those that were published.",
            *population.assumptions,
        ),
    )


def systematic(weights: np.ndarray, count: int) -> np.ndarray:
    """Numbers of so many entries, each as often as its weight says to less than one (Kitagawa G.
    J Comput Graph Stat 1996; 5:1-25)."""
    places = (np.arange(count) + 0.5) / count
    cumulative = np.cumsum(weights) / weights.sum()
    return np.minimum(np.searchsorted(cumulative, places), len(weights) - 1)


def _columns(calibration: Calibration, patients: xr.Dataset) -> dict[str, np.ndarray]:
    return {name: patients[name].to_numpy() for name in calibration.cohort.vocabulary}


def _covariates(
    calibration: Calibration,
    table: Mapping[str, np.ndarray],
    own: Mapping[str, Name],
    weights: np.ndarray | None,
) -> ObservedCovariates:
    title = calibration.config.title
    number = calibration.config.virtual_patients
    return ObservedCovariates(
        "virtual",
        f"the {number:,} virtual patients of {title}",
        calibration.cohort.population.name,
        {**calibration.cohort.vocabulary, **own},
        table,
        weights,
    )
