import jax.numpy as jnp
import numpy as np

from trials.analyses._least_squares import generalised_inverse, indicator_columns


def test_inverts_a_matrix_of_full_rank():
    design = np.random.default_rng(1).normal(size=(50, 6)) * [1, 10, 1e-3, 1e4, 5, 1]
    matrix = design.T @ design
    inverse, rank = generalised_inverse(jnp.asarray(matrix))
    assert rank == 6
    np.testing.assert_allclose(inverse, np.linalg.inv(matrix), rtol=1e-11)


def test_drops_the_later_of_dependent_columns():
    generator = np.random.default_rng(2)
    design = generator.normal(size=(40, 5))
    design[:, 2] = design[:, 0] - 3 * design[:, 1]
    design[:, 4] = 0
    matrix = design.T @ design
    inverse, rank = generalised_inverse(jnp.asarray(matrix))
    inverse = np.asarray(inverse)
    assert rank == 3
    assert not np.any(inverse[[2, 4]]) and not np.any(inverse[:, [2, 4]])
    np.testing.assert_allclose(matrix @ inverse @ matrix, matrix, atol=1e-10)


def test_keeps_columns_that_are_merely_collinear():
    generator = np.random.default_rng(3)
    first = generator.normal(size=200)
    design = np.stack([first, first + 1e-4 * generator.normal(size=200)], axis=1)
    _, rank = generalised_inverse(jnp.asarray(design.T @ design))
    assert rank == 2


def test_indicators_mark_the_level_and_nothing_outside():
    columns = indicator_columns(jnp.array([[0, 2, -1, 7]]), 3)
    assert columns[0].tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]]
