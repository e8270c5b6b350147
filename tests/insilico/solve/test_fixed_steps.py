"""Methods of a stated step: their orders, where their steps end, and what is refused."""

import dataclasses
from typing import Annotated, NamedTuple

import numpy as np
import pytest

from insilico.model import Model, Quantity
from insilico.models.hodgkin_huxley1952 import MODEL as AXON
from insilico.models.hodgkin_huxley1952 import SQUID_AXON
from insilico.solve import Dose, Infusion, Input, Status, Tolerances, schedule, solve
from insilico.solve.methods import FIXED_STEP
from insilico.vocabulary import Value, Vector

pytestmark = pytest.mark.optimised


class Clock(NamedTuple):
    fast: Annotated[Value, Quantity("1", "relaxes to its target", size=2)]
    slow: Annotated[Value, Quantity("1", "the target")]


class Rates(NamedTuple):
    rate: Annotated[Value, Quantity("1/h", "of relaxation")]
    coupling: Annotated[Value, Quantity("1/h", "between the fast ones")]
    growth: Annotated[Value, Quantity("1/h", "of the slow one")]


class Seen(NamedTuple):
    time: Annotated[Value, Quantity("h", "the time that the model is told")]
    first: Annotated[Value, Quantity("1", "the first fast one")]
    slow: Annotated[Value, Quantity("1", "the target")]


def _derivative(time: Value, state: Clock, p: Rates, inputs: Value) -> Clock:
    first, second = state.fast
    return Clock(
        Vector(
            p.rate * (state.slow - first) + p.coupling * (second - first),
            2.0 * p.rate * (state.slow - second) + p.coupling * (first - second),
        ),
        p.growth * state.slow * state.slow,
    )


GATED = Model(
    name="gated",
    title="Two fast states after a slow one that may explode",
    citation="none",
    State=Clock,
    Parameters=Rates,
    Outputs=Seen,
    initial=lambda p: Clock(Vector(0.0 * p.rate, 0.0), 1.0 + 0.0 * p.rate),
    derivative=_derivative,
    outputs=lambda time, state, p: Seen(time + 0.0 * p.rate, state.fast[0], state.slow),
    fastest_rate=lambda p: p.rate,
    method="rush_larsen2",
    step=0.25,
    gates=("fast",),
)


def _errors(model, parameters, actions, method, steps) -> np.ndarray:
    """Largest error over all outputs at each step, against a tight adaptive solution."""
    events, pattern = schedule(model, actions, observe=[3.0, 8.0])
    tight = solve(
        model, parameters, events, pattern, method="dopri8", tolerances=Tolerances(1e-13, 1e-13)
    )
    found = []
    for step in steps:
        solution = solve(
            model, parameters, events, pattern, method=method, tolerances=Tolerances(step=step)
        )
        assert np.all(solution.status == Status.OK)
        found.append(np.abs(np.stack(solution.outputs) - np.stack(tight.outputs)).max())
    return np.array(found)


@pytest.mark.parametrize(
    ("method", "order", "first"),
    [("rk4", 4, 0.02), ("rush_larsen", 1, 0.005), ("rush_larsen2", 2, 0.01)],
)
@pytest.mark.slow
def test_the_order_of_each_method_on_an_action_potential(method: str, order: int, first: float):
    actions = [Dose(0.0, "potential", 15.0), Input(4.0, "current", 5.0)]
    errors = _errors(AXON, SQUID_AXON, actions, method, first / 2.0 ** np.arange(4))
    orders = np.log2(errors[:-1] / errors[1:])
    np.testing.assert_allclose(orders[-1], order, atol=0.06)


@pytest.mark.parametrize(("method", "order"), [("rush_larsen", 1), ("rush_larsen2", 2)])
@pytest.mark.slow
def test_gates_may_depend_on_one_another_and_be_no_gates_at_all(method: str, order: int):
    """Coupled ones, and one whose rate is not linear in itself: the tangent's exponential."""
    rates = Rates(2.0, 1.0, 0.1)
    for gates in (("fast",), ("fast", "slow")):
        model = dataclasses.replace(GATED, gates=gates)
        errors = _errors(model, rates, [], method, 0.1 / 2.0 ** np.arange(4))
        np.testing.assert_allclose(np.log2(errors[-2] / errors[-1]), order, atol=0.06)


@pytest.mark.parametrize("method", ["rush_larsen", "rush_larsen2"])
def test_a_gate_under_constant_conditions_is_exact_at_any_step(method: str):
    rates = Rates(np.array([0.1, 40.0]), 0.0, 0.0)
    events, pattern = schedule(GATED, [], observe=[2.0, 5.0])
    solution = solve(GATED, rates, events, pattern, method=method, tolerances=Tolerances(step=1.0))
    exact = 1.0 - np.exp(-rates.rate[:, None] * np.array([2.0, 5.0]))
    np.testing.assert_allclose(solution.outputs.first, exact, rtol=1e-14)
    assert np.all(solution.steps == 5)


@pytest.mark.parametrize("method", ["rk4", "rush_larsen2"])
def test_doses_infusions_and_inputs_act_at_their_own_times(
    one_compartment, patients, exact, method: str
):
    actions = [
        Dose(0.0, "depot", 100.0),
        Infusion(3.3, "central", 50.0, 6.17),
        Input(12.0, "induction", 1.0),
        Dose(12.0, "depot", 50.0),
    ]
    observe = [0.0, 3.3, 5.0, 12.0, 12.001, 30.0]
    model = dataclasses.replace(one_compartment, gates=("depot", "central"))
    parameters = patients(model, (1.2, 3.0, 30.0), 8)
    events, pattern = schedule(model, actions, observe=observe)
    solution = solve(
        model, parameters, events, pattern, method=method, tolerances=Tolerances(step=0.02)
    )
    found = np.stack(solution.outputs, axis=-1)
    answers = np.array([exact(p, actions, observe) for p in zip(*parameters, strict=True)])
    # Of amounts of 100; second order of steps of 0.02 h, fourth order of them.
    np.testing.assert_allclose(found, answers, atol={"rk4": 1e-5, "rush_larsen2": 2e-2}[method])
    gaps = np.diff(np.unique([0.0, 3.3, 5.0, 3.3 + 6.17, 12.0, 12.001, 30.0]))
    assert np.all(solution.steps == np.sum(np.ceil(gaps / 0.02 - 1e-6)))


def test_rows_are_hit_to_the_last_bit_and_each_lane_walks_its_own():
    observe = np.array([0.1, 0.30000000000000004, 1.0, 1.1, 7.7])
    events, pattern = schedule(GATED, [], observe=observe)
    scales = np.array([1.0, 0.37, 3.0])
    own = type(events)(*(np.repeat(column[:, None], 3, axis=1) for column in events))
    own = own._replace(time=own.time * scales)
    solution = solve(GATED, Rates(1.0, 0.5, np.full(3, 0.01)), own, pattern, method="rk4")
    np.testing.assert_array_equal(solution.outputs.time, own.time.T)
    gaps = np.diff(own.time, axis=0, prepend=0.0)
    np.testing.assert_array_equal(solution.steps, np.ceil(gaps / 0.25 - 1e-6).sum(axis=0))


@pytest.mark.parametrize(
    "method", ["rk4", "rush_larsen", pytest.param("rush_larsen2", marks=pytest.mark.slow)]
)
def test_a_patient_alone_has_the_bits_it_has_in_any_batch_and_order(method: str):
    count = 1_100
    generator = np.random.default_rng(5)
    rates = Rates(*generator.uniform([[0.5], [0.1], [0.01]], [[5.0], [1.0], [0.05]], (3, count)))
    events, pattern = schedule(GATED, [Dose(1.1, "fast[0]", 1.0)], observe=[1.0, 3.3])

    def numbers(index) -> np.ndarray:
        some = Rates(*(values[index] for values in rates))
        solution = solve(GATED, some, events, pattern, method=method)
        return np.concatenate([*solution.outputs, solution.steps[:, None]], axis=1)

    together = numbers(slice(None))
    for patient in (0, 700, count - 1):
        np.testing.assert_array_equal(numbers(slice(patient, patient + 1))[0], together[patient])
    order = generator.permutation(count)
    np.testing.assert_array_equal(numbers(order), together[order])


@pytest.mark.parametrize("method", FIXED_STEP)
def test_who_explodes_fails_where_it_does_and_its_neighbours_do_not(method: str):
    # slow = 1 / (1 − growth·t): infinite at 2 h for a growth of 0.5.
    growth = np.array([0.01, 0.5, 0.02])
    events, pattern = schedule(GATED, [], observe=[1.0, 4.0, 40.0])
    solution = solve(GATED, Rates(1.0, 0.1, growth), events, pattern, method=method)
    assert solution.status.tolist() == [Status.OK, Status.NOT_FINITE, Status.OK]
    finite = np.isfinite(solution.outputs.slow)
    assert np.all(finite[[0, 2]]) and finite[1, 0] and not finite[1, 2]
    assert 1.0 < solution.stopped[1] < 40.0
    assert np.all(np.isfinite(solution.state.slow))


def test_the_most_steps_are_a_limit_here_too():
    events, pattern = schedule(GATED, [], observe=[1.0, 10.0])
    solution = solve(
        GATED,
        Rates(1.0, 0.1, np.full(2, 0.01)),
        events,
        pattern,
        method="rk4",
        tolerances=Tolerances(max_steps=10),
    )
    assert np.all(solution.status == Status.STEP_LIMIT) and np.all(solution.steps == 10)
    np.testing.assert_array_equal(np.isfinite(solution.outputs.slow), [[True, False]] * 2)


def test_another_step_compiles_nothing(compilations):
    events, pattern = schedule(GATED, [], observe=[1.0, 2.0])
    rates = Rates(1.0, 0.1, np.full(2, 0.01))
    few = solve(GATED, rates, events, pattern)
    before = compilations.count
    many = solve(GATED, rates, events, pattern, tolerances=Tolerances(step=0.1))
    assert compilations.count == before
    assert few.steps.tolist() == [8, 8] and many.steps.tolist() == [20, 20]


def test_what_does_not_say_enough_is_refused(one_compartment):
    events, pattern = schedule(one_compartment, [], observe=[1.0])
    someone = one_compartment.Parameters(1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match=r"rk4 needs a step: model one_compartment states none"):
        solve(one_compartment, someone, events, pattern, method="rk4")
    with pytest.raises(ValueError, match="one_compartment names no gates"):
        solve(
            one_compartment,
            someone,
            events,
            pattern,
            method="rush_larsen",
            tolerances=Tolerances(step=0.1),
        )
    for step in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="step must be a time above 0"):
            Tolerances(step=step)
    wrong = dataclasses.replace(GATED, gates=("quick",))
    with pytest.raises(KeyError, match="no state 'quick' for a gate; it has fast, slow"):
        wrong.gate_components()
    assert GATED.gate_components() == (0, 1)
