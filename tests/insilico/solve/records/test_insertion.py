"""Records of no event between those of a table change nothing, and show what lies between."""

import numpy as np
import pandas as pd
import pytest

from insilico import models
from insilico.solve import Covariate, Dose, Tolerances, read_records, schedule, solve
from insilico.solve.records import also_at

MODEL = models.get("one_compartment")
PARAMETERS = MODEL.Parameters(np.array([1.0, 0.6]), np.array([3.0, 4.0]), np.array([30.0, 20.0]))
TABLE = pd.DataFrame(
    {
        "ID": [1, 1, 1, 2, 2, 2],
        "TIME": [0.0, 4.0, 12.0, 1.0, 2.0, 9.0],
        "AMT": [100.0, 0.0, 50.0, 80.0, 0.0, 0.0],
        "EVID": [1, 0, 1, 1, 0, 0],
    }
)
GRID = np.array([0.5, 4.0, 6.0, 12.0, 13.0])


def test_between_the_records_it_is_what_a_schedule_of_the_same_doses_gives():
    records = also_at(read_records(MODEL, TABLE), GRID)
    found = records.frame(solve(MODEL, PARAMETERS, records))
    doses = [Dose(0.0, "depot", 100.0), Dose(12.0, "depot", 50.0)]
    events, pattern = schedule(MODEL, doses, observe=GRID)
    parameters = MODEL.Parameters(*(values[0] for values in PARAMETERS))
    expected = solve(MODEL, parameters, events, pattern).outputs.concentration[0]
    shown = found[(found.ID == 1) & (found.EVID == 2)]
    np.testing.assert_array_equal(shown.TIME, GRID)
    np.testing.assert_allclose(shown.concentration, expected, rtol=1e-12)


def test_the_table_s_own_records_keep_their_outputs():
    alone = read_records(MODEL, TABLE)
    together = also_at(alone, GRID)
    found = together.frame(solve(MODEL, PARAMETERS, together))
    expected = alone.frame(solve(MODEL, PARAMETERS, alone))
    kept = found[found.EVID != 2]
    np.testing.assert_allclose(kept.concentration, expected.concentration, rtol=1e-12)


def test_times_before_a_patient_s_first_record_are_left_out():
    found = also_at(read_records(MODEL, TABLE), GRID)
    frame = pd.DataFrame(found.data)
    assert list(frame[(frame.ID == 2) & (frame.EVID == 2)].TIME) == [4.0, 6.0, 12.0, 13.0]


@pytest.mark.parametrize(
    "interpolation",
    ["linear", *(pytest.param(o, marks=pytest.mark.slow) for o in ("locf", "nocb"))],
)
def test_inputs_have_there_what_their_interpolation_gives(lagged, make_table, interpolation):
    data = make_table({"TIME": 0.0, "AMT": 100.0}, observe=(3.0, 8.0, 20.0))
    data["EFFECT"] = np.array([0.2, 1.0, -0.5, 0.4])
    alone = read_records(lagged, data, covariates={"effect": Covariate("EFFECT", interpolation)})
    together = also_at(alone, np.array([1.0, 5.0, 12.0]))
    parameters = lagged.Parameters(1.3, 0.12, 0.8, 0.0, 2.5, 30.0)
    tight = Tolerances(relative=1e-10, absolute=1e-10)
    expected = solve(lagged, parameters, alone, tolerances=tight).outputs.central[0]
    found = solve(lagged, parameters, together, tolerances=tight).outputs.central[0]
    # Errors of 1e-10 a step add up over a hundred steps; amounts are about 100.
    np.testing.assert_allclose(found[together.columns.event != 2], expected, rtol=1e-7)


def test_a_clock_that_is_turned_back_is_refused():
    table = TABLE.assign(TIME=[0.0, 4.0, 0.0, 1.0, 2.0, 9.0], EVID=[1, 0, 4, 1, 0, 0])
    with pytest.raises(ValueError, match="turns back"):
        also_at(read_records(MODEL, table), GRID)


def test_patients_may_have_times_of_their_own():
    own = np.array([[4.0, 6.0], [5.0, 8.0]])
    frame = pd.DataFrame(also_at(read_records(MODEL, TABLE), own).data)
    added = frame.loc[frame["EVID"] == 2]
    assert added.groupby("ID")["TIME"].agg(list).tolist() == own.tolist()
