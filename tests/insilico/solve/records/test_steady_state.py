"""Steady states: against linear algebra, for any half-life, found out where there is none."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

from insilico import models
from insilico.model import Dosing
from insilico.solve import (
    Covariate,
    Status,
    Tolerances,
    hessian_vector_product,
    objective_traced,
    read_records,
    solve,
    solve_traced,
)

MODEL = models.get("two_compartment")
ONE = models.get("one_compartment")
FEW_STEPS = 16
KINETICS = {
    # name: (clearance, exchange, peripheral volume); the central volume is 30 L
    "half-life shorter than the interval": (20.0, 8.0, 20.0),
    "half-life of two days": (5.0, 8.0, 400.0),
    "half-life of a month": (0.1, 8.0, 90.0),
    "half-life of two years": (0.005, 8.0, 90.0),
    "half-life of twenty years": (5e-4, 8.0, 90.0),
    "a deep compartment beside a fast one": (5.0, 0.01, 90.0),
    "a compartment nearly cut off": (5.0, 1e-3, 90.0),
    "two slow compartments": (0.01, 0.01, 500.0),
}
DOSES = {
    # name: (compartment, AMT, RATE, II)
    "bolus": (1, 100.0, 0.0, 12.0),
    "infusion": (2, 100.0, 25.0, 12.0),
    "infusion as long as the interval": (2, 100.0, 100.0 / 12.0, 12.0),
    "infusion over three intervals and a half": (2, 100.0, 100.0 / 42.0, 12.0),
    "constant infusion": (2, 0.0, 5.0, 0.0),
}


def _matrix(clearance, exchange, peripheral) -> np.ndarray:
    out, forth, back = clearance / 30.0, exchange / 30.0, exchange / peripheral
    return np.array([[-1.2, 0, 0], [1.2, -out - forth, back], [0, forth, -back]])


def _exact(matrix: np.ndarray, compartment, amount, rate, interval) -> np.ndarray:
    """The state before a dose of a linear system at steady state."""

    def response(duration: float, inflow: np.ndarray) -> np.ndarray:
        whole = np.zeros((4, 4))
        whole[:3, :3], whole[:3, 3] = matrix, inflow
        return expm(whole * duration)[:3, 3]

    unit = np.eye(3)[compartment - 1]
    if interval == 0:
        return -np.linalg.solve(matrix, unit * rate)
    cycle = expm(matrix * interval)
    if rate == 0:
        return np.linalg.solve(np.eye(3) - cycle, cycle @ unit * amount)
    # A single infusion's state at the end of its last interval, summed over all before it.
    duration = amount / rate
    last = int(np.ceil(duration / interval - 1e-9))
    single = expm(matrix * (last * interval - duration)) @ response(duration, unit * rate)
    before = np.linalg.solve(np.eye(3) - cycle, single)
    for k in range(1, last):
        before = before + response(k * interval, unit * rate)
    return before


@pytest.fixture(scope="module")
def found():
    """The state just after a steady-state record without a dose of its own, for all pairs."""
    pairs = [(kinetics, dose) for kinetics in KINETICS for dose in DOSES]
    rows = {name: [] for name in ("ID", "TIME", "EVID", "AMT", "CMT", "RATE", "II", "SS")}
    for patient, (_, dose) in enumerate(pairs):
        compartment, amount, rate, interval = DOSES[dose]
        for name, value in zip(
            rows, (patient, 100.0, 1, amount, compartment, rate, interval, 1), strict=True
        ):
            rows[name].append(value)
    own = np.array([KINETICS[kinetics] for kinetics, _ in pairs]).T
    volume, absorption = np.full(len(pairs), 30.0), np.full(len(pairs), 1.2)
    parameters = MODEL.Parameters(absorption, own[0], volume, own[1], own[2])
    solution = solve(MODEL, parameters, read_records(MODEL, rows))
    state = np.stack(solution.outputs[1:], axis=-1)[:, 0]
    for index, (_, dose) in enumerate(pairs):
        if DOSES[dose][2] == 0:
            state[index, DOSES[dose][0] - 1] -= DOSES[dose][1]
    return dict(zip(pairs, zip(solution.status, state, solution.steps, strict=True), strict=True))


@pytest.mark.parametrize("dose", DOSES)
@pytest.mark.parametrize("kinetics", KINETICS)
def test_the_steady_state_is_that_of_linear_algebra(found, kinetics, dose):
    """At the default tolerance of 1e-6 a step; a slow elimination adds up the steps of a cycle."""
    status, state, _ = found[kinetics, dose]
    assert status == Status.OK
    expected = _exact(_matrix(*KINETICS[kinetics]), *DOSES[dose])
    np.testing.assert_allclose(state, expected, rtol=2e-5, atol=1e-6)


def test_slow_kinetics_do_not_need_thousands_of_cycles(found):
    """A half-life of twenty years is 14,000 intervals; plain cycles would need 20 times as many."""
    assert found["half-life of twenty years", "bolus"][2] < 5_000


def test_linear_kinetics_in_closed_form_are_there_at_once(found):
    """One step a cycle and part of it: Newton's is right, and is confirmed."""
    assert max(int(steps) for _, _, steps in found.values()) <= FEW_STEPS


@pytest.mark.slow
def test_without_elimination_rounding_is_taken_for_no_steady_state():
    clearances = np.array([0.0, 1e-18, 2.0])
    ids = np.repeat(np.arange(3), 2)
    data = {"ID": ids, "TIME": np.tile([0.0, 1.0], 3), "EVID": np.tile([1, 0], 3)}
    data |= {"AMT": np.tile([10.0, 0.0], 3), "II": np.tile([12.0, 0.0], 3)}
    records = read_records(ONE, data | {"SS": np.tile([1, 0], 3)})
    solution = solve(ONE, ONE.Parameters(np.ones(3), clearances, np.full(3, 30.0)), records)
    assert solution.status.tolist() == [*[Status.NO_STEADY_STATE] * 2, Status.OK]


def test_where_there_is_no_steady_state_the_patient_says_so(lagged, solve_table):
    """Nothing is eliminated; neighbours with elimination are solved."""
    data = {
        "ID": np.array([1, 1, 2, 2, 3, 3]),
        "TIME": np.array([0.0, 1.0] * 3),
        "EVID": np.array([1, 0] * 3),
        "AMT": np.array([10.0, 0, 10, 0, 0, 0]),
        "RATE": np.array([0, 0, 0, 0, 5.0, 0]),
        "II": np.array([12.0, 0, 12, 0, 0, 0]),
        "SS": np.array([1, 0] * 3),
        "EFFECT": np.zeros(6),
    }
    solution = solve_table(
        data,
        tolerances=Tolerances(max_steps=3_000),
        elimination_rate=np.array([0.0, 0.1, 0.0]),
    )
    assert solution.status.tolist() == [Status.NO_STEADY_STATE, Status.OK, Status.NO_STEADY_STATE]
    assert np.all(np.isnan(solution.outputs.central[[0, 2]]))


def test_it_depends_on_nothing_but_its_record(make_table, solve_table):
    """Neither on doses nor on covariates before: two patients that differ in these alone.

    Elimination is doubled from the record on, and the dose's bioavailability with it.
    """
    last = {"TIME": 30.0, "AMT": 50, "SS": 1, "II": 8, "RATE": 10, "EFFECT": 1.0}
    before = {"TIME": 0.0, "AMT": 500, "ADDL": 9, "II": 5, "RATE": 20, "CMT": 2}
    observe = (31.0, 37.0, 60.0)
    parts = [
        make_table(before, last, observe=observe, patient=1),
        make_table(last, {"TIME": 0.0, "EVID": 2, "EFFECT": 1.0}, observe=observe, patient=2),
    ]
    data = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    solution = solve_table(data)
    assert np.all(solution.status == Status.OK)
    for output in solution.outputs:
        np.testing.assert_allclose(output[0][1:], output[1][1:], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.slow
def test_derivatives_go_through_times_amounts_and_steady_states(lagged, make_table, direction):
    """By all dosing parameters and the elimination, against differences."""
    data = make_table(
        {"TIME": 0.0, "AMT": 100, "SS": 1, "II": 6, "ADDL": 1},
        {"TIME": 9.0, "AMT": 40, "SS": 2, "II": 4, "RATE": -2, "CMT": 2},
        {"TIME": 14.0, "AMT": 40, "RATE": -1},
        observe=(2.0, 12.5, 20.0),
    )
    records = read_records(lagged, data, covariates={"effect": "EFFECT"})
    table, layout = records.laid_out(2)
    tolerances = Tolerances(relative=1e-11, absolute=1e-11)

    def central(numbers, derivative):
        solution = solve_traced(
            lagged,
            lagged.Parameters(*numbers[:, None]),
            table,
            layout,
            derivative=derivative,
            tolerances=tolerances,
        )
        return solution.outputs.central[0, jnp.array([1, 3, 5])]

    # The lag is longer than no interval, the duration is longer than one.
    values = jnp.array([1.3, 0.12, 0.8, 0.75, 6.5, 30.0])
    derivative = jax.jacfwd if direction == "forward" else jax.jacrev
    found = jax.jit(derivative(lambda numbers: central(numbers, direction)))(values)
    evaluate = jax.jit(lambda numbers: central(numbers, None))
    for index in range(6):
        step = 1e-4 * values[index] * jnp.eye(6)[index]
        difference = (evaluate(values + step) - evaluate(values - step)) / (2 * jnp.sum(step))
        np.testing.assert_allclose(found[:, index], difference, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["reverse", "second", "objective"])
def test_a_patient_without_a_steady_state_has_derivatives_of_zero(lagged, make_table, way):
    """Neither what is not eliminated nor what is no number reaches those who share parameters."""
    last, rates = jnp.arange(3) == 2, jnp.array([0.12, 0.0, 1.0])
    dose = {"TIME": 0.0, "AMT": 50.0, "II": 12.0, "SS": 1}
    own = [make_table(dose, observe=[3.0], patient=patient) for patient in range(3)]
    data = {name: np.concatenate([one[name] for one in own]) for name in own[0]}
    records = read_records(lagged, data, covariates={"effect": Covariate("EFFECT", "nocb")})
    table, layout = records.laid_out(0)
    typical = jnp.array([1.3, 1.0, 0.8, 0.3, 2.5, 30.0])
    tolerances = Tolerances(max_steps=5_000)

    def total(numbers):
        shared = lagged.Parameters(*(number * jnp.ones(3) for number in numbers))
        elimination = jnp.where(last, jnp.nan, shared.elimination_rate * rates)
        parameters = shared._replace(elimination_rate=elimination)
        if way == "objective":
            found, status = objective_traced(
                lagged,
                parameters,
                table,
                layout,
                lambda outputs, _: outputs.central[1],
                tolerances=tolerances,
            )
        else:
            solution = solve_traced(
                lagged, parameters, table, layout, derivative=way, tolerances=tolerances
            )
            found, status = solution.outputs.central[:, 1], solution.status
        return jnp.sum(jnp.where(status == Status.OK, found, 0.0))

    def derivative(numbers):
        if way == "second":
            return hessian_vector_product(total, numbers, jnp.ones(6))
        return jax.grad(total)(numbers)

    found = jax.jit(derivative)(typical)
    assert np.isfinite(found).all() and found[1] != 0.0


@pytest.mark.slow
def test_an_impossible_dose_spoils_no_second_derivative(lagged, make_table):
    """The root of a negative number is the lag of a patient who shares parameters with others."""
    rooted = dataclasses.replace(
        lagged, dosing=lambda p, inputs: {"depot": Dosing(lag=jnp.sqrt(p.lag))}
    )
    own = [make_table({"TIME": 0.0, "AMT": 50.0}, observe=[3.0], patient=each) for each in (1, 2)]
    data = {name: np.concatenate([one[name] for one in own]) for name in own[0]}
    records = read_records(rooted, data, covariates={"effect": Covariate("EFFECT", "nocb")})
    table, layout = records.laid_out()

    def total(numbers):
        shared = rooted.Parameters(*(number * jnp.ones(2) for number in numbers))
        own = shared._replace(lag=shared.lag * jnp.array([1.0, -1.0]))
        found = solve_traced(rooted, own, table, layout, derivative="second")
        return jnp.sum(jnp.where(found.status == Status.OK, found.outputs.central[:, 1], 0.0))

    values = jnp.array([1.3, 0.12, 0.8, 0.75, 2.5, 30.0])
    found = jax.jit(lambda at: hessian_vector_product(total, at, jnp.ones(6)))(values)
    assert np.isfinite(found).all() and found[3] != 0.0


@pytest.mark.slow
def test_rounding_does_not_hide_a_steady_state_in_single_precision(lagged, make_table):
    """An absorbed dose leaves its rounding in the depot, which never shrinks any further."""
    patients, generator = 64, np.random.default_rng(3)
    dose = {"TIME": 0.0, "AMT": 50.0, "II": 12.0, "SS": 1}
    own = [make_table(dose, observe=[0.0, 5.0], patient=patient) for patient in range(patients)]
    data = {name: np.concatenate([one[name] for one in own]) for name in own[0]}
    records = read_records(lagged, data, covariates={"effect": Covariate("EFFECT", "nocb")})
    spread = np.exp(generator.normal(0.0, 0.3, (6, patients)))
    parameters = lagged.Parameters(*(np.array([1.3, 0.12, 0.8, 0.3, 2.5, 30.0])[:, None] * spread))
    single, double = (
        solve(lagged, parameters, records, tolerances=Tolerances(1e-5, 1e-7), precision=precision)
        for precision in ("single", "double")
    )
    assert (single.status == Status.OK).all()
    # Rounding to 6e-8 at each of hundreds of steps, beside a relative tolerance of 1e-5.
    np.testing.assert_allclose(single.outputs.central, double.outputs.central, rtol=3e-4)


def _after_a_dose_at_steady_state(numbers, derivative):
    """Concentration 3 h after one of 100 mg every 12 h, by clearance and volume."""
    data = {"ID": [1, 1], "TIME": [0.0, 3.0], "AMT": [100.0, 0], "CMT": [2, 2], "EVID": [1, 0]}
    table, layout = read_records(ONE, data | {"II": [12.0, 0], "SS": [1, 0]}).laid_out(1)
    clearance, volume = numbers[:, None]
    solution = solve_traced(
        ONE,
        ONE.Parameters(jnp.ones(1), clearance, volume),
        table,
        layout,
        derivative=derivative,
    )
    return solution.outputs.concentration[0, -1]


def _exactly(numbers):
    clearance, volume = numbers
    rate = clearance / volume
    return 100.0 / volume * jnp.exp(-3.0 * rate) / (1.0 - jnp.exp(-12.0 * rate))


TYPICAL = jnp.array([2.0, 40.0])


ALONG = jnp.array([0.3, -2.0])


@pytest.mark.parametrize("order", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_higher_derivatives_forwards_are_those_of_the_steady_state(order):
    """FOCEI's gradient takes second ones, that of Laplace's method third ones."""

    def derivative(function):
        found = functools.partial(_along, function)
        for _ in range(order):
            found = functools.partial(_slope, found)
        return found(0.0)

    found = jax.jit(
        lambda: derivative(lambda numbers: _after_a_dose_at_steady_state(numbers, "forward"))
    )()
    np.testing.assert_allclose(found, derivative(_exactly), rtol=1e-5)


def _along(function, way):
    return function(TYPICAL + way * ALONG)


def _slope(function, way):
    return jax.jvp(function, (way,), (1.0,))[1]


@pytest.mark.slow
def test_a_hessian_vector_product_is_that_of_the_steady_state():
    product = jax.jit(
        lambda numbers: hessian_vector_product(
            lambda n: _after_a_dose_at_steady_state(n, "second"), numbers, ALONG
        )
    )(TYPICAL)
    np.testing.assert_allclose(product, jax.hessian(_exactly)(TYPICAL) @ ALONG, rtol=1e-5)
