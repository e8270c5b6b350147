"""What a trial learns, checked: randomisation, endpoints, analyses, success, published numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from insilico.config import Name, shown
from trials.allocation import check_allocation
from trials.checks import Checks
from trials.config import AnalysisSpec, EndpointSpec, TimeInRangeSpec

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
    """Published numbers and sensitivity scenarios name what exists."""
    config = checks.config
    published = config.published
    if published is not None:
        for index, entry in enumerate(published.arms):
            path = ("published", "arms", index)
            checks.known((*path, "analysis"), entry.analysis, list(config.analyses), "analysis")
            checks.known((*path, "arm"), entry.arm, list(config.arms), "arm")
        for index, entry in enumerate(published.effects):
            path = ("published", "effects", index)
            checks.known((*path, "analysis"), entry.analysis, list(config.analyses), "analysis")
