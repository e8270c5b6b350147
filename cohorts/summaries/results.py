"""What a calibration found, as an ArviZ `DataTree` that says everything its report needs.

Groups of both methods:

- `prior`: draws of the population's parameters from the plausible range.
- `targets`: by `target`, what was published and what the population gives; see `targets_group`.
- `conflicts`: by `left_out` and `target`, mismatches without one of them; pairs in the attributes.
- `curves`: by arm, output, statistic and time, true values over the patients, after and before.

Of `mcmc` those of the sampler (`posterior`, `sample_stats`, `warmup_sample_stats`,
`log_likelihood`), `diagnostics`, and `virtual_patients`: the covariates of the virtual patients.
Of `reweight`, `virtual_patients` are the plausible ones: by `patient` covariates, parameters
(`parameter_<name>`), the population's parameters that each is of (`population_<name>`), and
`weight`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from cohorts.summaries.calibration import Calibration
from cohorts.summaries.conflicts import Conflicts, in_words
from cohorts.summaries.evaluation import PERCENTILES, Evaluation

STATISTICS = (*(f"{each:g}th percentile" for each in PERCENTILES), "mean")


def targets_group(
    calibration: Calibration,
    *,
    value: np.ndarray,
    mismatch: np.ndarray,
    standard_error: np.ndarray,
    monte_carlo_error: np.ndarray,
    prior: np.ndarray,
    second: np.ndarray | None = None,
    distance: np.ndarray,
) -> xr.Dataset:
    """What was published and what the population gives.

    `value`, `mismatch`, `standard_error`, `monte_carlo_error` and `prior` (values under the
    plausible range) are (draws, targets); of a single population one draw. `second`: the mismatches
    that other random numbers give at the same draws.

    Variables: `published`; `standard_error`, on the scale of the comparison; `value`, `lower`,
    `upper` (mean and interval over draws); `mismatch` (mean, in standard errors); the same before:
    `prior_value`, `prior_lower`, `prior_upper`; `monte_carlo_error` by theory and, of `mcmc`,
    `repeated` as other random numbers show it, both in standard errors; `distance` from what the
    other targets lead to. `compared_as_share`: quantiles whose error is that of a share.
    """
    tails = _tails(calibration.config.checks.interval)
    lower, upper = np.nanquantile(value, tails, axis=0)
    before = np.nanquantile(prior, tails, axis=0)
    columns: dict[str, Any] = {
        "published": [target.value for target in calibration.targets],
        "value": np.nanmean(value, axis=0),
        "lower": lower,
        "upper": upper,
        "standard_error": np.nanmean(standard_error, axis=0),
        "mismatch": np.nanmean(mismatch, axis=0),
        "monte_carlo_error": np.nanmean(monte_carlo_error, axis=0),
        "prior_value": np.nanmedian(prior, axis=0),
        "prior_lower": before[0],
        "prior_upper": before[1],
        "distance": distance,
        "subjects": [target.subjects for target in calibration.targets],
        "arm": [calibration.arms[target.arm].name for target in calibration.targets],
        "statistic": [target.statistic for target in calibration.targets],
        "unit": [target.unit for target in calibration.targets],
        "compared_as_share": [target.of_probability for target in calibration.targets],
    }
    if second is not None:
        # Both sets scatter about what infinitely many patients would give.
        columns["repeated"] = np.sqrt(np.nanmean(np.square(second - mismatch), axis=0) / 2.0)
    return xr.Dataset(
        {name: ("target", np.asarray(column)) for name, column in columns.items()},
        coords={"target": [target.name for target in calibration.targets]},
        attrs={"interval": calibration.config.checks.interval},
    )


def conflicts_group(calibration: Calibration, found: Conflicts) -> xr.Dataset:
    """Mismatches without each of the targets."""
    names = [target.name for target in calibration.targets]
    return xr.Dataset(
        {
            "without": (("left_out", "target"), found.without),
            "mismatch": ("target", found.mismatch),
            "distance": ("left_out", found.distance),
        },
        coords={"left_out": names, "target": names},
        attrs={
            "pairs": [number for pair in found.pairs for number in (pair.first, pair.second)],
            "in_words": in_words(found, names),
        },
    )


def curves_group(
    evaluation: Evaluation, after: Mapping[str, np.ndarray], before: Mapping[str, np.ndarray]
) -> xr.Dataset:
    """Courses, (draws, arms, statistics, times) by output: medians over the draws."""
    dims = ("output", "arm", "course", "curve_time")
    return xr.Dataset(
        {
            name: (dims, np.stack([np.nanmedian(of[output], axis=0) for output in after]))
            for name, of in (("calibrated", after), ("plausible", before))
        },
        coords={
            "output": list(after),
            "arm": [arm.name for arm in evaluation.calibration.arms],
            "course": list(STATISTICS),
            "curve_time": evaluation.curve_times,
        },
    )


def patients_group(
    calibration: Calibration,
    covariates: Mapping[str, np.ndarray],
    parameters: Mapping[str, np.ndarray] | None = None,
    sites: Mapping[str, np.ndarray] | None = None,
    weights: np.ndarray | None = None,
) -> xr.Dataset:
    """The virtual patients."""
    variables: dict[str, Any] = {}
    vocabulary = calibration.cohort.vocabulary
    for name, values in covariates.items():
        entry = vocabulary[name]
        attributes: dict[str, Any] = {"kind": entry.kind, "units": entry.unit or ""}
        if entry.categories:
            attributes["categories"] = list(entry.categories)
        variables[name] = ("patient", np.asarray(values), attributes)
    units = calibration.model.quantities("Parameters")
    for name, values in (parameters or {}).items():
        unit = units[name].unit
        variables[f"parameter_{name}"] = ("patient", values, {"units": unit})
    for name, values in (sites or {}).items():
        dims = ("patient", *(f"{name}_dim_{n}" for n in range(values.ndim - 1)))
        variables[f"population_{name}"] = (dims, values)
    if weights is not None:
        variables["weight"] = ("patient", weights)
    return xr.Dataset(variables)


def _tails(probability: float) -> list[float]:
    return [0.5 - probability / 2, 0.5 + probability / 2]
