"""A field made fast on lanes is the same field, to the last bits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from insilico.solve.fields import logarithm, on_lanes
from insilico.vocabulary import power

pytestmark = pytest.mark.optimised

EPSILON = np.finfo(float).eps


def _field_of(volume, hill):
    def field(time, state):
        concentration = jnp.where(time > 1.0, state[0] / volume, 2.0 * state[0] / volume)
        effect = power(concentration / (1.0 + volume), hill)
        return (-concentration * jnp.exp(-hill / volume), effect / (1.0 + effect) - state[1])

    return field


@pytest.fixture
def numbers():
    values = np.random.default_rng(1).lognormal(size=(5, 64))
    time, first, second, volume, hill = (jnp.asarray(row) for row in values)
    return time, (first, second), volume, hill


def test_the_field_is_the_same(numbers):
    time, state, volume, hill = numbers
    field = _field_of(volume, hill)
    fast = on_lanes(field, time, state)(2.0 * time, state)
    for found, expected in zip(fast, field(2.0 * time, state), strict=True):
        # A division, a power and a sum: a few roundings each.
        np.testing.assert_allclose(found, expected, rtol=50 * EPSILON, atol=10 * EPSILON)


def test_what_depends_on_parameters_alone_is_not_computed_again(numbers):
    time, state, volume, hill = numbers
    field = on_lanes(_field_of(volume, hill), time, state)
    operations = str(jax.make_jaxpr(field)(time, state))
    assert operations.count(" exp ") == 1
    assert " log " not in operations


def test_derivatives_pass_through(numbers):
    time, state, volume, hill = numbers

    def slope(make):
        field = make(_field_of(volume, hill), time, state)
        return jax.jvp(lambda first: field(time, (first, state[1])), (state[0],), (1.0 + 0 * time,))

    for found, expected in zip(
        jax.tree.leaves(slope(on_lanes)),
        jax.tree.leaves(slope(lambda field, *_: field)),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-13, atol=20 * EPSILON)


def test_the_logarithm_is_within_one_unit_in_the_last_place():
    generator = np.random.default_rng(0)
    x = np.concatenate(
        [np.exp(generator.uniform(-700, 700, 100_000)), generator.normal(1, 1e-3, 100_000)]
    )
    exact = np.log(x.astype(np.longdouble))
    error = np.abs(np.asarray(jax.jit(logarithm)(x)) - exact) / np.spacing(np.abs(np.log(x)))
    assert error.max() < 1.0


def test_the_logarithm_of_special_numbers_is_that_of_ieee():
    x = jnp.array([0.0, -0.0, -1.0, jnp.inf, jnp.nan, 1.0])
    np.testing.assert_array_equal(logarithm(x), [-np.inf, -np.inf, np.nan, np.inf, np.nan, 0.0])
