"""How a patient's solve ended: out of the domain, too stiff, and where it stopped."""

import math
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from insilico import models
from insilico.model import Model, Quantity
from insilico.solve import (
    DESCRIPTIONS,
    Dose,
    Infusion,
    Status,
    Tolerances,
    methods,
    reference,
    schedule,
    solve,
    solve_traced,
    value_and_gradient,
)
from insilico.vocabulary import Value

EXPLICIT = [name for name in methods.ADAPTIVE if name not in methods.STIFF]


class Store(NamedTuple):
    emptied: Annotated[Value, Quantity("mg", "lost at a constant rate", lowest=0.0)]
    decaying: Annotated[Value, Quantity("mg", "lost in proportion to itself", lowest=0.0)]
    free: Annotated[Value, Quantity("1", "may be anything")]


class Losses(NamedTuple):
    constant: Annotated[Value, Quantity("mg/h", "constant loss, whatever is left")]
    rate: Annotated[Value, Quantity("1/h", "proportional loss")]


STORE = Model(
    name="store",
    title="A store that is emptied as if there were always something in it",
    citation="none",
    State=Store,
    Parameters=Losses,
    Outputs=Store,
    initial=lambda p: Store(1.0 + 0.0 * p.rate, 1.0 + 0.0 * p.rate, 0.0 * p.rate),
    derivative=lambda time, state, p, inputs: Store(
        -p.constant, -p.rate * state.decaying, -1.0 + 0.0 * p.rate
    ),
    outputs=lambda time, state, p: Store(*state),
)
PATIENTS = Losses(np.array([0.0, 0.1, 0.3, 0.1]), np.array([1.0, 40.0, 5.0, 1.0]))
PLAN = schedule(
    STORE,
    [Dose(8.0, "emptied", 5.0), Infusion(9.0, "emptied", 1.0, 1.0)],
    observe=[1.0, 3.0, 5.0, 7.0, 10.0],
)


@pytest.mark.parametrize("method", [*methods.ADAPTIVE, "rk4"])
def test_a_patient_that_leaves_the_domain_fails_at_the_next_row(method):
    found = solve(STORE, PATIENTS, *PLAN, method=method, tolerances=Tolerances(step=0.01))
    # 1 − 0.3 t is below 0 from 3.3 on, of which the row at 5 is the first to know.
    assert found.status.tolist() == [Status.OK, Status.OK, Status.LEFT_DOMAIN, Status.OK]
    assert found.stopped.tolist() == [10.0, 10.0, 5.0, 10.0]
    emptied = found.outputs.emptied[2]
    np.testing.assert_allclose(emptied[:2], [0.7, 0.1], rtol=1e-6)
    assert np.all(np.isnan(emptied[2:]))
    assert "below the lowest" in DESCRIPTIONS[Status.LEFT_DOMAIN]


def test_the_state_of_a_failed_patient_is_the_one_at_which_it_stopped():
    """Doses after that go nowhere."""
    found = solve(STORE, PATIENTS, *PLAN)
    np.testing.assert_allclose(found.state.emptied[2], 1.0 - 0.3 * 5.0, rtol=1e-6)
    np.testing.assert_allclose(found.state.free, [-10.0, -10.0, -5.0, -10.0], rtol=1e-6)
    np.testing.assert_allclose(found.state.emptied[0], 1.0 + 5.0 + 1.0, rtol=1e-6)


def test_undershoots_within_the_tolerance_are_allowed():
    """e^(−40·t) is 0 for every purpose; a step may end a little below it."""
    lowest = []
    for method in methods.ADAPTIVE:
        for relative in (1e-3, 1e-6, 1e-9):
            found = solve(
                STORE,
                Losses(np.zeros(1), np.array([40.0])),
                *PLAN,
                method=method,
                tolerances=Tolerances(relative, relative),
            )
            assert found.status[0] == Status.OK
            lowest.append(found.outputs.decaying.min())
    assert min(lowest) < 0.0


def test_how_far_below_is_too_far_goes_with_the_tolerance():
    events, pattern = schedule(STORE, observe=[1.0])
    below = Losses(1.0 + np.array([0.5e-4, 2e-4]), np.ones(2))
    for relative, failed in ((1e-3, [False, False]), (1e-6, [False, True]), (1e-8, [True, True])):
        found = solve(
            STORE, below, events, pattern, tolerances=Tolerances(relative, 1e-2 * relative)
        )
        assert (found.status == Status.LEFT_DOMAIN).tolist() == failed


@pytest.mark.slow
def test_the_reference_and_the_kernel_say_the_same():
    answer = reference(STORE, PATIENTS, *PLAN, Tolerances())
    found = [solve(STORE, PATIENTS, *PLAN, driver=driver) for driver in ("xla", "kernel")]
    for one in found:
        assert one.status.tolist() == np.asarray(answer.status).tolist()
        np.testing.assert_allclose(one.state.emptied, answer.state.emptied, rtol=1e-6)


@pytest.mark.slow
def test_gradients_know_of_the_domain():
    def objective(outputs, data):
        return outputs.emptied.sum(axis=0) + outputs.decaying.sum(axis=0)

    found = value_and_gradient(STORE, PATIENTS, *PLAN, objective)
    assert found.status.tolist() == solve(STORE, PATIENTS, *PLAN).status.tolist()
    assert math.isnan(found.value[2])
    assert found.gradient.constant[2] == found.gradient.rate[2] == 0.0
    assert found.gradient.constant[0] < -10.0

    def through(parameters):
        traced = solve_traced(STORE, parameters, *PLAN, derivative="reverse")
        return traced.state.free.sum() + traced.state.emptied.sum(), traced.status

    gradient, status = jax.jit(jax.grad(through, has_aux=True))(PATIENTS)
    assert status.tolist() == found.status.tolist()
    assert gradient.constant[2] == 0.0
    np.testing.assert_allclose(gradient.constant[0], -10.0)


@pytest.mark.parametrize("name", models.names())
def test_amounts_and_concentrations_of_library_models_are_not_negative(name):
    model = models.get(name)
    if model.diffusion is not None:
        pytest.skip("steps of noise have no error control that would keep it from below 0")
    for state, quantity in model.quantities("State").items():
        if quantity.unit in ("mg", "nmol", "nmol/L", "mg/kg", "pmol", "pmol/kg"):
            assert quantity.lowest == 0.0, state


@pytest.mark.parametrize(
    ("method", "driver"),
    [
        *((method, "xla") for method in EXPLICIT),
        *(pytest.param(each, "kernel", marks=pytest.mark.slow) for each in EXPLICIT),
    ],
)
def test_who_runs_out_of_steps_is_told_whether_it_is_stiff(van_der_pol, method, driver):
    events, pattern = schedule(van_der_pol, observe=[0.0, 4000.0])
    parameters = van_der_pol.Parameters(np.array([0.1, 1.0, 1000.0, 2000.0]))
    for most in (50, 333, 1000):
        found = solve(
            van_der_pol,
            parameters,
            events,
            pattern,
            method=method,
            tolerances=Tolerances(max_steps=most),
            driver=driver,
        )
        expected = [Status.STEP_LIMIT] * 2 + [Status.STIFF] * 2
        assert found.status.tolist() == expected, most
        assert np.all(found.steps == most) and np.all(found.stopped < 4000.0)
    assert "too stiff for an explicit method" in DESCRIPTIONS[Status.STIFF]


def test_a_smooth_patient_whose_steps_are_too_few_is_not_called_stiff(patients):
    model = models.get("indirect_response")
    parameters = patients(model, (0.8, 4.0, 30.0, 6.0, 60.0, 5.0, 0.05, 0.9, 0.7), 64)
    doses = [Dose(24.0 * day, "depot", 100.0) for day in range(28)]
    events, pattern = schedule(model, doses, observe=[672.0])
    # Late in a day, with all absorbed, stability does limit some, but for a few steps only.
    for most in (20, 60, 150):
        found = solve(model, parameters, events, pattern, tolerances=Tolerances(max_steps=most))
        assert np.mean(found.status == Status.STEP_LIMIT) > 0.95


@pytest.mark.optimised
def test_telling_changes_no_result_of_others(van_der_pol):
    """The stiff patient beside them, or none who runs out of steps: the same bits."""
    events, pattern = schedule(van_der_pol, observe=[1.0, 10.0])
    stiffnesses = ([1.0, 2.0, 3.0], [1.0, 2.0, 1e5])
    tolerances = Tolerances(max_steps=500)
    of = van_der_pol.Parameters
    healthy, mixed = (
        solve(van_der_pol, of(np.array(three)), events, pattern, tolerances=tolerances)
        for three in stiffnesses
    )
    assert mixed.status.tolist() == [0, 0, Status.STIFF]
    for ours, theirs in zip(jax.tree.leaves(healthy), jax.tree.leaves(mixed), strict=True):
        if np.ndim(ours):
            np.testing.assert_array_equal(ours[:2], theirs[:2])


@pytest.mark.parametrize("derivative", ["forward", "reverse"])
def test_derivatives_know_of_stiffness(van_der_pol, derivative):
    events, pattern = schedule(van_der_pol, observe=[1.0])
    tolerances = Tolerances(max_steps=200)

    def last(parameters):
        found = solve_traced(
            van_der_pol, parameters, events, pattern, derivative=derivative, tolerances=tolerances
        )
        return found.state.position, found.status

    parameters = van_der_pol.Parameters(np.array([1.0, 1e5]))
    if derivative == "reverse":

        def total(parameters):
            position, status = last(parameters)
            return jnp.sum(position), status

        slopes, status = jax.jit(jax.grad(total, has_aux=True))(parameters)
        slope = slopes.stiffness
    else:
        _, slope, status = jax.jit(
            lambda p: jax.jvp(last, (p,), (van_der_pol.Parameters(np.ones(2)),), has_aux=True)
        )(parameters)
    assert status.tolist() == [Status.OK, Status.STIFF]
    if derivative == "reverse":
        assert slope[1] == 0.0
    assert slope[0] != 0.0
