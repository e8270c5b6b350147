"""Many divided differences side by side, and their derivatives of all orders."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from insilico.devices import QUICKLY
from insilico.divided_differences import Differences, divided_difference

quickly = functools.partial(jax.jit, compiler_options=QUICKLY)
CHOICES = [(0,), (1, 1), (0, 2), (0, 1, 2), (1, 1, 2), (0, 1, 1, 2)]


@pytest.fixture(scope="module")
def points():
    """Three points of each lane, none of them, two of them and all of them the same or nearly."""
    apart = np.concatenate([[0.0], 10.0 ** np.linspace(-12, 2, 40)])
    columns = [(np.zeros_like(apart), -apart, -share * apart) for share in (0.0, 0.4, 1.0, 1.7)]
    return tuple(np.concatenate(column) for column in zip(*columns, strict=True))


@pytest.fixture(scope="module")
def found(points):
    """All those of up to three points, and two derivatives of these by the last two points."""

    def values(*points):
        return jnp.stack(Differences.of(CHOICES, 1, points).values)

    def slopes(*points):
        return jax.jacfwd(lambda step: values(points[0], points[1] + step, points[2]))(0.0)

    def bends(*points):
        return jax.jacfwd(lambda step: slopes(points[0], points[1], points[2] + step))(0.0)

    return quickly(lambda *points: (values(*points), slopes(*points), bends(*points)))(*points)


def order():
    return sorted(CHOICES, key=lambda taken: (len(taken), taken))


def one(points, taken):
    return divided_difference(*(jnp.asarray(points[number]) for number in taken))


def test_each_is_as_alone(points, found):
    for values, taken in zip(found[0], order(), strict=True):
        # The recurrence loses a factor of 12 an order, and each rounds in an order of its own.
        np.testing.assert_allclose(values, one(points, taken), rtol=1e-12, err_msg=str(taken))


def test_a_derivative_takes_the_point_once_more(points, found):
    _, slopes, bends = found
    for slope, bend, taken in zip(slopes, bends, order(), strict=True):
        often, other = taken.count(1), taken.count(2)
        np.testing.assert_allclose(slope, often * one(points, (*taken, 1)), rtol=1e-11)
        # By another point, after the first: again once more of each.
        expected = often * other * one(points, (*taken, 1, 2))
        np.testing.assert_allclose(bend, expected, rtol=1e-10)


def test_they_are_asked_for_in_any_order():
    differences = Differences.of([(0, 1, 1)], 1, (jnp.zeros(3), jnp.full(3, -2.0)))
    for taken in set(itertools.permutations((0, 1, 1))):
        np.testing.assert_array_equal(differences(*taken), differences.values[0])


def test_a_fixed_point_has_no_derivative():
    def total(high):
        return jnp.sum(Differences.of([(0, 1)], 1, (high, jnp.full(2, -1.0)))(0, 1))

    np.testing.assert_array_equal(jax.jacfwd(total)(jnp.zeros(2)), 0.0)
