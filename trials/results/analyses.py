"""Groups of results about trials: estimates, true effects, operating characteristics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from trials.analyses import Status
from trials.config import AnalysisSpec
from trials.estimators import ESTIMATORS
from trials.margins import margins_of
from trials.results.layout import Layout, called
from trials.scales import scale_of
from trials.study import Study

if TYPE_CHECKING:
    from trials.results.tree import Pieces

CHARACTERISTICS = {
    "power": "share of trials with p below alpha",
    "power_favourable": "share of trials with p below alpha and an estimate for the better; "
    "missing where the endpoint does not say what is better",
    "type_i_error": "share of trials with p below alpha were a margin at the true value; missing "
    "without margins",
    "mean_estimate": "mean estimate over trials",
    "bias": "mean estimate minus true value",
    "empirical_sd": "standard deviation of the estimates over trials",
    "mean_se": "root mean square of the estimated standard errors",
    "relative_se_error": "excess of mean_se over empirical_sd, percent",
    "coverage": "share of intervals that contain the true value",
    "mse": "mean squared error",
}
"""Each with what it says; Morris, White & Crowther, Stat Med 2019;38:2074-2102."""

ESTIMATES = {
    "estimate": "estimated effect, treatment against reference",
    "standard_error": "standard error of the estimate",
    "degrees_of_freedom": "degrees of freedom; infinite for the normal distribution",
    "lower": "lower limit of the confidence interval",
    "upper": "upper limit of the confidence interval",
    "p_value": "two-sided p-value for no effect; with margins one-sided, the larger of two",
}

ERROR = "Monte-Carlo standard error"
SUBJECTS = "subjects, seen under both arms"


def estimates(study: Study, pieces: Pieces, layout: Layout) -> xr.Dataset:
    """Every analysis of every trial."""
    names = list(pieces.estimates)
    trials = layout.shape[:2]

    def stacked(field: str) -> np.ndarray:
        columns = [np.asarray(getattr(pieces.estimates[name], field)) for name in names]
        array = np.stack(columns, axis=1)
        return array.reshape(*trials, *array.shape[1:])

    axes = ("population", "trial", "analysis")
    variables: dict[str, Any] = {
        field: (axes, stacked(field), called(words)) for field, words in ESTIMATES.items()
    }
    by_arm = (*axes, "arm")
    variables["n"] = (by_arm, stacked("n"), called("subjects analysed in each arm"))
    variables["mean"] = (by_arm, stacked("mean"), called("unadjusted summary of each arm"))
    meanings = [f"{code.value}: {code.name.lower()}" for code in Status]
    told = called("whether the trial could be analysed") | {"meanings": meanings}
    variables["status"] = (axes, stacked("status").astype(np.int8), told)
    dataset = layout.dataset(variables, "population", "trial", "arm")
    return dataset.assign_coords(_coordinates(study, layout))


def truth(study: Study, pieces: Pieces, layout: Layout) -> xr.Dataset:
    """True effects by analysis."""
    truths = [pieces.truth[name] for name in study.config.analyses]
    variables = {
        "value": ("analysis", [truth.value for truth in truths], called("true effect")),
        "mcse": ("analysis", [truth.mcse for truth in truths], called(ERROR)),
        "n": ("analysis", [truth.subjects for truth in truths], called(SUBJECTS)),
    }
    return xr.Dataset(variables, coords=_coordinates(study, layout))


def characteristics(study: Study, pieces: Pieces, layout: Layout) -> xr.Dataset:
    """Operating characteristics by analysis, each with its Monte-Carlo error."""
    found = [pieces.characteristics[name] for name in study.config.analyses]
    variables: dict[str, Any] = {}
    for field, words in CHARACTERISTICS.items():
        numbers = [getattr(each, field) for each in found]
        values = [float(number.value) for number in numbers]
        errors = [float(number.mcse) for number in numbers]
        variables[field] = ("analysis", values, called(words))
        variables[f"{field}_mcse"] = ("analysis", errors, called(f"{ERROR} of {field}"))
    trials, failures = [int(one.trials) for one in found], [int(one.failures) for one in found]
    variables["trials"] = ("analysis", trials, called("simulated trials"))
    variables["failures"] = ("analysis", failures, called("trials without an estimate"))
    success = pieces.success
    variables["success"] = ((), float(success.value), called("share of trials that succeed"))
    variables["success_mcse"] = ((), float(success.mcse), called(f"{ERROR} of success"))
    return xr.Dataset(variables, coords=_coordinates(study, layout))


def sensitivity(study: Study, pieces: Pieces, layout: Layout) -> xr.Dataset:
    """True effects by scenario, and how many of its solves failed."""
    scenarios = pieces.sensitivity
    tallies = [pieces.tallies.scenarios[name] for name in scenarios]
    axes = ("scenario", "analysis")

    def table(field: str) -> np.ndarray:
        rows = [
            [getattr(truths[name], field) for name in study.config.analyses]
            for truths in scenarios.values()
        ]
        return np.array(rows, float).reshape(len(scenarios), len(study.config.analyses))

    solves = np.array([tally.solves for tally in tallies], int)
    failed = np.array([tally.failed for tally in tallies], int)
    causes = np.array([tally.told for tally in tallies], str)
    dataset = xr.Dataset(
        {
            "value": (axes, table("value"), called("true effect")),
            "mcse": (axes, table("mcse"), called(ERROR)),
            "n": (axes, table("subjects"), called(SUBJECTS)),
            "solves": ("scenario", solves, called("solves of a subject under an arm")),
            "failed": ("scenario", failed, called("solves that failed")),
            "causes": ("scenario", causes, called("why solves failed")),
        },
        coords=_coordinates(study, layout),
    )
    labels = [study.config.sensitivity[name].label for name in scenarios]
    return dataset.assign_coords(
        scenario=np.array(list(scenarios), str),
        scenario_label=("scenario", np.array(labels, str)),
    )


def published(study: Study) -> xr.Dataset:
    """What the trial itself reported."""
    spec = study.config.published
    arms = [] if spec is None else spec.arms
    effects = [] if spec is None else spec.effects
    nothing = float("nan")

    def limit(value: float | None) -> float:
        return nothing if value is None else value

    rows = [(e.analysis, e.arm, e.value, nothing, nothing) for e in arms] + [
        (e.analysis, "", e.value, limit(e.lower), limit(e.upper)) for e in effects
    ]
    columns = list(zip(*rows, strict=True)) if rows else [()] * 5
    return xr.Dataset(
        {
            "analysis": ("entry", np.array(columns[0], str)),
            "arm": ("entry", np.array(columns[1], str)),
            "value": ("entry", np.array(columns[2], float)),
            "lower": ("entry", np.array(columns[3], float)),
            "upper": ("entry", np.array(columns[4], float)),
        },
        attrs={"source": "" if spec is None else spec.source},
    )


def _coordinates(study: Study, layout: Layout) -> dict[str, Any]:
    """What each analysis is."""
    specs = study.config.analyses
    found = [margins_of(study.config, spec) for spec in specs.values()]
    margins = [(-np.inf, np.inf) if each is None else each for each in found]
    return {
        "analysis": list(specs),
        "label": ("analysis", [spec.label or name for name, spec in specs.items()]),
        "endpoint": ("analysis", [spec.endpoint for spec in specs.values()]),
        "estimator": ("analysis", [spec.estimator for spec in specs.values()]),
        "scale": ("analysis", [ESTIMATORS[spec.estimator].effect for spec in specs.values()]),
        "unit": ("analysis", [_effect_unit(study, layout, spec) for spec in specs.values()]),
        "alpha": ("analysis", [spec.alpha for spec in specs.values()]),
        "hypothesis": ("analysis", [spec.hypothesis for spec in specs.values()]),
        "lower_margin": ("analysis", [lower for lower, _ in margins]),
        "upper_margin": ("analysis", [upper for _, upper in margins]),
        "treatment": ("analysis", [spec.contrast[0] for spec in specs.values()]),
        "reference": ("analysis", [spec.contrast[1] for spec in specs.values()]),
    }


def _effect_unit(study: Study, layout: Layout, spec: AnalysisSpec) -> str:
    """Unit of an effect as results hold it."""
    endpoint = study.config.endpoints[spec.endpoint]
    scale = scale_of(spec, endpoint, layout.output_units, study.config.drug)
    # Reports show a fraction in percentage points; stored, it is a pure number.
    return scale.unit if scale.factor == 1.0 else ""
