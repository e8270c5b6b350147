"""What rounding to the doses that exist does to an arm, where a reader may not expect it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from insilico.pages.numbers import plain
from trials.dosing import DoseSizes, Titration, preferred_dose
from trials.protocol import Arm, Protocol

MOST = 0.5
"""Share of starting doses from which on a change that rounding swallows is worth a word."""


def rounding_notes(protocol: Protocol, values: Mapping[str, Any]) -> list[str]:
    """Changes of dose that rounding swallows, doses that it makes none, most doses at a limit, and
    doses of 0 that nothing raises, by arm.

    `values`: of candidates, what they are and what a visit may find, by name. Their starting doses
    are looked at, as titration begins with them.
    """
    return [note for arm in protocol.arms for note in _of_arm(protocol, arm, values)]


def _of_arm(protocol: Protocol, arm: Arm, values: Mapping[str, Any]) -> list[str]:
    sizes = protocol.sizes
    known = dict.fromkeys(protocol.late.codes, np.zeros((), bool))
    asked = preferred_dose(arm.start, values, protocol.vocabulary, protocol.late, known)
    asked = np.atleast_1d(np.asarray(asked * sizes.every, float))
    dose = sizes.fit(asked)
    notes = []
    if omitted := np.mean((asked > 0) & (dose == 0)):
        notes.append(
            f"arms.{arm.name}.start: {plain(_percent(omitted))} % of candidates get no drug: their "
            f"dose is nearest to 0 in {_steps(sizes)}; state drug.lowest if that is not meant"
        )
    unlimited = dataclasses.replace(sizes, lowest=None, highest=None).fit(asked)
    for limit, moved in (("lowest", unlimited < dose), ("highest", unlimited > dose)):
        if (share := np.mean(moved)) > MOST:
            notes.append(
                f"arms.{arm.name}.start: drug.{limit}, which is of one dose, sets that of "
                f"{plain(_percent(share))} % of candidates"
            )
    notes += _stopped(protocol, arm, values)
    table = arm.rule.titration
    swallowed = [] if table is None or sizes.step is None else _swallowed(sizes, table, dose)
    if swallowed:
        changes = ", ".join(f"{plain(change)} %" for change in swallowed)
        typical = float(np.median(dose))
        notes.append(
            f"arms.{arm.name}.titration: a change of {changes} leaves most starting doses as they "
            f"are, in {_steps(sizes)}: {plain(typical)} mg becomes {plain(typical)} mg again; "
            "change by more, or round less"
        )
    return notes


def _stopped(protocol: Protocol, arm: Arm, values: Mapping[str, Any]) -> list[str]:
    """Revisions after which a patient may have no drug for good."""
    if arm.rule.titration is None:
        return []
    names = protocol.rule_vocabulary
    at_visit = [values[name] > 0 for name, entry in names.items() if entry.available == "visit"]
    given = np.logical_and.reduce(at_visit)
    return [
        f"arms.{arm.name}.revision: {formula.name} may give 0, and titration leaves a dose of 0 as "
        "it is; to omit single doses use next_dose or hold of a titration"
        for formula in arm.rule.revision
        if np.any((np.asarray(formula.dose(values, names)) == 0) & given)
    ]


def _swallowed(sizes: DoseSizes, titration: Titration, dose: np.ndarray) -> list[float]:
    """The changes of a table, in percent, that leave most of these doses as they are."""
    changes = [
        change
        for band in titration.bands
        for change in (band.change, band.again)
        if change is not None and change != 0
    ]
    found = []
    for change in dict.fromkeys(changes):
        # What a limit keeps as it is is not rounded away.
        free = dose[(dose > 0) & _within(sizes, dose * (1 + change / 100))]
        if free.size and np.mean(sizes.fit(free * (1 + change / 100)) == free) > MOST:
            found.append(change)
    return found


def _within(sizes: DoseSizes, dose: np.ndarray) -> np.ndarray:
    """Which doses are within the limits."""
    lowest, highest = sizes.limits
    return (dose >= lowest) & (dose <= (np.inf if highest is None else highest))


def _steps(sizes: DoseSizes) -> str:
    if sizes.weekly_rounding is not None:
        return f"multiples of {plain(sizes.weekly_rounding)} mg a week"
    return f"multiples of {plain(sizes.rounding or 0.0)} mg"


def _percent(share: float) -> float:
    return float(f"{100 * share:.2g}")
