"""Results as an ArviZ-style `DataTree`, on the axes population, trial, arm, subject, visit.

In a crossover there is an axis `period` before that of the arm.

Groups (each with its own coordinates):

- `/population`: the population's parameters at each draw.
- `/subjects`: covariates, quantities, individual parameters, how many candidates each took.
- `/randomisation`: arm (in a crossover the sequence, and the arm of each period), centre, stratum,
  enrolment and dropout of each subject in its trial.
- `/outcomes`: potential outcomes at each visit under every arm (with `keep: outcomes`).
- `/doses`: what was taken at each dosing time under every arm (with `keep: outcomes`).
- `/endpoints`: potential endpoints, their validity, and the solver's status, under every arm.
- `/estimates`: every analysis of every trial.
- `/truth`, `/operating_characteristics`: by analysis, each number with its Monte-Carlo error.
- `/sensitivity`: true values by scenario, and how many of its solves failed.
- `/published`: what the trial itself reported.
- `/failures`: the patients that could not be solved, with the time and the state at which each
  stopped, and their parameters. `/counts`: totals.

Effects are on their estimator's scale, which the coordinate `scale` names for each analysis; `unit`
is their unit there, empty for a pure number (risks are fractions, hazard ratios logarithms).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from insilico.solve import DESCRIPTIONS
from trials.analyses import Estimates
from trials.analyses import Status as AnalysisStatus
from trials.conduct import Conduct
from trials.config import AnalysisSpec
from trials.dosing import HOURS_A_DAY
from trials.endpoint_units import endpoint_unit
from trials.estimation import Truth
from trials.estimators import ESTIMATORS
from trials.failures import Tallies, failed_solves
from trials.margins import margins_of
from trials.operating_characteristics import OperatingCharacteristics, Simulated
from trials.scales import scale_of
from trials.study import Study

if TYPE_CHECKING:
    from insilico.solve import MethodChoice
    from trials.precision import Measured
    from trials.simulation import Patients

SUBJECT_AXES = ("population", "trial", "subject")
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

PARTS = {
    "valid": "whether the endpoint could be evaluated",
    "event": "whether the time ended with an event",
}
"""What stands beside an endpoint's value."""

ERROR = "Monte-Carlo standard error"
SUBJECTS = "subjects, seen under both arms"


class Pieces(NamedTuple):
    """What a run computed, before it is labelled."""

    patients: Patients
    conduct: Conduct
    estimates: Mapping[str, Estimates]
    truth: Mapping[str, Truth]
    characteristics: Mapping[str, OperatingCharacteristics]
    success: Simulated
    sensitivity: Mapping[str, Mapping[str, Truth]]
    tallies: Tallies
    method: MethodChoice
    inexact: Measured | None = None
    """What single precision did, where the config asks for it."""


def tree(study: Study, pieces: Pieces) -> xr.DataTree:
    """All groups of a run's results."""
    config = study.config
    builder = _Builder(study, pieces)
    groups = {
        "population": builder.population(),
        "subjects": builder.subjects(),
        "randomisation": builder.randomisation(),
        **(
            {"outcomes": builder.outcomes(), "doses": builder.doses()}
            if config.keep == "outcomes"
            else {}
        ),
        **({} if config.keep == "estimates" else {"endpoints": builder.endpoints()}),
        "estimates": builder.estimates(),
        "truth": builder.truth(),
        "operating_characteristics": builder.characteristics(),
        "sensitivity": builder.sensitivity(),
        "published": builder.published(),
        "failures": builder.failures(),
        "counts": builder.counts(),
    }
    root = xr.Dataset(attrs={"title": config.title, "model": config.model, "seed": config.seed})
    return xr.DataTree.from_dict({"/": root, **groups})


class _Builder:
    def __init__(self, study: Study, pieces: Pieces):
        self.study = study
        self.config = study.config
        self.pieces = pieces
        spec = self.config.trial
        self.shape = (spec.population_draws, spec.per_draw, spec.subjects)
        self.periods = study.protocol.periods
        self.crossover = self.config.trial.crossover is not None
        several = ("period",) if self.crossover else ()
        self.given_axes = ("population", "trial", *several, "subject")
        self.potential_axes = ("population", "trial", *several, "arm", "subject")
        self.axes = {
            "population": np.arange(spec.population_draws),
            "trial": np.arange(spec.per_draw),
            "subject": np.arange(spec.subjects),
            "arm": list(self.config.arms),
            "period": 1 + np.arange(self.periods.number),
        }
        vocabulary = study.protocol.cohort.vocabulary
        self.units = {name: entry.unit for name, entry in vocabulary.items()}
        outputs = study.protocol.model.quantities("Outputs")
        self.output_units = {name: quantity.unit for name, quantity in outputs.items()}
        self.categories = {name: entry.categories for name, entry in vocabulary.items()}

    def dataset(
        self, variables: Mapping[str, tuple[tuple[str, ...], Any, dict[str, Any]]], *axes: str
    ) -> xr.Dataset:
        return xr.Dataset(dict(variables), coords={axis: self.axes[axis] for axis in axes})

    def subject_column(self, column: np.ndarray, **attributes: Any) -> tuple:
        return SUBJECT_AXES, column.reshape(self.shape), attributes

    def potential_column(self, column: np.ndarray, **attributes: Any) -> tuple:
        """A (condition, subject, …) column as (population, trial, period, arm, subject, …), without
        the axis of periods in a parallel trial."""
        extra = column.shape[2:]
        array = np.moveaxis(column.reshape(self.periods.conditions, *self.shape, *extra), 0, 2)
        lengths = {
            **dict(zip(SUBJECT_AXES, self.shape, strict=True)),
            "period": self.periods.number,
            "arm": len(self.periods.arms),
        }
        array = array.reshape(*(lengths[axis] for axis in self.potential_axes), *extra)
        return (*self.potential_axes, *("visit",) * len(extra)), array, attributes

    def population(self) -> xr.Dataset:
        draws = self.config.trial.population_draws
        values = self.study.protocol.cohort.population_parameters(self.config.seed, draws)
        return self.dataset(
            {name: (("population",), np.asarray(column), {}) for name, column in values.items()},
            "population",
        )

    def subjects(self) -> xr.Dataset:
        drawn = self.pieces.patients.drawn
        variables = {}
        for name, column in {**drawn["covariates"], **drawn["quantities"]}.items():
            categories = self.categories.get(name, ())
            if categories:
                variables[name] = self.subject_column(
                    column.astype(np.int8), categories=list(categories), kind="category"
                )
            else:
                variables[name] = self.subject_column(
                    column.astype(np.float32), units=self.units.get(name, "")
                )
        quantities = self.study.protocol.model.quantities("Parameters")
        for name, column in drawn["parameters"].items():
            # What varies between occasions has a column in each.
            own, _, number = (name, "", "") if name in quantities else name.rpartition("_")
            when = f", in {'period' if self.crossover else 'occasion'} {number}" if number else ""
            variables[f"parameter_{name}"] = self.subject_column(
                column,
                units=quantities[own].unit,
                description=quantities[own].description + when,
            )
        variables["attempts"] = self.subject_column(drawn["subject"]["attempts"].astype(np.int16))
        return self.dataset(variables, *SUBJECT_AXES)

    def randomisation(self) -> xr.Dataset:
        conducted, drawn = self.pieces.conduct, self.pieces.patients.drawn
        arm = self.periods.arm(conducted.group.reshape(self.shape)).astype(np.int8)
        variables: dict[str, Any] = {}
        if self.crossover:
            number = self.subject_column(conducted.group.astype(np.int8))
            variables["sequence_number"] = number
        variables |= {
            "arm_number": (
                self.given_axes,
                np.moveaxis(arm, -1, 2) if self.crossover else arm[..., 0],
                {},
            ),
            "centre": self.subject_column(conducted.centre.astype(np.int16)),
            "stratum": self.subject_column(conducted.stratum.astype(np.int32)),
            "enrolment_time": self.subject_column(
                conducted.enrolment_time.astype(np.float32), units="d"
            ),
            "dropout_time": self.subject_column(
                drawn["subject"]["leaves"].astype(np.float32) - 1.0,
                units="d",
                description="since the first day; infinite: stays to the end",
            ),
        }
        for label, columns in (("factor", drawn["strata"]), ("subset", drawn["subsets"])):
            for name, column in columns.items():
                variables[f"{label}_{name}"] = self.subject_column(column)
        dataset = self.dataset(variables, *self.given_axes)
        return dataset.assign_attrs(arms=list(self.config.arms))

    def outcomes(self) -> xr.Dataset:
        treated = self.pieces.patients.treated
        units = self.output_units
        variables = {
            "time": self.potential_column(
                treated.time, units="d", description="since day 1 began; 0 where unused"
            ),
            "used": self.potential_column(treated.used),
            "attended": self.potential_column(treated.attended),
        }
        for name, column in treated.values.items():
            unit = "mg" if name == "daily_dose" else units.get(name.removesuffix("_measured"), "")
            variables[name] = self.potential_column(column, units=unit)
        dataset = self.dataset(variables, *self.potential_axes)
        return dataset.assign_coords(visit=np.arange(treated.time.shape[-1]))

    def doses(self) -> xr.Dataset:
        # Stated doses in place of what of them enters the model.
        entered = self.config.drug.fraction * np.array(
            [arm.bioavailability for arm in self.study.protocol.arms], np.float32
        )
        taken = self.pieces.patients.treated.doses
        taken = taken / np.tile(entered, self.periods.number)[:, None, None]
        axes, values, attributes = self.potential_column(
            taken.astype(np.float32),
            units="mg",
            description=f"{self.config.drug.name} taken; 0 if it was not, NaN once a solve failed",
        )
        time = self.study.protocol.dosing_times
        dataset = self.dataset(
            {"taken": ((*axes[:-1], "dose"), values, attributes)}, *self.potential_axes
        )
        attributes = {"units": "d", "description": "since day 1 began, as visits'"}
        return dataset.assign_coords(
            dose=np.arange(len(time)), time=("dose", time / HOURS_A_DAY, attributes)
        )

    def endpoints(self) -> xr.Dataset:
        patients = self.pieces.patients
        variables = {}
        for name, parts in patients.treated.endpoints.items():
            spec = self.config.endpoints[name]
            label = spec.label or name
            unit = endpoint_unit(spec, self.output_units, self.config.drug)
            variables[name] = self.potential_column(
                parts["value"],
                label=label,
                kind=spec.kind,
                of=spec.of,
                long_name=label,
                **({"units": unit} if unit else {}),
            )
            for part in sorted(set(parts) - {"value"}):
                variables[f"{name}_{part}"] = self.potential_column(
                    parts[part], long_name=f"{label}: {PARTS.get(part, part)}"
                )
        variables["status"] = self.potential_column(
            patients.treated.status.astype(np.int8),
            meanings=[f"{int(code)}: {text}" for code, text in DESCRIPTIONS.items()],
        )
        variables["solved"] = self.potential_column(patients.solved)
        variables["steps"] = self.potential_column(patients.treated.steps.astype(np.int32))
        return self.dataset(variables, *self.potential_axes)

    def estimates(self) -> xr.Dataset:
        names = list(self.pieces.estimates)
        trials = self.shape[:2]

        def stacked(field: str) -> np.ndarray:
            columns = [np.asarray(getattr(self.pieces.estimates[name], field)) for name in names]
            array = np.stack(columns, axis=1)
            return array.reshape(*trials, *array.shape[1:])

        axes = ("population", "trial", "analysis")
        variables: dict[str, Any] = {
            field: (axes, stacked(field), _called(words)) for field, words in ESTIMATES.items()
        }
        by_arm = (*axes, "arm")
        variables["n"] = (by_arm, stacked("n"), _called("subjects analysed in each arm"))
        variables["mean"] = (by_arm, stacked("mean"), _called("unadjusted summary of each arm"))
        meanings = [f"{code.value}: {code.name.lower()}" for code in AnalysisStatus]
        told = _called("whether the trial could be analysed") | {"meanings": meanings}
        variables["status"] = (axes, stacked("status").astype(np.int8), told)
        dataset = self.dataset(variables, "population", "trial", "arm")
        return dataset.assign_coords(self.analysis_coordinates())

    def analysis_coordinates(self) -> dict[str, Any]:
        specs = self.config.analyses
        found = [margins_of(self.config, spec) for spec in specs.values()]
        margins = [(-np.inf, np.inf) if each is None else each for each in found]
        return {
            "analysis": list(specs),
            "label": ("analysis", [spec.label or name for name, spec in specs.items()]),
            "endpoint": ("analysis", [spec.endpoint for spec in specs.values()]),
            "estimator": ("analysis", [spec.estimator for spec in specs.values()]),
            "scale": ("analysis", [ESTIMATORS[spec.estimator].effect for spec in specs.values()]),
            "unit": ("analysis", [self.effect_unit(spec) for spec in specs.values()]),
            "alpha": ("analysis", [spec.alpha for spec in specs.values()]),
            "hypothesis": ("analysis", [spec.hypothesis for spec in specs.values()]),
            "lower_margin": ("analysis", [lower for lower, _ in margins]),
            "upper_margin": ("analysis", [upper for _, upper in margins]),
            "treatment": ("analysis", [spec.contrast[0] for spec in specs.values()]),
            "reference": ("analysis", [spec.contrast[1] for spec in specs.values()]),
        }

    def effect_unit(self, spec: AnalysisSpec) -> str:
        """Unit of an effect as results hold it."""
        endpoint = self.config.endpoints[spec.endpoint]
        scale = scale_of(spec, endpoint, self.output_units, self.config.drug)
        # Reports show a fraction in percentage points; stored, it is a pure number.
        return scale.unit if scale.factor == 1.0 else ""

    def truth(self) -> xr.Dataset:
        truths = [self.pieces.truth[name] for name in self.config.analyses]
        variables = {
            "value": ("analysis", [truth.value for truth in truths], _called("true effect")),
            "mcse": ("analysis", [truth.mcse for truth in truths], _called(ERROR)),
            "n": ("analysis", [truth.subjects for truth in truths], _called(SUBJECTS)),
        }
        return xr.Dataset(variables, coords=self.analysis_coordinates())

    def characteristics(self) -> xr.Dataset:
        found = [self.pieces.characteristics[name] for name in self.config.analyses]
        variables: dict[str, Any] = {}
        for field, words in CHARACTERISTICS.items():
            numbers = [getattr(each, field) for each in found]
            values = [float(number.value) for number in numbers]
            errors = [float(number.mcse) for number in numbers]
            variables[field] = ("analysis", values, _called(words))
            variables[f"{field}_mcse"] = ("analysis", errors, _called(f"{ERROR} of {field}"))
        trials, failures = [int(one.trials) for one in found], [int(one.failures) for one in found]
        variables["trials"] = ("analysis", trials, _called("simulated trials"))
        variables["failures"] = ("analysis", failures, _called("trials without an estimate"))
        success = self.pieces.success
        variables["success"] = ((), float(success.value), _called("share of trials that succeed"))
        variables["success_mcse"] = ((), float(success.mcse), _called(f"{ERROR} of success"))
        return xr.Dataset(variables, coords=self.analysis_coordinates())

    def sensitivity(self) -> xr.Dataset:
        scenarios = self.pieces.sensitivity
        tallies = [self.pieces.tallies.scenarios[name] for name in scenarios]
        axes = ("scenario", "analysis")

        def table(field: str) -> np.ndarray:
            rows = [
                [getattr(truths[name], field) for name in self.config.analyses]
                for truths in scenarios.values()
            ]
            return np.array(rows, float).reshape(len(scenarios), len(self.config.analyses))

        solves = np.array([tally.solves for tally in tallies], int)
        failed = np.array([tally.failed for tally in tallies], int)
        causes = np.array([tally.told for tally in tallies], str)
        dataset = xr.Dataset(
            {
                "value": (axes, table("value"), _called("true effect")),
                "mcse": (axes, table("mcse"), _called(ERROR)),
                "n": (axes, table("subjects"), _called(SUBJECTS)),
                "solves": ("scenario", solves, _called("solves of a subject under an arm")),
                "failed": ("scenario", failed, _called("solves that failed")),
                "causes": ("scenario", causes, _called("why solves failed")),
            },
            coords=self.analysis_coordinates(),
        )
        labels = [self.config.sensitivity[name].label for name in scenarios]
        return dataset.assign_coords(
            scenario=np.array(list(scenarios), str),
            scenario_label=("scenario", np.array(labels, str)),
        )

    def published(self) -> xr.Dataset:
        spec = self.config.published
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

    def failures(self) -> xr.Dataset:
        """One entry for each subject and condition that was not solved."""
        patients = self.pieces.patients
        condition, subject, cause = failed_solves(patients)
        period, arm = np.divmod(condition, len(self.periods.arms))
        population, trial, number = np.unravel_index(subject, self.shape)
        variables: dict[str, Any] = {
            "population": ("failure", population),
            "trial": ("failure", trial),
            "subject": ("failure", number),
            "arm": ("failure", np.array(list(self.config.arms), str)[arm]),
            "status": ("failure", cause),
            "stopped": ("failure", patients.treated.stopped[condition, subject], {"units": "h"}),
        }
        if self.crossover:
            variables["period"] = ("failure", 1 + period)
        for name, column in patients.treated.state.items():
            variables[f"state_{name}"] = ("failure", column)
        drawn, protocol = patients.drawn["parameters"], self.study.protocol
        stopped = np.nan_to_num(patients.treated.stopped[condition, subject])
        occasion = protocol.occasion(period, stopped)
        for name in protocol.model.Parameters._fields:
            # What varies between occasions has a column in each.
            numbers = range(1, 1 + protocol.number_of_occasions)
            columns = [drawn[name if name in drawn else f"{name}_{each}"] for each in numbers]
            values = np.stack([column[subject] for column in columns])
            variables[f"parameter_{name}"] = (
                "failure",
                np.take_along_axis(values, occasion[None], axis=0)[0],
            )
        return xr.Dataset(variables)

    def counts(self) -> xr.Dataset:
        patients = self.pieces.patients
        attempts = patients.drawn["subject"]["attempts"]
        own, truth = self.pieces.tallies.patients, self.pieces.tallies.truth
        values = {
            "subjects": attempts.size,
            "solves": own.solves,
            "failed": own.failed,
            "attempts_mean": float(attempts.mean()),
            "visits": int(patients.treated.attended.sum()),
            "steps_mean": float(patients.treated.steps.mean()),
            "truth_subjects": self.config.truth.subjects,
            "truth_solves": truth.solves,
            "truth_failed": truth.failed,
        }
        if self.pieces.inexact is not None:
            error, otherwise, solves = self.pieces.inexact
            values["measured_error"] = error
            values["measured_solves"] = solves
            values["measured_otherwise"] = otherwise
        dataset = xr.Dataset({name: ((), value) for name, value in values.items()})
        dataset["truth_failed"].attrs["causes"] = truth.told
        method = self.pieces.method
        dataset["steps_mean"].attrs |= {"method": method.name, "method_reason": method.reason}
        return dataset


def _called(words: str) -> dict[str, str]:
    """A variable's attributes, of which this is what it is called in full."""
    return {"long_name": words}
