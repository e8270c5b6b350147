"""Results made up without simulating: one study like COAG, one with everything that is odd."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import trials
from trials import Study
from trials.analyses import Status

COAG = Path(__file__).parents[3] / "configs" / "warfarin_coag.yaml"

ODD = """\
# Values marked ASSUMED are listed; this line marks none.
title: "Three arms <script>alert('title')</script> & more"
description: Doses of one size, to see a report of another shape.
seed: 7
model: warfarin_hamberg2010
cohort:
  population: warfarin_hamberg2010
  covariates:
    source: iwpc2009
    stated: {target_inr: {value: 2.5}, stroke: {probability: 0.1}}   # ASSUMED: a # in "quotes"
trial:
  subjects: 60
  replicates: 12
  duration: 28 d
  randomisation: {block_sizes: [6], strata: {by: {old: age >= 65}}}
  # ASSUMED: nobody leaves, which no trial
  # has ever seen.
  dropout: {share: 0.01, by: 28 d}
drug: {name: testozole, compartment: gut, every: 2 d, rounding: 0.5 mg, last_day: 27}
visits:
  days: [1, 8, 15, 28]
  measure: [concentration, inr]
formulas:
  low: {expression: "2", unit: mg/d}
  middle: {expression: "5", unit: mg/d}
  high: {expression: "8", unit: mg/d}
arms:
  low: {label: "Low <b>dose</b>", start: [low]}
  middle: {label: Middle dose, start: [middle]}
  high: {label: High dose, start: [high]}
endpoints:
  trough: {label: Concentration at the end, kind: last, of: concentration}
  event: {kind: time_to_range, of: inr, low: 2}
  any_high: {kind: any_at_or_above, of: inr, threshold: 4}
  dose: {kind: mean, of: daily_dose}
analyses:
  high_low: {endpoint: trough, estimator: mean_difference, contrast: [high, low]}
  middle_low: {endpoint: trough, estimator: mean_difference, contrast: [middle, low], alpha: 0.025}
  hazard: {endpoint: event, estimator: hazard_ratio, contrast: [high, low]}
  risk: {endpoint: any_high, estimator: risk_difference, contrast: [high, middle]}
  never: {endpoint: dose, estimator: mean_difference, contrast: [high, low]}
success: {all_of: [high_low, hazard]}
sensitivity: {}
published:
  source: made up
  effects:
    - {analysis: hazard, value: 1.6, lower: 1.2, upper: 2.1}
    - {analysis: high_low, value: -0.4}
assumptions: ["Doses are taken <at night>."]
"""


@pytest.fixture(scope="session")
def make_up() -> Callable[..., xr.DataTree]:
    """See `made_up`."""
    return made_up


@pytest.fixture(scope="session")
def plain_study() -> Study:
    return trials.read(COAG, ["trial.subjects=80", "trial.replicates=30"])


@pytest.fixture(scope="session")
def plain_tree(plain_study) -> xr.DataTree:
    """Effects near the published ones; nothing fails."""
    effects = {
        "primary": (1.0, 1.7),
        "doses_differ": (2.5, 2.8),
        "black": (-4.0, 3.4),
        "non_black": (2.2, 2.0),
        "high_inr": (-0.01, 0.02),
        "first_in_range": (-0.3, 0.5),
        "final_dose": (1.1, 1.0),
    }
    return made_up(plain_study, effects)


@pytest.fixture(scope="session")
def odd_study(tmp_path_factory) -> Study:
    path = tmp_path_factory.mktemp("odd") / "odd.yaml"
    path.write_text(ODD)
    return trials.read(path)


@pytest.fixture(scope="session")
def odd_tree(odd_study) -> xr.DataTree:
    """Negative and missing effects, trials without an estimate, subjects that failed."""
    effects = {
        "high_low": (-0.9, 0.2),
        "middle_low": (-0.4, 0.2),
        "hazard": (0.5, 0.2),
        "risk": (0.03, 0.05),
        "never": (np.nan, np.nan),
    }
    return made_up(odd_study, effects, missing={"risk": 3, "never": 12}, failed=70)


def made_up(
    study: Study,
    effects: Mapping[str, tuple[float, float]],
    missing: Mapping[str, int] | None = None,
    failed: int = 0,
) -> xr.DataTree:
    """A tree in the shape of `trials.results`.

    `effects`: true value and standard error of each analysis; `missing`: trials of it without an
    estimate; `failed`: subjects that could not be solved, each under the first arm.
    """
    config, random = study.config, np.random.default_rng(1)
    arms = list(config.arms)
    shape = (1, config.trial.replicates, config.trial.subjects)
    potential = (1, config.trial.replicates, len(arms), config.trial.subjects)
    axes = ("population", "trial", "subject")
    coords: dict[str, Any] = {axis: np.arange(size) for axis, size in zip(axes, shape, strict=True)}
    tree = {
        "/": xr.Dataset(attrs={"title": config.title, "model": config.model, "seed": config.seed}),
        "subjects": _subjects(study, random, shape, axes, coords),
        "randomisation": _randomisation(study, random, shape, axes, coords),
        "outcomes": _outcomes(study, random, potential, coords | {"arm": arms}),
        "endpoints": _endpoints(study, random, potential, coords | {"arm": arms}),
        **_analysed(study, random, effects, missing or {}),
        "published": _published(study),
        "failures": _failures(study, failed),
        "counts": xr.Dataset(
            {
                name: ((), value)
                for name, value in {
                    "subjects": int(np.prod(shape)),
                    "solves": int(np.prod(potential)),
                    "failed": failed,
                    "attempts_mean": 1.5,
                    "visits": 1000,
                    "steps_mean": 321.5,
                    "truth_subjects": config.truth.subjects,
                    "truth_solves": len(arms) * config.truth.subjects,
                    "truth_failed": 0,
                }.items()
            }
        ),
    }
    return xr.DataTree.from_dict(tree)


def _subjects(study, random, shape, axes, coords) -> xr.Dataset:
    variables: dict[str, Any] = {
        "age": (axes, random.normal(60, 12, shape), {"units": "yr"}),
        "sex": (axes, random.integers(0, 2, shape), {"categories": ["female", "male"]}),
        "smoker": (axes, (random.random(shape) < 0.2).astype(float)),
        "target_inr": (axes, np.full(shape, 2.5)),
        "attempts": (axes, np.ones(shape, int)),
    }
    for name in study.protocol.model.quantities("Parameters"):
        variables[f"parameter_{name}"] = (axes, np.exp(random.normal(0, 0.3, shape)))
    return xr.Dataset(variables, coords=coords)


def _randomisation(study, random, shape, axes, coords) -> xr.Dataset:
    variables: dict[str, Any] = {
        "arm_number": (axes, random.integers(0, len(study.config.arms), shape).astype(np.int8))
    }
    for factor in study.config.trial.randomisation.strata.by:
        variables[f"factor_{factor}"] = (axes, random.random(shape) < 0.4)
    return xr.Dataset(variables, coords=coords)


def _outcomes(study, random, shape, coords) -> xr.Dataset:
    days = np.array(study.config.visits.days)
    axes = ("population", "trial", "arm", "subject", "visit")
    full = (*shape, days.size)
    hour = study.config.visits.time_of_day / 24
    arm = np.arange(shape[2])[:, None, None]
    variables: dict[str, Any] = {
        "time": (axes, np.broadcast_to(days - 1 + hour, full).astype(np.float32)),
        "used": (axes, np.ones(full, bool)),
        "attended": (axes, random.random(full) < 0.9),
        "daily_dose": (axes, 4 + arm + random.normal(0, 1, full)),
    }
    for output in study.config.visits.measure:
        course = 1 + 1.5 * (1 - np.exp(-days / 8)) + 0.2 * arm
        variables[output] = (axes, np.broadcast_to(course, full))
        variables[f"{output}_measured"] = (axes, course * np.exp(random.normal(0, 0.2, full)))
    return xr.Dataset(variables, coords=coords | {"visit": np.arange(days.size)})


def _endpoints(study, random, shape, coords) -> xr.Dataset:
    axes = ("population", "trial", "arm", "subject")
    variables: dict[str, Any] = {"solved": (axes, np.ones(shape, bool))}
    for name, spec in study.config.endpoints.items():
        value = random.uniform(20, 80, shape)
        if spec.kind == "time_to_range":
            value = random.choice([d - 1 + 0.375 for d in study.config.visits.days], shape)
            variables[f"{name}_event"] = (axes, random.random(shape) < 0.7)
        variables[name] = (axes, value)
        variables[f"{name}_valid"] = (axes, random.random(shape) < 0.95)
    return xr.Dataset(variables, coords=coords)


def _analysed(study, random, effects, missing) -> dict[str, xr.Dataset]:
    config = study.config
    replicates, arms = config.trial.replicates, list(config.arms)
    specs = {name: config.analyses[name] for name in effects}
    coords = {
        "analysis": list(specs),
        "label": ("analysis", [spec.label or name for name, spec in specs.items()]),
        "endpoint": ("analysis", [spec.endpoint for spec in specs.values()]),
        "alpha": ("analysis", [spec.alpha for spec in specs.values()]),
    }
    truth = np.array([effects[name][0] for name in specs])
    error = np.array([effects[name][1] for name in specs])
    estimate = truth + error * random.standard_normal((replicates, len(specs)))
    status = np.zeros(estimate.shape, np.int8)
    for position, name in enumerate(specs):
        gone = missing.get(name, 0)
        status[:gone, position] = Status.NO_VARIATION
        estimate[:gone, position] = np.nan
    usable = np.isfinite(estimate)
    p = np.where(usable, np.exp(-0.5 * (estimate / error) ** 2), np.nan)
    axes = ("population", "trial", "analysis")
    lower, upper = estimate - 2 * error, estimate + 2 * error
    by_arm = (*axes, "arm")
    mean = random.uniform(40, 50, (1, *estimate.shape, len(arms)))
    estimates = xr.Dataset(
        {
            "estimate": (axes, estimate[None]),
            "lower": (axes, lower[None]),
            "upper": (axes, upper[None]),
            "p_value": (axes, p[None]),
            "standard_error": (axes, np.broadcast_to(error, estimate.shape)[None]),
            "n": (by_arm, np.full(mean.shape, config.trial.subjects // len(arms))),
            "mean": (by_arm, mean),
            "status": (axes, status[None], {"meanings": ["0: ok", "3: no_variation"]}),
        },
        coords={**coords, "arm": arms, "population": [0], "trial": np.arange(replicates)},
    )
    counted = usable.sum(axis=0)
    alpha = np.array([spec.alpha for spec in specs.values()])
    significant = usable & (np.nan_to_num(p, nan=1.0) < alpha)
    covered = usable & (lower <= truth) & (truth <= upper)
    power = significant.mean(axis=0)
    coverage = covered.sum(axis=0) / np.maximum(counted, 1)
    filled = np.ma.masked_invalid(estimate)
    average, spread = filled.mean(axis=0).filled(np.nan), filled.std(axis=0, ddof=1).filled(np.nan)
    few = np.where(counted > 0, counted, np.nan)
    numbers = {
        "power": (power, np.sqrt(power * (1 - power) / replicates)),
        "mean_estimate": (average, spread / np.sqrt(few)),
        "bias": (average - truth, spread / np.sqrt(few)),
        "empirical_sd": (spread, spread / np.sqrt(2 * few)),
        "mean_se": (error, error / 50),
        "relative_se_error": (100 * (error / spread - 1), np.full(error.shape, 8.0)),
        "coverage": (coverage, np.sqrt(coverage * (1 - coverage) / few)),
        "mse": (spread**2, spread**2 / 5),
    }
    characteristics = xr.Dataset(
        {
            **{name: ("analysis", value) for name, (value, _) in numbers.items()},
            **{f"{name}_mcse": ("analysis", mcse) for name, (_, mcse) in numbers.items()},
            "trials": ("analysis", np.full(len(specs), replicates)),
            "failures": ("analysis", replicates - counted),
            "success": ((), 0.4),
            "success_mcse": ((), 0.08),
        },
        coords=coords,
    )
    true = xr.Dataset(
        {
            "value": ("analysis", truth),
            "mcse": ("analysis", error / 20),
            "n": ("analysis", np.full(len(specs), 2000)),
        },
        coords=coords,
    )
    scenarios = list(config.sensitivity)
    size = (len(scenarios), len(specs))
    sensitivity = xr.Dataset(
        {
            "value": (("scenario", "analysis"), np.broadcast_to(truth + error, size)),
            "mcse": (("scenario", "analysis"), np.broadcast_to(error / 15, size)),
            "n": (("scenario", "analysis"), np.full(size, 2000)),
            "solves": ("scenario", np.full(len(scenarios), 4000)),
            "failed": ("scenario", np.zeros(len(scenarios), int)),
            "causes": ("scenario", np.full(len(scenarios), "", object).astype(str)),
        },
        coords={
            **coords,
            "scenario": np.array(scenarios, str),
            "scenario_label": (
                "scenario",
                np.array([config.sensitivity[name].label for name in scenarios], str),
            ),
        },
    )
    return {
        "estimates": estimates,
        "operating_characteristics": characteristics,
        "truth": true,
        "sensitivity": sensitivity,
    }


def _published(study) -> xr.Dataset:
    spec = study.config.published
    entries: list[tuple[Any, ...]] = []
    nan = float("nan")
    if spec is not None:
        entries += [(e.analysis, e.arm, e.value, nan, nan) for e in spec.arms]
        entries += [
            (e.analysis, "", e.value, *(nan if x is None else x for x in (e.lower, e.upper)))
            for e in spec.effects
        ]
    columns = list(zip(*entries, strict=True)) if entries else [()] * 5
    kinds = (str, str, float, float, float)
    names = ("analysis", "arm", "value", "lower", "upper")
    return xr.Dataset(
        {
            name: ("entry", np.array(column, kind))
            for name, kind, column in zip(names, kinds, columns, strict=True)
        }
    )


def _failures(study, failed: int) -> xr.Dataset:
    variables: dict[str, Any] = {
        "population": ("failure", np.zeros(failed, int)),
        "trial": ("failure", np.arange(failed) % 5),
        "subject": ("failure", np.arange(failed)),
        "arm": ("failure", np.array([next(iter(study.config.arms))] * failed, str)),
        "status": ("failure", np.array(["step limit reached"] * failed, str)),
        "stopped": ("failure", np.linspace(10, 500, failed), {"units": "h"}),
    }
    for name in study.protocol.model.quantities("Parameters"):
        variables[f"parameter_{name}"] = ("failure", np.full(failed, np.nan))
    return xr.Dataset(variables)


@pytest.fixture(scope="session")
def without() -> Callable[..., xr.DataTree]:
    """A tree with some groups left out."""

    def drop(tree: xr.DataTree, *groups: str) -> xr.DataTree:
        return tree.drop_nodes(groups)

    return drop
