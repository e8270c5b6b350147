"""Models that know their own solution go from row to row by it, and nothing else changes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from insilico import models
from insilico.devices import QUICKLY
from insilico.solve import (
    Covariate,
    DerivativeError,
    Dose,
    Infusion,
    Plan,
    Status,
    Tolerances,
    hessian_vector_product,
    read_records,
    schedule,
    solve,
    solve_traced,
    value_and_gradient,
)
from insilico.solve.methods import ADAPTIVE

TIGHT = Tolerances(relative=1e-12, absolute=1e-13)
DOSES = [
    Dose(0.0, "depot", 100.0),
    Infusion(3.0, "central", 50.0, 2.0),
    Infusion(4.0, "depot", 20.0, 8.0),
    Dose(6.0, "central", 30.0),
    Dose(12.0, "depot", 100.0),
]
OBSERVED = [0.0, 1.0, 4.0, 4.5, 6.0, 8.0, 12.0, 18.0, 48.0]


def drawn(model, number, seed=1):
    """Patients around 1 of every parameter; in the first two KA is CL/V, to rounding and nearly."""
    random = np.random.default_rng(seed)
    parameters = model.Parameters(
        *np.exp(random.normal(0.0, 0.5, (len(model.Parameters._fields), number)))
    )
    rate = parameters.clearance / parameters.central_volume
    absorption = np.where(np.arange(number) == 0, rate, parameters.absorption_rate)
    absorption = np.where(np.arange(number) == 1, rate * (1.0 + 1e-9), absorption)
    return parameters._replace(absorption_rate=absorption)


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("one_compartment", "tsit5"),
        ("one_compartment", "rodas5p"),
        pytest.param("two_compartment", "tsit5", marks=pytest.mark.slow),
        pytest.param("three_compartment", "tsit5", marks=pytest.mark.slow),
    ],
)
def test_it_agrees_with_the_equations(name, method):
    """At boluses, infusions that overlap, oral doses, and before a dose of the same instant."""
    model = models.get(name)
    events = schedule(model, DOSES, observe=OBSERVED)
    parameters = drawn(model, 8)
    closed = solve(model, parameters, *events)
    solved = solve(model, parameters, *events, method=method, tolerances=TIGHT)
    assert model.method == "closed_form"
    assert (closed.status == Status.OK).all() and (solved.status == Status.OK).all()
    assert (closed.steps < len(OBSERVED) + len(DOSES) + 2).all() and (solved.steps > 100).all()
    for ours, theirs in zip(closed.outputs, solved.outputs, strict=True):
        # What has all but gone is as exact as the tolerance lets it be.
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-10)


@pytest.mark.optimised
def test_ten_thousand_patients_are_what_each_is_alone():
    model = models.get("two_compartment")
    events = schedule(model, DOSES, observe=OBSERVED)
    parameters = drawn(model, 10_000)
    many = solve(model, parameters, *events)
    assert (many.status == Status.OK).all()
    few = [0, 1, 4_321, 9_999]
    alone = solve(model, jax.tree.map(lambda column: column[few], parameters), *events)
    np.testing.assert_array_equal(many.outputs.central[few], alone.outputs.central)


def squares(model, events, method, mode, parameters, tolerances=TIGHT):
    solution = solve_traced(
        model, parameters, *events, derivative=mode, method=method, tolerances=tolerances
    )
    return jnp.sum(solution.outputs.concentration**2)


@pytest.fixture(scope="module")
def one():
    model = models.get("one_compartment")
    parameters = jax.tree.map(jnp.asarray, drawn(model, 4))
    return model, schedule(model, DOSES, observe=OBSERVED), parameters


@pytest.mark.slow
def test_its_derivatives_are_those_of_the_amounts_in_every_way(one):
    model, events, parameters = one

    def objective(mode):
        return lambda p: squares(model, events, "closed_form", mode, p)

    reverse = jax.jit(jax.grad(objective("reverse")))(parameters)
    forward = jax.jit(jax.jacfwd(objective("forward")))(parameters)
    plain = jax.jit(objective(None))
    for name, back, forth in zip(model.Parameters._fields, reverse, forward, strict=True):
        np.testing.assert_allclose(back, forth, rtol=1e-12)
        for patient in range(4):
            step = 1e-5 * getattr(parameters, name)[patient]
            ahead, behind = (
                plain(
                    parameters._replace(
                        **{name: getattr(parameters, name).at[patient].add(by * step)}
                    )
                )
                for by in (1.0, -1.0)
            )
            difference = (ahead - behind) / (2.0 * step)
            np.testing.assert_allclose(back[patient], difference, rtol=1e-6, atol=1e-7)


@pytest.mark.slow
def test_it_has_second_derivatives():
    model = models.get("one_compartment")
    events, parameters = schedule(model, DOSES, observe=OBSERVED), drawn(model, 4)
    parameters = jax.tree.map(jnp.asarray, parameters)

    def objective(mode):
        return lambda p: squares(model, events, "closed_form", mode, p)

    found = jax.jit(lambda p: hessian_vector_product(objective("second"), p, p))(parameters)
    gradient = jax.jit(jax.grad(objective("reverse")))
    ahead, behind = (
        gradient(jax.tree.map(lambda leaf, by=by: leaf * (1.0 + by * 1e-5), parameters))
        for by in (1.0, -1.0)
    )
    for ours, high, low in zip(found, ahead, behind, strict=True):
        np.testing.assert_allclose(ours, (high - low) / 2e-5, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_derivative_that_it_was_not_prepared_for_is_refused(one):
    model, events, parameters = one
    with pytest.raises(DerivativeError, match="asked for without derivatives"):
        jax.grad(lambda p: squares(model, events, "closed_form", None, p))(parameters)
    with pytest.raises(DerivativeError, match="derivative='reverse'"):
        jax.jacfwd(lambda p: squares(model, events, "closed_form", "reverse", p))(parameters)


def test_times_and_amounts_of_doses_have_derivatives(one):
    """What is left of a dose of A mg at s is A·exp(−k (t − s))."""
    model, _, parameters = one
    rows, pattern = schedule(model, [Dose(1.0, "central", 100.0)], observe=[3.0])

    def left(time, amount):
        events = rows._replace(time=time, amount=amount)
        solution = solve_traced(model, parameters, events, pattern, derivative="reverse")
        return jnp.sum(solution.outputs.central)

    time, amount = jnp.asarray(rows.time), jnp.asarray(rows.amount)
    of_time, of_amount = jax.jit(jax.grad(left, (0, 1)), compiler_options=QUICKLY)(time, amount)
    rate = parameters.clearance / parameters.central_volume
    given, seen = (int(np.flatnonzero(rows.time == at)[0]) for at in (1.0, 3.0))
    share = float(jnp.sum(jnp.exp(-2.0 * rate)))
    slope = float(jnp.sum(100.0 * rate * jnp.exp(-2.0 * rate)))
    assert float(of_amount[given]) == pytest.approx(share, rel=1e-12)
    assert float(of_time[given]) == pytest.approx(slope, rel=1e-12)
    assert float(of_time[seen]) == pytest.approx(-slope, rel=1e-12)


@pytest.mark.slow
def test_derivatives_by_times_and_amounts_are_those_of_the_equations(one):
    model, (rows, pattern), parameters = one

    def objective(method):
        def of(time, amount):
            events = rows._replace(time=time, amount=amount)
            return squares(model, (events, pattern), method, "reverse", parameters)

        return jax.jit(jax.grad(of, argnums=(0, 1)))(jnp.asarray(rows.time), rows.amount)

    for ours, theirs in zip(objective("closed_form"), objective("tsit5"), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-8)


@pytest.mark.slow
def test_who_fails_says_so_and_has_derivatives_of_zero(one):
    model, events, parameters = one
    broken = parameters._replace(clearance=parameters.clearance.at[2].set(jnp.nan))
    status = solve(model, broken, *events).status
    assert status.tolist() == [Status.OK, Status.OK, Status.NOT_FINITE, Status.OK]

    def objective(mode):
        def of(p):
            solution = solve_traced(model, p, *events, derivative=mode)
            good = (solution.status == Status.OK)[:, None]
            return jnp.sum(jnp.where(good, solution.outputs.concentration, 0.0))

        return of

    gradient = jax.grad(objective("reverse"))(broken)
    whole = jax.grad(objective("reverse"))(parameters)
    for ours, theirs in zip(gradient, whole, strict=True):
        assert ours[2] == 0.0
        np.testing.assert_array_equal(np.delete(ours, 2), np.delete(theirs, 2))


def test_few_steps_may_be_too_few(one):
    model, events, parameters = one
    solution = solve(model, parameters, *events, tolerances=Tolerances(max_steps=3))
    assert (solution.status == Status.STEP_LIMIT).all() and (solution.stopped == 4.0).all()


@pytest.mark.slow
def test_gradients_of_patients_go_through_steady_states():
    model = models.get("one_compartment")
    table = pd.DataFrame(
        {
            "ID": 1,
            "TIME": [0.0, 2.0, 6.0, 30.0],
            "EVID": [1, 0, 0, 0],
            "CMT": 1,
            "AMT": [100.0, 0.0, 0.0, 0.0],
            "SS": [1, 0, 0, 0],
            "II": [12.0, 0.0, 0.0, 0.0],
            "ADDL": [1, 0, 0, 0],
        }
    )
    records = read_records(model, table)

    def objective(outputs, data):
        return jnp.nansum(outputs.concentration**2, axis=0)

    # A half-life of 70 h: the steady state is far from the first dose.
    parameters = model.Parameters(1.0, 0.1, 10.0)

    def of(*values):
        return value_and_gradient(model, model.Parameters(*values), records, None, objective)

    found = of(*parameters)
    assert found.status.tolist() == [Status.OK]
    for index, ours in enumerate(found.gradient):
        ahead, behind = (
            of(*(v * (1.0 + by * 1e-5 * (i == index)) for i, v in enumerate(parameters))).value[0]
            for by in (1.0, -1.0)
        )
        difference = (ahead - behind) / (2e-5 * parameters[index])
        np.testing.assert_allclose(ours[0], difference, rtol=1e-6)


class Doubling:
    """A visit every six hours; each next dose is larger where little is left."""

    def start(self, subject):
        return Plan(subject, 1.0 + 0.0 * subject)

    def visit(self, visit, plan, subject):
        factor = jnp.where(visit.outputs.concentration < 5.0, 2.0, 1.0)
        return {"seen": visit.outputs.concentration}, Plan(visit.time + 6.0, plan.memory * factor)

    def administer(self, time, plan, subject):
        return (plan.memory,), plan


def test_rules_see_and_do_the_same():
    model = models.get("one_compartment")
    events = schedule(
        model,
        [Dose(12.0 * n, "depot", 20.0, order=0) for n in range(5)],
        observe=[60.0],
        visits_until=60.0,
        shortest_recheck=6.0,
    )
    parameters, subject = drawn(model, 8), np.linspace(0.5, 7.5, 8)
    closed, solved = (
        solve(
            model,
            parameters,
            *events,
            rule=Doubling(),
            subject=subject,
            method=method,
            tolerances=TIGHT,
        )
        for method in ("closed_form", "tsit5")
    )
    assert (closed.status == Status.OK).all()
    np.testing.assert_array_equal(closed.visit_time, solved.visit_time)
    np.testing.assert_allclose(closed.records["seen"], solved.records["seen"], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(closed.outputs.central, solved.outputs.central, rtol=1e-9)


def test_models_without_a_closed_form_refuse_it(one_compartment):
    events = schedule(one_compartment, DOSES, observe=OBSERVED)
    parameters = one_compartment.Parameters(1.0, 1.0, 10.0)
    with pytest.raises(ValueError, match=f"has no closed form .*one of {', '.join(ADAPTIVE)}"):
        solve(one_compartment, parameters, *events, method="closed_form")


def test_a_closed_form_that_passes_over_inputs_is_refused(one_compartment):
    events = schedule(one_compartment, DOSES, observe=OBSERVED)
    parameters = one_compartment.Parameters(1.0, 1.0, 10.0)
    model = dataclasses.replace(one_compartment, propagate=lambda duration, s, p, rates: s)
    with pytest.raises(ValueError, match=r"does not take its inputs \(induction\)"):
        solve(model, parameters, *events, method="closed_form")


def test_an_input_that_slopes_is_refused(one_compartment):
    model = dataclasses.replace(
        one_compartment, propagate=lambda duration, s, p, rates, inputs: s, method="closed_form"
    )
    table = pd.DataFrame(
        {"ID": 1, "TIME": [0.0, 2.0], "EVID": [1, 0], "CMT": 1, "AMT": [1.0, 0.0], "I": [0.0, 1.0]}
    )
    records = read_records(model, table, covariates={"induction": Covariate("I", "linear")})
    with pytest.raises(ValueError, match="changes linearly between two records"):
        solve(model, model.Parameters(1.0, 1.0, 10.0), records)
