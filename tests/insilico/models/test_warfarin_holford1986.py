"""Warfarin has its closed form, and its effect the steady state and pace that were published."""

import numpy as np
import pytest

from insilico import models
from insilico.solve import Dose, Infusion, schedule, solve

MODEL = models.get("warfarin_holford1986")
TYPICAL = MODEL.typical


def test_after_a_dose_the_concentration_has_its_closed_form():
    times = np.array([0.5, 2.0, 6.0, 24.0, 72.0, 144.0])
    events, pattern = schedule(MODEL, [Dose(0.0, "depot", 100.0)], observe=times)
    found = solve(MODEL, TYPICAL, events, pattern).outputs.concentration[0]
    ka, ke = TYPICAL.absorption_rate, TYPICAL.clearance / TYPICAL.volume
    # Two absorption steps of one rate, convolved with a one-exponential elimination.
    rate = ka - ke
    share = (ka / rate) ** 2 * (np.exp(-ke * times) - np.exp(-ka * times) * (1 + rate * times))
    np.testing.assert_allclose(found, 100.0 / TYPICAL.volume * share, rtol=1e-6)


@pytest.fixture(scope="module")
def under_infusion():
    """Activity on days 0 to 10 at a constant concentration of IC50, from the first hour on."""
    at_steady_state = TYPICAL.half_inhibition_concentration * TYPICAL.volume
    rate = TYPICAL.half_inhibition_concentration * TYPICAL.clearance
    doses = [
        Dose(0.0, "central", at_steady_state),
        Infusion(0.0, "central", rate * 240.0, 240.0),
    ]
    events, pattern = schedule(MODEL, doses, observe=24.0 * np.arange(11))
    return solve(MODEL, TYPICAL, events, pattern).outputs.activity[0]


def test_at_the_ic50_half_of_what_can_be_inhibited_is(under_infusion):
    expected = TYPICAL.baseline_activity * (1 - 0.5 * TYPICAL.maximal_inhibition)
    left = np.exp(-TYPICAL.loss * 240.0) * (TYPICAL.baseline_activity - expected)
    assert under_infusion[-1] == pytest.approx(expected + left, rel=1e-6)


def test_a_stable_effect_takes_about_three_days(under_infusion):
    change = under_infusion[0] - under_infusion[-1]
    assert under_infusion[3] - under_infusion[-1] < 0.06 * change
    assert under_infusion[1] - under_infusion[-1] > 0.3 * change


def test_synthesis_is_about_that_of_the_source():
    assert TYPICAL.loss * TYPICAL.baseline_activity == pytest.approx(5.0, rel=0.2)  # %/h
