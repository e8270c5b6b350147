"""Saturable elimination against its closed form and its linear limit."""

import numpy as np
from scipy.special import lambertw

from insilico import models
from insilico.solve import Dose, Tolerances, schedule, solve

MODEL = models.get("one_compartment_michaelis_menten")
TIGHT = Tolerances(relative=1e-11, absolute=1e-11)


def test_concentration_after_a_bolus_is_lamberts_function():
    """Beal SL. J Pharmacokinet Biopharm 1983; 11:641-657: C exp(C/KM) falls exponentially."""
    volume, maximal, constant = 50.0, 20.0, 4.0
    times = np.linspace(2.0, 40.0, 20)
    begin = 500.0 / volume
    exponent = (begin - maximal / volume * times) / constant
    answer = constant * np.real(lambertw(begin / constant * np.exp(exponent)))
    events, pattern = schedule(MODEL, [Dose(0.0, "central", 500.0)], observe=times)
    parameters = MODEL.Parameters(1.0, volume, maximal, constant)
    found = solve(MODEL, parameters, events, pattern, tolerances=TIGHT)
    np.testing.assert_allclose(found.outputs.concentration[0], answer, rtol=1e-8, atol=1e-10)


def test_far_below_saturation_it_is_one_compartment():
    linear = models.get("one_compartment")
    times = np.linspace(0.0, 48.0, 13)
    # At most 2e-8 of KM: elimination is slower than a linear one by that part.
    events, pattern = schedule(MODEL, [Dose(0.0, "depot", 1e-3)], observe=times)
    found = solve(MODEL, MODEL.Parameters(0.8, 50.0, 3e3, 1e3), events, pattern, tolerances=TIGHT)
    events, pattern = schedule(linear, [Dose(0.0, "depot", 1e-3)], observe=times)
    answer = solve(linear, linear.Parameters(0.8, 3.0, 50.0), events, pattern)
    for name in ("depot", "central"):
        np.testing.assert_allclose(
            getattr(found.outputs, name), getattr(answer.outputs, name), rtol=1e-6, atol=1e-11
        )
