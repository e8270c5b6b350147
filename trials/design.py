"""What a trial learns, checked: randomisation, endpoints, analyses, success, published numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from insilico.config import Name, shown
from trials.allocation import check_allocation
from trials.checks import Checks
from trials.config import (
    AnalysisSpec,
    EndpointSpec,
    PublishedEffectSpec,
    TimeInRangeSpec,
    TrialConfig,
)

DOSE_RECORDS = ("daily_dose", "weekly_dose")
"""What endpoints may be of, beside the measured outputs."""

TIME_TO_EVENT = ("restricted_mean_difference", "hazard_ratio")


def check_design(checks: Checks, vocabulary: Mapping[str, Name], measured: Sequence[str]) -> None:
    """Note what is wrong with everything that happens after a patient's treatment.

    **Arguments:**

    - `vocabulary`: names that criteria may use; empty where the cohort is not known.
    - `measured`: outputs that visits measure.
    """
    _randomisation(checks, vocabulary)
    _endpoints(checks, measured)
    _analyses(checks, vocabulary)
    _success(checks)
    _references(checks)


def _randomisation(checks: Checks, vocabulary: Mapping[str, Name]) -> None:
    spec = checks.config.trial.randomisation
    arms = list(checks.config.arms)
    path = ("trial", "randomisation")
    allocation = spec.allocation or dict.fromkeys(arms, 1)
    right = [checks.known((*path, "allocation", name), name, arms, "arm") for name in allocation]
    for name in arms:
        # A misspelt arm is not missed as well.
        if name not in allocation and all(right):
            message = f"says nothing of the arm {shown(name)}"
            checks.note((*path, "allocation"), message, found="")
    sizes = spec.block_sizes if spec.method == "permuted_blocks" else ()
    if set(allocation) == set(arms) and len(arms) > 1:
        for message in check_allocation([allocation[name] for name in arms], sizes):
            checks.note((*path, "block_sizes"), message, found="")
    for name, expression in spec.strata.by.items():
        if vocabulary:
            checks.expression((*path, "strata", "by", name), expression, vocabulary, "condition")


def _endpoints(checks: Checks, measured: Sequence[str]) -> None:
    for name, spec in checks.config.endpoints.items():
        path = ("endpoints", name)
        checks.known((*path, "of"), spec.of, [*measured, *DOSE_RECORDS], "measured output")
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


def _analyses(checks: Checks, vocabulary: Mapping[str, Name]) -> None:
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
    to_event = endpoint.kind == "time_to_range"
    binary = endpoint.kind == "any_at_or_above"
    wanted = TIME_TO_EVENT if to_event else ("risk_difference",) if binary else ("mean_difference",)
    allowed = (*wanted, "mean_difference") if binary else wanted
    if spec.estimator not in allowed:
        checks.note(
            (*path, "estimator"),
            f"does not fit the endpoint {spec.endpoint} ({endpoint.kind})",
            allowed=", ".join(allowed),
        )
    if spec.adjust == "strata" and spec.estimator in TIME_TO_EVENT:
        checks.note(
            (*path, "adjust"),
            f"is not available for {spec.estimator}",
            hint="leave it out: the comparison is not stratified",
        )


def _horizon(checks: Checks, path: Sequence[str], spec: AnalysisSpec) -> None:
    """A mean is restricted to a time that patients are followed to."""
    last = checks.config.visits.days[-1] - 1.0 + checks.config.visits.time_of_day / 24.0
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
    ratio = checks.config.analyses[effect.analysis].estimator == "hazard_ratio"
    most = _range(checks.config, effect.analysis)
    for key, number in numbers.items():
        if number is None:
            continue
        if ratio and number <= 0:
            checks.note(
                (*path, key),
                "must be a hazard ratio, which is above 0",
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
