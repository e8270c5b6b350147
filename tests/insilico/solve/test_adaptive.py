"""Adaptive steps through whole schedules: accuracy, tolerance and failure."""

from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import pytest

from insilico import models
from insilico.model import Model, Quantity
from insilico.solve import Dose, Status, Tolerances, methods, reference, schedule, solve
from insilico.vocabulary import Value, cos

PROBLEMS = Path(__file__).parents[4] / "shared" / "bench" / "ensemble_problems.npz"


def test_float64_is_on(one_compartment):
    events, pattern = schedule(one_compartment, observe=[1.0])
    solution = solve(one_compartment, one_compartment.Parameters(1.0, 1.0, 1.0), events, pattern)
    assert solution.outputs.central.dtype == np.float64


def test_the_error_shrinks_with_the_tolerance(one_compartment, patients, exact):
    typical = (1.0, 3.0, 30.0)
    actions = [Dose(24.0 * day, "depot", 100.0) for day in range(3)]
    observe = [6.0, 24.0, 30.0, 72.0]
    parameters = patients(one_compartment, typical, 32)
    answers = np.array([exact(p, actions, observe) for p in zip(*parameters, strict=True)])
    events, pattern = schedule(one_compartment, actions, observe=observe)
    tolerances = (1e-4, 1e-6, 1e-8, 1e-10)
    errors = []
    for tolerance in tolerances:
        solution = solve(
            one_compartment,
            parameters,
            events,
            pattern,
            tolerances=Tolerances(relative=tolerance, absolute=tolerance),
        )
        found = np.stack(solution.outputs, axis=-1)
        errors.append(np.max(np.abs(found - answers)) / 100.0)  # of a dose
    # Errors of single steps add up over tens of steps, and their estimate is a lower order's.
    assert all(error < 20 * tolerance for error, tolerance in zip(errors, tolerances, strict=True))
    # A hundredth of the tolerance is worth at least a factor of 30 (100 in theory).
    assert np.all(np.array(errors[:-1]) / errors[1:] > 30), errors


@pytest.fixture(scope="module")
def daily_doses():
    model = models.get("indirect_response")
    return model, *schedule(
        model,
        [Dose(24.0 * day, "depot", 100.0) for day in range(7)],
        observe=[12.0 * half_day for half_day in range(15)],
    )


@pytest.mark.slow
def test_lanes_agree_with_diffrax(daily_doses, patients):
    """The lanes' Tsit5 and diffrax's Dopri8: other method, other controller, other step driver."""
    model, events, pattern = daily_doses
    parameters = patients(model, (0.8, 4.0, 30.0, 6.0, 60.0, 5.0, 0.05, 0.9, 0.7), 8)
    found = solve(
        model, parameters, events, pattern, tolerances=Tolerances(relative=1e-10, absolute=1e-10)
    )
    answer = reference(
        model, parameters, events, pattern, Tolerances(relative=1e-12, absolute=1e-12)
    )
    assert np.all(found.status == Status.OK) and np.all(answer.status == Status.OK)
    for name, ours, theirs in zip(
        model.Outputs._fields, found.outputs, answer.outputs, strict=True
    ):
        theirs = np.asarray(theirs).T
        # 1e-6 is what is claimed; at this tolerance there is more to spare than rounding takes.
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6 * theirs.max(), err_msg=name)
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-8 * theirs.max(), err_msg=name)


def test_benchmark_problem_p1_is_solved_to_1e_5_at_nominal_tolerance():
    if not PROBLEMS.is_file():
        pytest.skip(f"{PROBLEMS} is not there: the benchmark problems are kept apart")
    model = models.get("indirect_response")
    with np.load(PROBLEMS) as archive:
        numbers, answers = archive["p1"][:100], archive["p1_reference"]
        times = archive["p1_times"]
    events, pattern = schedule(
        model, [Dose(24.0 * day, "depot", 100.0) for day in range(28)], observe=times
    )
    solution = solve(model, model.Parameters(*numbers.T), events, pattern)
    found = np.stack(solution.outputs, axis=-1)
    floor = 1e-3 * np.abs(answers).max(axis=1, keepdims=True)
    error = np.max(np.abs(found - answers) / np.maximum(np.abs(answers), floor))
    assert error <= 1e-5


class Position(NamedTuple):
    position: Annotated[Value, Quantity("1", "position")]


class Forces(NamedTuple):
    growth: Annotated[Value, Quantity("1/h", "explodes at time 1 / growth")]
    stiffness: Annotated[Value, Quantity("1/h", "pull towards cos(time)")]


TROUBLE = Model(
    name="trouble",
    title="An equation that explodes, or is stiff, or neither",
    citation="none",
    State=Position,
    Parameters=Forces,
    Outputs=Position,
    initial=lambda p: Position(1.0 + 0.0 * p.growth),
    derivative=lambda time, state, p, inputs: Position(
        p.growth * state.position * state.position - p.stiffness * (state.position - cos(time))
    ),
    outputs=lambda time, state, p: Position(state.position),
)


@pytest.fixture(scope="module")
def troubled():
    """Healthy patients; the same with four that fail: explosion, stiffness, NaN, infinity."""
    healthy = Forces(np.linspace(0.0, 0.1, 100), np.linspace(0.1, 2.0, 100))
    growth, stiffness = healthy.growth.copy(), healthy.stiffness.copy()
    growth[3], stiffness[3] = 1.0, 0.0
    growth[40], stiffness[40] = 0.0, 1e6
    growth[41] = np.nan
    growth[99] = np.inf
    events, pattern = schedule(TROUBLE, observe=[0.0, 0.5, 3.0, 5.0])
    tolerances = Tolerances(max_steps=2000)
    return tuple(
        solve(TROUBLE, parameters, events, pattern, tolerances=tolerances)
        for parameters in (healthy, Forces(growth, stiffness))
    )


FAILING = [3, 40, 41, 99]


@pytest.mark.optimised
def test_each_failure_says_what_and_when(troubled):
    _, mixed = troubled
    assert mixed.status[3] == Status.NOT_FINITE
    assert mixed.status[40] == Status.STIFF
    assert mixed.status[41] == mixed.status[99] == Status.NOT_FINITE
    # x' = x² from 1 has its pole at time 1, moved a little by the steps' errors of 1e-6.
    assert abs(mixed.stopped[3] - 1.0) < 1e-5
    assert 0.0 < mixed.stopped[40] < 5.0 and mixed.steps[40] == 2000
    assert mixed.stopped[41] == mixed.stopped[99] == 0.0
    assert np.all(np.delete(mixed.status, FAILING) == Status.OK)
    assert np.all(np.delete(mixed.stopped, FAILING) == 5.0)


@pytest.mark.optimised
def test_a_failed_patient_has_outputs_until_it_failed_and_none_after(troubled):
    _, mixed = troubled
    position = mixed.outputs.position
    np.testing.assert_allclose(position[3, :2], [1.0, 2.0], rtol=1e-4)
    assert np.all(np.isnan(position[3, 2:]))
    assert np.isnan(position[40, -1])
    assert np.all(np.isnan(position[[41, 99]][:, 1:]))


@pytest.mark.optimised
def test_failing_neighbours_change_no_bit(troubled):
    healthy, mixed = troubled
    for ours, theirs in zip(
        (healthy.outputs.position, healthy.steps),
        (mixed.outputs.position, mixed.steps),
        strict=True,
    ):
        np.testing.assert_array_equal(
            np.delete(ours, FAILING, axis=0), np.delete(theirs, FAILING, axis=0)
        )


def test_a_raised_step_limit_lets_the_stiff_patient_finish():
    events, pattern = schedule(TROUBLE, observe=[0.0, 0.5, 3.0, 5.0])
    stiff = Forces(np.array([0.0] * 100), np.array([2e3] * 100))
    few, enough = (
        solve(TROUBLE, stiff, events, pattern, tolerances=Tolerances(max_steps=limit))
        for limit in (100, 100_000)
    )
    assert np.all(few.status == Status.STIFF) and np.all(few.steps == 100)
    assert np.all(enough.status == Status.OK)
    # x' = k (cos t − x) once its start is forgotten; ten times the tolerance of a step.
    answer = (2e3**2 * np.cos(5.0) + 2e3 * np.sin(5.0)) / (2e3**2 + 1.0)
    np.testing.assert_allclose(enough.outputs.position[:, -1], answer, rtol=1e-5)


@pytest.mark.parametrize("method", methods.ADAPTIVE)
def test_every_method_solves_a_dosed_model_to_its_tolerance(
    one_compartment, patients, exact, method: str
):
    actions = [Dose(24.0 * day, "depot", 100.0) for day in range(3)]
    observe = [6.0, 24.0, 30.0, 72.0]
    parameters = patients(one_compartment, (1.0, 3.0, 30.0), 16)
    answers = np.array([exact(p, actions, observe) for p in zip(*parameters, strict=True)])
    events, pattern = schedule(one_compartment, actions, observe=observe)
    for tolerance in (1e-4, 1e-7):
        solution = solve(
            one_compartment,
            parameters,
            events,
            pattern,
            tolerances=Tolerances(relative=tolerance, absolute=tolerance),
            method=method,
        )
        found = np.stack(solution.outputs, axis=-1)
        # Errors of single steps add up over tens of steps, and their estimate is a lower order's.
        assert np.max(np.abs(found - answers)) / 100.0 < 20 * tolerance
        assert np.all(solution.status == Status.OK)


@pytest.mark.parametrize("method", methods.STIFF)
def test_a_stiff_method_is_not_slowed_by_a_fast_rate(method: str):
    """The same patients whose stiffness takes an explicit method thousands of steps."""
    events, pattern = schedule(TROUBLE, observe=[0.0, 0.5, 3.0, 5.0])
    stiffness = np.array([2e3, 2e5, 2e7])
    solution = solve(
        TROUBLE,
        Forces(np.zeros(3), stiffness),
        events,
        pattern,
        method=method,
        tolerances=Tolerances(max_steps=400),
    )
    assert np.all(solution.status == Status.OK)
    answer = (stiffness**2 * np.cos(5.0) + stiffness * np.sin(5.0)) / (stiffness**2 + 1.0)
    np.testing.assert_allclose(solution.outputs.position[:, -1], answer, rtol=1e-5)


def test_an_unknown_method_is_refused_before_anything_is_solved(one_compartment):
    events, pattern = schedule(one_compartment, observe=[1.0])
    with pytest.raises(ValueError, match="no method 'euler'"):
        solve(
            one_compartment,
            one_compartment.Parameters(1.0, 1.0, 1.0),
            events,
            pattern,
            method="euler",
        )


@pytest.mark.parametrize("method", [pytest.param("rodas4", marks=pytest.mark.slow), "rodas5p"])
def test_benchmark_problem_p2_is_solved_to_1e_5_at_nominal_tolerance(method: str):
    if not PROBLEMS.is_file():
        pytest.skip(f"{PROBLEMS} is not there: the benchmark problems are kept apart")
    model = models.get("target_mediated_disposition")
    with np.load(PROBLEMS) as archive:
        numbers, answers = archive["p2"][:100], archive["p2_reference"]
        times = archive["p2_times"]
    weekly = [Dose(168.0 * week, "depot", 600.0) for week in range(12)]
    events, pattern = schedule(model, weekly, observe=times)
    errors = []
    for relative in (1e-6, 1e-8):
        solution = solve(
            model,
            model.Parameters(*numbers.T),
            events,
            pattern,
            method=method,
            tolerances=Tolerances(relative=relative, absolute=1e-2 * relative),
        )
        found = np.stack(solution.outputs, axis=-1)
        floor = 1e-3 * np.abs(answers).max(axis=1, keepdims=True)
        errors.append(np.max(np.abs(found - answers) / np.maximum(np.abs(answers), floor)))
    assert errors[0] <= 1e-5
    # A hundredth of the tolerance is worth at least a factor of 20 (100 in theory).
    assert errors[1] <= errors[0] / 20
