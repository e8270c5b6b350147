"""Whether a calibrated population can be trusted, in words."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from cohorts.diagnosis import Verdict
from cohorts.summaries.calibration import Calibration
from insilico.pages.numbers import significant

MANY = 1000
"""Standard errors beyond which their number says nothing more."""


def judged(
    calibration: Calibration,
    targets: xr.Dataset,
    *,
    chains: Verdict | None = None,
    effective_share: float | None = None,
    converged: bool = True,
) -> Verdict:
    """The verdict: every reason against the population.

    **Arguments:**

    - `targets`: the group of that name.
    - `chains`: of the sampler's draws. `effective_share`: of reweighted patients; `converged`:
      whether their weights were found.
    """
    reasons = [] if chains is None else list(chains.reasons)
    if not converged:
        reasons.append("the weights were still changing when the search for them was given up")
    least = calibration.config.checks.least_effective_share
    if effective_share is not None and effective_share < least:
        reasons.append(
            f"the effective number of patients is {effective_share:.1%} of them (at least "
            f"{least:g} is asked for): few of the plausible patients are as published; widen the "
            "plausible range, or draw more"
        )
    reasons += _missed(calibration, targets)
    table = xr.Dataset() if chains is None else chains.table
    return Verdict(not reasons, tuple(reasons), table)


def _missed(calibration: Calibration, targets: xr.Dataset) -> Iterator[str]:
    most = calibration.config.checks.largest_mismatch
    mismatch = targets["mismatch"].to_numpy()
    order = np.argsort(-np.abs(np.where(np.isnan(mismatch), np.inf, mismatch)))
    for number in order:
        # What cannot be computed is no reason for trust.
        if np.abs(mismatch[number]) <= most:
            break
        at = targets.isel(target=int(number))
        unit = f" {at['unit'].item()}" if at["unit"].item() else ""
        side = "above" if mismatch[number] > 0 else "below"
        yield (
            f"“{at['target'].item()}” is missed: the population gives "
            f"{significant(float(at['value']))}{unit}, {_many(float(mismatch[number]))} "
            f"standard errors {side} the published "
            f"{significant(float(at['published']))}{unit} (at most {most:g})"
        )


def _many(mismatch: float) -> str:
    """How many standard errors; of patients who hardly differ one is as good as nothing."""
    return f"{abs(mismatch):.1f}" if abs(mismatch) < MANY else f"over {MANY:,}"
