"""Data sets simulated from what a fit has learned, as a table with NONMEM's columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray as xr

from cohorts.data import DataSpec, nonmem_spec, to_nonmem
from cohorts.fits.fit import Fit
from cohorts.fits.results import thinned
from cohorts.fits.running import tolerances_of
from cohorts.inference.joint import Joint
from cohorts.inference.predictive import Predictive
from insilico.solve import Status

if TYPE_CHECKING:
    import pandas as pd


class SimulatedData(NamedTuple):
    """Simulated data sets.

    - `frame`: as `cohorts.data.to_nonmem` gives it, with the replicate's number in REP.
    - `spec`: what it means: the section `data` of a config, which reads the first replicate.
    - `unsolved`: how many subjects, over all replicates, have no values since a solve failed.
    """

    frame: pd.DataFrame
    spec: DataSpec
    unsolved: int


def simulated_data(
    fit: Fit, tree: xr.DataTree, replicates: int, seed: int | None = None, file: str = "nonmem.csv"
) -> SimulatedData:
    """Data sets of new subjects, with the doses, times, covariates and limits of the fit's own.

    Each replicate is of another draw of the posterior, evenly spaced among all of them, so that the
    uncertainty about the population is in them; with more replicates than draws, of as many as
    there are. Values have residual error.

    **Arguments:**

    - `fit`, `tree`: a fit, and the results of its run.
    - `seed`: of subjects and errors; default: the fit's.
    - `file`: the table's name, for the spec.
    """
    solver = fit.config.solver
    joint, data = Joint.of(
        fit.population, fit.patients, method=solver.method, tolerances=tolerances_of(solver)
    )
    seed = fit.config.seed if seed is None else seed
    predictive = Predictive(joint, data)
    draws = thinned(tree["posterior"].to_dataset(), replicates)
    found = predictive.new(draws, seed)
    values = predictive.measured(found, draws, seed)
    frame, spec = to_nonmem(fit.patients, values), nonmem_spec(fit.patients, file)
    if "REP" in frame:
        spec = spec.model_copy(update={"only": {"REP": (int(frame["REP"].iloc[0]),)}})
    return SimulatedData(
        frame,
        spec,
        int(np.sum(found.status != Status.OK)),
    )
