"""What a trial learns, checked: randomisation, endpoints, analyses, success, published numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from insilico.config import Name, shown
from trials.allocation import allocation_of, check_allocation
from trials.checks import Checks
from trials.config import (
    AnalysisSpec,
    CourseSpec,
    EndpointSpec,
    PublishedEffectSpec,
    TimeInRangeSpec,
    TrialConfig,
)
from trials.dosing import HOURS_A_DAY
from trials.estimators import ESTIMATORS
from trials.margins import check_margins
from trials.windows import unseen

DOSE_RECORDS = ("daily_dose", "weekly_dose")
"""What endpoints may be of, beside the measured outputs."""

PARTS = ("valid", "event")
"""What results hold of an endpoint beside its value, as of `ttr` in `ttr_valid`."""

OF_A_SOLVE = ("status", "solved", "steps")
"""What results hold of a subject under an arm beside its endpoints."""


def check_design(checks: Checks, vocabulary: Mapping[str, Name], measured: Sequence[str]) -> None:
    """Note what is wrong with everything that happens after a patient's treatment.

    **Arguments:**

    - `vocabulary`: names that criteria may use; empty where the cohort is not known.
    - `measured`: outputs that visits measure.
    """
    _draws(checks)
    _randomisation(checks, vocabulary)
    _endpoints(checks, measured)
    _analyses(checks, vocabulary, measured)
    _success(checks)
    _references(checks)


def _draws(checks: Checks) -> None:
    trial = checks.config.trial
    if trial.replicates % trial.per_draw:
        checks.note(
            ("trial", "trials_per_draw"),
            f"must divide the {trial.replicates:,} replicates",
            hint="the same number of trials is simulated of each draw of the population",
        )


def _randomisation(checks: Checks, vocabulary: Mapping[str, Name]) -> None:
    config, spec = checks.config, checks.config.trial.randomisation
    arms = list(config.arms)
    path = ("trial", "randomisation")
    allocation = spec.allocation or dict.fromkeys(arms, 1)
    if config.trial.crossover is None:
        known = [checks.known((*path, "allocation", n), n, arms, "arm") for n in allocation]
        for name in arms:
            # A misspelt arm is not missed as well.
            if name not in allocation and all(known):
                message = f"says nothing of the arm {shown(name)}"
                checks.note((*path, "allocation"), message, found="")
    sizes = spec.block_sizes if spec.method == "permuted_blocks" else ()
    ratio = allocation_of(config)
    if set(allocation) == set(arms) and len(ratio) > 1:
        default = "" if "block_sizes" in spec.model_fields_set else ", which they are if left out"
        for message in check_allocation(ratio, sizes):
            checks.note(
                (*path, "block_sizes"),
                message + default,
                found="",
                hint=f"write for example block_sizes: [{2 * sum(ratio)}]",
            )
    for name, expression in spec.strata.by.items():
        if vocabulary:
            checks.expression((*path, "strata", "by", name), expression, vocabulary, "condition")


def _endpoints(checks: Checks, measured: Sequence[str]) -> None:
    for name, spec in checks.config.endpoints.items():
        path = ("endpoints", name)
        parts = [f"{other}_{part}" for other in checks.config.endpoints for part in PARTS]
        checks.free(path, name, (*OF_A_SOLVE, *parts))
        course = isinstance(spec, CourseSpec)
        known = [*measured] if course else [*measured, *DOSE_RECORDS]
        checks.known((*path, "of"), spec.of, known, "measured output")
        if course:
            _course(checks, path, spec)
        low, high = getattr(spec, "low", None), getattr(spec, "high", None)
        if low is not None and high is not None and low >= high:
            checks.note((*path, "high"), f"must be above `low` ({low:g})")
        if spec.kind == "time_to_range" and low is None and high is None:
            checks.note(path, "needs `low`, `high` or both", key=True)
        first = getattr(spec, "from_day", 1)
        last = getattr(spec, "to_day", None) or checks.last_day
        if last > checks.last_day:
            checks.note((*path, "to_day"), f"is after the trial's end on day {checks.last_day}")
        elif first > last or (first == last and isinstance(spec, TimeInRangeSpec)):
            checks.note((*path, "from_day"), f"must come before day {last}")
        elif not course and checks.config.visits.times is not None:
            first_dose = checks.config.drug.first_dose
            days = [(first_dose + time) / HOURS_A_DAY for time in checks.config.visits.times]
            if lack := unseen(checks.config, spec, days):
                checks.note(path, f"has no value for anybody: {lack}", key=True)


def _course(checks: Checks, path: Sequence[str], spec: CourseSpec) -> None:
    """Note a window that holds no two samples, and a limit's half where there is no limit."""
    visits, end = checks.config.visits, spec.to_time
    if end is not None and end <= spec.from_time:
        checks.note((*path, "to_time"), f"must be after `from_time` ({spec.from_time:g} h)")
    elif visits.times is not None:
        last = math.inf if end is None else end
        if sum(spec.from_time <= time <= last for time in visits.times) < 2:
            checks.note(path, "has fewer than two of visits.times in its window", key=True)
    if spec.below_limit == "half_limit" and spec.of not in visits.quantified_from:
        checks.note(
            (*path, "below_limit"),
            f"needs a limit of quantification for {spec.of}",
            hint="state it in visits.quantified_from",
        )


def _analyses(checks: Checks, vocabulary: Mapping[str, Name], measured: Sequence[str]) -> None:
    config = checks.config
    for name, spec in config.analyses.items():
        path = ("analyses", name)
        for index, arm in enumerate(spec.contrast):
            checks.known((*path, "contrast", index), arm, list(config.arms), "arm")
        if spec.contrast[0] == spec.contrast[1]:
            checks.note((*path, "contrast"), "compares an arm with itself", found="")
        if spec.subset is not None and vocabulary:
            checks.expression((*path, "subset"), spec.subset, vocabulary, "condition")
        if checks.known((*path, "endpoint"), spec.endpoint, list(config.endpoints), "endpoint"):
            _estimator(checks, path, spec, config.endpoints[spec.endpoint])
            check_margins(checks, path, spec, [*measured, *DOSE_RECORDS])
        if spec.estimator == "restricted_mean_difference":
            _horizon(checks, path, spec)
        elif spec.horizon is not None:
            checks.note((*path, "horizon"), f"means nothing to {spec.estimator}")


def _success(checks: Checks) -> None:
    config = checks.config
    if config.success is not None:
        given = [key for key in ("any_of", "all_of") if getattr(config.success, key)]
        if len(given) != 1:
            checks.note(("success",), "needs one of `any_of` and `all_of`", found="")
        for key in given:
            for index, name in enumerate(getattr(config.success, key)):
                checks.known(("success", key, index), name, list(config.analyses), "analysis")
                if name in getattr(config.success, key)[:index]:
                    checks.note(("success", key, index), "is listed twice")


def _estimator(
    checks: Checks, path: Sequence[str], spec: AnalysisSpec, endpoint: EndpointSpec
) -> None:
    crossover = checks.config.trial.crossover is not None
    fitting = [name for name, of in ESTIMATORS.items() if endpoint.kind in of.endpoints]
    allowed = [name for name in fitting if not crossover or ESTIMATORS[name].within_subjects]
    if spec.estimator not in allowed:
        design = " in a crossover" if crossover and spec.estimator in fitting else ""
        checks.note(
            (*path, "estimator"),
            f"does not fit the endpoint {spec.endpoint} ({endpoint.kind}){design}",
            allowed=", ".join(allowed) or "none",
        )
    elif crossover:
        _within_subjects(checks, path, spec)
    if spec.adjust == "strata" and (crossover or ESTIMATORS[spec.estimator].of_times):
        within = (
            "each subject is its own control" if crossover else "the comparison is not stratified"
        )
        checks.note(
            (*path, "adjust"),
            f"is not available for {spec.estimator}{' in a crossover' if crossover else ''}",
            hint=f"leave it out: {within}",
        )
    elif spec.adjust == "strata":
        strata = checks.config.trial.randomisation.strata
        if not strata.centre and not strata.by:
            checks.note(
                (*path, "adjust"),
                "has nothing to adjust for: randomisation is not stratified",
                hint="state trial.randomisation.strata, or leave it out",
            )


def _within_subjects(checks: Checks, path: Sequence[str], spec: AnalysisSpec) -> None:
    """Note a contrast of arms that the sequences of a crossover cannot tell from periods."""
    crossover = checks.config.trial.crossover
    arms = list(checks.config.arms)
    if crossover is None:
        return
    named = {arm for sequence in crossover.sequences for arm in sequence}
    lengths = {len(sequence) for sequence in crossover.sequences}
    if not named.union(spec.contrast) <= set(arms) or len(lengths) > 1:
        return  # said elsewhere
    if spec.estimator == "risk_difference":
        for index, sequence in enumerate(crossover.sequences):
            again = [arm for arm in spec.contrast if sequence.count(arm) > 1]
            if again:
                checks.note(
                    (*path, "estimator"),
                    f"pairs one period of each arm, and sequence {index + 1} has "
                    f"{again[0]} more than once",
                    hint="take mean_difference, whose numbers are 0 and 1, or other sequences",
                )
                return
    rows = [
        [f"sequence {number}", f"period {period}", arm]
        for number, sequence in enumerate(crossover.sequences)
        for period, arm in enumerate(sequence)
    ]
    columns = sorted({name for row in rows for name in row})
    design = [[float(name in row) for name in columns] for row in rows]
    treatment, reference = spec.contrast
    contrast = [float(name == treatment) - float(name == reference) for name in columns]
    rank = np.linalg.matrix_rank
    if rank([*design, contrast]) > rank(design):
        checks.note(
            (*path, "contrast"),
            "cannot be told from effects of periods and subjects with these sequences",
            found="",
            hint="both arms must come in one sequence, and in another order in another",
        )


def _horizon(checks: Checks, path: Sequence[str], spec: AnalysisSpec) -> None:
    """A mean is restricted to a time that patients are followed to."""
    visits = checks.config.visits
    if visits.times is not None:
        last = (checks.config.drug.first_dose + visits.times[-1]) / 24.0
    elif visits.days:
        last = visits.days[-1] - 1.0 + visits.time_of_day / 24.0
    else:
        return  # neither is stated, which is said elsewhere
    if spec.horizon is None:
        checks.note(path, "needs `horizon`, the time up to which it counts", key=True)
    elif spec.horizon > last:
        checks.note(
            (*path, "horizon"),
            "is after the last scheduled visit, so that nobody is followed to it",
            allowed=f"up to {last:g} d",
        )


def _references(checks: Checks) -> None:
    """Scenarios are told apart; published numbers belong to analyses that exist, once each, and
    can be what they say."""
    config = checks.config
    labels: dict[str, str] = {}
    for name, scenario in config.sensitivity.items():
        if labels.setdefault(scenario.label, name) != name:
            message = f"is the label of the scenario {labels[scenario.label]} too"
            checks.note(("sensitivity", name, "label"), message)
    published = config.published
    if published is None:
        return
    seen: set[tuple[str, str]] = set()
    for index, entry in enumerate(published.arms):
        path = ("published", "arms", index)
        named = checks.known((*path, "analysis"), entry.analysis, list(config.analyses), "analysis")
        checks.known((*path, "arm"), entry.arm, list(config.arms), "arm")
        if named:
            contrast = config.analyses[entry.analysis].contrast
            if entry.arm in config.arms and entry.arm not in contrast:
                message = f"is not compared by the analysis {entry.analysis}"
                checks.note((*path, "arm"), message, allowed=", ".join(contrast))
            _within(checks, (*path, "value"), entry.value, _range(config, entry.analysis))
        if (entry.analysis, entry.arm) in seen:
            checks.note(path, "is given twice", found="")
        seen.add((entry.analysis, entry.arm))
    for index, effect in enumerate(published.effects):
        path = ("published", "effects", index)
        if checks.known((*path, "analysis"), effect.analysis, list(config.analyses), "analysis"):
            _effect(checks, path, effect)
        if (effect.analysis, "") in seen:
            checks.note(path, "is given twice", found="")
        seen.add((effect.analysis, ""))


def _effect(checks: Checks, path: Sequence[str | int], effect: PublishedEffectSpec) -> None:
    """A published effect lies in its interval, and all of it where such effects can lie."""
    if (effect.lower is None) != (effect.upper is None):
        checks.note(path, "needs both ends of the interval, or neither", found="")
    elif effect.lower is not None and effect.upper is not None:
        ends = f"{effect.lower:g} to {effect.upper:g}"
        if effect.lower > effect.upper:
            checks.note((*path, "lower"), f"is above `upper` ({effect.upper:g})")
        elif not effect.lower <= effect.value <= effect.upper:
            checks.note((*path, "value"), "lies outside its interval", allowed=ends)
    numbers = {"value": effect.value, "lower": effect.lower, "upper": effect.upper}
    ratio = ESTIMATORS[checks.config.analyses[effect.analysis].estimator].ratio
    most = _range(checks.config, effect.analysis)
    for key, number in numbers.items():
        if number is None:
            continue
        if ratio and number <= 0:
            checks.note(
                (*path, key),
                f"must be a {ratio}, which is above 0",
                hint="state the ratio itself, not its logarithm",
            )
        elif not ratio and most is not None:
            _within(checks, (*path, key), number, (-most[1], most[1]))


def _range(config: TrialConfig, analysis: str) -> tuple[float, float] | None:
    """Where an arm's summary of an analysis must lie; None where there is no limit."""
    spec = config.analyses[analysis]
    endpoint = config.endpoints.get(spec.endpoint)
    if spec.estimator in ("risk_difference", "hazard_ratio"):
        return 0.0, 1.0
    if endpoint is not None and endpoint.kind in ("any_at_or_above", "time_in_range"):
        return (0.0, 1.0) if endpoint.kind == "any_at_or_above" else (0.0, 100.0)
    return None


def _within(
    checks: Checks, path: Sequence[str | int], number: float, limits: tuple[float, float] | None
) -> None:
    if limits is not None and not limits[0] <= number <= limits[1]:
        checks.note(
            path,
            "is no percentage of time" if limits[1] == 100.0 else "is no fraction of patients",
            allowed=f"{limits[0]:g} to {limits[1]:g}",
            hint=None if limits[1] == 100.0 else f"write {number / 100:g} for {number:g} %",
        )
