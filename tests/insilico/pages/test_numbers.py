"""Numbers are rounded to their error and read the same whichever sign they have."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insilico.pages.numbers import (
    counted,
    decimals_for,
    fixed,
    interval,
    measured,
    plain,
    quartiles,
    share,
    significant,
)


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (3.1567, 0.1234, "3.16 ± 0.12"),
        (3.1567, 0.31, "3.2 ± 0.3"),
        (-0.04, 0.3, "0.0 ± 0.3"),
        (-4.06, 0.3, "−4.1 ± 0.3"),
        (12345.6, 30.0, "12,346 ± 30"),
        (0.000123456, 0.00000212, "0.000123 ± 0.000002"),
        (1.2345, 0.0, "1.23"),
        (1.2345, math.nan, "1.23"),
        (math.nan, 0.1, "n/a"),
        (math.inf, 0.1, "n/a"),
    ],
)
def test_a_number_has_the_digits_that_its_error_leaves(value, error, expected):
    assert str(measured(value, error)) == expected


@given(st.floats(1e-8, 1e6))
def test_rounding_changes_an_error_by_less_than_a_third(error):
    """One digit of 2 is off by up to a quarter; of 1, which is, two are kept."""
    assert abs(round(error, decimals_for(error)) - error) <= 0.34 * error


@pytest.mark.parametrize(
    ("value", "trials", "expected"),
    [(0.0, 100, "0 (below 3.0)"), (1.0, 100, "100 (above 97)"), (1.0, 2000, "100 (above 99.85)")],
)
def test_none_or_all_of_the_trials_give_a_bound_instead_of_an_error(value, trials, expected):
    # 1 - 0.05 ** (1 / n): the share at which none of n is seen once in twenty times.
    assert str(share(value, 0.0, trials)) == expected


def test_other_shares_are_percentages_with_their_error():
    assert str(share(0.625, 0.017, 200)) == "62.5 ± 1.7"


@pytest.mark.parametrize(
    ("lower", "upper", "expected"),
    [
        (-3.41, 3.13, "−3.4 to 3.1"),
        (-15.0, -2.0, "−15.0 to −2.0"),
        (0.012, 0.0195, "0.0120 to 0.0195"),
        (math.nan, 1.0, "n/a"),
        (2.0, 2.0, "2.00 to 2.00"),
    ],
)
def test_intervals_have_the_decimals_of_their_width(lower, upper, expected):
    assert interval(lower, upper) == expected


def test_quartiles_that_are_equal_are_one_number():
    assert quartiles(2.5, 2.5, 2.5) == "2.5"
    assert quartiles(46.2, 58.1, 69.4) == "58 (46 to 69)"


@given(st.floats(-1e6, 1e6), st.integers(0, 6))
def test_a_zero_never_has_a_sign(value, decimals):
    text = fixed(value, decimals)
    assert text.startswith("−") == (float(f"{value:.{decimals}f}") < 0)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0001, "0.000100"), (1e-6, "1.00e−6"), (0, "0"), (-1234.5, "−1,234"), (1e8, "1.00e8")],
)
def test_significant_digits(value, expected):
    assert significant(value) == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, "0 trials"), (1, "1 trial"), (2, "2 trials"), (1200, "1,200 trials")],
)
def test_only_one_is_counted_in_the_singular(number, expected):
    assert counted(number, "trial") == expected


def test_plain_numbers_keep_their_digits():
    assert [plain(x) for x in (5.0, 0.05, 1300, -2.5)] == ["5", "0.05", "1,300", "−2.5"]
