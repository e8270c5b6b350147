"""Functions in the plain operations of a kernel are the same functions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from insilico.solve import plain as plain_module
from insilico.solve.plain import Table, Unsuitable, plain

LANES = 8
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.5, -2.5, 3.5, -0.7, 1e17])


def _names(function, *arguments) -> set[str]:
    """Every operation of the function, those of its calls included."""
    found = set()

    def look(program):
        for equation in program.eqns:
            found.add(equation.primitive.name)
            for value in equation.params.values():
                for each in value if isinstance(value, tuple) else (value,):
                    inner = getattr(each, "jaxpr", each)
                    if hasattr(inner, "eqns"):
                        look(inner)

    look(jax.make_jaxpr(function)(*arguments).jaxpr)
    return found


@pytest.mark.parametrize(
    "function",
    [
        lambda x: jnp.maximum(x, 1.0),
        lambda x: jnp.minimum(1.0, x),
        lambda x: jnp.maximum(jnp.ones_like(x), x),
        lambda x: jnp.clip(x, -1.0, 2.0),
        jnp.rint,
        jnp.isfinite,
        lambda x: lax.optimization_barrier((x, 2.0 * x))[1],
        jax.jit(lambda x: jax.nn.relu(x) + 1.0),
        lambda x: lax.switch(1, [lambda: x, lambda: 2.0 * x, lambda: 3.0 * x]),
        lambda x: jnp.where(x > 0, jnp.sqrt(jnp.abs(x)), 7.0),
    ],
)
def test_the_numbers_are_the_same_for_special_ones_too(function):
    x = jnp.asarray(SPECIAL)
    np.testing.assert_array_equal(plain(function, LANES)(x), function(x))


def test_what_triton_lacks_or_means_otherwise_is_gone():
    def function(x):
        kept = lax.optimization_barrier(jnp.rint(x))
        return jnp.isfinite(jnp.maximum(kept, jnp.clip(x, 0.0, 1.0)))

    x = jnp.ones(LANES)
    gone = {"optimization_barrier", "round", "max", "min", "clamp", "is_finite"}
    assert gone & _names(function, x)
    assert not gone & _names(plain(function, LANES), x)


def test_what_nobody_needs_is_left_out():
    def function(x):
        jnp.sort(x)
        return x + 1.0

    assert "sort" not in _names(plain(function, LANES), jnp.ones(LANES))


def _table(values: np.ndarray) -> Table:
    numbers = jnp.asarray(values)

    def at(row, inside, otherwise):
        return jnp.where(inside, numbers[row, jnp.arange(LANES)], otherwise)

    return Table(len(values), numbers.dtype, at)


@pytest.mark.parametrize("mode", [None, "clip", "fill"])
def test_each_lane_takes_its_own_row_of_a_table(mode):
    values = np.random.default_rng(0).normal(size=(5, LANES))
    row = jnp.array([0, 1, 4, 5, 9, -1, -5, -6])

    def function(table, row):
        return jnp.take_along_axis(table, row[None], axis=0, mode=mode)[0] + table[2]

    found = plain(function, LANES)(_table(values), row)
    np.testing.assert_array_equal(found, function(jnp.asarray(values), row))


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x, table: jnp.sort(x), "the operation sort"),
        (lambda x, table: x[..., None] > jnp.array([1.0, 2.0]), "constant array"),
        (lambda x, table: jnp.sum(x) + x, "the operation reduce_sum"),
        (lambda x, table: 2.0 * table[0] + (2.0 * table)[1], "on a whole table by rows"),
        (lambda x, table: x * jnp.asarray(np.arange(8.0)), "constant array"),
    ],
)
def test_what_has_no_place_in_a_kernel_is_refused(function, said):
    with pytest.raises(Unsuitable, match=said):
        plain(function, LANES)(jnp.ones(LANES), _table(np.ones((2, LANES))))


@pytest.fixture
def fused_by_numpy(monkeypatch):
    """NVIDIA's instruction in Python, which counts itself."""
    counted = []

    def instruction(code, *, args, constraints, pack, result_shape_dtypes):
        [result] = result_shape_dtypes
        assert code == {"float32": "fma.rn.f32 $0, $1, $2, $3;",
                        "float64": "fma.rn.f64 $0, $1, $2, $3;"}[result.dtype.name]  # fmt: skip
        assert pack == 1 and constraints.count(",") == len(args) == 3
        assert all(each.dtype == result.dtype and each.shape == result.shape for each in args)
        counted.append(code)
        first, second, addend = args
        return [first * second + addend]

    monkeypatch.setattr(plain_module.triton, "elementwise_inline_asm", instruction)
    return counted


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("function", "instructions"),
    [
        (lambda x, y, z: x * y + z, 1),
        (lambda x, y, z: z + x * y, 1),
        (lambda x, y, z: x * y - z, 1),
        (lambda x, y, z: z - x * y, 1),
        # Of two products one is rounded.
        (lambda x, y, z: x * y + y * z, 1),
        (lambda x, y, z: x * y - y * z, 1),
        (lambda x, y, z: 0.1 * x + 0.2 * y + 0.3 * z, 2),
        (lambda x, y, z: jax.jit(lambda a: a * x + y)(z), 1),
        # The product is needed itself, or is no sum's.
        (lambda x, y, z: (x * y) * (x * y + z), 1),
        (lambda x, y, z: (lambda p: p + z + p)(x * y), 0),
        (lambda x, y, z: x * y / z, 0),
        (lambda x, y, z: (x * y, x * y + z)[1] + (x * y), 2),
        (lambda x, y, z: jnp.maximum(x * y, z), 0),
    ],
)
def test_products_are_fused_with_the_sum_they_go_into(
    fused_by_numpy, function, instructions, dtype
):
    lanes = 4
    x, y, z = (jnp.asarray(np.linspace(a, a + 1, lanes), dtype) for a in (0.3, 1.7, -2.2))
    found = plain(function, lanes, fused=True)(x, y, z)
    assert len(fused_by_numpy) == instructions
    np.testing.assert_allclose(found, function(x, y, z), rtol=4 * np.finfo(dtype).eps)
    assert found.dtype == dtype


def test_whole_numbers_scalars_and_what_is_not_to_be_fused_stay_as_they_are(fused_by_numpy):
    lanes = 4
    x, numbers = jnp.linspace(0.0, 1.0, lanes), jnp.arange(lanes)
    plain(lambda x: x * 2.0 + 1.0, lanes)(x)
    plain(lambda n: n * 2 + 1, lanes, fused=True)(numbers)
    plain(lambda s: s * 2.0 + 1.0, lanes, fused=True)(jnp.asarray(3.0))
    assert not fused_by_numpy
