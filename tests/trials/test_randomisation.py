from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from insilico.randomness import address, purpose_key
from trials.randomisation import check_allocation, permuted_blocks, simple_randomisation

TRIALS, SUBJECTS, STRATA = 200, 120, 36  # 18 centres × 2


_trial_keys = jax.jit(jax.vmap(address, in_axes=(None, 0)))


def _keys(trials, seed=1):
    return _trial_keys(purpose_key(seed, "randomisation"), np.arange(trials))


@pytest.fixture(scope="module")
def stratum():
    return jnp.asarray(np.random.default_rng(2).integers(0, STRATA, (TRIALS, SUBJECTS)))


_blocks = jax.jit(permuted_blocks, static_argnames=("allocation", "block_sizes"))


def _lists(arm, stratum):
    """The arms of every (trial, stratum) in order of enrolment."""
    for trial in range(arm.shape[0]):
        for level in np.unique(stratum[trial]):
            yield arm[trial][stratum[trial] == level]


@pytest.mark.parametrize(("allocation", "size"), [((2, 1), 6), ((1, 1, 2), 4)])
def test_every_completed_block_holds_the_arms_in_their_ratio(allocation, size):
    stratum = jnp.asarray(np.random.default_rng(3).integers(0, 3, (TRIALS, SUBJECTS)))
    arm = _blocks(
        _keys(TRIALS),
        stratum,
        jnp.ones(stratum.shape, bool),
        allocation=allocation,
        block_sizes=(size,),
    )
    each = np.array(allocation) * size // sum(allocation)
    checked = 0
    for assigned in _lists(np.asarray(arm), np.asarray(stratum)):
        for start in range(0, assigned.size - size + 1, size):
            block = assigned[start : start + size]
            np.testing.assert_array_equal(np.bincount(block, minlength=len(allocation)), each)
            checked += 1
    assert checked > TRIALS


def test_imbalance_never_exceeds_half_the_largest_block(stratum):
    arm = _blocks(
        _keys(TRIALS),
        stratum,
        jnp.ones(stratum.shape, bool),
        allocation=(1, 1),
        block_sizes=(2, 4, 6),
    )
    excess = np.concatenate(
        [np.cumsum(2 * a - 1) for a in _lists(np.asarray(arm), np.asarray(stratum))]
    )
    assert np.abs(excess).max() <= 3
    assert np.abs(excess).max() > 2, "blocks of six should show"


def test_drawn_block_sizes_balance_at_the_ends_of_some_blocks_only():
    """With sizes 2 and 4 the list balances at 2 exactly when its first block is a 2, or by luck.

    P(balanced after 2) = 1/2 · 1 + 1/2 · (4 of the 6 orders of a block of four) = 5/6.
    """
    stratum = jnp.tile(jnp.arange(SUBJECTS) // 2, (TRIALS, 1))
    arm = _blocks(
        _keys(TRIALS), stratum, jnp.ones(stratum.shape, bool), allocation=(1, 1), block_sizes=(2, 4)
    )
    pairs = np.asarray(arm).reshape(-1, 2)
    balanced = np.sum(pairs.sum(axis=1) == 1)
    assert stats.binomtest(int(balanced), len(pairs), 5 / 6).pvalue > 1e-3


def test_all_orders_of_a_block_are_equally_likely_and_blocks_independent():
    stratum = jnp.zeros((6000, 8), int)
    arm = np.asarray(
        _blocks(
            _keys(6000), stratum, jnp.ones(stratum.shape, bool), allocation=(1, 1), block_sizes=(4,)
        )
    )
    codes = arm.reshape(6000, 2, 4) @ (2 ** np.arange(4))
    orders, first = np.unique(codes[:, 0], return_inverse=True)
    _, second = np.unique(codes[:, 1], return_inverse=True)
    assert orders.size == 6  # 4 over 2
    pairs = np.bincount(first * 6 + second, minlength=36)
    assert stats.chisquare(np.bincount(first)).pvalue > 1e-3
    assert stats.chisquare(pairs).pvalue > 1e-3


def test_blocks_differ_between_strata_and_between_trials():
    """Neighbouring trials' and strata's first blocks agree as often as chance has it (1 in 6)."""
    stratum = jnp.tile(jnp.repeat(jnp.arange(2), 4), (6000, 1))
    arm = np.asarray(
        _blocks(
            _keys(6000), stratum, jnp.ones(stratum.shape, bool), allocation=(1, 1), block_sizes=(4,)
        )
    ).reshape(6000, 2, 4)
    strata_agree = np.sum(np.all(arm[:, 0] == arm[:, 1], axis=-1))
    trials_agree = np.sum(np.all(arm[:-1, 0] == arm[1:, 0], axis=-1))
    assert stats.binomtest(int(strata_agree), 6000, 1 / 6).pvalue > 1e-3
    assert stats.binomtest(int(trials_agree), 5999, 1 / 6).pvalue > 1e-3


@pytest.mark.optimised
def test_an_assignment_ignores_other_strata_later_subjects_and_other_trials(stratum):
    draw = partial(_blocks, allocation=(1, 1), block_sizes=(2, 4))
    everyone = jnp.ones(stratum.shape, bool)
    arm = np.asarray(draw(_keys(TRIALS), stratum, everyone))

    only = np.asarray(stratum) == 7
    alone = np.asarray(draw(_keys(TRIALS), stratum, jnp.asarray(only)))
    np.testing.assert_array_equal(alone[only], arm[only])
    assert np.all(alone[~only] == -1)

    early = jnp.broadcast_to(jnp.arange(SUBJECTS) < 50, stratum.shape)
    np.testing.assert_array_equal(draw(_keys(TRIALS), stratum, early)[:, :50], arm[:, :50])

    backwards = draw(_keys(TRIALS)[::-1], stratum[::-1], everyone)[::-1]
    np.testing.assert_array_equal(backwards, arm)


@pytest.mark.optimised
def test_order_of_enrolment_is_by_time_where_times_are_given(stratum):
    everyone = jnp.ones(stratum.shape, bool)
    draw = partial(_blocks, _keys(TRIALS), allocation=(1, 1), block_sizes=(4,))
    time = jnp.asarray(np.random.default_rng(5).random(stratum.shape))
    order = jnp.argsort(time, axis=1)
    by_time = draw(stratum, everyone, enrolment_time=time)
    in_order = draw(jnp.take_along_axis(stratum, order, axis=1), everyone)
    np.testing.assert_array_equal(jnp.take_along_axis(by_time, order, axis=1), in_order)


@pytest.mark.optimised
def test_simple_randomisation_has_the_stated_probabilities_and_no_memory():
    subject = jnp.tile(jnp.arange(500), (40, 1))
    draw = jax.jit(partial(simple_randomisation, allocation=(1, 2, 1)))
    arm = np.asarray(draw(_keys(40), subject, subject < 499))
    assert np.all(arm[:, 499] == -1)
    counts = np.bincount(arm[:, :499].ravel())
    assert stats.chisquare(counts, counts.sum() * np.array([0.25, 0.5, 0.25])).pvalue > 1e-3
    pairs = np.bincount((3 * arm[:, :498:2] + arm[:, 1:499:2]).ravel(), minlength=9)
    share = np.outer([0.25, 0.5, 0.25], [0.25, 0.5, 0.25]).ravel()
    assert stats.chisquare(pairs, pairs.sum() * share).pvalue > 1e-3
    later = np.asarray(draw(_keys(40), (subject + 100) % 500, subject >= 0))
    np.testing.assert_array_equal(later[:, :399], arm[:, 100:499])


@pytest.mark.optimised
def test_second_call_of_a_shape_compiles_nothing(stratum, compilations):
    draw = partial(_blocks, allocation=(1, 1), block_sizes=(2, 4))
    everyone = jnp.ones(stratum.shape, bool)
    first, second = _keys(TRIALS, seed=1), _keys(TRIALS, seed=2)
    one = draw(first, stratum, everyone)
    before = compilations.count
    two = draw(second, stratum, everyone)
    assert compilations.count == before
    assert np.any(np.asarray(one) != np.asarray(two))


@pytest.mark.parametrize(
    ("allocation", "sizes", "message"),
    [
        ((1, 1), (3,), "multiples of 2"),
        ((2, 1), (4, 6), r"multiples of 3.*found \[4\]"),
        ((1, 1), (), "one or more"),
        ((1,), (2,), "two or more arms"),
        ((1, 0), (2,), "1 or more"),
    ],
)
def test_impossible_designs_are_refused_by_name(allocation, sizes, message):
    stratum = jnp.zeros((1, 4), int)
    with pytest.raises(ValueError, match=message):
        permuted_blocks(_keys(1), stratum, stratum == 0, allocation=allocation, block_sizes=sizes)
    assert check_allocation((2, 1), (3, 6)) == []
