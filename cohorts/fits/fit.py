"""A fit's config read and checked: data, population, and what they have to do with each other."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from cohorts._faults import Fault, Faults, raise_any, unknown
from cohorts.data import DataError, Kind, PatientData, read_patients, stated_vocabulary
from cohorts.fits.config import FitConfig, FitSolverSpec
from cohorts.hierarchy import population_of
from cohorts.inference.patients import check_patients
from cohorts.inference.settings import LABELS, USED, Approximation
from cohorts.population import Population
from insilico import models
from insilico.config import ConfigError, Document, did_you_mean, load
from insilico.config.problems import listed, nearest
from insilico.model import Model
from insilico.solve.methods import CLOSED_FORM, REVERSIBLE

LISTED = 5
"""Subjects that a message names."""


@dataclasses.dataclass(frozen=True, eq=False)
class Fit:
    """One fit, as its config describes it.

    `notes`: what the config says that its method has no use for.
    """

    document: Document
    config: FitConfig
    model: Model
    patients: PatientData
    population: Population
    overrides: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The method by which the posterior is found, in words."""
        return LABELS[self.config.method]

    @property
    def files(self) -> dict[str, Path]:
        """The files that the config names, by the paths of their fields: the patients' table, its
        companion of doses, and those of estimates that numbers are imported from."""
        beside, spec = Path(self.document.file).parent, self.config.estimates
        estimates = {} if spec is None else spec.files(beside)
        doses = self.config.data.doses
        return {
            "data.file": beside / self.config.data.file,
            **({} if doses is None else {"data.doses.file": beside / doses.file}),
            **{f"estimates.{field}": file for field, file in estimates.items()},
        }


def read(path: str | os.PathLike[str], overrides: str | Sequence[str] = ()) -> Fit:
    """Read a fit's config and its data. Does not import JAX.

    **Arguments:**

    - `path`: the YAML file.
    - `overrides`: changes as `key=value`, such as `sampling.draws=1000`; one or several.

    Raises `ConfigError` with every problem of the config, and the mistakes in the data beside
    them; `DataError` where the data alone are wrong.
    """
    changes = (overrides,) if isinstance(overrides, str) else tuple(overrides)
    whole = load(path, changes)

    def check(document: Document, config: FitConfig) -> Fit:
        try:
            return _checked(document, config, changes)
        except DataError as error:
            if document is whole:
                raise
            # What was left out of the data's own section would be missed in the table.
            mute = any(place[0] == "data" for place in document.left_out)
            texts = () if mute else error.texts
            told = [document.problem(("data", "file"), text, found="") for text in texts]
            raise ConfigError(told) from None

    return whole.checked(FitConfig, check)


def _checked(document: Document, config: FitConfig, changes: tuple[str, ...]) -> Fit:
    """The fit of a config, if data and population are what it says. Raises as `read`."""
    faults = Faults(document, ())
    patients = population = wrong = None
    with faults.at("approximation"):
        raise_any(_misfits(config))
    model = structural_model(config, document, faults)
    if model is None:
        faults.raise_if_any()
    assert model is not None
    with faults.at():
        population = population_of(
            config,
            model,
            stated_vocabulary(config.data),
            name=os.path.splitext(os.path.basename(document.file))[0],
            title=config.title,
            document=document,
        )
    with faults.at():
        try:
            patients = read_patients(model, config.data, document=document)
        except DataError as error:
            wrong = error
    with faults.at():
        raise_any(_unsuited(config, population))
    if population is not None and patients is not None:
        with faults.at():
            check_patients(population, patients)
        with faults.at("population"):
            raise_any(_without_power(config, patients))
    with faults.at("checks"):
        raise_any([*_unknown_strata(config), *_without_doses(config, patients)])
    if wrong is not None:
        if not faults.some:
            raise wrong
        with faults.at("data", "file"):
            raise_any(wrong.faults)
    faults.raise_if_any()
    assert population is not None and patients is not None
    return Fit(document, config, model, patients, population, changes, _unused(config))


def _misfits(config: FitConfig) -> list[Fault]:
    """Settings of an approximation that its method cannot have, by their place in it."""
    given, faults = config.approximation, list[Fault]()
    if config.method == "svi" and not given.priors:
        faults.append(
            Fault(
                ("priors",),
                "svi approximates a posterior, which has priors",
                "no",
                "yes",
                "choose focei or laplace for maximum likelihood",
            )
        )
    if config.method in ("focei", "laplace") and given.priors and given.covariance != "hessian":
        faults.append(
            Fault(
                ("covariance",),
                "is one of maximum likelihood, but priors count here",
                f'"{given.covariance}"',
                '"hessian"',
                "state `priors: no` beside it",
            )
        )
    return faults


def _unsuited(config: FitConfig, population: Population | None) -> list[Fault]:
    """Populations for which a method is none."""
    faults, method = list[Fault](), config.method
    if method not in ("focei", "laplace"):
        return faults
    if population is None:
        return faults
    known = {f"shares_{name}" for name, of in config.mixtures.items() if of.kind == "known"}
    learned = {name for name, of in population.measures.items() if of.low < of.high} - known
    if not learned:
        faults.append(
            Fault(
                ("method",),
                "looks for parameters of the population, and all of them are known here",
                f'"{method}"',
                '"nuts", "svi"',
                "sample what is left, the subjects' random effects, or give a number a prior",
            )
        )
    return faults


def _unknown_strata(config: FitConfig) -> list[Fault]:
    wanted, known = config.checks.stratify, stated_vocabulary(config.data)
    if wanted is None or wanted in known:
        return []
    return [unknown(("stratify",), "covariate", wanted, known)]


def _without_doses(config: FitConfig, patients: PatientData | None) -> list[Fault]:
    """Checks over the time since a dose where there is none, or a clock that is turned back."""
    if config.checks.over == "time" or patients is None:
        return []
    after, columns = patients.time_after_dose, patients.records.columns
    if after is None:
        untold = "a reset turns the clock back"
    else:
        kind = patients.measured.kind[columns.place, columns.patient]
        output = patients.measured.output[columns.place, columns.patient]
        told = output[(kind != Kind.NOTHING) & np.isfinite(after)]
        without = [name for number, name in enumerate(patients.outputs) if number not in told]
        if not without:
            return []
        untold = f"no value of {listed(without)} after a dose"
    message = "is since the last dose, which these data do not tell"
    return [Fault(("over",), message, untold, '"time"')]


def _without_power(config: FitConfig, patients: PatientData) -> list[Fault]:
    """Covariates of which a power is asked for, and that some subject has none of: -99, say."""
    faults = []
    for parameter, spec in config.population.items():
        for name, effect in spec.covariates.items():
            if effect.kind != "power" or name not in patients.covariates:
                continue
            values = np.asarray(patients.covariates[name], float)
            wrong = np.flatnonzero(values <= 0.0)
            if not len(wrong):
                continue
            told = [f"{values[at]:g} of subject {patients.subjects[at]}" for at in wrong[:LISTED]]
            more = f" and {len(wrong) - LISTED} more" if len(wrong) > LISTED else ""
            faults.append(
                Fault(
                    (parameter, "covariates", name),
                    "a power is of numbers above 0",
                    ", ".join(told) + more,
                    None,
                    "a code for a missing value is named by `data.missing`",
                )
            )
    return faults


def _unused(config: FitConfig) -> tuple[str, ...]:
    """What the config states and its method has no use for, a sentence each."""
    given, method = config.model_fields_set, config.method
    unused = ["sampling"] if method != "nuts" and "sampling" in given else []
    if method in ("focei", "laplace") and "parameterisation" in given:
        unused.append("parameterisation")
    if method == "nuts" and "approximation" in given:
        unused.append("approximation")
    elif "approximation" in given:
        stated = config.approximation.model_fields_set
        unused += [
            f"approximation.{name}"
            for name in Approximation.model_fields
            if name in stated and name not in USED[method]
        ]
    return tuple(f"{name} is not used by method {method}" for name in unused)


class Solved(Protocol):
    """A config that says what is solved, and how."""

    @property
    def model(self) -> str: ...

    @property
    def solver(self) -> FitSolverSpec: ...


def structural_model(config: Solved, document: Document, faults: Faults) -> Model | None:
    """The structural model of a config, for the checks that follow; what is wrong with it, or with
    its method of integration as one of derivatives in reverse, goes to the faults.

    A misspelt name stands for the one it probably is; None where it is like no other.
    """
    names, name = models.names(), config.model
    if name not in names:
        guess = nearest(name, names)
        faults.add(
            document.problem(
                ("model",),
                "unknown model",
                allowed=listed(names),
                hint=did_you_mean(name, names) or models.HOW_TO_ADD,
            )
        )
        if guess is None:
            return None
        name = guess
    model = models.get(name)
    method = config.solver.method or model.method
    if model.diffusion is not None:
        message = f"{model.name} has noise of its own, with which it cannot be fitted"
        faults.add(document.problem(("model",), message, found=config.model))
    elif method not in REVERSIBLE:
        message = f"{method}, the model's own method, has no derivative in reverse"
        faults.add(document.problem(("solver", "method"), message, found="", hint="state another"))
    elif method in CLOSED_FORM and model.propagate is None:
        message = f"{method} is for models that have one, and {model.name} has none"
        faults.add(document.problem(("solver", "method"), message))
    return model
