"""The words of equations mean what NumPy means by them, on every kind of number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from insilico import devices as _devices  # noqa: F401  (float64)
from insilico import vocabulary
from insilico.vocabulary import Vector, matvec, power, shift, total, where

# No deadlines: the first call of a property compiles.
numbers = st.floats(-1e6, 1e6, allow_nan=False)
pairs = st.integers(1, 6).flatmap(
    lambda size: st.tuples(
        st.lists(numbers, min_size=size, max_size=size),
        st.lists(numbers, min_size=size, max_size=size),
    )
)

OPERATIONS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
}


def _nonzero(values):
    """Denominators away from zero, where floats and arrays fail in different ways."""
    return [value if abs(value) > 1e-3 else 1.5 for value in values]


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=list(OPERATIONS))
@settings(deadline=None)
@given(pair=pairs)
def test_arithmetic_is_component_by_component(operation, pair):
    left, right = pair[0], _nonzero(pair[1])
    found = operation(Vector(*left), Vector(*right))
    assert isinstance(found, Vector)
    np.testing.assert_array_equal(list(found), operation(np.array(left), np.array(right)))


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=list(OPERATIONS))
@pytest.mark.parametrize("kind", [float, np.float64, jnp.float64])
@settings(deadline=None)
@given(values=st.lists(numbers, min_size=1, max_size=6), single=numbers)
def test_a_single_number_on_either_side_serves_every_component(operation, kind, values, single):
    values, (single,) = _nonzero(values), _nonzero([single])
    vector, number = Vector(*values), kind(single)
    after, before = operation(vector, number), operation(number, vector)
    assert isinstance(after, Vector) and isinstance(before, Vector)
    np.testing.assert_array_equal(list(after), operation(np.array(values), single))
    np.testing.assert_array_equal(list(before), operation(single, np.array(values)))


def test_lanes_combine_with_vectors_of_lanes():
    """An array is one quantity of many patients, never the components of a vector."""
    lanes = np.array([1.0, 2.0, 3.0])
    vector = Vector(lanes, 10.0 * lanes)
    for product in (lanes * vector, vector * lanes, jnp.asarray(lanes) * vector):
        assert isinstance(product, Vector) and len(product) == 2
        np.testing.assert_array_equal(product[1], 10.0 * lanes**2)


@settings(deadline=None)
@given(values=st.lists(numbers, min_size=1, max_size=6))
def test_negation_total_and_shift(values):
    vector = Vector(*values)
    assert list(-vector) == [-value for value in values]
    np.testing.assert_allclose(float(total(vector)), np.sum(values), rtol=1e-12, atol=1e-6)
    assert list(shift(vector, 7.0)) == [7.0, *values[:-1]]


@settings(deadline=None)
@given(
    data=st.tuples(st.integers(1, 4), st.integers(1, 4)).flatmap(
        lambda shape: st.tuples(
            arrays(float, shape, elements=st.sampled_from([0.0, 0.0, 1.0, -2.5, 3.25])),
            arrays(float, shape[1], elements=st.floats(-100, 100)),
        )
    )
)
def test_a_constant_matrix_times_a_vector(data):
    matrix, values = data
    found = matvec(matrix, Vector(*values.tolist()))
    assert len(found) == matrix.shape[0]
    np.testing.assert_allclose(np.array(list(found), float), matrix @ values, rtol=1e-12, atol=1e-9)


def test_a_matrix_entry_of_zero_costs_nothing():
    sparse = np.diag([1.0, 2.0, 3.0])
    traced = jax.make_jaxpr(lambda *v: tuple(matvec(sparse, Vector(*v))))(1.0, 2.0, 3.0)
    assert sum(equation.primitive.name == "add" for equation in traced.jaxpr.eqns) == 0


@pytest.mark.parametrize(
    "name", ["exp", "log", "sqrt", "tanh", "sin", "cos", "absolute", "minimum", "maximum"]
)
def test_functions_are_numpys_on_numbers_and_on_components(name: str):
    ours, numpys = getattr(vocabulary, name), getattr(np, name)
    values = [0.3, 1.0, 2.7]
    rest = (1.5,) if name in ("minimum", "maximum") else ()
    # JAX and NumPy take their elementary functions from different libraries.
    np.testing.assert_allclose(
        list(ours(Vector(*values), *rest)), numpys(values, *rest), rtol=1e-14
    )
    np.testing.assert_allclose(ours(values[2], *rest), numpys(values[2], *rest), rtol=1e-14)


def test_where_chooses_component_by_component():
    assert list(where(True, Vector(1.0, 2.0), Vector(3.0, 4.0))) == [1.0, 2.0]
    assert list(where(Vector(True, False), Vector(1.0, 2.0), 9.0)) == [1.0, 9.0]


@settings(deadline=None)
@given(base=st.floats(1e-6, 1e6), exponent=st.floats(0.1, 6.0))
def test_a_power_of_a_positive_base_is_numpys(base, exponent):
    # exp(n·log b) loses as many digits as its argument, up to 83, has before the point.
    np.testing.assert_allclose(power(base, exponent), np.power(base, exponent), rtol=1e-13)


@pytest.mark.parametrize("base", [0.0, -0.0, -1e-12, -5.0])
@pytest.mark.parametrize("exponent", [0.5, 1.0, 1.15, 3.0])
def test_a_power_at_or_below_zero_is_zero_with_finite_gradients(base, exponent):
    assert float(power(base, exponent)) == 0.0
    gradients = jax.grad(lambda b, e: power(b, e), argnums=(0, 1))(base, exponent)
    assert np.all(np.isfinite(gradients))
    # A plain power is where the trouble would come from.
    plain = jax.grad(lambda b, e: b**e, argnums=(0, 1))(base, exponent)
    assert base == 0.0 or not np.all(np.isfinite(plain)) or exponent in (1.0, 3.0)


@settings(deadline=None)
@given(base=st.floats(1e-3, 1e3), exponent=st.floats(0.2, 4.0))
def test_gradients_of_a_power_are_those_of_calculus(base, exponent):
    by_base, by_exponent = jax.grad(power, argnums=(0, 1))(base, exponent)
    np.testing.assert_allclose(by_base, exponent * base ** (exponent - 1.0), rtol=1e-12)
    np.testing.assert_allclose(by_exponent, np.log(base) * base**exponent, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=list(OPERATIONS))
def test_vectors_of_different_lengths_do_not_combine(operation):
    with pytest.raises(ValueError, match=r"\[2, 3\]"):
        operation(Vector(1.0, 2.0), Vector(1.0, 2.0, 3.0))


@pytest.mark.parametrize("matrix", [np.ones((2, 3)), np.ones(2), np.ones((2, 2, 2))])
def test_a_matrix_that_does_not_fit_is_refused(matrix):
    with pytest.raises(ValueError, match="does not fit 2 components"):
        matvec(matrix, Vector(1.0, 2.0))


def test_a_vector_is_a_tree_of_its_components():
    vector = Vector(1.0, 2.0, 3.0)
    assert jax.tree.leaves(vector) == [1.0, 2.0, 3.0]
    doubled = jax.jit(lambda v: v + v)(vector)
    assert isinstance(doubled, Vector) and [float(x) for x in doubled] == [2.0, 4.0, 6.0]
    assert len(vector) == 3 and vector[-1] == 3.0
    assert repr(vector) == "Vector(1.0, 2.0, 3.0)"
