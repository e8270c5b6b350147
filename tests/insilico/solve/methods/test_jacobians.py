"""Jacobians with their patterns, and linear systems solved over lanes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from insilico.solve.fields import traced
from insilico.solve.methods.jacobians import Elimination, jacobian, places


def _chain(time, state):
    """A chain of transit compartments that feeds back on its start, driven from outside."""
    first, second, third, apart = state
    feedback = 1.0 / (1.0 + third * third)
    return (jnp.sin(time) * feedback - first, first - second, second * second - third, -2.0 * apart)


STATE = tuple(jnp.array([0.3, 1.7]) * factor for factor in (1.0, 2.0, 0.5, 4.0))
TIME = jnp.array([0.4, 1.1])


def _pattern():
    depends = traced(_chain, TIME, STATE).dependencies()
    return [sorted(index - 1 for index in each if index) for each in depends], depends


def test_the_pattern_is_what_each_rate_depends_on():
    pattern, depends = _pattern()
    assert pattern == [[0, 2], [0, 1], [1, 2], [3]]
    assert [0 in each for each in depends] == [True, False, False, False]


def test_entries_are_the_derivatives():
    pattern, _ = _pattern()
    entries = jacobian(_chain, pattern)(TIME, STATE)
    for lane in range(2):
        dense = jax.jacfwd(lambda state, lane=lane: jnp.stack(_chain(TIME[lane], state)))(
            jnp.stack([leaf[lane] for leaf in STATE])
        )
        found = np.zeros((4, 4))
        for (row, column), entry in zip(places(pattern), entries, strict=True):
            found[row, column] = entry[lane]
        np.testing.assert_allclose(found, dense, rtol=1e-14)


@pytest.mark.parametrize("seed", range(8))
def test_systems_are_solved(seed: int):
    """Random patterns with random values, well conditioned, against NumPy."""
    random = np.random.default_rng(seed)
    size, lanes = int(random.integers(1, 9)), 3
    pattern = [sorted(np.flatnonzero(random.random(size) < 0.35).tolist()) for _ in range(size)]
    entries = tuple(jnp.asarray(random.normal(size=lanes)) for _ in places(pattern))
    right = tuple(jnp.asarray(random.normal(size=lanes)) for _ in range(size))
    diagonal = jnp.asarray(5.0 + random.random(lanes))
    elimination = Elimination.of(pattern)
    found = np.array(elimination.solve(elimination.factors(entries, diagonal), right))
    for lane in range(lanes):
        matrix = np.eye(size) * float(diagonal[lane])
        for (row, column), entry in zip(places(pattern), entries, strict=True):
            matrix[row, column] -= entry[lane]
        answer = np.linalg.solve(matrix, [leaf[lane] for leaf in right])
        np.testing.assert_allclose(found[:, lane], answer, rtol=1e-10, atol=1e-12)


def test_a_chain_costs_what_a_chain_should():
    """Elimination of a chain from its end creates no entry, whatever the chain's length."""
    pattern = [[0], *([index - 1, index] for index in range(1, 30))]
    assert len(Elimination.of(pattern).filled) == 30 + 29


def test_an_arrow_is_eliminated_from_its_tips():
    """All exchange with the first component: taken first, it would fill the whole matrix."""
    pattern = [list(range(10)), *([0, index] for index in range(1, 10))]
    elimination = Elimination.of(pattern)
    assert elimination.order[-1] == 0 or elimination.order[-2] == 0
    assert len(elimination.filled) == 10 + 9 + 9
