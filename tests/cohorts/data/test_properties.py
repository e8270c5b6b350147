"""Whatever is done to a table, it is read or everything wrong with it is told."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cohorts.data import DataError, DataSpec, PatientData, read_patients
from insilico import models

MODEL = models.get("one_compartment")
HEADER = ["ID", "TIME", "DV", "AMT", "EVID", "CMT", "RATE", "MDV", "DVID", "WT", "SEX"]
SPEC = DataSpec.model_validate_json(json.dumps({
    "file": "table.csv",
    "columns": {
        "subject": "ID", "time": "TIME", "measured": "DV", "amount": "AMT", "event": "EVID",
        "compartment": "CMT", "rate": "RATE", "missing": "MDV", "output": "DVID",
    },
    "units": {"time": "h", "amount": "mg"},
    "outputs": {
        "concentration": {"where": "plasma", "unit": "mg/L"},
        "depot": {"where": "gut", "unit": "mg"},
    },
    "covariates": {
        "weight": {"column": "WT", "unit": "kg"},
        "sex": {"column": "SEX", "categories": ["male", "female"]},
    },
}))  # fmt: skip

WRONG_CELLS = {
    "ID": ["", "."],
    "TIME": ["", "noon", "-1", "1;5", "inf"],
    "DV": ["", "<LLOQ", "1e999", "--3"],
    "AMT": ["", "much", "-5"],
    "EVID": ["", "17", "0.5", "dose"],
    "CMT": ["", "3", "-1", "muscle"],
    "RATE": ["-3", "slow", "-2"],
    "MDV": ["2", "maybe"],
    "DVID": ["", "urine"],
    "WT": ["heavy", "70kg"],
    "SEX": ["unknown"],
}
"""Cells that are wrong wherever the column is looked at."""
STRANGE = ["nan", "1e400", "0x1", "1_0", "-0", "٣", "TRUE", '"', '"a', "1,5"]
OF_DOSES, OF_OBSERVATIONS = ("AMT", "CMT", "RATE"), ("DV", "DVID")


@st.composite
def tables(draw: st.DrawFn) -> list[list[str]]:
    """Rows of a valid table: subjects with a dose and a few measured values."""
    rows = []
    for subject in range(1, draw(st.integers(1, 4)) + 1):
        weight, sex = f"{draw(st.integers(40, 80))}", draw(st.sampled_from(["male", "female"]))
        rows.append([f"{subject}", "0", ".", "100", "1", "1", "0", "1", ".", weight, sex])
        hours = draw(st.lists(st.integers(1, 96), min_size=2, max_size=5, unique=True))
        for hour in sorted(hours):
            output = draw(st.sampled_from(["plasma", "gut"]))
            rows.append(
                [f"{subject}", f"{hour}", "2.5", ".", "0", ".", ".", "0", output, weight, sex]
            )
    return rows


@st.composite
def corrupted(draw: st.DrawFn) -> tuple[list[list[str]], set[tuple[int, str]]]:
    """A table with wrong cells, several in a row, and where they are.

    Without its ID or its event a row cannot be judged further, so these are its only wrong cells.
    """
    rows = draw(tables())
    planted = set()
    for number in draw(st.sets(st.integers(0, len(rows) - 1), min_size=1)):
        dose = rows[number][4] == "1"
        alone = draw(st.sampled_from(["ID", "EVID", None]))
        seen = [
            name
            for name in HEADER
            if name not in ("ID", "EVID", *(OF_OBSERVATIONS if dose else OF_DOSES))
        ]
        columns = {alone} if alone else draw(st.sets(st.sampled_from(seen), min_size=1))
        if "MDV" in columns:
            columns -= {"DV", "DVID"}  # which are looked at where something was measured
        for column in columns:
            rows[number][HEADER.index(column)] = draw(st.sampled_from(WRONG_CELLS[column]))
            planted.add((number + 2, column))
    return rows, planted


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


def outcome(folder: Path, rows: list[list[str]]) -> PatientData | DataError:
    """The data of a table, or what is wrong with it."""
    lines = [",".join(row) for row in [HEADER, *rows]]
    (folder / "table.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    try:
        return read_patients(MODEL, SPEC, folder=folder)
    except DataError as error:
        return error


@given(rows=tables())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_valid_table_is_read_whole(folder, rows):
    data = outcome(folder, rows)
    assert isinstance(data, PatientData)
    summary = data.summary()
    assert summary.records == len(rows)
    assert summary.doses + sum(summary.observations.values()) == len(rows)
    assert not data.warnings


@given(case=corrupted())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_planted_mistake_is_found(folder, case):
    rows, planted = case
    found = outcome(folder, rows)
    assert isinstance(found, DataError), planted
    told = {(mistake.line, mistake.column) for mistake in found.mistakes}
    assert planted <= told


@given(rows=tables(), number=st.integers(0, 100))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_weight_that_changes_is_told_where_it_does(folder, rows, number):
    """If the first one is the wrong one, the second differs from it."""
    number %= len(rows)
    first = number == 0 or rows[number - 1][0] != rows[number][0]
    rows[number][HEADER.index("WT")] = "81.25"
    found = outcome(folder, rows)
    assert isinstance(found, DataError)
    assert [(m.line, m.column) for m in found.mistakes] == [(number + 2 + first, "WT")]


@given(
    rows=tables(),
    cells=st.lists(
        st.tuples(
            st.integers(0, 20),
            st.sampled_from(range(len(HEADER))),
            st.text(max_size=6)
            | st.sampled_from(["nan", "1e400", "0x1", "1_0", "-0", "٣", "TRUE"]),
        ),
        max_size=5,
    ),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_text_is_read_or_told_but_never_breaks(folder, rows, cells):
    for row, column, text in cells:
        rows[row % len(rows)][column] = text
    assert isinstance(outcome(folder, rows), PatientData | DataError)


@given(content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode()))
@settings(deadline=None)
def test_any_file_is_told_to_be_no_table(folder, content):
    (folder / "table.csv").write_bytes(content)
    with pytest.raises(DataError):
        read_patients(MODEL, SPEC, folder=folder)
