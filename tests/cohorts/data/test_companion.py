"""Doses of EX and ADEX among the records of ADPC."""

import numpy as np
import pandas as pd
import pytest

from cohorts import CohortError
from cohorts.data import DataError, read_patients
from cohorts.data.clock import instants, interval_of

ADPC = """USUBJID,PARAMCD,AFRLT,FRLTU,AVAL,AVALU,ADTM
A-1,XAN,-0.5,HOURS,0,mg/L,2024-01-05T07:30
A-1,XAN,2,HOURS,5.1,mg/L,2024-01-05T10:00
A-1,XAN,24,HOURS,1.5,mg/L,2024-01-06T08:00
A-1,XAN,50,HOURS,2.5,mg/L,2024-01-07T10:00
A-2,XAN,1,HOURS,6.4,mg/L,2024-02-01T10:15
"""
EX = """USUBJID,EXTRT,EXDOSE,EXDOSU,EXDOSFRQ,EXROUTE,EXSTDTC,EXENDTC
A-1,XANOMELINE,100,mg,QD,ORAL,2024-01-05T08:00,2024-01-07
A-2,XANOMELINE,0.12,g,ONCE,ORAL,2024-02-01T09:15,2024-02-01T09:15
A-3,XANOMELINE,100,mg,ONCE,ORAL,2024-02-01T09:15,2024-02-01T09:15
A-2,PLACEBO,0,mg,QD,ORAL,2024-02-01,
"""
ADEX = """USUBJID,PARAMCD,AVAL,AVALU,ASTDTM,AENDTM
A-1,DOSE,100,mg,05JAN2024:08:00:00,05JAN2024:08:00:00
A-1,DOSE,100,mg,06JAN2024:08:00:00,06JAN2024:08:00:00
A-1,TDOSE,200,mg,05JAN2024:08:00:00,06JAN2024:08:00:00
A-2,DOSE,120,mg,01FEB2024:09:15:00,01FEB2024:09:15:00
"""
ONE_UNIT = EX.replace("0.12,g", "120,mg")


@pytest.fixture
def join(tmp_path, model, describe):
    """`join(ex, doses={…}, adpc=…)`: the patients of both files."""

    def join(ex=ONE_UNIT, doses=None, adpc=ADPC, file="ex.csv", **changed):
        (tmp_path / "adpc.csv").write_text(adpc)
        (tmp_path / file).write_text(ex)
        spec = describe(
            **{
                "file": "adpc.csv",
                "format": "adpc",
                "columns": None,
                "units": None,
                "doses": {"file": file, **(doses or {})},
                "outputs": {"concentration": {"where": "XAN"}},
                **changed,
            }
        )
        return read_patients(model, spec, folder=tmp_path)

    return join


def doses_of(data):
    """Subject, time and amount of each dose."""
    columns = data.records.columns
    given = columns.doses
    whose = np.array(data.records.patients)[columns.patient[given]]
    return list(zip(whose, columns.time[given], columns.amount[given], strict=True))


def test_doses_are_at_their_times_after_each_subject_s_first(join):
    data = join()
    assert doses_of(data) == [("A-1", 0, 100), ("A-1", 24, 100), ("A-1", 48, 100), ("A-2", 0, 120)]
    assert data.observations["time"].tolist() == [-0.5, 2, 24, 50, 1]
    assert data.left_out == {
        "ex.csv: EXDOSE 0": 1,
        "ex.csv: doses of subjects without a record": 1,
    }


def test_a_sample_at_the_time_of_a_dose_comes_before_it(join):
    columns = join().records.columns
    first = columns.patient == 0
    assert columns.time[first].tolist() == [-0.5, 0, 2, 24, 24, 48, 50]
    assert columns.doses[first].tolist() == [False, True, False, False, True, True, False]


def test_doses_stay_with_their_subject_wherever_its_records_end(join):
    """After the last record of one, and before the first of the next."""
    shorter = "\n".join(line for line in ADPC.splitlines() if ",50," not in line)
    data = join(adpc=shorter)
    assert doses_of(data) == doses_of(join())
    assert data.records.columns.patient.tolist() == [0] * 6 + [1] * 2


def test_adex_needs_no_more_than_its_name(join):
    data = join(ADEX, file="adex.csv")
    assert doses_of(data) == [("A-1", 0, 100), ("A-1", 24, 100), ("A-2", 0, 120)]
    assert data.left_out == {"adex.csv: other PARAMCD than DOSE": 1}


def test_a_frame_of_samples_and_columns_of_other_names(join, tmp_path, model, describe):
    renamed = ADEX.replace("ASTDTM", "BEGAN").replace("AVAL,", "GIVEN,")
    data = join(renamed, {"columns": {"start": "BEGAN", "amount": "GIVEN"}}, file="adex.csv")
    assert doses_of(data) == doses_of(join(ADEX, file="adex.csv"))


@pytest.mark.parametrize(
    ("frequency", "end", "number"),
    [
        ("BID", "2024-01-06", 4),
        ("Q12H", "2024-01-06T21:00", 4),
        ("q8h", "2024-01-05T23:30", 3),
        ("EVERY 2 DAYS", "2024-01-09", 3),
        ("EVERY WEEK", "2024-01-19", 3),
        ("QD", "2024-01-07T07:10", 3),  # a last dose somewhat early
        ("QD", "2024-01-07T21:00", 3),
        ("ODD", "2024-01-06", 2),
    ],
)
def test_frequencies_make_doses_from_start_to_end(join, frequency, end, number):
    ex = f"USUBJID,EXDOSE,EXDOSFRQ,EXSTDTC,EXENDTC\nA-1,100,{frequency},2024-01-05T08:00,{end}\n"
    data = join(ex, {"frequencies": {"ODD": "30 h"}}, units={"amount": "mg", "time": "h"})
    assert len(doses_of(data)) == number
    times = [time for _, time, _ in doses_of(data)]
    assert len(set(np.diff(times))) <= 1


def test_dates_without_a_clock_take_the_stated_one(join):
    dates = ONE_UNIT.replace("T08:00", "").replace("T09:15", "")
    adpc = ADPC.replace("2024-02-01T10:15", "2024-02-01T09:00")
    assert doses_of(join(dates, {"time_of_day": "8 h"}, adpc)) == doses_of(join())


def test_an_ongoing_record_goes_on_to_the_last_sample(join):
    ongoing = ONE_UNIT.replace("T08:00,2024-01-07", "T08:00,")
    assert doses_of(join(ongoing, {"ongoing": True})) == doses_of(join())


def test_infusions_and_routes(join):
    ex = """USUBJID,EXDOSE,EXDOSU,EXROUTE,EXSTDTC,EXENDTC
A-1,100,mg,INTRAVENOUS,2024-01-05T08:00,2024-01-05T10:00
A-1,50,mg,ORAL,2024-01-06T08:00,2024-01-06T08:00
A-2,120,mg,INTRAVENOUS BOLUS,2024-02-01T09:15,2024-02-01T09:15
"""
    routes = {"INTRAVENOUS": "central", "INTRAVENOUS BOLUS": "central", "ORAL": "depot"}
    data = join(ex, {"routes": routes})
    columns = data.records.columns
    names = data.model.components()
    given = columns.doses
    assert [names[number] for number in columns.compartment[given]] == [
        "central",
        "depot",
        "central",
    ]
    assert columns.rate[given].tolist() == [50, 0, 0]
    with pytest.raises(DataError, match="and that of other doses is INTRAVENOUS; say into which"):
        join(ex)
    with pytest.raises(DataError, match='ex.csv line 3, EXROUTE: is "ORAL", of which'):
        join(ex, {"routes": {"INTRAVENOUS": "central", "INTRAVENOUS BOLUS": "central"}})


def test_units_of_hours_or_days_are_those_of_the_samples(join):
    days = ADPC.replace("HOURS", "DAYS")
    for old, new in (("-0.5", "-0.0208333"), (",2,", ",0.0833333,"), (",24,", ",1,")):
        days = days.replace(old, new)
    days = days.replace(",50,", ",2.0833333,").replace("A-2,XAN,1,", "A-2,XAN,0.0416667,")
    assert [time for _, time, _ in doses_of(join(adpc=days))] == pytest.approx([0, 24, 48, 0])


def told(join, *arguments, **changed):
    with pytest.raises(DataError) as caught:
        join(*arguments, **changed)
    return str(caught.value)


def test_everything_wrong_in_both_files_is_told_at_once(join):
    wrong = """USUBJID,EXDOSE,EXDOSU,EXDOSFRQ,EXSTDTC,EXENDTC
A-1,100,mg,QD,2024-01-05T08:00,2024-01-04
A-1,-5,mg,ONCE,2024-01-06T08:00,
A-1,100,mg,PRN,2024-01-07T08:00,2024-01-08
A-2,x,mg,ONCE,2024-02-01T09:15,
A-2,100,g,ONCE,1 Feb 2024,
A-2,100,mg,QD,2024-02-02,
A-2,100,mg,ONCE,2024-02-03T08:00,2024-02-06
,100,mg,ONCE,2024-02-03T08:00,
"""
    text = told(join, wrong, adpc=ADPC.replace("A-1,XAN,2,", "A-1,XAN,two,"))
    for each in (
        "adpc.csv: 12 mistakes",
        '- line 3, AFRLT: is "two", which is no finite number',
        '- ex.csv line 2, EXENDTC: is "2024-01-04", before the start',
        "- ex.csv line 3, EXDOSE: is -5; a dose is above 0",
        '- ex.csv line 4, EXDOSFRQ: is "PRN", of which the time between doses is not known',
        '- ex.csv line 5, EXDOSE: is "x", which is no finite number',
        '- ex.csv line 6, EXDOSU: is "g", elsewhere it is mg',
        '- ex.csv line 6, EXSTDTC: is "1 Feb 2024", which is no date and time',
        "- ex.csv line 7, EXSTDTC: is a date without a clock time",
        "- ex.csv line 7, EXENDTC: is missing, and the record is more than one dose",
        '- ex.csv line 8, EXENDTC: is "2024-02-06", another day than the start',
        "- ex.csv line 9, USUBJID: is missing",
    ):
        assert each in text


def test_samples_of_another_clock_are_told(join):
    earlier = ONE_UNIT.replace("2024-02-01T09:15", "2024-02-01T08:15")
    text = told(join, earlier)
    assert "line 6, AFRLT: is 1, but ADTM is 2 after the first dose of ex.csv, at" in text


def test_doses_twice_are_told(join):
    dose = "A-1,DOSE,0,HOURS,100,mg,2024-01-05T08:00\n"
    text = told(join, adpc=ADPC + dose)
    assert "line 7, PARAMCD: is DOSE, and doses are those of ex.csv; leave out one of both" in text
    left_out = join(adpc=ADPC + dose, ignore={"rows": {"PARAMCD": ["DOSE"]}})
    assert doses_of(left_out) == doses_of(join())


def test_columns_that_are_missing_are_told(join):
    text = told(join, "USUBJID,DOSE,START\nA-1,100,2024-01-05T08:00\n", {"only": {"EXTRT": ["X"]}})
    assert "ex.csv: has no column ASTDTM or EXSTDTC or ASTDT; name it by `doses: {colu" in text
    assert "ex.csv: has no column EXDOSE or AVAL" in text
    assert "ex.csv: EXTRT: is no column; there are USUBJID, DOSE, START" in text


def test_a_repeated_dose_is_told_where_it_stands(join):
    again = ONE_UNIT + "A-2,XANOMELINE,120,mg,ONCE,ORAL,2024-02-01T09:15,2024-02-01T09:15\n"
    assert "ex.csv line 6, AVAL: says the same as line 3" in told(join, again)


def test_a_companion_belongs_to_samples_without_doses(join):
    with pytest.raises(CohortError, match="doses: belongs to samples of ADPC"):
        join(format="nonmem", columns={"subject": "USUBJID", "time": "AFRLT", "measured": "AVAL"})
    with pytest.raises(CohortError, match="doses: says the doses, and so does `columns`"):
        join(columns={"amount": "AVAL"})
    with pytest.raises(CohortError, match=r"doses.file: is called as the table of samples"):
        join(doses={"file": "other/adpc.csv"})
    with pytest.raises(CohortError, match=r"doses.file: there is no such file"):
        join(doses={"file": "exx.csv"})


def test_texts_of_instants_and_frequencies():
    texts = np.array(["2024-01-05", "2024-01-05 08:30:00", "05JAN2024:08:30", "2024-13-01", ""])
    found = instants(texts.astype(object))
    assert found.seconds[2] == found.seconds[1] == found.seconds[0] + 8.5 * 3600
    assert found.dates.tolist() == [True, False, False, False, False]
    assert found.wrong.tolist() == [False, False, False, True, False]
    start = pd.Timestamp("2024-01-05") - pd.Timestamp("1960-01-01")
    assert found.seconds[0] == start.total_seconds()
    hours = {"QD": 24, "bid": 12, "Q3W": 504, "EVERY 4 HOURS": 4, "ONCE": 0, "PRN": None}
    assert {text: interval_of(text) for text in hours} == hours


@pytest.mark.slow
def test_the_cdisc_pilot_s_patches_agree_with_the_doses_in_its_adpc(shared, model, describe):
    """Doses of SDTM's EX against those that pharmaverse's ADPC has as records of its own."""
    found = {}
    for name, changed in {
        "adpc": {"ignore": {"rows": {"PARCAT1": ["URINE"]}}},
        "ex": {
            "ignore": {"rows": {"PARCAT1": ["URINE"], "PARAMCD": ["DOSE"]}},
            "doses": {"file": "sdtm/ex.csv", "time_of_day": "0 h", "ongoing": True},
        },
    }.items():
        spec = describe(
            file="adam/adpc.csv.gz",
            format="adpc",
            columns=None,
            units=None,
            outputs={"concentration": {"where": "XAN"}},
            **changed,
        )
        data = read_patients(model, spec, folder=shared / "formats")
        found[name] = {(who, time) for who, time, _ in doses_of(data)}, data.observations
    own, joined = found["adpc"][0], found["ex"][0]
    assert len(own) == 498 and len(joined) > 16000
    last = {}
    for who, time in joined:
        last[who] = max(time, last.get(who, 0))
    missing = {(who, time) for who, time in own - joined if time <= last[who]}
    assert missing == set()
    pd.testing.assert_frame_equal(found["adpc"][1], found["ex"][1])


def test_doses_among_the_samples_have_the_unit_beside_their_value(read):
    """AVALU is of AVAL: a gram among milligrams, or milligrams declared as something else."""
    text = (
        "USUBJID,PARAMCD,AFRLT,FRLTU,AVAL,AVALU\n"
        "A,DOSE,0,h,100,mg\nA,XAN,1,h,2.5,mg/L\nB,DOSE,0,h,0.1,{unit}\nB,XAN,1,h,2.5,mg/L\n"
    )
    plain = {"columns": None, "units": None, "outputs": {"concentration": {"where": "XAN"}}}
    data = read(text.format(unit="mg"), format="adpc", **plain)
    assert data.records.columns.amount[data.records.columns.doses].tolist() == [100.0, 0.1]
    with pytest.raises(DataError, match='line 4, AVALU: is "g", elsewhere it is mg'):
        read(text.format(unit="g"), format="adpc", **plain)
    stated = plain | {"units": {"amount": "ug"}}
    with pytest.raises(DataError, match='lines 2, 4, AVALU: is "mg", elsewhere it is ug'):
        read(text.format(unit="mg"), format="adpc", **stated)
