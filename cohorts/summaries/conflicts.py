"""Which targets cannot be met together: what becomes of the rest where one is left out.

The objective of a calibration is how far its population is from a plausible one plus half the sum
of squared, standardised deviations of the targets. Twice what it falls by where a target is left
out is the square of how far that target lies from what the others lead to, in standard errors of
both: without a conflict it is about one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

LEAST = 3.0
"""Standard errors between a target and what the others lead to from which on it is a conflict."""

PART = 0.3
"""Share of a target's squared mismatch by which leaving out another has to lower it, for the two to
be a pair."""


class Optimum(NamedTuple):
    """Where a calibration ends: mismatches (targets,) in standard errors, and its objective."""

    mismatch: Float[np.ndarray, " targets"]
    objective: float


class Pair(NamedTuple):
    """Two targets, by number, that cannot be met together.

    `mismatch` of the first and the second with both, `alone` of each without the other.
    """

    first: int
    second: int
    mismatch: tuple[float, float]
    alone: tuple[float, float]


class Conflicts(NamedTuple):
    """What leaving out targets shows.

    - `mismatch`: with all targets. `without`: in row a, those without target a.
    - `distance`: of each target from what the others lead to, in standard errors.
    - `pairs`: those that cannot be met together.
    """

    mismatch: Float[np.ndarray, " targets"]
    without: Float[np.ndarray, "targets targets"]
    distance: Float[np.ndarray, " targets"]
    pairs: tuple[Pair, ...]


def conflicts(
    refit: Callable[[Bool[np.ndarray, " targets"]], Optimum],
    targets: int,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> Conflicts:
    """The conflicts between so many targets; `refit` calibrates to some of them.

    `told` is called with how many refits are done, and of how many.
    """
    everything = np.ones(targets, bool)
    whole = refit(everything)
    without = np.full((targets, targets), np.nan)
    distance = np.zeros(targets)
    for number in range(targets):
        some = everything.copy()
        some[number] = False
        part = refit(some)
        without[number] = part.mismatch
        distance[number] = np.sqrt(max(0.0, 2.0 * (whole.objective - part.objective)))
        told(number + 1, targets)
    pairs = _pairs(whole.mismatch, without, distance)
    return Conflicts(whole.mismatch, without, distance, pairs)


def _pairs(mismatch: np.ndarray, without: np.ndarray, distance: np.ndarray) -> tuple[Pair, ...]:
    """Of each target in conflict, the one whose own mismatch falls most without it."""
    found: dict[tuple[int, int], Pair] = {}
    for number in np.argsort(-distance):
        if distance[number] < LEAST:
            break
        fall = np.square(mismatch) - np.square(without[number])
        fall[number] = -np.inf
        other = int(np.argmax(fall))
        if len(fall) < 2 or fall[other] < max(PART * mismatch[other] ** 2, 0.25):
            continue
        first, second = sorted((int(number), other))
        found.setdefault(
            (first, second),
            Pair(
                first,
                second,
                (float(mismatch[first]), float(mismatch[second])),
                (float(without[second, first]), float(without[first, second])),
            ),
        )
    return tuple(found.values())


def in_words(found: Conflicts, names: Sequence[str]) -> list[str]:
    """Each conflict as a sentence, worst first."""
    told = [
        f"“{names[p.first]}” and “{names[p.second]}” cannot be met together: with both, the "
        f"population is {_off(p.mismatch[0])} and {_off(p.mismatch[1])}; without the second, the "
        f"first is {_off(p.alone[0])}, and without the first, the second is {_off(p.alone[1])}"
        for p in found.pairs
    ]
    paired = {number for pair in found.pairs for number in (pair.first, pair.second)}
    for number in np.argsort(-found.distance):
        if found.distance[number] >= LEAST and int(number) not in paired:
            told.append(
                f"“{names[number]}” lies {found.distance[number]:.1f} standard errors from what "
                "the plausible range and the other targets together lead to"
            )
    return told


def _off(mismatch: float) -> str:
    if abs(mismatch) < 0.05:
        return "on it"
    side = "above" if mismatch > 0 else "below"
    return f"{abs(mismatch):.1f} standard errors {side} it"
