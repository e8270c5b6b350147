"""Random trials with what trials have: missing outcomes, ties, empty strata."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest


class Trials(NamedTuple):
    """Arrays (trial, subject); what is not used is NaN or nonsense on purpose."""

    value: np.ndarray
    response: np.ndarray
    time: np.ndarray
    event: np.ndarray
    arm: np.ndarray
    used: np.ndarray
    baseline: np.ndarray
    stratum: np.ndarray


@pytest.fixture(scope="session")
def draw_trials() -> Callable[..., Trials]:
    """Draw trials with an effect of the arm, of a covariate and of the stratum."""

    def draw(trials: int, subjects: int, *, effect: float, seed: int, strata: int = 5) -> Trials:
        generator = np.random.default_rng(seed)
        shape = (trials, subjects)
        arm = generator.integers(0, 2, shape)
        used = generator.random(shape) < 0.9
        stratum = generator.integers(0, strata, shape)
        # Some trials lack a stratum, others have one with a single subject.
        stratum = np.where((np.arange(trials) % 3 == 0)[:, None] & (stratum == 2), 0, stratum)
        baseline = generator.normal(50, 10, shape)
        mean = 0.3 * baseline + effect * arm + 0.5 * stratum
        value = mean + generator.normal(0, 3 + 2 * arm)
        response = generator.random(shape) < 1 / (1 + np.exp(0.6 - effect * arm - 0.2 * stratum))
        hazard = np.exp(-effect * arm + 0.02 * (baseline - 50) + 0.2 * stratum)
        to_event = generator.exponential(10 / hazard)
        censored = generator.uniform(2, 30, shape)
        time = np.ceil(np.minimum(to_event, censored))  # whole days: many ties
        return Trials(
            np.where(used, value, np.nan),
            response,
            np.where(used, time, np.nan),
            to_event <= censored,
            np.where(used, arm, -1),
            used,
            np.where(used, baseline, np.nan),
            np.where(used, stratum, 10**6),
        )

    return draw
