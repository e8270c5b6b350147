"""Keys depend on what a draw is for, and on nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from beartype import beartype
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import jaxtyped

from insilico import devices as _devices  # noqa: F401  (float64)
from insilico.randomness import address, name_hash, purpose_key, subject_keys


def _bits(key) -> tuple[int, ...]:
    return tuple(np.asarray(jax.random.key_data(key)).ravel().tolist())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", 1188227382),
        ("covariates", 558433035),
        ("residual error", 1498902054),
        ("η", 2110642322),
    ],
)
def test_the_number_of_a_name_never_changes(name: str, value: int):
    """Pinned: another value would silently change every simulated trial."""
    assert name_hash(name) == value


@given(st.text(max_size=30))
def test_the_number_of_a_name_is_a_31_bit_number(name: str):
    assert 0 <= name_hash(name) < 2**31


def test_keys_of_an_address_never_change():
    assert _bits(purpose_key(0, "covariates")) == (3572479261, 3389427342)
    assert _bits(address(purpose_key(1, "x"), 2, 3)) == (2071787936, 3103839743)


def test_seeds_purposes_and_addresses_all_tell_keys_apart():
    keys = [
        address(purpose_key(seed, purpose), *indices)
        for seed in (0, 1)
        for purpose in ("a", "b")
        for indices in [(), (0,), (1,), (0, 0), (0, 1), (1, 0), (0, 0, 0)]
    ]
    assert len({_bits(key) for key in keys}) == len(keys)


def test_a_key_is_reached_step_by_step_or_at_once():
    key = purpose_key(5, "anything")
    assert _bits(address(key, 3, 1, 4)) == _bits(address(address(key, 3), 1, 4))
    assert _bits(address(key)) == _bits(key)


def test_the_keys_of_subjects_are_those_of_their_addresses():
    key = purpose_key(9, "covariates")
    population, trial, subject = jnp.array([0, 0, 2]), jnp.array([1, 0, 7]), jnp.array([5, 5, 1000])
    together = subject_keys(key, population, trial, subject)
    assert together.shape == (3,)
    for index in range(3):
        alone = address(key, int(population[index]), int(trial[index]), int(subject[index]))
        assert _bits(together[index]) == _bits(alone)


def test_a_subjects_key_does_not_depend_on_the_subjects_beside_it():
    key = purpose_key(9, "covariates")
    many = jnp.arange(100)
    all_keys = subject_keys(key, 0 * many, 0 * many, many)
    one = jnp.array([63])
    assert _bits(subject_keys(key, 0 * one, 0 * one, one)[0]) == _bits(all_keys[63])


def test_draws_by_subject_keys_look_independent():
    """Neighbouring subjects' normal draws: no correlation beyond 4 standard errors."""
    many = jnp.arange(20_000)
    keys = subject_keys(purpose_key(3, "draws"), 0 * many, 0 * many, many)
    draws = np.asarray(jax.vmap(jax.random.normal)(keys))
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 4 / np.sqrt(len(draws))
    assert abs(draws.mean()) < 4 / np.sqrt(len(draws))
    assert abs(draws.std() - 1.0) < 4 / np.sqrt(2 * len(draws))


def test_numbers_of_different_lengths_or_kinds_do_not_name_subjects():
    checked = jaxtyped(typechecker=beartype)(subject_keys)
    key, two, three = purpose_key(0, "a"), jnp.arange(2), jnp.arange(3)
    assert checked(key, two, two, two).shape == (2,)
    with pytest.raises(Exception, match="[Tt]ype"):
        checked(key, two, two, three)
    with pytest.raises(Exception, match="[Tt]ype"):
        checked(key, two, two, two.astype(float))
