"""Patients whose tables are of very different lengths: solved as if each were alone."""

import jax
import numpy as np
import pandas as pd
import pytest

from insilico import models
from insilico.solve import Status, read_records, solve
from insilico.solve.blocks import LANES, Chunks
from insilico.solve.records import parting

ORAL = models.get("one_compartment")


def _table(lengths):
    """Patients with so many doses, and a sample after each."""
    parts = []
    for number, doses in enumerate(lengths, start=1):
        dose_times, odd = 12.0 * np.arange(doses), number % 2 == 1
        parts.append(
            pd.DataFrame(
                {
                    "ID": number,
                    "TIME": np.concatenate([dose_times, dose_times + 5.0 + number / 8]),
                    "AMT": np.repeat([100.0 + number, 0.0], doses),
                    "EVID": np.repeat([1, 0], doses),
                    "RATE": np.repeat([25.0 if odd else 0.0, 0.0], doses),
                    "ADDL": np.repeat([1 if doses == 1 else 0, 0], doses),
                    "II": np.repeat([3.0 if doses == 1 else 0.0, 0.0], doses),
                }
            ).sort_values("TIME", kind="stable")
        )
    return pd.concat(parts, ignore_index=True)


LENGTHS = [2, 40, 1, 3, 2, 38, 1]


@pytest.fixture(scope="module")
def solved():
    """`solved(worth)`: the patients of `LENGTHS` in groups, where so much padding is worth one."""
    spread = np.exp(np.random.default_rng(3).normal(0.0, 0.2, (3, len(LENGTHS))))
    typical = np.array([1.0, 4.0, 30.0])
    parameters = ORAL.Parameters(*(typical[:, None] * spread))

    def of(worth):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(parting, "WORTH", worth)
            records = read_records(ORAL, _table(LENGTHS))
            return parting.apart(records), solve(ORAL, parameters, records)

    return of


def test_groups_of_patients_do_not_change_a_bit_of_what_comes_of_them(solved):
    (whole,), together = solved(10**6)
    groups, apart = solved(60)
    assert whole.tolist() == list(range(len(LENGTHS)))
    assert [group.tolist() for group in groups] == [[0, 2, 3, 4, 6], [1, 5]]
    assert apart.outputs.central.shape == (len(LENGTHS), 2 * max(LENGTHS))
    assert np.all(apart.status == Status.OK)
    jax.tree.map(np.testing.assert_array_equal, apart, together)


def test_what_no_patient_of_a_group_has_is_nan(solved):
    _, apart = solved(60)
    beyond = np.arange(2 * max(LENGTHS)) >= 2 * np.array(LENGTHS)[:, None]
    np.testing.assert_array_equal(np.isnan(apart.outputs.central), beyond)


def test_a_table_of_about_equal_lengths_is_one_batch():
    assert len(parting.apart(read_records(ORAL, _table([3, 4, 5] * 20)))) == 1


def test_additional_doses_count_as_rows():
    table = pd.DataFrame(
        {
            "ID": np.repeat([1, 2, 3], 2),
            "TIME": [0.0, 4e6, 0.0, 4.0, 0.0, 4.0],
            "AMT": [10.0, 0.0] * 3,
            "EVID": [1, 0] * 3,
            "ADDL": [2_999_999, 0, 0, 0, 9, 0],
            "II": [1.0, 0.0] * 3,
        }
    )
    groups = parting.apart(read_records(ORAL, table))
    assert [group.tolist() for group in groups] == [[1, 2], [0]]


def test_parameters_that_are_not_one_a_patient_are_refused_in_any_case(monkeypatch):
    monkeypatch.setattr(parting, "WORTH", 10)
    parameters = ORAL.Parameters(1.0, np.full(3, 4.0), 30.0)
    with pytest.raises(ValueError, match="parameters of 3 patients; the table has 7"):
        solve(ORAL, parameters, read_records(ORAL, _table(LENGTHS)))


def test_patients_of_about_as_many_rows_share_chunks_by_their_fastest_rates():
    """A chunk is done when its longest patient is."""
    patients = 3 * LANES
    lengths = np.where(np.arange(patients) % 3 == 0, 12, 1 + np.arange(patients) % 2)
    table, _ = read_records(ORAL, _table(lengths)).laid_out()
    rates = np.random.default_rng(1).permutation(patients) + 1.0
    parameters = ORAL.Parameters(rates, np.ones(patients), np.full(patients, 1e3))
    order = np.asarray(Chunks.of(ORAL, parameters, table).order)
    sorted_lengths = lengths[order]
    assert sorted_lengths[-LANES:].tolist() == [12] * LANES
    for length in (1, 2, 12):
        own = rates[order][sorted_lengths == length]
        assert np.all(np.diff(own) > 0)
