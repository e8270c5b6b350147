"""Observations read off interpolants: as exact as the steps, wherever steps end."""

import math

import numpy as np
import pytest

from insilico import models
from insilico.solve import Dose, Infusion, Input, Status, Tolerances, methods, schedule, solve
from insilico.solve.ahead import walk_ahead
from insilico.solve.courses import Course

TYPICAL = (1.0, 3.0, 30.0)
ACTIONS = [
    Dose(0.0, "depot", 100.0),
    Infusion(5.0, "central", 60.0, 7.5),
    Input(20.0, "induction", 0.7),
    Dose(24.0, "depot", 80.0),
]
OBSERVE = [*np.arange(0.25, 24.0, 0.25), 24.0, *np.arange(24.5, 60.0, 0.5)]


def solved(model, parameters, interpolate, method="tsit5", tolerance=1e-6, observe=OBSERVE):
    events, pattern = schedule(model, ACTIONS, observe=observe, interpolate=interpolate)
    return solve(
        model,
        parameters,
        events,
        pattern,
        method=method,
        tolerances=Tolerances(tolerance, tolerance),
    )


@pytest.mark.parametrize("method", ["tsit5", pytest.param("rodas5p", marks=pytest.mark.slow)])
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


@pytest.mark.optimised
def test_a_patient_among_others_shows_what_it_shows_alone(one_compartment, patients):
    parameters = patients(one_compartment, TYPICAL, 200)
    together = solved(one_compartment, parameters, True)
    for patient in (0, 137):
        alone = one_compartment.Parameters(*(leaf[patient : patient + 1] for leaf in parameters))
        single = solved(one_compartment, alone, True)
        for mine, other in zip(single.outputs, together.outputs, strict=True):
            np.testing.assert_array_equal(mine[0], other[patient])


@pytest.mark.optimised
def test_a_patient_that_fails_shows_nothing_and_others_all(one_compartment, patients):
    parameters = patients(one_compartment, TYPICAL, 5)
    whole = solved(one_compartment, parameters, True)
    parameters.clearance[2] = math.nan
    found = solved(one_compartment, parameters, True)
    assert found.status[2] == Status.NOT_FINITE
    assert np.all(np.isnan(found.outputs.central[2]))
    others = [0, 1, 3, 4]
    np.testing.assert_array_equal(found.outputs.central[others], whole.outputs.central[others])


def test_any_number_of_rows_may_lie_on_one_step(one_compartment, patients, exact):
    """Of six patients, whose steps differ, and at the start, before any step, three times."""
    parameters = patients(one_compartment, TYPICAL, 6)
    observe = [0.0, 0.0, 0.0, *np.arange(0.02, 7.0, 0.02), 24.0, 24.0, 24.0, 30.0]
    found = solved(one_compartment, parameters, True, tolerance=1e-8, observe=observe)
    assert np.all(found.status == Status.OK) and found.steps.max() < 200
    outputs = np.stack(found.outputs, axis=-1)
    alone = [*range(3, len(observe) - 4), -1]  # those that are not at the instant of a dose
    for patient, own in enumerate(zip(*parameters, strict=True)):
        answers = exact(own, ACTIONS, np.array(observe)[alone])
        np.testing.assert_allclose(outputs[patient, alone], answers, rtol=1e-6, atol=1e-5)
    # Of rows at the instant of a dose, the first sees the state before it, the others after it.
    depot = found.outputs.depot
    np.testing.assert_array_equal(depot[:, :3], [[0.0, 100.0, 100.0]] * 6)
    np.testing.assert_allclose(depot[:, -3:-1] - depot[:, -4:-3], 80.0, rtol=1e-12)


def test_patients_with_no_time_between_two_events_show_where_they_stand(one_compartment, patients):
    """Events of each patient's own, of which the second's fall together with the first's."""
    parameters = patients(one_compartment, TYPICAL, 2)
    actions = [Infusion(0.0, "central", 60.0, 4.0), Dose(10.0, "central", 80.0)]
    found = []
    for interpolate in (True, False):
        events, pattern = schedule(
            one_compartment, actions, observe=[2.0, 6.0, 8.0, 12.0], interpolate=interpolate
        )
        assert pattern.rows == 7  # the infusion's start, 2, its end, 6, 8, the dose, 12
        time = np.stack([events.time, [0.0, 2.0, 4.0, 4.0, 4.0, 4.0, 12.0]], axis=-1)
        columns = (np.stack([column, column], axis=-1) for column in events[1:])
        found.append(solve(one_compartment, parameters, type(events)(time, *columns), pattern))
    between, at_all = (np.stack(each.outputs, axis=-1) for each in found)
    assert np.all(between[1, 1] == between[1, 2]) and np.all(between[1, 1, 1:] > 0.0)
    np.testing.assert_allclose(between, at_all, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.optimised
def test_lanes_do_not_wait_for_each_other_at_what_is_observed(one_compartment, patients):
    """The loop turns about as often as the slowest lane steps, however many rows there are."""
    parameters = patients(one_compartment, TYPICAL, 64)
    events, pattern = schedule(
        one_compartment, ACTIONS[0], observe=np.arange(0.5, 60.0, 0.5), interpolate=True
    )
    course = Course(one_compartment, parameters, pattern)
    walked, turns = walk_ahead(course, events, Tolerances().numbers(), methods.get("tsit5"))
    assert walked.steps.max() <= turns <= 1.3 * walked.steps.max()


@pytest.mark.slow
def test_rows_are_read_off_steps_where_that_is_faster(one_compartment):
    """By default in a model of many states that is observed often, and then to the tolerance."""
    diabetes = models.get("type_1_diabetes")
    meal = [
        Input(60.0, "meal", 3000.0),
        Input(60.0, "last_meal", 45000.0),
        Input(75.0, "meal", 0.0),
    ]
    often, seldom = np.arange(0.0, 300.0, 5.0), np.arange(0.0, 300.0, 50.0)
    events, pattern = schedule(diabetes, meal, observe=often)
    assert sum(pattern.between) == len(often) - 3  # all but those at events, and the last
    assert not schedule(diabetes, meal, observe=seldom)[1].between
    assert not schedule(one_compartment, ACTIONS, observe=OBSERVE)[1].between
    with_visits = schedule(
        diabetes, meal, observe=often, visits_until=300.0, shortest_recheck=60.0
    )[1]
    assert not with_visits.between
    by_default = solve(diabetes, diabetes.typical, events, pattern)
    exactly = solve(
        diabetes,
        diabetes.typical,
        *schedule(diabetes, meal, observe=often, interpolate=False),
        tolerances=Tolerances(1e-10, 1e-12),
    )
    for mine, answer in zip(by_default.outputs, exactly.outputs, strict=True):
        np.testing.assert_allclose(mine, answer, rtol=2e-5)
