"""Areas, maxima and terminal phases of courses whose answers are known."""

import jax.numpy as jnp
import numpy as np
import pytest

from trials import curves

TIME = jnp.array([0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 12.0])
DECLINE = 10 * jnp.exp(-0.2 * TIME)


def sampled(value, time=TIME, used=None, **options):
    used = jnp.ones(len(time), bool) if used is None else jnp.asarray(used)
    return curves.samples(time, used, jnp.asarray(value, float), **options)


def test_an_exponential_decline_has_its_exact_area():
    course = sampled(DECLINE)
    until = 10 / 0.2 * (1 - np.exp(-0.2 * 12))
    assert float(curves.area_to_last(course).value) == pytest.approx(until, rel=1e-13)
    assert float(curves.area_to_infinity(course).value) == pytest.approx(50, rel=1e-12)
    assert float(curves.area_to_last(course, "linear").value) > until
    assert float(curves.terminal_phase(course).rate) == pytest.approx(0.2, rel=1e-12)


def test_what_rises_is_linear_by_both_methods():
    course = sampled(TIME)
    for method in ("linear", "linear_up_log_down"):
        assert float(curves.area_to_last(course, method).value) == pytest.approx(72)


@pytest.mark.parametrize(
    ("below", "expected"),
    [
        ("zero_first", 0.5 + 1.0 + 2 * 1.5),
        ("zero", 0.5 + 1.0 + 0.5 + 1.0),
        ("half_limit", 0.625 + 1.0 + 0.625 + 1.125),
    ],
)
def test_values_below_the_limit_count_as_the_config_says(below, expected):
    # One before the first quantified value, one between two, one after the last.
    time = jnp.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    course = sampled([0.3, 1.0, 1.0, 0.3, 2.0, 0.3], time, limit=0.5, below=below)
    assert float(curves.area_to_last(course, "linear").value) == pytest.approx(expected)


def test_the_last_quantified_value_ends_the_area():
    course = sampled([0, 5, 4, 3, 2, 0.01, 0.01], limit=0.1)
    assert not course.used[5:].any()
    # From 2 at 4 h on there is nothing.
    until_4 = curves.area_to_last(sampled([0, 5, 4, 3, 2], TIME[:5])).value
    assert float(curves.area_to_last(course).value) == float(until_4)


def test_missed_samples_and_padding_change_nothing():
    used = [True, False, True, True, True, True, True]
    course = sampled(jnp.where(jnp.asarray(used), DECLINE, jnp.nan), used=used)
    assert float(curves.area_to_infinity(course).value) == pytest.approx(50, rel=1e-12)


def test_a_window_leaves_out_what_lies_outside():
    course = sampled(DECLINE, start=1.0, end=8.0)
    expected = 50 * (np.exp(-0.2) - np.exp(-1.6))
    assert float(curves.area_to_last(course).value) == pytest.approx(expected, rel=1e-12)
    assert float(curves.time_of_maximum(course).value) == 1.0


def test_the_first_of_equal_maxima_is_the_time():
    course = sampled([0, 3, 5, 5, 2, 1, 0.5])
    assert float(curves.maximum(course).value) == 5
    assert float(curves.time_of_maximum(course).value) == 1.0


def test_the_longest_of_regressions_that_fit_alike_is_taken():
    terminal = curves.terminal_phase(sampled([0, 9.9, *DECLINE[2:]]))
    assert int(terminal.points) == 5
    bent = sampled([0, 1, 9, 8.5, *DECLINE[4:]])
    assert int(curves.terminal_phase(bent).points) == 3


@pytest.mark.parametrize(
    ("value", "area", "beyond"),
    [
        ([0] * 7, False, False),
        ([0, 0, 0, 0, 1, 2, 3], True, False),
        ([0, 1, 2, 9, 5, 2, 0], True, False),
        ([0, 1, 2, jnp.nan, 5, 2, 1], False, False),
    ],
    ids=["nothing", "still rising", "too few after the maximum", "no number"],
)
def test_what_cannot_be_computed_is_not_valid(value, area, beyond):
    course = sampled(value)
    for found, valid in (
        (curves.area_to_last(course), area),
        (curves.maximum(course), area),
        (curves.area_to_infinity(course), beyond),
    ):
        assert bool(found.valid) == valid
        assert bool(jnp.isnan(found.value)) != valid
