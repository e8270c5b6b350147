"""What goes into a traced solve is of one number of patients, or it is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from insilico import models
from insilico.solve import (
    DerivativeError,
    Dose,
    objective_traced,
    read_records,
    schedule,
    solve,
    solve_traced,
)
from insilico.solve.aligned import aligned

MODEL = models.get("one_compartment")
EVENTS, PATTERN = schedule(MODEL, Dose(0.0, "depot", 100.0), observe=[1.0, 4.0])
THREE = MODEL.Parameters(jnp.array([1.0, 0.8, 1.3]), jnp.array([3.0, 4.0, 2.0]), 30.0)
OF_EACH = EVENTS._replace(amount=np.stack([EVENTS.amount, 2.0 * EVENTS.amount], axis=1))
TABLE = read_records(MODEL, {"ID": [1, 2], "TIME": [0, 0], "AMT": [1, 0]})


def _solved(parameters, events=EVENTS, pattern=PATTERN, subject=None):
    return solve_traced(MODEL, parameters, events, pattern, derivative=None, subject=subject)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"parameters": THREE._replace(clearance=jnp.ones(2))}, r"shapes \(2,\), \(3,\)"),
        ({"parameters": THREE._replace(clearance=jnp.ones(1))}, r"shapes \(1,\), \(3,\)"),
        ({"events": OF_EACH}, r"shapes \(3,\), \(3, 2\)"),
        ({"subject": jnp.ones((5, 2))}, r"shapes \(3,\), \(5, 2\)"),
        ({"parameters": tuple(THREE)}, "must be its Parameters; found tuple"),
        ({"parameters": THREE._replace(clearance=jnp.ones((3, 3)))}, "numbers or arrays"),
        ({"parameters": THREE._replace(clearance=jnp.ones(3, bool))}, "found bool"),
        ({"parameters": jax.tree.map(lambda _: jnp.ones(0), THREE)}, "there are no patients"),
        ({"pattern": schedule(MODEL, observe=[1.0])[1]}, "both come from one call"),
        ({"events": TABLE, "pattern": None}, "found Records and NoneType"),
        ({"events": TABLE.laid_out()[0]}, "found RecordTable and Pattern"),
    ],
)
def test_what_would_be_filled_up_with_the_last_patient_is_refused(changed, said):
    with pytest.raises(ValueError, match=said):
        _solved(**{"parameters": THREE, **changed})


@pytest.mark.parametrize("derivative", [None, "reverse"])
@pytest.mark.parametrize(
    ("function", "change"),
    [
        ("initial", lambda p: MODEL.initial(p)._asdict()),
        # A dictionary's entries are in the order of the alphabet: central, depot.
        ("derivative", lambda *given: MODEL.derivative(*given)._asdict()),
        ("derivative", lambda *given: tuple(MODEL.derivative(*given))),
        ("outputs", lambda *given: tuple(MODEL.outputs(*given))),
    ],
)
def test_functions_of_a_model_give_what_it_declares(function, change, derivative):
    wrong = dataclasses.replace(MODEL, **{function: change}, method="tsit5", propagate=None)
    with pytest.raises(TypeError, match=r"of model one_compartment must be a (State|Outputs)"):
        solve_traced(wrong, THREE, EVENTS, PATTERN, derivative=derivative)


def test_what_is_no_model_and_what_is_traced_is_told_where_it_belongs():
    with pytest.raises(ValueError, match=r"as insilico.models.get\(name\) gives it; found str"):
        solve("one_compartment", MODEL.typical, EVENTS, PATTERN)  # pyright: ignore

    def total(clearance):
        found = solve(MODEL, MODEL.typical._replace(clearance=clearance), EVENTS, PATTERN)
        return jnp.sum(found.outputs.central)

    for traced in (jax.jit(total), jax.grad(total), jax.vmap(total)):
        with pytest.raises(DerivativeError, match="use solve_traced"):
            traced(jnp.ones(2))


def test_objectives_of_other_patients_data_are_refused():
    table, layout = TABLE.laid_out()
    two = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, 3)[:2], THREE)
    with pytest.raises(ValueError, match=r"of different lengths: .*\(1, 1\)"):
        objective_traced(MODEL, two, table, layout, lambda outputs, data: data[0], jnp.ones((1, 1)))


@pytest.mark.parametrize("objective", [jnp.sum, lambda leaf: leaf], ids=["sum", "times"])
def test_an_objective_that_is_not_one_number_a_patient_is_refused(objective):
    table, layout = TABLE.laid_out()
    two = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, 3)[:2], THREE)
    with pytest.raises(ValueError, match="must give one number a patient"):
        objective_traced(MODEL, two, table, layout, lambda outputs, _: objective(outputs.central))


def test_one_number_is_every_patients_and_numbers_of_32_bits_become_those_of_64():
    single = THREE._replace(clearance=np.array([3.0, 4.0, 2.0], np.float32), absorption_rate=1)
    parameters, events, subject = aligned(
        MODEL, single, OF_EACH._replace(amount=EVENTS.amount), PATTERN, np.arange(3)
    )
    assert {(leaf.shape, str(leaf.dtype)) for leaf in parameters} == {((3,), "float64")}
    assert events.kind.dtype == jnp.int32 and subject.dtype == jnp.int64
    alone, *_ = aligned(MODEL, MODEL.Parameters(1.0, 3.0, 30.0), EVENTS, PATTERN, None)
    assert alone.clearance.shape == (1,)
    each, *_ = aligned(MODEL, MODEL.Parameters(1.0, 3.0, 30.0), OF_EACH, PATTERN, None)
    assert each.clearance.tolist() == [3.0, 3.0]


@pytest.mark.slow
def test_parameters_of_32_bits_have_a_gradient():
    def total(clearance):
        solution = solve_traced(
            MODEL, THREE._replace(clearance=clearance), EVENTS, PATTERN, derivative="reverse"
        )
        return jnp.sum(solution.outputs.concentration)

    gradient = jax.grad(total)(jnp.array([3.0, 4.0, 2.0], jnp.float32))
    assert gradient.dtype == jnp.float32
    exact = jax.grad(total)(jnp.array([3.0, 4.0, 2.0]))
    np.testing.assert_allclose(gradient, exact, rtol=1e-6)
