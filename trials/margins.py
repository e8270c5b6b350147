"""Margins that effects are tested against: of non-inferiority, superiority and equivalence.

The words are those of ICH E9 (1998): 3.3.1 of superiority, 3.3.2 of equivalence (an interval that
lies between two margins) and non-inferiority (one that lies beyond one of them).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from insilico import models
from insilico.config import SpecError, quantity
from insilico.time_units import counted_in
from trials.checks import Checks
from trials.config import AnalysisSpec, TrialConfig
from trials.endpoint_units import endpoint_unit
from trials.estimators import ESTIMATORS

NO_MARGIN = 1e-9
"""A ratio this close to 1, in logarithm, is 1: percentages are rounded."""

Margins = tuple[float, float]
"""The lower and the upper end of what an effect is to lie between, as estimators have effects;
infinite where nothing limits it."""


def better_sign(config: TrialConfig, spec: AnalysisSpec) -> int | None:
    """Sign of the effects that favour the arm of interest; None where either direction may.

    A hazard ratio above 1, which is stored as a positive logarithm, means shorter times.
    """
    better = config.endpoints[spec.endpoint].better
    if better is None:
        return None
    positive = "lower" if spec.estimator == "hazard_ratio" else "higher"
    return 1 if better == positive else -1


def margins_of(config: TrialConfig, spec: AnalysisSpec) -> Margins | None:
    """The margins of an analysis of a config that has been checked; None where it has none."""
    ratio, unit = ESTIMATORS[spec.estimator].ratio, _unit(config, spec)
    if spec.margins is not None:
        lower, upper = (quantity(unit).validate(end) for end in spec.margins)
        return (math.log(lower), math.log(upper)) if ratio else (lower, upper)
    stated, sign = spec.margin, better_sign(config, spec)
    if stated is None or sign is None:
        return None
    size = quantity(unit).validate(stated)
    if ratio:
        limit = math.log(size)
    else:
        limit = sign * size if spec.hypothesis == "superiority" else -sign * size
    return (limit, math.inf) if sign > 0 else (-math.inf, limit)


def check_margins(
    checks: Checks, path: Sequence[str], spec: AnalysisSpec, measured: Sequence[str]
) -> None:
    """Note margins that an analysis cannot have. Its endpoint exists; `measured` as of
    `trials.design.check_design`."""
    stated = [
        name
        for name in ("margins", "non_inferiority_margin", "superiority_margin")
        if getattr(spec, name) is not None
    ]
    if not stated:
        return
    if len(stated) > 1:
        checks.note((*path, stated[1]), f"stands beside {stated[0]}", found="", hint="state one")
        return
    endpoint = checks.config.endpoints[spec.endpoint]
    if endpoint.of not in measured or checks.config.model not in models.names():
        return  # said elsewhere
    place = (*path, stated[0])
    unit = _unit(checks.config, spec)
    values = []
    for index, end in enumerate(spec.margins or [spec.margin]):
        try:
            values.append(quantity(unit).validate(end))
        except SpecError as error:
            where = (*place, index) if spec.margins else place
            checks.note(where, error.message, allowed=error.allowed, hint=error.hint)
    most = 1.0 if endpoint.kind == "any_at_or_above" else 100.0 if unit == "%" else math.inf
    if ESTIMATORS[spec.estimator].ratio and any(value <= 0 for value in values):
        checks.note(place, "must be above 0, as a ratio", hint="a ratio at the margin, as 80 %")
    elif not ESTIMATORS[spec.estimator].ratio and any(abs(value) >= most for value in values):
        checks.note(place, f"must be less than {'100 %' if most > 1 else '1, or 100 %'}")
    elif spec.margins is not None and len(values) == 2:
        _two(checks, place, spec, values)
    elif spec.margins is None and values:
        _one(checks, place, spec, values[0])


def _two(checks: Checks, place: Sequence[str], spec: AnalysisSpec, values: list[float]) -> None:
    lower, upper = values
    null = 1.0 if ESTIMATORS[spec.estimator].ratio else 0.0
    assert spec.margins is not None
    if lower >= upper:
        checks.note((*place, 1), f"must be above the lower, {spec.margins[0]}")
    elif not lower < null < upper:
        none = "1, or 100 %" if null else "0"
        checks.note(place, f"must have no effect ({none}) between them", found="")


def _one(checks: Checks, place: Sequence[str], spec: AnalysisSpec, value: float) -> None:
    sign = better_sign(checks.config, spec)
    superiority = spec.hypothesis == "superiority"
    if sign is None:
        checks.note(
            place,
            f"needs to know which values of {spec.endpoint} are better",
            hint=f"state `better: higher` or `lower` in endpoints.{spec.endpoint}",
        )
    elif ESTIMATORS[spec.estimator].ratio:
        towards = math.log(value) * sign
        wrong = towards < -NO_MARGIN if superiority else towards > -NO_MARGIN
        if wrong:
            above = (sign > 0) == superiority
            side = "better" if superiority else "worse"
            checks.note(
                place,
                f"must be a ratio on the {side} side of no effect",
                allowed=f"{'above' if above else 'below'} 1"
                + (", or 1 itself" if superiority else ""),
            )
    elif value < 0 or (value == 0 and not superiority):
        checks.note(
            place,
            "is how far from no effect, whichever values are better, and so must be "
            + ("0 or more" if superiority else "more than 0"),
        )


def _unit(config: TrialConfig, spec: AnalysisSpec) -> str:
    """Unit that margins of an analysis are read in."""
    if ESTIMATORS[spec.estimator].ratio:
        return "1"
    outputs = counted_in(models.get(config.model), "h").quantities("Outputs")
    units = {name: quantity.unit for name, quantity in outputs.items()}
    return endpoint_unit(config.endpoints[spec.endpoint], units, config.drug) or "1"
