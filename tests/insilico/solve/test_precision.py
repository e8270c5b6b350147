"""Single precision says how far off it is, and is the same for a patient whoever is beside it."""

import jax
import numpy as np
import pandas as pd
import pytest

from insilico import models
from insilico.solve import Dose, Infusion, Tolerances, read_records, schedule, solve
from insilico.solve.precision import check_times, largest_error

pytestmark = pytest.mark.optimised

MODEL = models.get("one_compartment")
OBSERVED = [1.0, 2.5, 5.0, 12.0, 24.0, 36.0]


def events(begin=0.0):
    doses = [
        Dose(begin, "depot", 100.0),
        Infusion(begin + 3.0, "central", 50.0, 2.0),
        Dose(begin + 12.0, "depot", 50.0),
    ]
    return schedule(MODEL, doses, observe=[begin + time for time in OBSERVED])


def drawn(number):
    random = np.random.default_rng(1)
    return MODEL.Parameters(
        random.uniform(0.3, 3.0, number), random.uniform(1.0, 5.0, number), 20.0
    )


@pytest.fixture(scope="module")
def solutions():
    return {
        method: (
            solve(MODEL, drawn(700), *events(), method=method, precision="single"),
            solve(MODEL, drawn(700), *events(), method=method, tolerances=Tolerances(1e-10, 1e-12)),
        )
        for method in ("closed_form", "tsit5")
    }


@pytest.mark.parametrize(("method", "most"), [("closed_form", 2e-5), ("tsit5", 5e-4)])
def test_the_error_shown_is_the_error_made(solutions, method, most):
    single, double = solutions[method]
    assert single.outputs.central.dtype == np.float32 and double.measured_error is None
    made = largest_error(single.outputs, double.outputs, double.status == 0)
    assert 0.3 * made < single.measured_error <= 1.001 * made < most


def test_a_patient_has_the_same_bits_alone(solutions):
    many = solutions["tsit5"][0]
    few = [3, 500, 699]
    own = jax.tree.map(
        lambda column: np.asarray(column)[few] if np.ndim(column) else column, drawn(700)
    )
    alone = solve(MODEL, own, *events(), method="tsit5", precision="single")
    np.testing.assert_array_equal(alone.outputs.central, many.outputs.central[few])


@pytest.mark.parametrize("method", ["closed_form", "tsit5"])
def test_three_years_later_whole_and_half_hours_are_as_exact(solutions, method):
    """The clock tells 7 s apart then; steps are as long as the clock says that they are."""
    late = solve(MODEL, drawn(700), *events(26_280.0), method=method, precision="single")
    assert (late.status == 0).all() and late.measured_error is not None
    assert late.measured_error < 2.0 * solutions[method][0].measured_error + 1e-5


def test_times_that_rounding_would_change_are_refused():
    check_times([0.0, 0.1, 26_280.0, 26_281.0])
    with pytest.raises(ValueError, match=r"at 26280.0 and 26280.1 are too close .*'double'"):
        check_times([0.0, 26_280.0, 26_280.1])
    late = schedule(MODEL, Dose(87_600.0, "depot", 1.0), observe=[87_600.1])
    with pytest.raises(ValueError, match="too close for that late a time"):
        solve(MODEL, drawn(2), *late, precision="single")


@pytest.mark.slow
def test_event_tables_and_their_steady_states_go_in_single_precision():
    table = pd.DataFrame(
        {
            "ID": 1,
            "TIME": [0.0, 2.0, 6.0, 30.0],
            "EVID": [1, 0, 0, 0],
            "CMT": 1,
            "AMT": [100.0, 0.0, 0.0, 0.0],
            "SS": [1, 0, 0, 0],
            "II": [12.0, 0.0, 0.0, 0.0],
        }
    )
    found = solve(MODEL, drawn(1), read_records(MODEL, table), precision="single")
    assert found.outputs.central.dtype == np.float32 and found.status.tolist() == [0]
    assert found.measured_error is not None and found.measured_error < 1e-4


def test_other_precisions_are_refused():
    with pytest.raises(ValueError, match="one of double, single; found 'half'"):
        solve(MODEL, drawn(2), *events(), precision="half")  # pyright: ignore[reportArgumentType]


def test_tolerances_are_raised_to_what_single_precision_can_do():
    assert Tolerances(1e-9, 1e-12).attainable("single") == Tolerances(1e-5, 1e-7)
    assert Tolerances(1e-3, 1e-4).attainable("single") == Tolerances(1e-3, 1e-4)
    assert Tolerances(1e-9).attainable("double") == Tolerances(1e-9)
