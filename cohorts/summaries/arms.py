"""The arms of a calibration as the rows of one schedule: what all of them do, at any time.

Every arm has the rows of all: where it gives nothing, the amount is 0. So one compiled solve serves
all arms, whose numbers are its arguments.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from cohorts._faults import unknown
from cohorts.hierarchy.numbers import Reader, Stated
from cohorts.summaries.config import ArmSpec, DoseSpec
from insilico.config.problems import listed
from insilico.model import Model
from insilico.solve import Dose, Events, Infusion, Input, Pattern, schedule

Path = tuple[str | int, ...]
Action = Dose | Infusion | Input


class Arm(NamedTuple):
    """What the subjects of one arm received, in the model's units."""

    name: str
    label: str
    actions: tuple[Action, ...]
    subjects: int | None
    same_subjects: bool

    @property
    def dose_times(self) -> list[float]:
        """When doses are given, or infusions begin."""
        return sorted({each.time for each in self.actions if not isinstance(each, Input)})


def read_arms(specs: Mapping[str, ArmSpec], model: Model, reader: Reader) -> list[Arm]:
    """The arms that a config describes, and faults."""
    return [
        Arm(
            name,
            spec.label or name.replace("_", " "),
            tuple(_actions(spec, ("arms", name), model, reader)),
            spec.subjects,
            spec.same_subjects,
        )
        for name, spec in specs.items()
    ]


def time_of(value: Stated, path: Path, model: Model, reader: Reader) -> float | None:
    """A time, at least 0, in the model's unit; a plain 0 needs no unit."""
    if value == 0.0:
        return 0.0
    found = reader.quantity(value, model.time_unit, path)
    if found is not None and found < 0.0:
        reader.add(path, "must not be before 0, the time of the initial state", str(value))
        return None
    return found


def _actions(spec: ArmSpec, path: Path, model: Model, reader: Reader) -> list[Action]:
    result: list[Action] = []
    for index, dose in enumerate(spec.doses):
        result += _doses(dose, (*path, "doses", index), model, reader)
    inputs = model.quantities("Inputs")
    for name, value in spec.inputs.items():
        place = (*path, "inputs", name)
        if name not in inputs:
            reader.faults.append(unknown(place, f"input of {model.name}", name, inputs))
        elif (number := reader.quantity(value, inputs[name].unit, place)) is not None:
            result.append(Input(0.0, name, number))
    if missing := [name for name in inputs if name not in spec.inputs]:
        reader.add(
            (*path, "inputs"),
            f"lacks these inputs of {model.name}",
            listed(missing),
            None,
            "give each a constant value",
        )
    return result


def _doses(spec: DoseSpec, path: Path, model: Model, reader: Reader) -> list[Action]:
    states = model.quantities("State")
    into = spec.into or next(iter(states))
    if into not in states or states[into].size is not None:
        scalars = [name for name, quantity in states.items() if quantity.size is None]
        reader.faults.append(
            unknown((*path, "into"), f"compartment of {model.name}", into, scalars)
        )
        return []
    unit = states[into].unit
    amount = reader.quantity(spec.amount, unit, (*path, "amount"), gt=0.0)
    times = _times(spec, path, model, reader)
    duration = _duration(spec, path, amount, unit, model, reader)
    if amount is None or times is None or duration is None:
        return []
    if duration > 0.0:
        return [Infusion(time, into, amount, duration) for time in times]
    return [Dose(time, into, amount) for time in times]


def _times(spec: DoseSpec, path: Path, model: Model, reader: Reader) -> list[float] | None:
    if spec.times:
        found = [time_of(t, (*path, "times", n), model, reader) for n, t in enumerate(spec.times)]
        if spec.every is not None or spec.at != 0.0:
            reader.add((*path, "times"), "stands in place of `at` and `every`, not beside them")
            return None
        return None if None in found else [time for time in found if time is not None]
    first = time_of(spec.at, (*path, "at"), model, reader)
    if spec.number == 1:
        return None if first is None else [first]
    if spec.every is None:
        reader.add((*path, "every"), f"is missing: the interval between {spec.number} doses")
        return None
    interval = reader.quantity(spec.every, model.time_unit, (*path, "every"), gt=0.0)
    if first is None or interval is None:
        return None
    return [first + number * interval for number in range(spec.number)]


def _duration(
    spec: DoseSpec, path: Path, amount: float | None, unit: str, model: Model, reader: Reader
) -> float | None:
    """Of an infusion; 0 for a bolus."""
    if spec.duration is not None and spec.rate is not None:
        reader.add((*path, "rate"), "stands in place of a duration, not beside it")
        return None
    if spec.duration is not None:
        return reader.quantity(spec.duration, model.time_unit, (*path, "duration"), gt=0.0)
    if spec.rate is None:
        return 0.0
    per_time = f"1/{model.time_unit}" if unit in ("", "1") else f"{unit}/{model.time_unit}"
    rate = reader.quantity(spec.rate, per_time, (*path, "rate"), gt=0.0)
    return None if rate is None or amount is None else amount / rate


class Timetable(NamedTuple):
    """The schedule of all arms.

    - `events`: its rows, (arms, rows) each; they differ in amounts alone.
    - `times`: when outputs are observed, (times,).
    """

    events: Events
    pattern: Pattern
    times: Float[np.ndarray, " times"]


def timetable(model: Model, arms: Sequence[Arm], times: Sequence[float]) -> Timetable:
    """The schedule of these arms with outputs at these times, of every arm at all of them."""
    wanted = np.unique(np.asarray(times, float))
    # Of arms that do the same at the same time, one row: amounts are all that differs.
    places: dict[tuple, list[float]] = {}
    for number, arm in enumerate(arms):
        counts: dict[tuple, int] = {}
        for action in arm.actions:
            kind = _kind(action)
            counts[kind] = counts.get(kind, 0) + 1
            amounts = places.setdefault((*kind, counts[kind]), [0.0] * len(arms))
            amounts[number] = action.value if isinstance(action, Input) else action.amount
    of_arms = []
    for number in range(len(arms)):
        actions = [_action(place, amounts[number]) for place, amounts in places.items()]
        of_arms.append(schedule(model, actions, observe=wanted, interpolate=False))
    pattern = of_arms[0][1]
    assert all(each == pattern for _, each in of_arms)
    columns = zip(*(events for events, _ in of_arms), strict=True)
    return Timetable(Events(*(np.stack(column) for column in columns)), pattern, wanted)


def _kind(action: Action) -> tuple:
    match action:
        case Dose(time, compartment):
            return ("dose", time, compartment, 0.0)
        case Infusion(time, compartment, _, duration):
            return ("infusion", time, compartment, duration)
        case Input(time, name):
            return ("input", time, name, 0.0)


def _action(place: tuple, amount: float) -> Action:
    kind, time, name, duration, _ = place
    if kind == "dose":
        return Dose(time, name, amount)
    if kind == "infusion":
        return Infusion(time, name, amount, duration)
    return Input(time, name, amount)


def course_times(
    arms: Sequence[Arm], first: float, last: float, points: int
) -> Float[np.ndarray, " times"]:
    """Times from `first` to `last` that follow a course: dense after each dose, then wider apart.

    About so many `points` over all, at least 8 from one dose to the next. The first one after a
    dose is a millionth of the way to the next, since an output at the time itself is of before.
    """
    doses = {time for arm in arms for time in arm.dose_times if first <= time < last}
    begins = sorted({first, *doses})
    each = max(8, math.ceil(points / len(begins)))
    after_dose = np.concatenate([[1e-6], np.geomspace(1e-3, 1.0, each - 1)])
    evenly = np.linspace(0.0, 1.0, each)
    parts = [
        begin + (end - begin) * (after_dose if begin in doses else evenly)
        for begin, end in zip(begins, [*begins[1:], last], strict=True)
    ]
    return np.unique(np.concatenate(parts))
