"""A finished fit or calibration as a population to draw from: draws of its posterior in the place
of priors, or its weighted patients."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cohorts._faults import CohortError, Fault, raise_any
from cohorts.covariates.observed import ObservedCovariates
from cohorts.fits.fit import Fit, read
from cohorts.population import Population
from insilico import models
from insilico.config import ConfigError
from insilico.runs import RunFolder, RunFolderError

if TYPE_CHECKING:
    import xarray as xr


class Learned(NamedTuple):
    """What a fit or a calibration has learned.

    - `population`: as its config describes it.
    - `draws`: of the population's sites, by name, (draws, …), chain after chain.
    - `covariates`: of the subjects that it was fitted to, or of virtual ones.
    """

    population: Population
    draws: Mapping[str, np.ndarray]
    covariates: ObservedCovariates


def learned(folder: str | os.PathLike[str], *, untrusted: bool = False) -> Learned:
    """What a finished fit or calibration has learned. Does not import JAX.

    **Arguments:**

    - `folder`: that `insilico fit` or `insilico calibrate` left.
    - `untrusted`: whether one that failed its diagnostics is taken all the same.

    Raises `CohortError` where there is no such run, it is damaged, or it failed its diagnostics.
    """
    try:
        run = RunFolder.open(folder)
        kind = run.manifest.get("kind")
        if kind not in ("fit", "calibration"):
            what = (
                "the test of a fit, not of the fit itself"
                if kind == "sbc"
                else "a trial, not of a fit"
            )
            raise_any([Fault((), f"is the folder of {what}", str(folder))])
        run.check({"report.html"})
    except RunFolderError as error:
        hint = (
            "run `insilico fit` or `insilico calibrate` first; folders are relative to where the "
            "command is given"
        )
        raise CohortError([Fault((), str(error), hint=hint)]) from None
    if run.manifest["failure"] is not None and not untrusted:
        raise CohortError(
            [
                Fault(
                    (),
                    f"this {kind} failed its diagnostics: {run.manifest['failure']}",
                    str(folder),
                    hint=f"mend the {kind}, or state `untrusted: yes` beside it",
                )
            ]
        )
    _check_model(run)
    try:
        if kind == "fit":
            return _of_fit(run)
        # A calibration knows of fits, and not the other way round but for this.
        from cohorts.summaries.learning import of_calibration

        return of_calibration(run)
    except ConfigError as error:
        raise CohortError([Fault((), f"its config cannot be read: {error}", str(folder))]) from None
    except RunFolderError as error:
        raise CohortError([Fault((), str(error))]) from None


def _check_model(run: RunFolder) -> None:
    """Raise `CohortError` where the run is of a model of one's own that is not the one added."""
    name = str(run.manifest["config"]["values"].get("model"))
    copy, file = run.path / f"{name}.py", models.file_of(name)
    if not copy.exists() or (file is not None and file.read_bytes() == copy.read_bytes()):
        return
    found = "has not been added" if file is None else f"is not as in {file} now"
    message = f"its model {name} is of a file that lies there, and {found}"
    raise CohortError([Fault((), message, str(run.path), hint=f"give `--model {copy}`")])


def _of_fit(run: RunFolder) -> Learned:
    fit = read(run.path / "config.yaml")
    patients = fit.patients
    told = (*fit.population.assumptions, *assumptions_of(fit))
    population = dataclasses.replace(fit.population, assumptions=told)
    return Learned(
        population=population,
        draws=draws_of(run.results("posterior")["posterior"].to_dataset()),
        covariates=ObservedCovariates(
            "observed",
            f"the {len(patients.subjects)} subjects of {fit.config.title}",
            f"{fit.population.name}, {fit.config.data.file}",
            patients.vocabulary,
            patients.covariates,
        ),
    )


def assumptions_of(fit: Fit) -> tuple[str, ...]:
    """What has to be assumed of patients who are drawn from a fit, a sentence each."""
    told = []
    if fit.config.method != "nuts":
        told.append(
            f"Parameters of the population are drawn from an approximation of their posterior "
            f"({fit.label}), not from the posterior itself."
        )
    if fit.patients.changing:
        told.append(
            f"{', '.join(fit.patients.changing)}: changed within the subjects of the fit; patients "
            "here have the first value of one of them, in all periods and under every arm."
        )
    return tuple(told)


def draws_of(posterior: xr.Dataset) -> dict[str, np.ndarray]:
    """A posterior's draws of the population's sites by name, (draws, …), chain after chain."""
    stacked = posterior.stack(sample=("chain", "draw")).transpose("sample", ...)
    return {
        str(site): values.values
        for site, values in stacked.items()
        if not {"subject", "target"} & set(values.dims)
    }
