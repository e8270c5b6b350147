import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from insilico.randomness import address, purpose_key
from trials import enrolment

TRIALS, SUBJECTS = 20, 500

adherence = jax.jit(enrolment.adherence)
attendance = jax.jit(enrolment.attendance)
centre_shares = jax.jit(enrolment.centre_shares, static_argnums=1)
draw_centres = jax.jit(enrolment.draw_centres)
dropout_times = jax.jit(enrolment.dropout_times)
uniform_accrual = jax.jit(enrolment.uniform_accrual)

_addressed = jax.jit(jax.vmap(address, in_axes=(None, 0)))


def _keys(*shape):
    flat = _addressed(purpose_key(1, "enrolment"), np.arange(TRIALS * SUBJECTS))
    return flat[: int(np.prod(shape))].reshape(shape)


def test_equal_centres_have_equal_shares_and_subjects_follow_them():
    shares = centre_shares(_keys(TRIALS), 18)
    np.testing.assert_allclose(shares, 1 / 18, rtol=1e-12)
    centre = draw_centres(_keys(TRIALS, SUBJECTS), shares)
    counts = np.bincount(np.asarray(centre).ravel(), minlength=18)
    assert counts.size == 18 and stats.chisquare(counts).pvalue > 1e-3


def test_dispersed_centres_have_the_stated_variation():
    """Shares of many centres are gamma rates over nearly their mean: CV as stated."""
    shares = np.asarray(centre_shares(_keys(TRIALS), 400, 0.8))
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-12)
    variation = shares.std(axis=1) / shares.mean(axis=1)
    # A gamma's sample CV of 400 has a standard error of about 5 %; 20 trials, three of them.
    assert abs(variation.mean() / 0.8 - 1) < 3 * 0.05 / np.sqrt(TRIALS) + 0.02
    assert np.all(np.any(np.abs(np.diff(shares, axis=0)) > 1e-4, axis=1)), "drawn anew per trial"


def test_extreme_dispersion_still_shares_out_everything():
    shares = np.asarray(centre_shares(_keys(TRIALS), 5, 30.0))
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-12)


def test_subjects_follow_unequal_shares():
    shares = jnp.tile(jnp.array([0.5, 0.0, 0.3, 0.2]), (TRIALS, 1))
    centre = np.asarray(draw_centres(_keys(TRIALS, SUBJECTS), shares))
    counts = np.bincount(centre.ravel(), minlength=4)
    assert counts[1] == 0
    kept = counts[[0, 2, 3]]
    assert stats.chisquare(kept, kept.sum() * np.array([0.5, 0.3, 0.2])).pvalue > 1e-3


def test_uniform_accrual_fills_the_period_evenly():
    time = np.asarray(uniform_accrual(_keys(TRIALS, SUBJECTS), 730.0))
    assert stats.kstest(time.ravel() / 730, "uniform").pvalue > 1e-3


def test_dropout_reaches_the_stated_share_by_the_stated_day():
    time = np.asarray(dropout_times(_keys(TRIALS * SUBJECTS), 0.15, 90.0))
    assert stats.kstest(time * -np.log(0.85) / 90, "expon").pvalue > 1e-3
    assert abs(np.mean(time <= 90) - 0.15) < 3 * np.sqrt(0.15 * 0.85 / time.size)


def test_no_dropout_is_never_and_arms_share_a_subjects_luck():
    share = jnp.array([[0.0], [0.1], [0.3]])  # (arm, 1) against (subject,)
    time = np.asarray(dropout_times(_keys(50), share, 90.0))
    assert time.shape == (3, 50)
    assert np.all(np.isinf(time[0])) and np.all(time[2] < time[1])


DAYS = jnp.arange(28.0)


@pytest.mark.parametrize(("share", "correlation"), [(0.85, 0.0), (0.85, 0.3), (0.5, 0.9)])
def test_adherence_has_its_mean_and_within_subject_correlation(share, correlation):
    taken = np.asarray(adherence(_keys(4000), DAYS, share, correlation)).astype(float)
    own = taken.mean(axis=1)
    assert abs(own.mean() - share) < 4 * own.std() / np.sqrt(4000)
    # Var(mean of m doses) = share (1 - share) (1 + (m - 1) ρ) / m for pairwise correlation ρ.
    doses = DAYS.size
    found = (own.var() / (share * (1 - share)) * doses - 1) / (doses - 1)
    assert abs(found - correlation) < 0.03


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("correlation", [0.0, 0.4])
def test_never_and_always_are_exact(share, correlation):
    assert np.all(np.asarray(adherence(_keys(4000), DAYS, share, correlation)) == bool(share))
    assert np.all(np.asarray(attendance(_keys(4000), DAYS, share)) == bool(share))


@pytest.mark.optimised
def test_draws_belong_to_the_nominal_time_and_not_to_the_position():
    keys = _keys(4000)
    scheme = np.arange(28.0)
    other = np.roll(np.where(scheme % 3 == 0, scheme, scheme - 13.5), 5)  # negative times as well
    common, here, there = np.intersect1d(scheme, other, return_indices=True)
    assert common.size == 10
    for table in (
        lambda days: adherence(keys, jnp.asarray(days), 0.7, 0.2),
        lambda days: attendance(keys, jnp.asarray(days), 0.7),
    ):
        first, second = np.asarray(table(scheme)), np.asarray(table(other))
        np.testing.assert_array_equal(first[:, here], second[:, there])
        everything = np.concatenate([first.T, second.T])
        assert len({tuple(column) for column in everything}) == 2 * 28 - 10, "a day's draw recurs"


@pytest.mark.optimised
def test_a_subject_does_not_depend_on_its_neighbours():
    keys = _keys(4000)
    whole = adherence(keys, DAYS, 0.7, 0.2)
    np.testing.assert_array_equal(adherence(keys[::-1], DAYS, 0.7, 0.2), whole[::-1])
    alone = adherence(keys[:1], DAYS, 0.7, 0.2)
    np.testing.assert_array_equal(alone, whole[:1])


def test_visits_may_have_their_own_attendance():
    share = jnp.array([1.0, 0.9, 0.2])
    kept = np.asarray(attendance(_keys(40, 100), jnp.array([1.0, 7.0, 28.0]), share))
    assert kept.shape == (40, 100, 3)
    found = kept.mean(axis=(0, 1))
    assert found[0] == 1 and np.all(np.abs(found - share) < 4 * np.sqrt(0.25 / 4000))
