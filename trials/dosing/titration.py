"""Titration: from the band a measured value lies in to a change of dose and the next visit."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

from insilico.vocabulary import where
from trials.config import BandSpec, TitrationSpec


class Adjustment(NamedTuple):
    """What a titration table says, for each lane.

    - `band`: number of the band, from the lowest.
    - `factor`: on the dose from now on. `next_dose`: on the next dose alone. `hold`: 1 where no
      dose is given until the next visit.
    - `recheck`: days until the next visit at the latest; infinite where the band says nothing.
    """

    band: Any
    factor: Any
    next_dose: Any
    hold: Any
    recheck: Any


@dataclasses.dataclass(frozen=True)
class Titration:
    """A titration table, lowest band first; `of` is the measured output it reads."""

    of: str
    bands: tuple[BandSpec, ...]

    @classmethod
    def from_spec(cls, spec: TitrationSpec) -> Titration:
        return cls(spec.of, tuple(spec.bands))

    def adjust(self, value: Any, previous_band: Any) -> Adjustment:
        """The adjustment for a measured `value`, where the visit before was in `previous_band`.

        `previous_band` is -1 where there was no such visit.
        """
        # A chain of comparisons: lanes of a kernel have no axis of bands.
        band = 0.0 * value
        for entry in self.bands[:-1]:
            band = where(value >= entry.below, band + 1.0, band)
        repeated = band == previous_band

        def column(numbers: list[float]) -> Any:
            result = 0.0 * band
            for number, entry in enumerate(numbers):
                result = where(band == number, entry, result)
            return result

        first = column([entry.change for entry in self.bands])
        again = column(
            [entry.change if entry.again is None else entry.again for entry in self.bands]
        )
        return Adjustment(
            band=band,
            factor=1.0 + where(repeated, again, first) / 100.0,
            next_dose=column([entry.next_dose for entry in self.bands]),
            hold=column([float(entry.hold) for entry in self.bands]),
            recheck=column(
                [math.inf if entry.recheck is None else entry.recheck for entry in self.bands]
            ),
        )


def band_problems(bands: list[BandSpec]) -> list[str]:
    """What is wrong with a table's bands (empty: nothing)."""
    problems = []
    bounds = [band.below for band in bands]
    if bounds[-1] is not None:
        problems.append("the last band must have no `below`, so that every value lies in a band")
    missing = [number for number, bound in enumerate(bounds[:-1], 1) if bound is None]
    if missing:
        problems.append(f"band {missing[0]} has no `below`; only the last band may leave it out")
    known = [bound for bound in bounds if bound is not None]
    if known != sorted(set(known)):
        problems.append(f"`below` must increase from band to band; found {known}")
    for number, band in enumerate(bands, 1):
        if min(band.change, band.change if band.again is None else band.again) <= -100:
            problems.append(f"band {number}: a change must be above -100 %")
        if band.recheck is not None and band.recheck % 1:
            problems.append(f"band {number}: `recheck` must be whole days, not {band.recheck:g} d")
    return problems
