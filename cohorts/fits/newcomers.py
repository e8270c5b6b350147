"""Patients who were not in a fit: the posterior of each one's parameters, given the population."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from cohorts import inference
from cohorts.data import read_patients
from cohorts.fits.fit import read
from cohorts.fits.posterior import learned
from cohorts.fits.running import tolerances_of
from cohorts.inference.individual_posteriors import Kind
from cohorts.inference.joint import Joint
from insilico.randomness import purpose_key
from insilico.runs import RunFolder

if TYPE_CHECKING:
    import pandas as pd


def individuals(
    folder: str | os.PathLike[str],
    table: str | os.PathLike[str] | pd.DataFrame,
    kind: Kind = "laplace",
    *,
    populations: int = 1,
    draws: int = 100,
    seed: int = 0,
    untrusted: bool = False,
) -> xr.DataTree:
    """The posterior of each patient's parameters under a fitted population, thousands at once.

    ```python
    found = fits.individuals("runs/fit_theophylline", "new.csv")
    found["posterior"]["clearance"].mean("draw")  # (subject,)
    ```

    **Arguments:**

    - `folder`: of the fit. `table`: the patients' records, with the columns of the fit's data.
    - `kind`: `map`, the mode; `laplace`, normal about it; `full`, by importance sampling, with
      Pareto's k. Patients with hardly any data, or with censored ones, want `full`.
    - `populations`: draws of the population's parameters over which it is averaged; 1: their
      posterior mean alone, on the scale on which they are estimated.
    - `draws`: of each patient's parameters, for each of the population's.
    - `untrusted`: whether a fit that failed its diagnostics is used all the same.

    Returns groups `mode` and, unless it is `map`, `posterior` (chain, draw, subject), of the
    structural model's parameters in its units. Those that vary within a patient have an axis for
    that: `occasion`, or `stretch`, those over which occasion and covariates stay the same. `status`
    is 0 where the search for the mode came to rest; beside it the `component` of a mixture (its
    number) and `pareto_k` of `full`.

    Raises `CohortError` where the fit cannot be used, and `DataError` with all that is wrong with
    the table.
    """
    known = learned(folder, untrusted=untrusted)
    run = RunFolder.open(folder)
    fit = read(run.path / "config.yaml")
    given = isinstance(table, str | os.PathLike)
    spec = fit.config.data
    if given:
        spec = spec.model_copy(update={"file": str(Path(table).resolve())})
    patients = read_patients(fit.model, spec, None if given else table)
    solver = fit.config.solver
    joint, data = Joint.of(
        known.population,
        patients,
        method=solver.method,
        tolerances=tolerances_of(solver),
        learned_from=False,
    )
    sites = {name: jnp.asarray(known.draws[name]) for name in joint.sites}
    thetas = np.asarray(jax.vmap(lambda values: joint.unconstrained(values, data))(sites))
    if populations == 1:
        chosen = thetas.mean(axis=0, keepdims=True)
    else:
        places = np.linspace(0, len(thetas) - 1, min(populations, len(thetas)))
        chosen = thetas[places.round().astype(int)]
    found = inference.individuals(
        joint, chosen, data, kind, key=purpose_key(seed, "individuals"), draws=draws
    )
    axes = {"subject": list(patients.subjects)}
    names = joint.model.Parameters._fields

    def labelled(parameters: Any, *before: str) -> xr.Dataset:
        variables = {}
        for name, values in zip(names, parameters, strict=True):
            array = np.asarray(values)
            several = array.shape[len(before) : -1]
            own = ("occasion" if size == joint.occasions else "stretch" for size in several)
            variables[name] = ((*before, *own, "subject"), array)
        return xr.Dataset(variables, coords=axes)

    at = jax.jit(joint.parameters)
    centre = chosen.mean(axis=0)
    groups = {"mode": labelled(at(centre, found.x, data, found.component))}
    if found.draws is not None and found.component_of_draws is not None:
        of_draws = np.repeat(chosen, len(found.draws) // len(chosen), axis=0)

        def every(given: tuple[Any, Any, Any]) -> Any:
            def one(own: tuple[Any, Any, Any]) -> Any:
                theta, x, component = own
                return joint.parameters(theta, x, data, component)

            return jax.lax.map(one, given)

        parameters = jax.jit(every)((of_draws, found.draws, found.component_of_draws))
        groups["posterior"] = labelled(parameters, "draw").expand_dims("chain")
    told = {"status": ("subject", found.status), "component": ("subject", found.component)}
    if found.pareto_k is not None:
        told["pareto_k"] = ("subject", found.pareto_k)
    groups["status"] = xr.Dataset(told, coords=axes)
    return xr.DataTree.from_dict(groups)
