"""A finished fit as a population to draw from: draws of its posterior in the place of priors."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from cohorts._faults import CohortError, Fault, raise_any
from cohorts.covariates.observed import ObservedCovariates
from cohorts.fits.fit import read
from cohorts.population import Population
from insilico.config import ConfigError
from insilico.runs import RunFolder, RunFolderError


class Learned(NamedTuple):
    """What a fit has learned.

    - `population`: as the fit's config describes it.
    - `draws`: of the population's sites, by name, (draws, …), chain after chain.
    - `covariates`: of the subjects that it was fitted to.
    """

    population: Population
    draws: Mapping[str, np.ndarray]
    covariates: ObservedCovariates


def learned(folder: str | os.PathLike[str], *, untrusted: bool = False) -> Learned:
    """What a finished fit has learned. Does not import JAX.

    **Arguments:**

    - `folder`: that `insilico fit` left.
    - `untrusted`: whether a fit that failed its diagnostics is taken all the same.

    Raises `CohortError` where there is no such fit, it is damaged, or it failed its diagnostics.
    """
    try:
        run = RunFolder.open(folder)
        if run.manifest.get("kind") != "fit":
            raise_any([Fault((), "is the folder of a trial, not of a fit", str(folder))])
        run.check({"report.html"})
        posterior = run.results("posterior")["posterior"].to_dataset()
    except RunFolderError as error:
        hint = "run `insilico fit` first; folders are relative to where the command is given"
        raise CohortError([Fault((), str(error), hint=hint)]) from None
    if run.manifest["failure"] is not None and not untrusted:
        raise CohortError(
            [
                Fault(
                    (),
                    f"this fit failed its diagnostics: {run.manifest['failure']}",
                    str(folder),
                    hint="mend the fit, or state `untrusted: yes` beside it",
                )
            ]
        )
    try:
        fit = read(run.path / "config.yaml")
    except ConfigError as error:
        raise CohortError([Fault((), f"its config cannot be read: {error}", str(folder))]) from None
    stacked = posterior.stack(sample=("chain", "draw")).transpose("sample", ...)
    patients = fit.patients
    name = fit.population.name
    population = fit.population
    if fit.config.method != "nuts":
        told = (
            f"Parameters of the population are drawn from an approximation of their posterior "
            f"({fit.label}), not from the posterior itself."
        )
        population = dataclasses.replace(population, assumptions=(*population.assumptions, told))
    return Learned(
        population=population,
        draws={
            str(site): values.values
            for site, values in stacked.items()
            if "subject" not in values.dims
        },
        covariates=ObservedCovariates(
            "observed",
            f"the {len(patients.subjects)} subjects of {fit.config.title}",
            f"{name}, {fit.config.data.file}",
            patients.vocabulary,
            patients.covariates,
        ),
    )
