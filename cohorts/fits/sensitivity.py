"""What a fit rests on: its priors, and single subjects. From marginal likelihoods at its draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from cohorts.diagnosis import LeaveOneOut, leave_one_out, overlap, power_scaling
from cohorts.diagnosis.convergence import varying
from cohorts.diagnosis.leave_one_out import warnings_of as warnings_of_subjects
from cohorts.diagnosis.prior_sensitivity import warnings_of as warnings_of_priors
from cohorts.hierarchy.imported import SITE as ESTIMATES
from cohorts.hierarchy.variability import FACTOR
from cohorts.inference.joint import Joint
from cohorts.inference.marginal_draws import (
    coordinates_of_draws,
    log_prior_of_draws,
    marginal_of_draws,
)
from cohorts.inference.marginal_likelihood import Method
from cohorts.inference.patients import Data

METHOD: Method = "focei"
"""Of the marginal likelihood. Against importance sampling it is too large by 0.005 to 0.16 for
theophylline's subjects, by much the same at each draw, which adds 0.9 to an elpd with a standard
error of 14; `laplace` is within 0.03 and takes three times as long to compile."""

LEAST_DRAWS = 100
"""Draws at which all subjects are possible below which nothing is said."""


def sensitivity(
    joint: Joint,
    data: Data,
    draws: Mapping[str, np.ndarray],
    posterior: xr.Dataset,
    prior: xr.Dataset,
    subjects: Sequence[object],
) -> dict[str, xr.Dataset]:
    """Groups `leave_one_out`, by subject, and `prior_sensitivity`, by parameter.

    Both have `warnings` in their attributes. Empty where too few draws have all subjects possible.

    **Arguments:**

    - `draws`: of the posterior, thinned, (draws, …) by site: those that are used for both.
    - `posterior`, `prior`: all draws, for the overlap.
    """
    theta = coordinates_of_draws(joint, draws, data)
    likelihood = marginal_of_draws(joint, theta, data, method=METHOD)
    if np.sum(np.all(np.isfinite(likelihood), axis=1)) < LEAST_DRAWS:
        return {}
    left_out = leave_one_out(likelihood)
    names = _parameters(draws, posterior, prior)
    scaled = power_scaling(
        {label: draws[name][:, *index] for label, (name, index) in names.items()},
        log_prior_of_draws(joint, theta, data),
        likelihood,
    )
    shared = [
        overlap(_column(prior, name, index), _column(posterior, name, index))
        for name, index in names.values()
    ]
    return {
        "leave_one_out": _of_subjects(left_out, subjects),
        "prior_sensitivity": xr.Dataset(
            {
                "overlap": ("parameter", shared),
                "prior": ("parameter", [each.prior for each in scaled.values()]),
                "likelihood": ("parameter", [each.likelihood for each in scaled.values()]),
                "finding": ("parameter", [each.finding for each in scaled.values()]),
            },
            coords={"parameter": list(scaled)},
            attrs={"draws": len(theta), "warnings": list(warnings_of_priors(scaled))},
        ),
    }


def warnings_of(groups: Mapping[str, Any]) -> tuple[str, ...]:
    """What the verdict is to say of these groups, none of which fails a fit."""
    found: list[str] = []
    told_by = [name for name in groups if name.startswith("membership/")]
    for name in (*told_by, "leave_one_out", "prior_sensitivity"):
        told = groups[name].attrs["warnings"] if name in groups else []
        found += [told] if isinstance(told, str) else [str(text) for text in told]
    return tuple(found)


def _of_subjects(found: LeaveOneOut, subjects: Sequence[object]) -> xr.Dataset:
    columns = {"elpd": found.elpd_of, "p_loo": found.p_loo_of, "pareto_k": found.pareto_k}
    return xr.Dataset(
        {name: ("subject", values) for name, values in columns.items()},
        coords={"subject": [str(subject) for subject in subjects]},
        attrs={
            "elpd": found.elpd,
            "standard_error": found.standard_error,
            "p_loo": found.p_loo,
            "most_pareto_k": found.most_pareto_k,
            "draws": found.draws,
            "expansion": METHOD,
            "warnings": list(warnings_of_subjects(found, subjects)),
        },
    )


def _parameters(
    draws: Mapping[str, np.ndarray], posterior: xr.Dataset, prior: xr.Dataset
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Every scalar of the population that was learned: its label, its site, its place in that."""
    # Imported estimates are coordinates, of which the parameters are functions, and so are the
    # factors of correlations.
    names = [
        name
        for name in map(str, prior)
        if name in draws and name != ESTIMATES and not name.startswith(FACTOR)
    ]
    # What is known does not vary, and is not learned.
    return {label: (name, index) for label, name, index in varying(posterior[names])}


def _column(tree: xr.Dataset, name: str, index: tuple[int, ...]) -> np.ndarray:
    return tree[name].transpose("chain", "draw", ...).to_numpy()[:, :, *index].ravel()
