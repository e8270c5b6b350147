"""Titration tables."""

import math

import jax.numpy as jnp
import pytest

from trials.config import BandSpec
from trials.dosing import Titration, band_problems


def band(**fields: object) -> BandSpec:
    percent = {
        name: f"{fields[name]} %" for name in ("change", "again") if fields.get(name) is not None
    }
    return BandSpec.model_validate({**fields, **percent})


BANDS = (
    band(below=1.5, change=10.0, next_dose=2.0, recheck="5 d"),
    band(below=2.0, change=0.0, again=5.0, recheck="14 d"),
    band(below=3.0, change=0.0),
    band(change=-15.0, hold=True, recheck="2 d"),
)
TABLE = Titration("inr", BANDS)


def test_a_value_on_a_bound_belongs_to_the_band_above():
    values = jnp.array([1.0, 1.5, 1.999, 2.0, 3.0, 12.0])
    adjustment = TABLE.adjust(values, jnp.full(6, -1.0))
    assert adjustment.band.tolist() == [0, 1, 1, 2, 3, 3]
    assert adjustment.factor.tolist() == pytest.approx([1.1, 1.0, 1.0, 1.0, 0.85, 0.85])
    assert adjustment.next_dose.tolist() == [2.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert adjustment.hold.tolist() == [0, 0, 0, 0, 1, 1]
    assert adjustment.recheck.tolist() == [5.0, 14.0, 14.0, math.inf, 2.0, 2.0]


def test_a_repeated_band_may_change_the_dose_where_the_first_time_does_not():
    values = jnp.full(3, 1.8)
    adjustment = TABLE.adjust(values, jnp.array([-1.0, 1.0, 0.0]))
    assert adjustment.factor.tolist() == pytest.approx([1.0, 1.05, 1.0])


def test_one_band_serves_every_value():
    always = Titration("inr", (band(change=-5.0),))
    adjustment = always.adjust(jnp.array([0.1, 99.0]), jnp.zeros(2))
    assert adjustment.factor.tolist() == pytest.approx([0.95, 0.95])


@pytest.mark.parametrize(
    ("bands", "said"),
    [
        ([band(below=2.0), band(below=3.0)], "the last band must have no `below`"),
        ([band(), band()], "band 1 has no `below`"),
        ([band(below=3.0), band(below=2.0), band()], "must increase"),
        ([band(change=-100.0)], "above -100 %"),
        ([band(recheck="1.5 d")], "whole days, not 1.5 d"),
    ],
)
def test_what_is_wrong_with_a_table(bands, said):
    assert any(said in message for message in band_problems(bands))


def test_nothing_is_wrong_with_a_good_table():
    assert band_problems(list(BANDS)) == []
