"""Raked tables have the stated margins, and the odds ratios they had before."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohorts.covariates.raking import ImpossibleMargins, rake

positive = st.floats(0.05, 20.0)


def shares(count: int):
    weights = st.lists(positive, min_size=count, max_size=count)
    return weights.map(lambda w: np.array(w) / np.sum(w))


@settings(max_examples=30, deadline=None)
@given(
    cells=st.lists(positive, min_size=24, max_size=24),
    rows=shares(3),
    columns=shares(2),
    layers=shares(4),
)
def test_margins_are_met_and_odds_ratios_kept(cells, rows, columns, layers):
    table = np.reshape(cells, (3, 2, 4))
    raked = rake(
        table,
        {
            "rows": (0, np.arange(3), rows),
            "columns": (1, np.arange(2), columns),
            "layers": (2, np.arange(4), layers),
        },
    )
    np.testing.assert_allclose(raked.sum(axis=(1, 2)), rows, atol=1e-10)
    np.testing.assert_allclose(raked.sum(axis=(0, 2)), columns, atol=1e-10)
    np.testing.assert_allclose(raked.sum(axis=(0, 1)), layers, atol=1e-10)

    def odds_ratios(t):
        log = np.log(t)
        return np.diff(np.diff(log, axis=0), axis=1), np.diff(np.diff(log, axis=1), axis=2)

    for before, after in zip(odds_ratios(table), odds_ratios(raked), strict=True):
        np.testing.assert_allclose(after, before, atol=1e-8)


def test_bins_of_one_group_keep_their_proportions():
    table = np.arange(1.0, 25.0).reshape(3, 2, 4)
    raked = rake(table, {"layers": (2, np.array([0, 0, 1, 1]), np.array([0.9, 0.1]))})
    np.testing.assert_allclose(raked[..., 0] / raked[..., 1], table[..., 0] / table[..., 1])
    np.testing.assert_allclose(raked[..., :2].sum(), 0.9)


def test_a_share_for_an_empty_category_is_impossible():
    table = np.ones((2, 2, 2))
    table[1] = 0.0
    with pytest.raises(ImpossibleMargins) as caught:
        rake(table, {"rows": (0, np.arange(2), np.array([0.5, 0.5]))})
    assert caught.value.margin == "rows"


def test_margins_that_contradict_each_other_are_impossible():
    # Everybody of the first row is in the first column, so 0.9 and 0.1 cannot hold together.
    table = np.zeros((2, 2, 1))
    table[0, 0] = table[1, 1] = 1.0
    halves = np.arange(2)
    with pytest.raises(ImpossibleMargins):
        rake(
            table,
            {
                "rows": (0, halves, np.array([0.9, 0.1])),
                "columns": (1, halves, np.array([0.1, 0.9])),
            },
        )
