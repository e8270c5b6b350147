"""The warfarin model's response, where it is known in closed form."""

import numpy as np
import pytest

from insilico import models
from insilico.solve import Dose, Tolerances, schedule, solve

MODEL = models.get("warfarin_hamberg2010")
TIGHT = Tolerances(relative=1e-9, absolute=1e-10)
TIMES = np.array([0.0, 6.0, 24.0, 72.0, 168.0, 500.0, 2000.0])
PARAMETERS = MODEL.Parameters(0.348, 14.3, 2.0, 3 / 28.6, 3 / 118.3, 4.1, 1.15, 1.0, 20.0, 1.1)


def _inr(parameters, actions=()):
    events, pattern = schedule(MODEL, actions, observe=TIMES)
    return solve(MODEL, parameters, events, pattern, tolerances=TIGHT).outputs.inr[0]


@pytest.mark.slow
def test_without_treatment_the_inr_stays_at_its_baseline():
    np.testing.assert_array_equal(_inr(PARAMETERS), np.full(len(TIMES), 1.1))


@pytest.mark.parametrize("effect", [1.0, 0.6])
def test_under_a_constant_effect_each_chain_empties_like_an_erlang_distribution(effect: float):
    """Drug that never leaves and saturates: production drops to 1 − EMAX at once and stays."""
    parameters = PARAMETERS._replace(
        clearance=0.0, half_effect_concentration=1e-12, maximal_effect=effect
    )
    found = _inr(parameters, [Dose(0.0, "central", 100.0)])

    def left(mean_transit_time: float) -> np.ndarray:
        steps = 3 / mean_transit_time * TIMES
        return np.exp(-steps) * (1 + steps + steps**2 / 2)

    remaining = 1.0 - effect * (1.0 - (left(28.6) + left(118.3)) / 2)
    # At 1e13 times EC50 the effect is complete to 1e-15.
    np.testing.assert_allclose(found, 1.1 + 20.0 * (1.0 - remaining), rtol=1e-7)


def test_half_of_the_effect_is_reached_at_the_half_effect_concentration():
    parameters = PARAMETERS._replace(clearance=0.0, hill=2.7)
    found = _inr(parameters, [Dose(0.0, "central", 4.1 * 14.3)])
    # 2,000 h are 17 mean transit times of the slow chain.
    assert found[-1] == pytest.approx(1.1 + 20.0 / 2, rel=1e-7)
