"""What a trial estimates, and what it should have: analyses of a config on endpoints by arm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from trials.analyses import (
    Estimates,
    Status,
    crossover_geometric_mean_ratio,
    crossover_mean_difference,
    crossover_risk_difference,
    geometric_mean_ratio,
    hazard_ratio,
    in_batches,
    indicator_columns,
    mean_difference,
    restricted_mean_difference,
    risk_difference_mantel_haenszel,
    risk_difference_miettinen_nurminen,
)
from trials.config import AnalysisSpec, TrialConfig
from trials.estimators import ESTIMATORS
from trials.margins import better_sign, margins_of
from trials.operating_characteristics import (
    OperatingCharacteristics,
    Simulated,
    assurance,
    over_populations,
    proportion,
)

WITHIN_SUBJECTS: dict[str, Callable[..., Estimates]] = {
    "mean_difference": crossover_mean_difference,
    "geometric_mean_ratio": crossover_geometric_mean_ratio,
    "risk_difference": crossover_risk_difference,
}
"""Estimators of a crossover."""

Endpoints = Mapping[str, Mapping[str, np.ndarray]]
"""By endpoint, `value`, `valid` and, for a time to an event, `event`."""


class Truth(NamedTuple):
    """An estimand's value on independent subjects under both arms, with its Monte-Carlo error."""

    value: float
    mcse: float
    subjects: int


def given(potential: np.ndarray, condition: np.ndarray) -> np.ndarray:
    """What happened to each subject, (trial, subject, period).

    Potential outcomes are (condition, trial, subject); `condition` has each subject's number of it
    in every period, (trial, subject, period).
    """
    periods = np.moveaxis(np.maximum(condition, 0), -1, 0)
    return np.moveaxis(np.take_along_axis(potential, periods, axis=0), 0, -1)


def observed(endpoints: Endpoints, condition: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """Each subject's endpoints in the conditions it was given; arrays as of `given`."""
    return {
        name: {part: given(column, condition) for part, column in parts.items()}
        for name, parts in endpoints.items()
    }


class Strata(NamedTuple):
    """The factors of randomisation, (trial, subject) each, with their numbers of levels."""

    codes: tuple[np.ndarray, ...]
    levels: tuple[int, ...]

    def columns(self) -> Array:
        """Indicators of every factor's levels, (trial, subject, column)."""
        each = [
            indicator_columns(jnp.asarray(codes), levels)
            for codes, levels in zip(self.codes, self.levels, strict=True)
        ]
        return jnp.concatenate(each, axis=-1)

    def cells(self) -> tuple[Array, int]:
        """One code for each combination of levels, and how many there are."""
        code = jnp.zeros_like(jnp.asarray(self.codes[0]))
        for codes, levels in zip(self.codes, self.levels, strict=True):
            code = code * levels + jnp.asarray(codes)
        return code, int(np.prod(self.levels))


def strata_of(config: TrialConfig, centre: np.ndarray, factors: Mapping[str, np.ndarray]) -> Strata:
    """What randomisation was stratified by, as factors of an analysis."""
    spec = config.trial.randomisation.strata
    codes = [centre] if spec.centre else []
    levels = [config.trial.centres.count] if spec.centre else []
    codes += [factors[name].astype(centre.dtype) for name in spec.by]
    levels += [2] * len(spec.by)
    return Strata(tuple(codes), tuple(levels))


def analyse(
    config: TrialConfig,
    endpoints: Endpoints,
    arm: np.ndarray,
    analysable: np.ndarray,
    subsets: Mapping[str, np.ndarray],
    strata: Strata,
) -> dict[str, Estimates]:
    """Every analysis of every trial; arrays (trial, subject, period), subsets (trial, subject).

    `endpoints` are the observed ones; `analysable` is false where a subject's solve failed, which
    is left out.
    """
    result = {}
    for name, spec in config.analyses.items():
        subset = np.asarray(subsets.get(name, True))[..., None]
        outcome, used = endpoints[spec.endpoint], analysable & subset
        if config.trial.crossover is not None:
            result[name] = _within_subjects(config, spec, outcome, arm, used)
            continue
        only = {part: column[..., 0] for part, column in outcome.items()}
        result[name] = _estimate(config, spec, only, arm[..., 0], used[..., 0], strata)
    return result


def _within_subjects(
    config: TrialConfig,
    spec: AnalysisSpec,
    outcome: Mapping[str, np.ndarray],
    arm: np.ndarray,
    used: np.ndarray,
) -> Estimates:
    """An analysis of a crossover; arrays (trial, subject, period)."""
    value, used = outcome["value"], used & outcome["valid"]
    if spec.estimator == "risk_difference":
        value = np.where(used, value, 0.0) > 0.5
    return in_batches(
        WITHIN_SUBJECTS[spec.estimator],
        jnp.asarray(value),
        jnp.asarray(arm),
        jnp.asarray(used),
        **_options(config, spec),
    )


def _estimate(
    config: TrialConfig,
    spec: AnalysisSpec,
    outcome: Mapping[str, np.ndarray],
    arm: np.ndarray,
    used: np.ndarray,
    strata: Strata,
    run: Callable[..., Estimates] = in_batches,
) -> Estimates:
    treatment, reference = contrast_of(config, spec)
    used = used & outcome["valid"] & np.isin(arm, (treatment, reference))
    value = jnp.asarray(np.where(used, outcome["value"], 0.0))
    adjusted = spec.adjust == "strata" and bool(strata.codes)
    options = _options(config, spec)
    who = [jnp.asarray(arm), jnp.asarray(used)]
    match spec.estimator:
        case "mean_difference" | "geometric_mean_ratio":
            columns = [strata.columns()] if adjusted else []
            means = spec.estimator == "mean_difference"
            estimator = mean_difference if means else geometric_mean_ratio
            return run(estimator, value, *who, *columns, **options)
        case "risk_difference" if adjusted:
            cells, number = strata.cells()
            return run(
                risk_difference_mantel_haenszel,
                value > 0.5,
                *who,
                cells,
                strata=number,
                **options,
            )
        case "risk_difference":
            return run(risk_difference_miettinen_nurminen, value > 0.5, *who, **options)
    event = jnp.asarray(np.where(used, outcome["event"], False))
    if spec.estimator == "hazard_ratio":
        return run(hazard_ratio, value, event, *who, **options)
    return run(restricted_mean_difference, value, event, *who, horizon=spec.horizon, **options)


def _options(config: TrialConfig, spec: AnalysisSpec) -> dict[str, Any]:
    """What all estimators are told of an analysis."""
    treatment, reference = contrast_of(config, spec)
    margins = margins_of(config, spec)
    return {
        "arms": len(config.arms),
        "treatment": treatment,
        "reference": reference,
        "level": spec.level,
        "margins": None if margins is None else jnp.asarray(margins),
    }


def contrast_of(config: TrialConfig, spec: AnalysisSpec) -> tuple[int, int]:
    """Numbers of the arm of interest and the arm it is compared with."""
    arms = list(config.arms)
    return arms.index(spec.contrast[0]), arms.index(spec.contrast[1])


def true_values(
    config: TrialConfig,
    potential: Endpoints,
    solved: np.ndarray,
    subsets: Mapping[str, np.ndarray],
) -> dict[str, Truth]:
    """Each estimand's own summary on subjects seen under both arms; arrays (condition, subject).

    For means, their ratios and risks every subject is its own control, and the error is that of the
    paired difference, in a crossover averaged over the periods. A time to an event is summarised as
    the estimator does, with all subjects in both arms; its error ignores the pairing and so is on
    the large side.
    """
    result = {}
    for name, spec in config.analyses.items():
        treatment, reference = contrast_of(config, spec)
        outcome = potential[spec.endpoint]
        if not ESTIMATORS[spec.estimator].of_times:
            value, valid = outcome["value"], outcome["valid"] & solved & subsets.get(name, True)
            if spec.estimator == "geometric_mean_ratio":
                valid = valid & (value > 0)
                value = np.log(np.where(valid, value, 1.0))
            first, second = (
                (
                    value[arm :: len(config.arms)].mean(axis=0),
                    valid[arm :: len(config.arms)].all(axis=0),
                )
                for arm in (treatment, reference)
            )
            result[name] = _paired(first, second, config.trial.population_draws)
            continue
        both = solved[treatment] & solved[reference] & subsets.get(name, True)
        pair = (treatment, reference)
        merged = {
            part: np.concatenate([column[arm] for arm in pair])[None]
            for part, column in outcome.items()
        }
        arm = np.repeat(np.array(pair), both.shape[-1])[None]
        used = np.tile(both, 2)[None]
        alone = Strata((), ())
        # One large trial, which must not be padded to a batch of them.
        estimate = _estimate(config, spec, merged, arm, used, alone, _directly)
        result[name] = Truth(
            float(estimate.estimate[0]), float(estimate.standard_error[0]), int(both.sum())
        )
    return result


def _directly(estimator: Callable[..., Estimates], *arrays: Array, **options: Any) -> Estimates:
    return estimator(*arrays, **options)


def _paired(
    treatment: tuple[np.ndarray, np.ndarray], reference: tuple[np.ndarray, np.ndarray], draws: int
) -> Truth:
    """The mean difference of two arms, each with its values and which of them are valid."""
    valid = treatment[1] & reference[1]
    difference = (treatment[0] - reference[0])[valid]
    number = difference.size
    if number < 2:
        return Truth(float("nan"), float("nan"), number)
    value, error = float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(number))
    if draws > 1:
        # Subjects are dealt to the draws of the population in turn, and those of one share it.
        draw = np.flatnonzero(valid) % draws
        means = [difference[draw == each].mean() for each in range(draws) if np.any(draw == each)]
        error = float(np.std(means, ddof=1) / np.sqrt(len(means))) if len(means) > 1 else np.nan
    return Truth(value, float(error), number)


def favourable_sign(config: TrialConfig, spec: AnalysisSpec) -> int | None:
    """`better_sign` for a test of any difference; margins have their direction in themselves."""
    return better_sign(config, spec) if spec.hypothesis == "difference" else None


def characteristics(
    config: TrialConfig, estimates: Mapping[str, Estimates], truth: Mapping[str, Truth]
) -> dict[str, OperatingCharacteristics]:
    """How each analysis performs over the trials, against its true value."""
    return {
        name: over_populations(
            estimates[name],
            truth[name].value,
            truth[name].mcse,
            alpha=spec.alpha,
            draws=config.trial.population_draws,
            favourable=favourable_sign(config, spec),
            margins=margins_of(config, spec),
        )
        for name, spec in config.analyses.items()
    }


def success(config: TrialConfig, estimates: Mapping[str, Estimates]) -> Simulated:
    """Share of trials that count as a success, with its Monte-Carlo error.

    A trial succeeds when any (or all) of the named analyses reach their own alpha; without a
    definition, when the first analysis does. Without margins an effect on an endpoint that says
    which values are better has to point there too. An analysis that could not be done reaches
    nothing.
    """
    spec = config.success
    names = (next(iter(config.analyses)),)
    if spec is not None:
        names = tuple(spec.any_of or spec.all_of or names)
    reached = jnp.stack([_reached(config, name, estimates[name]) for name in names])
    together = spec is not None and spec.all_of is not None
    succeeded = jnp.all(reached, axis=0) if together else jnp.any(reached, axis=0)
    pooled, draws = proportion(succeeded), config.trial.population_draws
    if draws == 1:
        return pooled
    over_draws = assurance(proportion(succeeded.reshape(draws, -1)).value)
    return Simulated(over_draws.value, jnp.maximum(over_draws.mcse, pooled.mcse))


def _reached(config: TrialConfig, name: str, estimates: Estimates) -> Array:
    """In which trials an analysis does what success asks of it."""
    spec = config.analyses[name]
    significant = (estimates.status == Status.OK) & (estimates.p_value < spec.alpha)
    sign = favourable_sign(config, spec)
    return significant if sign is None else significant & (sign * estimates.estimate > 0)
