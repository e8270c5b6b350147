"""The tolerance at which a tool's error comes closest below a target."""

from collections.abc import Callable

DECADES = (-12.0, -1.0)
"""Powers of ten between which tolerances are looked for."""
RUNG = 0.5
"""Decades from one tolerance of the ladder to the next: a factor of 3.2."""


def closest_below(
    target: float, error_at: Callable[[float], float], start: float
) -> tuple[float, float] | None:
    """The relative tolerance, and the error there, that is closest below `target`.

    `error_at` gives the largest error at a relative tolerance. The ladder is climbed from `start`:
    to looser tolerances while the error keeps below, or to tighter ones until it does. Errors need
    not fall with the tolerance, so that this is the first crossing, not the only one. None where no
    tolerance of the ladder gets there.
    """

    def at_most(error: float) -> bool:
        return error <= target * (1 + 1e-9)

    power = 0.0
    best = None
    error = error_at(start)
    upwards = at_most(error)
    while True:
        tolerance = start * 10**power
        if at_most(error):
            best = tolerance, error
            if not upwards:
                return best
        elif upwards:
            return best
        power += RUNG if upwards else -RUNG
        if not 10 ** DECADES[0] <= start * 10**power <= 10 ** DECADES[1]:
            return best
        error = error_at(start * 10**power)
