"""Everything that is wrong with a table is told at once, with its line, column and remedy."""

import dataclasses
import gzip
from typing import Any

import pytest

from cohorts import CohortError
from cohorts.data import DataError, read_patients

GOOD = """ID,TIME,DV,AMT,EVID,WT,SEX
1,0,.,100,1,70,male
1,1,5.1,.,0,70,male
1,8,2.5,.,0,70,male
2,0,.,120,1,62.5,female
2,1,6.4,.,0,62.5,female
2,8,3.0,.,0,62.5,female
"""
COVARIATES = {
    "weight": {"column": "WT", "unit": "kg"},
    "sex": {"column": "SEX", "categories": ["male", "female"]},
}


def _changed(**rows: str) -> str:
    """The good table with other lines, as in `line_3="1,1,5.1,.,0,70,male"`."""
    lines: list[str] = list(GOOD.splitlines())
    for name, text in rows.items():
        lines[int(name.removeprefix("line_")) - 1] = text
    return "\n".join(lines) + "\n"


def _with(column: str, *cells: object) -> str:
    """The good table with a column more, of a cell a row."""
    return "\n".join(
        f"{line},{cell}" for line, cell in zip(GOOD.splitlines(), [column, *cells], strict=True)
    )


def _told(read, text: str | bytes, **changed: Any) -> list[str]:
    with pytest.raises(DataError) as error:
        read(text, **{"covariates": COVARIATES, **changed})
    return [f"{m.line} {m}" for m in error.value.mistakes]


MISTAKES = {
    "time goes back": (
        _changed(line_4="1,0.5,2.5,.,0,70,male"),
        ["4 TIME: is 0.5, before the 1 of the patient's record above"],
    ),
    "negative time": (
        _changed(line_2="1,-1,.,100,1,70,male"),
        ["2 TIME: is -1, before 0; times count from the first dose or later"],
    ),
    "no time": (_changed(line_3="1,.,5.1,.,0,70,male"), ["3 TIME: is missing"]),
    "a time that is no number": (
        _changed(line_3="1,8:30,5.1,.,0,70,male"),
        ['3 TIME: is "8:30", which is no finite number; dates and clock times are written as'],
    ),
    "a subject comes back": (
        GOOD + "1,9,1.0,.,0,70,male\n",
        ["8 ID: 1 appears again after other patients' records"],
    ),
    "no subject": (_changed(line_5=",0,.,120,1,62.5,female"), ["5 ID: is missing"]),
    "no value": (
        _changed(line_4="1,8,.,.,0,70,male"),
        ["4 DV: is missing on an observation; give the value, or MDV 1"],
    ),
    "a value that is no number": (
        _changed(line_4="1,8,<0.1,.,0,70,male"),
        ['4 DV: is "<0.1", which is no finite number; a value below its limit is flagged'],
    ),
    "an infinite value": (
        _changed(line_4="1,8,inf,.,0,70,male"),
        ['4 DV: is "inf", which is no finite number'],
    ),
    "a decimal comma": (
        _changed(line_4='1,8,"2,5",.,0,70,male'),
        ['4 DV: is "2,5", with a decimal comma; write a point, or `decimal: ","` for the whole'],
    ),
    "an underscore in a value": (
        _changed(line_4="1,8,2_5,.,0,70,male"),
        ['4 DV: is "2_5", which is no finite number'],
    ),
    "a decimal comma among commas": (
        _changed(line_4="1,8,2,5,.,0,70,male"),
        ["4 has 8 cells, the header has 7; is there a decimal comma in it?"],
    ),
    "a row too short": (_changed(line_4="1,8,2.5"), ["4 has 3 cells, the header has 7"]),
    "a dose without amount": (
        _changed(line_2="1,0,.,.,1,70,male"),
        ["2 AMT: is missing on a record that needs it"],
    ),
    "an amount without a dose": (
        _changed(line_3="1,1,5.1,10,0,70,male"),
        ["3 AMT: is 10 at EVID 0, which gives no dose"],
    ),
    "an unknown event": (
        _changed(line_3="1,1,5.1,.,7,70,male"),
        ["3 EVID: is 7; it may be 0, 1, 2, 3, 4 or 8"],
    ),
    "no event": (_changed(line_3="1,1,5.1,.,,70,male"), ["3 EVID: is missing"]),
    "a coded event": (
        _changed(line_2="1,0,.,100,101,70,male"),
        [
            "2 EVID: is 101, which is nlmixr's code of a dose into compartment 1; write "
            "`event: {column: EVID, coding: nlmixr}`"
        ],
    ),
    "a covariate that changes": (
        _changed(line_3="1,1,5.1,.,0,71,male", line_4="1,8,2.5,.,0,72,male"),
        [
            "3 WT: differs from the subject's records above, and is declared constant; on the "
            "first of these lines it is 71 and was 70; write `changes: locf`"
        ],
    ),
    "a covariate that nobody knows": (
        _changed(
            line_5="2,0,.,120,1,.,female",
            line_6="2,1,6.4,.,0,,female",
            line_7="2,8,3.0,.,0,NA,female",
        ),
        ["5 WT: the subject has no value at all; give one, or leave the subject out"],
    ),
    "a covariate that is no number": (
        _changed(line_3="1,1,5.1,.,0,heavy,male"),
        ['3 WT: is "heavy", which is no finite number'],
    ),
    "an unknown category": (
        _changed(line_3="1,1,5.1,.,0,70,mal"),
        ['3 SEX: is "mal"; there are "male", "female"; did you mean male?'],
    ),
    "a record twice": (
        _changed(line_4="1,1,5.1,.,0,70,male"),
        ["4 DV: says the same as line 3, at the same time; remove one, or write `repeats: true`"],
    ),
    "a dose twice": (
        _changed(line_3="1,0,.,100,1,70,male"),
        ["3 DV: says the same as line 2, at the same time"],
    ),
}


@pytest.mark.parametrize(("text", "expected"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_with_its_line_and_nothing_else_is(read, text, expected):
    told = _told(read, text)
    assert len(told) == len(expected), told
    for line, start in zip(told, expected, strict=True):
        assert line.startswith(start), line


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(read):
    told = _told(
        read,
        _changed(
            line_2="1,0,.,.,1,70,male",
            line_3='1,1,"5,1",.,0,71,male',
            line_4="1,0.5,.,.,0,70,mele",
            line_6="2,1,6.4,5,0,62.5,female",
        ),
    )
    assert [line.partition(":")[0] for line in told] == [
        "2 AMT",
        "3 DV",
        "3 WT",
        "4 DV",
        "4 SEX",
        "4 TIME",
        "6 AMT",
    ]


OTHER_COLUMNS = {
    "a dose without compartment": (
        _with("CMT", "", 2, 2, 1, 2, 2), {"compartment": "CMT"},
        ["2 CMT: is missing on a dose; the model has depot, central, counted from 1"],
    ),
    "a compartment that there is not": (
        _with("CMT", 3, 2, 2, 1, 2, 2), {"compartment": "CMT"},
        ["2 CMT: is 3; compartments of model one_compartment go from 1 to 2"],
    ),
    "a data item that the config does not speak of": (
        _with("SS", *[0] * 6), {},
        ["0 SS: has NONMEM's name for `steady`, of which the config says nothing; write "
         "`columns: {steady: SS}`, or `{steady: null}`"],
    ),
    "a flag that is none": (
        _with("MDV", 1, 0, 2, 1, 0, 0), {"missing": "MDV"},
        ['4 MDV: is "2"; it may be 0 or 1 (N or Y)'],
    ),
    "censored without a limit": (
        _with("CENS", 0, 0, 1, 0, 0, 0), {"censored": "CENS"},
        ["4 CENS: is flagged as below quantification, but no limit is known; give `limit:`"],
    ),
    "a rate that there is not": (
        _with("RATE", -3, 0, 0, 0, 0, 0), {"rate": "RATE"}, ["2 RATE: is -3; it may be 0"],
    ),
    "additional doses without interval": (
        _with("ADDL", 3, 0, 0, 0, 0, 0),
        {"additional": "ADDL"},
        ["2 II: must be above 0 with ADDL 3"],
    ),
    "columns that are missing": (
        GOOD, {"amount": "AMOUNT", "rate": "RTE"},
        ["0 AMOUNT: there is no such column; there are ID, TIME, DV, AMT, EVID, WT, SEX; "
         'did you mean "AMT"?', "0 RTE: there is no such column",],
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "columns", "expected"), OTHER_COLUMNS.values(), ids=OTHER_COLUMNS.keys()
)
def test_mistakes_of_other_columns_are_told(read, text, columns, expected):
    told = _told(read, text, columns=columns)
    assert len(told) == len(expected), told
    for line, start in zip(told, expected, strict=True):
        assert line.startswith(start), line


NO_TABLES = {
    "nothing": (b"", "is empty"),
    "blank lines": (b"\n \n", "is empty"),
    "a header alone": (b"ID,TIME,DV,AMT,EVID\n", "line 1, has a header, but no rows"),
    "semicolons": (
        GOOD.replace(",", ";").encode(),
        "line 1, has one column only: its cells seem "
        'to be separated by semicolons; write `separator: ";"`',
    ),
    "tabs": (GOOD.replace(",", "\t").encode(), 'separated by tabs; write `separator: "\\t"`'),
    "a name twice": (GOOD.replace("WT", "DV").encode(), "line 1, DV: is the name of several"),
    "UTF-16": (GOOD.encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
    "Latin-1": (
        GOOD.replace("female", "weiblich\xe4").encode("latin-1"),
        "line 5, the byte 0xe4 is not UTF-8 text; save the file as UTF-8",
    ),
}


@pytest.mark.parametrize(("content", "expected"), NO_TABLES.values(), ids=NO_TABLES.keys())
def test_what_is_no_table_is_told(read, content, expected):
    with pytest.raises(DataError) as error:
        read(content)
    assert expected in str(error.value)


def test_a_decimal_point_among_decimal_commas_is_told(read):
    text = GOOD.replace(",", ";").replace("5.1", "1.234").replace(".5", ",5").replace("3.0", "3")
    (told,) = _told(read, text.replace("6.4", "6"), separator=";", decimal=",")
    assert told.startswith('3 DV: is "1.234", with a decimal point; write a comma, or `decimal:')


def test_half_a_gzip_file_is_told(read):
    with pytest.raises(DataError, match="is no whole gzip file"):
        read(gzip.compress(GOOD.encode())[:-20], file="table.csv.gz")


def test_braces_in_names_and_cells_are_shown_as_they_are(read):
    text = GOOD.replace("SEX", "{0}").replace("1,1,5.1,.,0,70,male", "1,1,{DV},.,0,70,{sex}")
    covariates = {"sex": {"column": "{0}", "categories": ["male", "female", "{}"]}}
    assert _told(read, text, covariates=covariates) == [
        '3 DV: is "{DV}", which is no finite number; a value below its limit is flagged in a '
        "column `censored`; a text for a missing value is named by `missing:`",
        '3 {0}: is "{sex}"; there are "male", "female", "{}"',
    ]


def test_lines_count_as_an_editor_counts(read):
    text = 'ID,TIME,DV,AMT,EVID,WT,SEX\n\n1,0,.,100,1,70,"male"\n\n1,1,.,.,0,70,male\n'
    assert [line.split(" ")[0] for line in _told(read, text)] == ["5"]
    text = 'ID,TIME,DV,AMT,EVID,WT,SEX,"two\nlines"\n1,0,.,100,1,70,male,a\n1,1,.,.,0,70,male,b\n'
    assert [line.split(" ")[0] for line in _told(read, text)] == ["4"]


def test_the_same_mistake_on_many_lines_is_told_once_with_its_lines(read):
    text = "ID,TIME,DV,AMT,EVID\n1,0,.,100,1\n" + "".join(f"1,{t},,.,0\n" for t in range(1, 9))
    with pytest.raises(DataError) as error:
        read(text)
    assert len(error.value.mistakes) == 8
    assert "- lines 3, 4, 5, 6, 7, … (8 in all), DV: is missing" in str(error.value)


def test_what_is_wrong_with_the_description_is_told_before_the_table(read):
    with pytest.raises(CohortError) as error:
        read(
            GOOD,
            columns={"time": None},
            units={"amount": "h"},
            outputs={"conc": {"unit": "mg/L"}, "depot": {"unit": "kg", "limit": 3}},
            covariates={"if": {"column": "WT", "unit": "kgs", "changes": "nocb"}},
            doses_into="gut",
        )
    told = str(error.value)
    for part in (
        "columns.time: has to be named",
        "doses_into: unknown compartment",
        "units.amount: h (a time) cannot be turned into mg (a mass)",
        'outputs.conc: unknown output of model one_compartment; found "conc"',
        "outputs.depot.limit: the unit is missing",
        "outputs.depot: which records are its is missing",
        "covariates.if: is no name",
        'covariates.if.unit: there is no unit "kgs"',
        "covariates.if.changes: is for an input of the model",
    ):
        assert part in told


def test_an_input_of_the_model_needs_a_covariate(read, following):
    with pytest.raises(CohortError, match="an input effect, which no covariate gives"):
        read(GOOD, model=following)


def test_a_file_that_is_not_there_is_told_with_its_neighbour(tmp_path, model, describe):
    (tmp_path / "tables.csv").write_text(GOOD)
    with pytest.raises(CohortError, match='there is no such file.*did you mean "tables.csv"'):
        read_patients(model, describe(file="table.csv"), folder=tmp_path)


def test_warnings_say_what_is_kept_or_not_used(read):
    text = (
        "ID,TIME,DV,AMT,EVID,MDV,CENS\n"
        "1,0,3.0,100,1,1,0\n"  # a value beside a dose
        "1,1,5.1,.,0,0,0\n"
        "1,1,5.2,.,0,0,0\n"  # another one of the same time
        "1,2,0.1,.,0,0,0\n"  # below the limit, not flagged
        "1,3,.,.,0,1,1\n"  # flagged, but not used
        "1,4,0.5,.,0,0,1\n"  # flagged, but above
        "2,0,.,100,1,1,0\n"  # nothing measured
        "3,0,4.0,.,0,0,0\n"  # no dose
    )
    data = read(
        text,
        columns={"missing": "MDV", "censored": "CENS"},
        outputs={"concentration": {"unit": "mg/L", "limit": "0.2 mg/L"}},
    )
    told = [f"{warning.line} {warning}" for warning in data.warnings]
    for line, start in zip(
        told,
        [
            "2 DV: has a value on a record where nothing was measured; not used",
            "4 DV: is of the same time as a record above; both count",
            "5 DV: is below its limit of 0.2, but not flagged; it counts as a value",
            "6 CENS: is flagged as below quantification, but not used",
            "7 DV: is above its limit of 0.2, but flagged; it counts as below",
            "8 ID: this subject has no measured value; it is kept",
            "9 ID: this subject has no dose; it is kept",
        ],
        strict=True,
    ):
        assert line.startswith(start), line


def test_a_table_without_any_dose_says_so_once(read):
    text = "ID,TIME,DV\n1,0,3.0\n1,1,2.0\n2,0,4.0\n"
    data = read(text, columns={"amount": None, "event": None}, units={"amount": ""})
    assert data.notes == ["no subject has a dose"]


def test_a_model_that_moves_by_itself_starts_at_a_subject_s_first_record(read, model):
    """As in NONMEM; a curve in absolute time would be shifted by it, so that it is told."""
    text = "ID,TIME,DV,AMT,EVID\n1,0,.,100,1\n1,1,5.0,.,0\n2,24,.,100,1\n2,25,6.0,.,0\n"
    grown = dataclasses.replace(
        model, name="grown", initial=lambda p: model.State(p.clearance, p.clearance)
    )
    (told,) = read(text, model=grown).notes
    assert told.startswith("line 4, TIME: this subject's first record is at 24, and grown starts")
    # Kinetics begin with nothing, which stays as it is.
    assert read(text).notes == []
