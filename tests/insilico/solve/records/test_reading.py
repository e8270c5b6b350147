"""Every mistake of a table is told at once, with its row; names and defaults are NONMEM's."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from insilico import models
from insilico.dimensions import check_dimensions, inconsistencies
from insilico.model import Dosing
from insilico.solve import Covariate, RecordsError, read_records

MODEL = models.get("one_compartment")

GOOD = {
    "ID": [1, 1, 1, 2, 2],
    "TIME": [0.0, 1.0, 2.0, 0.0, 5.0],
    "EVID": [1, 0, 0, 1, 0],
    "AMT": [100.0, 0, 0, 50, 0],
}


def _changed(**columns: dict[int, object]) -> pd.DataFrame:
    """The good table with other entries at rows counted from 1; new columns are 0 elsewhere."""
    table = {name: list(values) for name, values in GOOD.items()}
    for name, entries in columns.items():
        column = table.setdefault(name, [0] * 5)
        for row, entry in entries.items():
            column[row - 1] = entry
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in table.items()})


MISTAKES = [
    ({"TIME": {2: 3.0}}, ["row 3, TIME: is 2, before the 3"]),
    ({"TIME": {2: "soon"}}, ["row 2, TIME: 'soon' is not a finite number"]),
    ({"TIME": {2: np.inf, 3: "1e999"}}, ["row 2, TIME", "row 3, TIME"]),
    ({"TIME": {5: "."}}, ["row 5, TIME: is missing"]),
    ({"ID": {3: 3, 4: 1}}, ["row 4, ID: 1 appears again"]),
    ({"ID": {3: None, 5: np.nan}}, ["row 3, ID: is missing", "row 5, ID: is missing"]),
    ({"EVID": {2: 5}}, ["row 2, EVID: is 5; it may be"]),
    ({"EVID": {2: 1.5}}, ["row 2, EVID: is 1.5"]),
    ({"EVID": {2: "."}}, ["row 2, EVID: is missing"]),
    ({"AMT": {1: "."}}, ["row 1, AMT: is missing on a record that needs it"]),
    ({"AMT": {1: None, 4: "NA"}}, ["row 1, AMT", "row 4, AMT"]),
    ({"AMT": {1: -1.0}}, ["row 1, AMT: is -1"]),
    ({"AMT": {2: 10.0}}, ["row 2, AMT: is 10 at EVID 0, which gives no dose"]),
    ({"RATE": {1: -3}}, ["row 1, RATE: is -3; it may be"]),
    ({"RATE": {1: -0.5}}, ["row 1, RATE: is -0.5; it may be"]),
    ({"RATE": {1: 10}, "AMT": {1: 0}}, ["row 1, RATE: is 10 with AMT 0"]),
    ({"RATE": {1: -1}}, ["row 1, RATE: is -1, but model one_compartment has no dosing rate"]),
    ({"RATE": {1: 1e18}, "TIME": {1: 1.0}}, ["row 1, RATE: is 1e+18, but an infusion of 1e-16"]),
    ({"RATE": {4: -2}}, ["row 4, RATE: is -2, but model one_compartment has no dosing duration"]),
    ({"ADDL": {1: 2}}, ["row 1, II: must be above 0 with ADDL 2"]),
    ({"ADDL": {1: -5}, "II": {1: 12}}, ["row 1, ADDL: is -5; it must be a whole number"]),
    ({"ADDL": {1: 1.5}, "II": {1: 12}}, ["row 1, ADDL: is 1.5"]),
    ({"II": {1: -12}}, ["row 1, II: is -12"]),
    ({"SS": {1: 1}}, ["row 1, II: must be above 0 with SS 1"]),
    ({"SS": {1: 3}, "II": {1: 12}}, ["row 1, SS: is 3; it may be 0, 1 or 2"]),
    (
        {"SS": {1: 1}, "AMT": {1: 0}, "RATE": {1: -2}},
        ["row 1, RATE: is -2, but a constant", "has no dosing duration"],
    ),
    ({"SS": {1: 1}, "AMT": {1: 0}, "RATE": {1: 5}, "ADDL": {1: 2}}, ["row 1, ADDL: is 2, but"]),
    ({"CMT": {1: 3}}, ["row 1, CMT: is 3; compartments of model one_compartment go from 1 to 2"]),
    ({"CMT": {1: 1.5}}, ["row 1, CMT: is 1.5"]),
    ({"CMT": {4: "liver"}}, ["row 4, CMT: 'liver' is no number and no compartment"]),
    ({"EVID": {2: 2}, "CMT": {2: -1}}, ["row 2, CMT: is -1: turning a compartment off"]),
    ({"EVID": {2: 3}, "SS": {2: 1}}, ["row 2, SS: is 1 at EVID 3"]),
]


@pytest.mark.parametrize(("columns", "expected"), MISTAKES)
def test_a_mistake_is_told_with_its_row(columns, expected):
    with pytest.raises(RecordsError) as error:
        read_records(MODEL, _changed(**columns))
    told = [str(mistake) for mistake in error.value.mistakes]
    assert len(told) == len(expected), told
    for part in expected:
        assert any(part in line for line in told), told
        assert part in str(error.value)


def test_all_mistakes_are_told_at_once_in_order_of_rows():
    table = _changed(TIME={3: 0.5}, RATE={1: -3}, EVID={2: 7}, SS={4: 9}, CMT={1: 8})
    with pytest.raises(RecordsError) as error:
        read_records(MODEL, table)
    assert [mistake.row for mistake in error.value.mistakes] == [1, 1, 2, 3, 4]
    assert "has 5 mistakes" in str(error.value)


def test_a_long_list_of_mistakes_is_cut_short_in_the_message_only():
    table = {"TIME": np.zeros(200), "AMT": np.ones(200), "RATE": np.full(200, -7.0)}
    with pytest.raises(RecordsError, match="and 150 more") as error:
        read_records(MODEL, table)
    assert len(error.value.mistakes) == 200


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"ID": [1]}, "TIME: there is no such column"),
        ({"TIME": []}, "has no rows"),
        ({"TIME": [0.0, 1.0], "AMT": [1.0]}, "AMT: is of shape"),
    ],
)
def test_what_is_no_table_is_refused(data, expected):
    with pytest.raises(RecordsError, match=expected):
        read_records(MODEL, data)


def test_a_column_that_differs_by_its_letters_alone_is_not_passed_over():
    table = {"TIME": [0, 1], "amt": [5, 0], "Rate": [1, 0], "dv": [0, 1]}
    with pytest.raises(RecordsError) as raised:
        read_records(MODEL, table)
    assert [mistake.column for mistake in raised.value.mistakes] == ["amt", "Rate"]
    assert "say columns={'amount': 'amt'}" in str(raised.value)
    read = read_records(MODEL, table, columns={"amount": "amt", "rate": "Rate"})
    assert read.columns.amount.tolist() == [5.0, 0.0]


def test_unknown_meanings_and_interpolations_are_refused(lagged):
    with pytest.raises(ValueError, match="there is no 'dose'; there are patient, time"):
        read_records(MODEL, GOOD, columns={"dose": "AMT"})
    with pytest.raises(ValueError, match="interpolation 'spline'"):
        wrong: object = "spline"
        read_records(lagged, GOOD, covariates={"effect": Covariate("AMT", wrong)})  # type: ignore


@pytest.mark.parametrize(
    ("covariates", "expected"),
    [
        ({}, "effect: no column is named for this input"),
        ({"effect": "WT"}, "WT: there is no such column"),
        ({"effect": "EFFECT", "sex": "SEX"}, "sex: model lagged has inputs effect"),
        ({"effect": "EMPTY"}, "row 4, EMPTY: the patient has no value at all"),
        ({"effect": "WORDS"}, "row 2, WORDS: 'much' is not a finite number"),
    ],
)
def test_inputs_need_columns_with_numbers(lagged, covariates, expected):
    table = GOOD | {
        "EFFECT": [0.0] * 5,
        "EMPTY": [1.0, ".", ".", ".", "."],
        "WORDS": [1.0, "much", 1.0, 1.0, 1.0],
    }
    with pytest.raises(RecordsError, match=expected):
        read_records(lagged, table, covariates=covariates)


def test_other_names_defaults_and_named_compartments():
    records = read_records(
        MODEL,
        {"hours": [0, 0, 1], "dose": ["5", ".", "7"], "into": ["central", ".", "depot"]},
        columns={"time": "hours", "amount": "dose", "compartment": "into"},
    )
    assert records.patients == (1,)
    assert records.columns.event.tolist() == [1, 0, 1]
    assert records.columns.amount.tolist() == [5.0, 0.0, 7.0]
    assert records.columns.compartment.tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("interpolation", "expected"),
    [
        ("nocb", [2.0, 2.0, 5.0, 5.0, 5.0]),
        ("locf", [2.0, 2.0, 2.0, 5.0, 5.0]),
        ("linear", [2.0, 2.0, 3.0, 5.0, 5.0]),
    ],
)
def test_missing_covariates_are_filled_from_the_patients_others(lagged, interpolation, expected):
    table = {"TIME": [0, 1, 2, 4, 6], "AMT": [1, 0, 0, 0, 0], "E": [".", 2.0, np.nan, 5.0, None]}
    records = read_records(lagged, table, covariates={"effect": Covariate("E", interpolation)})
    assert records.columns.values[0].tolist() == expected


@pytest.mark.parametrize("interpolation", ["nocb", "locf", "linear"])
def test_missing_covariates_are_filled_from_the_same_patient_alone(lagged, interpolation):
    table = {
        "ID": [1, 1, 1, 2, 2, 3, 3, 3, 3],
        "TIME": [0, 1, 2, 0, 3, 2, 4, 0, 1],
        "EVID": [0, 0, 0, 0, 0, 0, 0, 3, 0],
        "E": [1.0, np.nan, np.nan, np.nan, 7.0, 2.0, np.nan, np.nan, 5.0],
    }
    records = read_records(lagged, table, covariates={"effect": Covariate("E", interpolation)})
    # The third patient's clock runs to 4 and starts again: no line reaches beyond its two values.
    between = {"nocb": [5.0, 5.0], "locf": [2.0, 2.0], "linear": [2.0, 2.0]}[interpolation]
    assert records.columns.values[0].tolist() == [1.0, 1.0, 1.0, 7.0, 7.0, 2.0, *between, 5.0]


def test_patients_without_any_value_of_a_covariate_are_all_told(lagged):
    table = {"ID": [1, 1, 2, 3], "TIME": [0, 1, 0, 0], "E": [np.nan, np.nan, 1.0, np.nan]}
    with pytest.raises(RecordsError) as raised:
        read_records(lagged, table, covariates={"effect": "E"})
    assert [mistake.row for mistake in raised.value.mistakes] == [1, 4]


def test_dosing_has_units_too(lagged):
    check_dimensions(lagged)

    def changed(**own):
        return inconsistencies(dataclasses.replace(lagged, dosing=lambda p, inputs: own))

    assert changed(liver=Dosing()) == ["dosing: there is no compartment 'liver'"]
    wrong = dataclasses.replace(
        lagged, dosing=lambda p, inputs: {"depot": Dosing(p.lag, p.rate, p.rate, p.lag)}
    )
    assert inconsistencies(wrong) == [
        "dosing: ['depot'].bioavailability is time, declared a pure number",
        "dosing: ['depot'].lag is mass·time^-1, declared time",
        "dosing: ['depot'].duration is mass·time^-1, declared time",
        "dosing: ['depot'].rate is time, declared mass·time^-1",
    ]
