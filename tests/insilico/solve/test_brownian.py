"""Paths are Wiener processes, and functions of key and time alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from insilico.randomness import purpose_key, subject_keys
from insilico.solve.brownian import DEPTH, Paths, Place, words_of

MANY = 20_000
CELL = 0.25


def _keys(count: int, purpose: str = "noise") -> jax.Array:
    zeros = jnp.zeros(count, int)
    return subject_keys(purpose_key(7, purpose), zeros, zeros, jnp.arange(count))


def _paths(keys: jax.Array, names: tuple[str, ...] = ("growth",)) -> Paths:
    return Paths.of(jnp.asarray(words_of(keys)), names, CELL)


@jax.jit
def _along(keys: tuple, times: jax.Array) -> tuple[jax.Array, ...]:
    paths = Paths(keys, CELL)
    lanes = jnp.zeros(keys[0].shape[1:])

    def go(place: Place, time: jax.Array) -> tuple[Place, tuple[jax.Array, ...]]:
        increments, after = paths.go(place, lanes + time)
        return after, increments

    return jax.lax.scan(go, paths.at(lanes + times[0]), times[1:])[1]


def _increments(paths: Paths, times) -> np.ndarray:
    """Of each process between successive times: (times − 1, processes, lanes)."""
    # Always as many times, so that they compile once.
    padded = np.pad(np.asarray(times, float), (0, 60 - len(times)), mode="edge")
    return np.stack(_along(paths.keys, jnp.asarray(padded)), axis=1)[: len(times) - 1]


@pytest.fixture(scope="module")
def paths() -> Paths:
    return _paths(_keys(MANY), ("growth", "decay"))


TIMES = [-0.3, 0.0, 0.1, 0.1001, 0.25, 0.3333, 1.0, 1.01, 7.77, 7.8]
"""In one cell and over many, on their borders and off, halvings of them or not."""


@pytest.mark.slow
def test_increments_are_independent_normal_draws_of_their_time(paths):
    draws = _increments(paths, TIMES) / np.sqrt(np.diff(TIMES))[:, None, None]
    rows = draws.reshape(-1, MANY)
    # Of 18 rows, p-values below 1e-4 come once in five hundred seeds.
    assert min(stats.kstest(row, "norm").pvalue for row in rows) > 1e-4
    np.testing.assert_allclose(rows.var(axis=1), 1.0, atol=4.5 * np.sqrt(2.0 / MANY))
    apart = np.corrcoef(rows) - np.eye(len(rows))
    assert np.abs(apart).max() < 4.5 / np.sqrt(MANY)


@pytest.mark.slow
def test_very_small_increments_have_their_size_and_equal_times_none(paths):
    times = [0.1, 0.1 + 100 * CELL / 2**DEPTH, 0.1 + 101 * CELL / 2**DEPTH]
    variance = _increments(paths, times).var(axis=-1)
    expected = np.diff(times)[:, None] * np.ones(2)
    # Times are those of the nearest ticks: 100 of them may be 99 or 101.
    np.testing.assert_allclose(variance[0], expected[0], rtol=0.05)
    assert np.all(_increments(paths, [0.1, 0.1]) == 0.0)


@pytest.mark.slow
def test_refining_follows_the_same_path(paths):
    coarse = _increments(paths, [TIMES[0], TIMES[-1]])[0]
    fine = _increments(paths, TIMES).sum(axis=0)
    finer = _increments(paths, np.unique([*TIMES, *np.linspace(-0.3, 7.8, 40)])).sum(axis=0)
    np.testing.assert_allclose(fine, coarse, atol=1e-13)
    np.testing.assert_allclose(finer, coarse, atol=1e-13)


@pytest.mark.optimised
def test_a_path_depends_on_its_own_key_and_name_alone(paths):
    some = np.array([5, 19_999, 0])
    keys = _keys(MANY)
    together = _increments(paths, TIMES)
    apart = _increments(_paths(keys[some], ("decay",)), TIMES)
    np.testing.assert_array_equal(apart[:, 0], together[:, 1, some])
    assert not np.any(apart[:, 0] == together[:, 0, some])
    other = _increments(_paths(_keys(3, "other")), TIMES)
    assert not np.any(other[:, 0] == together[:, 0, :3])


@pytest.mark.slow
def test_one_patient_without_a_lanes_axis_has_the_path_of_its_lane(paths):
    words = jnp.asarray(words_of(_keys(4)))[:, 3]
    alone = _increments(Paths.of(words, ("growth",), CELL), TIMES)
    # Vectorised and scalar elementary functions may round differently.
    np.testing.assert_allclose(alone[:, 0], _increments(paths, TIMES)[:, 0, 3], atol=1e-13)


@pytest.mark.parametrize(
    ("noise", "said"),
    [
        (np.zeros((3, 2), np.uint32), "one random key a patient.* found ndarray"),
        (jax.random.key(1), r"one a patient; found keys of shape \(\)"),
        (jax.random.split(jax.random.key(1), (2, 2)), r"keys of shape \(2, 2\)"),
        (jax.random.split(jax.random.key(1, impl="rbg"), 3), "Threefry .*with 4 words each"),
    ],
)
def test_what_is_no_key_a_patient_is_refused(noise, said):
    with pytest.raises(ValueError, match=said):
        words_of(noise)
