import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from trials import endpoints
from trials.endpoints import time_in_range

SLOTS = 12
_in_range = jax.jit(time_in_range)
last_value = jax.jit(endpoints.last_value)
mean_value = jax.jit(endpoints.mean_value)
time_to_range = jax.jit(endpoints.time_to_range)
visits_at_or_above = jax.jit(endpoints.visits_at_or_above)


def _record(times, values, slots=SLOTS, where=None):
    """Visits in padded slots (the first ones, or those of `where`); padding is NaN."""
    where = np.arange(len(times)) if where is None else where
    time, value, used = np.full(slots, np.nan), np.full(slots, np.nan), np.zeros(slots, bool)
    time[where], value[where], used[where] = times, values, True
    return jnp.asarray(time), jnp.asarray(used), jnp.asarray(value)


def _ttr(times, values, *, low=2.0, high=3.0, start=0.0, end=1e6, longest_gap=56.0, where=None):
    return _in_range(
        *_record(times, values, where=where),
        low=low,
        high=high,
        start=start,
        end=end,
        longest_gap=longest_gap,
    )


def _by_grid(times, values, low, high, start, end, longest_gap, step=2e-4):
    """Time in range by looking at the interpolated curve at the middle of every fine step."""
    within = days = 0.0
    for t0, t1, v0, v1 in zip(times[:-1], times[1:], values[:-1], values[1:], strict=True):
        if t1 - t0 > longest_gap or t1 <= t0:
            continue
        grid = np.arange(t0 + step / 2, t1, step)
        grid = grid[(grid >= start) & (grid <= end)]
        curve = np.interp(grid, [t0, t1], [v0, v1])
        within += step * np.sum((curve >= low) & (curve <= high))
        days += step * grid.size
    return 100 * within / days if days else np.nan, days


def test_worked_example():
    """By hand: INR 1.5 on day 0, 2.5 on day 10, 3.5 on day 20, 2.7 on day 24.

    In range from day 5 (2.0) to day 15 (3.0) and from day 22.5 (3.0) to day 24: 11.5 of 24 days;
    below for 5 days, above for 7.5.
    """
    found = _ttr([0.0, 10.0, 20.0, 24.0], [1.5, 2.5, 3.5, 2.7])
    np.testing.assert_allclose(found.within, 100 * 11.5 / 24, rtol=1e-14)
    np.testing.assert_allclose(found.below, 100 * 5 / 24, rtol=1e-14)
    np.testing.assert_allclose(found.above, 100 * 7.5 / 24, rtol=1e-14)
    assert found.days == 24 and found.valid


def test_worked_example_in_a_window():
    """The same from day 4 to day 22: below to day 5, in range to 15, above to 22."""
    found = _ttr([0.0, 10.0, 20.0, 24.0], [1.5, 2.5, 3.5, 2.7], start=4.0, end=22.0)
    np.testing.assert_allclose(
        [found.below, found.within, found.above], 100 * np.array([1, 10, 7]) / 18, rtol=1e-14
    )


def test_a_crossing_of_the_whole_range_between_two_visits():
    found = _ttr([0.0, 40.0], [1.0, 5.0])
    np.testing.assert_allclose([found.below, found.within, found.above], [25, 25, 50], rtol=1e-14)


def test_a_flat_curve_on_the_edge_is_in_range():
    for value, within in ((2.0, 100), (3.0, 100), (np.nextafter(2.0, 0), 0)):
        assert _ttr([0.0, 7.0], [value, value]).within == within


def test_gaps_longer_than_the_longest_are_left_out():
    times, values = [0.0, 10.0, 66.0, 123.0, 133.0], [2.5, 2.5, 2.5, 2.5, 5.0]
    found = _ttr(times, values)  # gaps of 10, 56, 57 and 10 days
    assert found.days == 76
    np.testing.assert_allclose(found.within, 100 * (66 + 2) / 76, rtol=1e-13)
    assert not _ttr([0.0, 57.0], [2.5, 2.5]).valid


@pytest.mark.parametrize(
    ("times", "values", "window"),
    [
        ([], [], (0.0, 28.0)),
        ([3.0], [2.5], (0.0, 28.0)),
        ([3.0, 3.0], [2.5, 2.7], (0.0, 28.0)),
        ([3.0, 9.0], [2.5, 2.7], (9.0, 28.0)),
        ([3.0, 9.0], [2.5, 2.7], (9.0 - 1e-6, 28.0)),
        ([30.0, 40.0], [2.5, 2.7], (0.0, 28.0)),
        ([3.0, 9.0], [2.5, np.nan], (0.0, 28.0)),
        ([3.0, 9.0], [2.5, np.inf], (0.0, 28.0)),
    ],
)
def test_what_cannot_be_interpolated_is_not_valid(times, values, window):
    found = _ttr(times, values, start=window[0], end=window[1])
    assert not found.valid and np.isnan(found.within) and found.days == 0


@st.composite
def visits(draw, least=2):
    count = draw(st.integers(least, 8))
    gaps = draw(st.lists(st.floats(0.5, 70), min_size=count, max_size=count))
    values = draw(st.lists(st.floats(0.8, 6), min_size=count, max_size=count))
    return np.cumsum(gaps), np.array(values)


windows = st.tuples(st.floats(0, 60), st.floats(10, 300)).map(lambda w: (w[0], w[0] + w[1]))


@settings(max_examples=40, deadline=None)
@given(visits(), windows)
def test_equals_a_fine_grid(record, window):
    times, values = record
    expected, days = _by_grid(times, values, 2.0, 3.0, window[0], window[1], 56.0)
    assume(days > 1)
    found = _ttr(times, values, start=window[0], end=window[1])
    # The grid misses at most one step at each end and crossing of each segment (four at most).
    tolerance = 2e-4 * 4 * times.size
    assert abs(found.days - days) < tolerance
    assert abs(found.within - expected) < 100 * tolerance / days * 2


@settings(max_examples=60, deadline=None)
@given(visits(), windows)
def test_percentages_add_up_to_100(record, window):
    times, values = record
    found = _ttr(times, values, start=window[0], end=window[1])
    assume(bool(found.valid))
    shares = np.array([found.within, found.above, found.below])
    assert np.all(shares >= 0) and abs(shares.sum() - 100) < 1e-10


@settings(max_examples=60, deadline=None)
@given(visits(), windows, st.integers(0, 6), st.floats(0.05, 0.95))
def test_inserting_a_point_of_the_curve_changes_nothing(record, window, segment, share):
    times, values = record
    segment = min(segment, times.size - 2)
    assume(times[segment + 1] - times[segment] <= 56)
    time = times[segment] + share * (times[segment + 1] - times[segment])
    value = np.interp(time, times[segment : segment + 2], values[segment : segment + 2])
    plain = _ttr(times, values, start=window[0], end=window[1])
    denser = _ttr(
        np.insert(times, segment + 1, time),
        np.insert(values, segment + 1, value),
        start=window[0],
        end=window[1],
    )
    assume(bool(plain.valid) and float(plain.days) > 1e-3)
    np.testing.assert_allclose(denser.days, plain.days, rtol=1e-9)
    # A nearly flat segment turns the rounding of the inserted value into time near the edge.
    assume(np.all(np.abs(np.diff(values)) > 1e-3))
    np.testing.assert_allclose(denser.within, plain.within, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(visits(), windows, st.data())
@example((np.array([1.0, 2.0]), np.array([2.5, 2.5])), (0.0, 28.0), None)
def test_where_the_padding_stands_does_not_matter(record, window, data):
    times, values = record
    slots = (
        [3, 11] if data is None else sorted(data.draw(st.permutations(range(SLOTS)))[: times.size])
    )
    plain = _ttr(times, values, start=window[0], end=window[1])
    moved = _ttr(times, values, start=window[0], end=window[1], where=slots)
    np.testing.assert_allclose(moved, plain, atol=1e-10)  # sums in another order


def test_every_subject_may_have_its_own_range_and_window():
    records = [_record([0.0, 10.0, 20.0], [1.5, 2.5, 3.5])] * 3
    time, used, value = (jnp.stack(parts) for parts in zip(*records, strict=True))
    low, high = jnp.array([2.0, 2.5, 2.0]), jnp.array([3.0, 3.5, 3.0])
    end = jnp.array([20.0, 20.0, 10.0])
    found = _in_range(time, used, value, low=low, high=high, end=end)
    np.testing.assert_allclose(found.within, [50, 50, 50])
    np.testing.assert_allclose(found.above, [25, 0, 0], atol=1e-12)


def test_time_in_range_has_a_finite_gradient():
    time, used, value = _record([0.0, 10.0, 20.0, 30.0], [1.5, 2.5, 2.5, 3.4])
    value = jnp.where(used, value, 0.0)

    @jax.jit
    def within(shift):
        return time_in_range(jnp.nan_to_num(time), used, value + shift, low=2.0, high=3.0).within

    slope = jax.jit(jax.grad(within))(0.0)
    np.testing.assert_allclose(slope, (within(1e-6) - within(-1e-6)) / 2e-6, rtol=1e-6)


def test_time_to_range_is_the_first_visit_in_it_or_the_last_of_all():
    record = _record([1.0, 4.0, 8.0, 15.0], [1.2, 3.4, 2.0, 2.5])
    found = time_to_range(*record, low=2.0, high=3.0)
    assert (found.time, found.event, found.valid) == (8.0, True, True)
    never = time_to_range(*record, low=5.0, high=6.0)
    assert (never.time, never.event, never.valid) == (15.0, False, True)
    early = time_to_range(*record, low=2.0, high=3.0, end=7.0)
    assert (early.time, early.event) == (4.0, False)
    late = time_to_range(*record, low=2.0, high=3.0, start=9.0)
    assert (late.time, late.event) == (15.0, True)
    nobody = time_to_range(*_record([], []), low=2.0, high=3.0)
    assert np.isnan(nobody.time) and not nobody.event and not nobody.valid


def test_visits_at_or_above_count_the_threshold_itself():
    record = _record([1.0, 4.0, 8.0, 15.0], [4.0, 3.9, 5.0, 4.0], where=[0, 3, 4, 9])
    found = visits_at_or_above(*record, threshold=4.0)
    assert (found.number, found.ever, found.visits, found.valid) == (3, True, 4, True)
    window = visits_at_or_above(*record, threshold=4.0, start=2.0, end=7.0)
    assert (window.number, window.ever, window.visits, window.valid) == (0, False, 1, True)
    assert not visits_at_or_above(*record, threshold=4.0, start=20.0).valid


def test_summaries_in_a_window():
    record = _record([1.0, 4.0, 8.0, 15.0], [1.0, 7.0, 3.0, 2.0], where=[1, 2, 5, 7])
    assert last_value(*record).value == 2.0
    assert last_value(*record, end=10.0).value == 3.0
    assert mean_value(*record, start=4.0, end=15.0).value == 4.0
    for summary in (last_value, mean_value):
        empty = summary(*record, start=16.0)
        assert np.isnan(empty.value) and not empty.valid
        failed = summary(*_record([1.0, 2.0], [2.0, np.nan]))
        assert np.isnan(failed.value) and not failed.valid
