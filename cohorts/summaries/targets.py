"""Targets: published statistics of virtual patients, in the model's units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cohorts._faults import unknown
from cohorts.hierarchy.numbers import Reader
from cohorts.residual import Residual
from cohorts.summaries.arms import Arm, course_times, time_of
from cohorts.summaries.config import (
    AnyTargetSpec,
    CorrelationSpec,
    FractionSpec,
    LocationSpec,
    QuantileSpec,
    QuantitySpec,
)
from insilico.config.problems import shown
from insilico.model import Model

Path = tuple[str | int, ...]

COURSE_POINTS = 48
"""Points of a course that an exposure is taken over where no samples are stated."""


class Quantity(NamedTuple):
    """One number of a subject.

    - `kind`: `value`, or that of an exposure. `times`: of the value, or of the samples.
    - `baseline`: time of the value that a `change` is from.
    """

    output: str
    kind: str
    times: tuple[float, ...]
    change: str | None
    baseline: float
    measured: bool
    unit: str
    time_unit: str

    @property
    def all_times(self) -> tuple[float, ...]:
        """Every time at which the output is needed."""
        return self.times if self.change is None else (*self.times, self.baseline)

    @property
    def words(self) -> str:
        """`concentration at 1 h`, `AUC of concentration from 0 to 24 h`."""
        if self.kind == "value":
            what = f"{self.output.replace('_', ' ')} at {self.times[0]:g} {self.time_unit}"
        else:
            kind = {"auc": "AUC", "cmax": "maximum", "cmin": "minimum", "tmax": "time of maximum"}
            output = self.output.replace("_", " ")
            first, last = self.times[0], self.times[-1]
            # A course that begins with a dose has its first value just after it.
            first = 0.0 if abs(first) < 1e-5 * abs(last) else first
            what = f"{kind[self.kind]} of {output} from {first:.3g} to {last:.3g} {self.time_unit}"
        change = {None: "", "difference": "change of ", "ratio": "ratio to baseline of "}
        return change[self.change] + what


class Target(NamedTuple):
    """A published statistic of a quantity over the subjects of an arm.

    - `value`: as published, in `unit`. `level`: threshold of a fraction, probability of a quantile.
    - `standard_error`: of the value, NaN where it follows from the number of `subjects`.
    - `group`: number of the subjects that it is of; targets of one group have errors that go
      together.
    """

    name: str
    arm: int
    quantity: Quantity
    statistic: str
    value: float
    unit: str
    standard_error: float
    subjects: float
    group: int
    level: float = math.nan
    other: Quantity | None = None

    @property
    def of_probability(self) -> bool:
        """Whether it is compared as a share of subjects: a quantile as the share below it."""
        return self.statistic == "quantile" and math.isnan(self.standard_error)


def read_targets(
    specs: Sequence[AnyTargetSpec],
    arms: Sequence[Arm],
    model: Model,
    residual: dict[str, Residual],
    reader: Reader,
) -> list[Target]:
    """The targets that a config describes, and faults."""
    names = [arm.name for arm in arms]
    result: list[Target] = []
    for index, spec in enumerate(specs):
        path: Path = ("targets", index)
        if spec.arm not in names:
            reader.faults.append(unknown((*path, "arm"), "arm", spec.arm, names))
            continue
        arm = arms[names.index(spec.arm)]
        quantity = _quantity(spec, path, arms, model, residual, reader)
        other = None
        if isinstance(spec, CorrelationSpec):
            other = _quantity(spec.other, (*path, "other"), arms, model, residual, reader)
            if other is None:
                continue
        if quantity is None:
            continue
        where = f", {arm.label}" if len(arms) > 1 else ""
        target = _target(
            spec, path, index, names.index(spec.arm), arm, quantity, other, where, reader
        )
        if target is not None:
            result.append(target)
    seen: dict[str, int] = {}
    for index, target in enumerate(result):
        if target.name in seen:
            reader.add(
                ("targets", index),
                "has the name of another target",
                shown(target.name),
                None,
                "give one of them a `name` of its own",
            )
        seen[target.name] = index
    return result


def _quantity(
    spec: QuantitySpec,
    path: Path,
    arms: Sequence[Arm],
    model: Model,
    residual: dict[str, Residual],
    reader: Reader,
) -> Quantity | None:
    outputs = {n: q for n, q in model.quantities("Outputs").items() if q.size is None}
    count = len(reader.faults)
    if spec.output not in outputs:
        place = (*path, "output")
        reader.faults.append(unknown(place, f"output of {model.name}", spec.output, outputs))
        return None
    if (spec.time is None) == (spec.exposure is None):
        reader.add(path, "needs either a time or an exposure")
        return None
    unit = outputs[spec.output].unit
    kind, whole = spec.exposure or "value", False
    if spec.time is not None:
        time = time_of(spec.time, (*path, "time"), model, reader)
        times = () if time is None else (time,)
        for field in ("between", "samples"):
            if getattr(spec, field):
                reader.add((*path, field), "is for an exposure, not for a value at a time")
    else:
        times, whole = _sampled(spec, path, arms, model, reader)
        if kind == "auc":
            unit = _area_unit(unit, model, path, reader)
        elif kind == "tmax":
            unit = model.time_unit
    baseline = time_of(spec.baseline, (*path, "baseline"), model, reader)
    if spec.change is not None and spec.exposure is not None:
        reader.add((*path, "change"), "is of a value at a time, not of an exposure")
    error = residual.get(spec.output)
    measured = error is not None and not whole if spec.measured is None else spec.measured
    if measured and error is None:
        reader.add(
            (*path, "measured"),
            f"needs a residual error of {spec.output}",
            None,
            None,
            "describe it under `residual`, or write `measured: no`",
        )
    if measured and whole:
        reader.add(
            (*path, "measured"),
            "a whole course is not measured",
            None,
            None,
            "state the times of the samples, or write `measured: no`",
        )
    if spec.change == "ratio":
        unit = "1"
    if len(reader.faults) > count or baseline is None:
        return None
    return Quantity(
        spec.output, kind, times, spec.change, baseline, measured, unit, model.time_unit
    )


def _sampled(
    spec: QuantitySpec, path: Path, arms: Sequence[Arm], model: Model, reader: Reader
) -> tuple[tuple[float, ...], bool]:
    """Times that an exposure is taken at, and whether they stand for the whole course."""
    if bool(spec.samples) == (spec.between is not None):
        reader.add(
            path, "an exposure needs either `between`, two times, or `samples`, the times of all"
        )
        return (), False
    if spec.between is not None:
        ends = [
            time_of(end, (*path, "between", n), model, reader) for n, end in enumerate(spec.between)
        ]
        if ends[0] is None or ends[1] is None:
            return (), True
        if ends[0] >= ends[1]:
            reader.add((*path, "between"), "must be two times, the first before the second")
            return (), True
        return tuple(course_times(arms, ends[0], ends[1], COURSE_POINTS).tolist()), True
    found = [time_of(t, (*path, "samples", n), model, reader) for n, t in enumerate(spec.samples)]
    times = [time for time in found if time is not None]
    if len(times) == len(found) and (len(times) < 2 or np.any(np.diff(times) <= 0.0)):
        reader.add((*path, "samples"), "must be two times or more that increase")
    return tuple(times), False


def _area_unit(unit: str, model: Model, path: Path, reader: Reader) -> str:
    if unit == "%":
        reader.add((*path, "exposure"), "an area under a percentage has no unit to state it in")
        return "1"
    return model.time_unit if unit in ("", "1") else f"{unit}*{model.time_unit}"


def _target(
    spec: AnyTargetSpec,
    path: Path,
    index: int,
    number: int,
    arm: Arm,
    quantity: Quantity,
    other: Quantity | None,
    where: str,
    reader: Reader,
) -> Target | None:
    count = len(reader.faults)
    in_unit = isinstance(spec, LocationSpec | QuantileSpec)
    unit = quantity.unit if in_unit else "1"
    value = reader.quantity(spec.value, unit, (*path, "value"))
    statistic, level = spec.statistic, math.nan
    if isinstance(spec, QuantileSpec):
        level = spec.probability
    elif statistic == "median":
        statistic, level = "quantile", 0.5
    elif isinstance(spec, FractionSpec):
        statistic, level = _threshold(spec, path, quantity, reader)
    if value is not None:
        _check_value(spec, path, value, reader)
    error = math.nan
    subjects = spec.subjects or (None if spec.standard_error is not None else arm.subjects)
    if spec.standard_error is not None and spec.subjects is not None:
        reader.add((*path, "subjects"), "stands in place of a standard error, not beside it")
    elif spec.standard_error is not None:
        place = (*path, "standard_error")
        error = reader.quantity(spec.standard_error, unit, place, gt=0.0) or math.nan
    elif subjects is None:
        reader.add(
            path,
            "needs a standard error, or the number of subjects that it follows from",
            None,
            None,
            "state `standard_error` or `subjects` here, or `subjects` of the arm",
        )
    if len(reader.faults) > count or value is None:
        return None
    words = f"{quantity.words} and {other.words}" if other is not None else quantity.words
    return Target(
        name=spec.name or f"{_words(spec)}{words}{where}",
        arm=number,
        quantity=quantity,
        statistic=statistic,
        value=value,
        unit="" if unit == "1" else unit,
        standard_error=error,
        subjects=math.nan if subjects is None else float(subjects),
        group=number if arm.same_subjects else -1 - index,
        level=level,
        other=other,
    )


def _threshold(
    spec: FractionSpec, path: Path, quantity: Quantity, reader: Reader
) -> tuple[str, float]:
    if (spec.above is None) == (spec.below is None):
        reader.add(path, "a fraction needs either `above` or `below`")
        return "above", math.nan
    side, stated = ("above", spec.above) if spec.above is not None else ("below", spec.below)
    assert stated is not None
    level = reader.quantity(stated, quantity.unit, (*path, side))
    return side, math.nan if level is None else level


def _check_value(spec: AnyTargetSpec, path: Path, value: float, reader: Reader) -> None:
    place = (*path, "value")
    if isinstance(spec, FractionSpec) and not 0.0 <= value <= 1.0:
        reader.add(place, "must be a share", shown(spec.value), "0 to 1, or 0 % to 100 %")
    elif spec.statistic in ("sd", "cv", "geometric_cv", "geometric_mean") and value <= 0.0:
        reader.add(place, "must be more than 0", shown(spec.value))
    elif spec.statistic == "correlation" and not -1.0 < value < 1.0:
        reader.add(place, "must be a correlation", shown(spec.value), "more than -1, less than 1")


def _words(spec: AnyTargetSpec) -> str:
    match spec:
        case QuantileSpec():
            return f"{100 * spec.probability:g}th percentile of "
        case FractionSpec():
            side = "above" if spec.above is not None else "below"
            return f"share {side} {spec.above if spec.above is not None else spec.below} of "
        case CorrelationSpec():
            return "correlation of "
    return f"{spec.statistic.replace('_', ' ')} of ".replace("cv", "CV")
