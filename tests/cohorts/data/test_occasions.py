"""Which occasion a record belongs to: as a column says, from dose to dose, or at stated times."""

import numpy as np
import pytest

from cohorts._faults import CohortError
from cohorts.data import DataError, nonmem_spec, read_patients, to_nonmem

HEADER = "ID,TIME,EVID,AMT,DV,OCC\n"
TABLE = HEADER + (
    "1,0,1,100,.,1\n1,2,0,.,3,1\n1,24,1,100,.,2\n1,24,1,50,.,2\n1,30,0,.,4,2\n1,48,0,.,2,1\n"
    "2,0,0,.,0.1,2\n2,1,1,100,.,2\n2,26,0,.,2,2\n"
)


def test_a_column_says_it_in_the_order_of_each_subject(read):
    found = read(TABLE, columns={"occasion": "OCC"})
    # The first subject returns to its first occasion; the second has one, its first.
    assert found.occasion.tolist() == [0, 0, 1, 1, 1, 0, 0, 0, 0]
    assert found.occasions == 2 and found.occasions_of_subjects.tolist() == [2, 1]
    assert "OCC" not in found.unused
    assert found.selected([2]).occasion.tolist() == [0, 0, 0]
    letters = TABLE.replace(",1\n", ",fed\n").replace(",2\n", ",fasted\n")
    again = read(letters, columns={"occasion": "OCC"})
    assert again.occasion.tolist() == found.occasion.tolist()


def test_doses_and_times_may_say_it(read):
    by_dose = read(TABLE, occasions="doses")
    # Doses of one instant begin one occasion; what comes before the first dose is in its.
    assert by_dose.occasion.tolist() == [0, 0, 1, 1, 1, 1, 0, 0, 0]
    by_time = read(TABLE, occasions=["1 d", "1.5 d"])
    assert by_time.occasion.tolist() == [0, 0, 1, 1, 1, 2, 0, 0, 1]
    assert read(TABLE).occasion is None and read(TABLE).occasions == 1


def test_a_table_that_is_written_out_keeps_them(read, model):
    found = read(TABLE, columns={"occasion": "OCC"}, repeats=True)
    table = to_nonmem(found)
    again = read_patients(model, nonmem_spec(found, "made up"), table)
    np.testing.assert_array_equal(again.occasion, found.occasion)


def test_every_record_has_one(read):
    with pytest.raises(DataError, match="line 3, OCC: is missing"):
        read(TABLE.replace("1,2,0,.,3,1\n", "1,2,0,.,3,.\n"), columns={"occasion": "OCC"})


def test_a_clock_that_is_turned_back_cannot_say_it(read):
    table = TABLE.replace("1,24,1,100,.,2\n1,24,1,50,.,2\n1,30", "1,0,4,100,.,2\n1,1")
    with pytest.raises(DataError, match="line 4, TIME: turns the clock back"):
        read(table, occasions=["24 h"])
    assert read(table, occasions="doses").occasions == 2


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"columns": {"occasion": "OCC"}, "occasions": "doses"}, "column OCC says it already"),
        ({"occasions": []}, "occasions: must name a time"),
        ({"occasions": [24]}, "occasions.0: the unit is missing"),
        ({"occasions": ["24 mg"]}, "occasions.0: must be a time"),
        ({"occasions": ["2 d", "1 d"]}, "occasions: must be times one after the other"),
    ],
)
def test_what_cannot_be_is_told(read, changed, message):
    with pytest.raises(CohortError) as caught:
        read(TABLE, **changed)
    assert message in str(caught.value)
