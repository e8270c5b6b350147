"""Observations read off interpolants: as exact as the steps, wherever steps end."""

import math

import numpy as np
import pytest

from insilico.solve import Dose, Infusion, Input, Status, Tolerances, schedule, solve

TYPICAL = (1.0, 3.0, 30.0)
ACTIONS = [
    Dose(0.0, "depot", 100.0),
    Infusion(5.0, "central", 60.0, 7.5),
    Input(20.0, "induction", 0.7),
    Dose(24.0, "depot", 80.0),
]
OBSERVE = [*np.arange(0.25, 24.0, 0.25), 24.0, *np.arange(24.5, 60.0, 0.5)]


def solved(model, parameters, interpolate, method="tsit5", tolerance=1e-6):
    events, pattern = schedule(model, ACTIONS, observe=OBSERVE, interpolate=interpolate)
    return solve(
        model, parameters, events, pattern,
        method=method, tolerances=Tolerances(tolerance, tolerance),
    )  # fmt: skip


@pytest.mark.parametrize("method", ["tsit5", "rodas5p"])
def test_what_is_observed_between_steps_is_right(one_compartment, patients, exact, method):
    """Through jumps of the state, of an infusion and of an input, at every quarter of an hour."""
    parameters = patients(one_compartment, TYPICAL, 40)
    answers = np.array([exact(p, ACTIONS, OBSERVE) for p in zip(*parameters, strict=True)])
    errors = []
    for tolerance in (1e-6, 1e-9):
        found = solved(one_compartment, parameters, True, method, tolerance)
        assert np.all(found.status == Status.OK)
        outputs = np.stack(found.outputs, axis=-1)
        errors.append(np.max(np.abs(outputs - answers)) / 100.0)  # of a dose
    # An interpolant is of order 4 where the step is of order 5: some times the tolerance.
    assert errors[0] < 1e-4 and errors[1] < 1e-6
    assert errors[0] / errors[1] > 50


def test_steps_pass_over_what_is_only_observed(one_compartment, patients):
    parameters = patients(one_compartment, TYPICAL, 40)
    between, at_all = (solved(one_compartment, parameters, choice) for choice in (True, False))
    assert between.steps.max() < 0.7 * at_all.steps.min()
    # What is reached by steps at events is not interpolated.
    for mine, other in zip(between.state, at_all.state, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-4)


def test_a_patient_among_others_shows_what_it_shows_alone(one_compartment, patients):
    parameters = patients(one_compartment, TYPICAL, 200)
    together = solved(one_compartment, parameters, True)
    for patient in (0, 137):
        alone = one_compartment.Parameters(*(leaf[patient : patient + 1] for leaf in parameters))
        single = solved(one_compartment, alone, True)
        for mine, other in zip(single.outputs, together.outputs, strict=True):
            np.testing.assert_array_equal(mine[0], other[patient])


def test_a_patient_that_fails_shows_nothing_and_others_all(one_compartment, patients):
    parameters = patients(one_compartment, TYPICAL, 5)
    whole = solved(one_compartment, parameters, True)
    parameters.clearance[2] = math.nan
    found = solved(one_compartment, parameters, True)
    assert found.status[2] == Status.NOT_FINITE
    assert np.all(np.isnan(found.outputs.central[2]))
    others = [0, 1, 3, 4]
    np.testing.assert_array_equal(found.outputs.central[others], whole.outputs.central[others])
