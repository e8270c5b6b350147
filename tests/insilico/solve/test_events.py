"""Schedules: what the rows are, and that walking them gives the exact answer."""

import numpy as np
import pytest

from insilico.solve import (
    Dose,
    Events,
    Infusion,
    Input,
    Kind,
    Pattern,
    Status,
    Tolerances,
    schedule,
    solve,
)

TYPICAL = (1.2, 3.0, 30.0)
TIGHT = Tolerances(relative=1e-10, absolute=1e-10)


def _assert_close(found, expected):
    """Errors of single steps (1e-10) add up over tens of steps; amounts are about 100."""
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-7)


def _solve(model, parameters, actions, observe, **options):
    events, pattern = schedule(model, actions, observe=observe, **options)
    return solve(model, parameters, events, pattern, tolerances=TIGHT)


OBSERVE = [0.0, 1.0, 4.0, 6.0, 12.0, 24.0, 36.0, 48.0]
SCHEDULES = {
    "nothing happens": [],
    "bolus at the start": [Dose(0.0, "central", 100.0)],
    "late first dose": [Dose(30.0, "depot", 100.0)],
    "dose at an output time": [Dose(6.0, "depot", 100.0), Dose(12.0, "central", 50.0)],
    "two doses at one instant": [Dose(5.0, "depot", 60.0), Dose(5.0, "central", 40.0)],
    "the same dose twice at one instant": [Dose(6.0, "depot", 50.0), Dose(6.0, "depot", 50.0)],
    "dose at the last output time": [Dose(0.0, "depot", 100.0), Dose(48.0, "depot", 1e6)],
    "dose after the last output time": [Dose(0.0, "depot", 100.0), Dose(50.0, "depot", 1e6)],
    "actions out of order": [Dose(24.0, "depot", 100.0), Dose(2.0, "depot", 10.0)],
    "overlapping infusions": [
        Infusion(1.0, "central", 100.0, 11.0),
        Infusion(5.0, "central", 200.0, 25.0),
        Infusion(5.0, "depot", 30.0, 1.0),
    ],
    "infusion beyond the last output": [Infusion(30.0, "central", 100.0, 100.0)],
    "infusion that starts as another ends": [
        Infusion(0.0, "central", 60.0, 6.0),
        Infusion(6.0, "central", 30.0, 6.0),
    ],
    "input that changes": [
        Dose(0.0, "depot", 100.0),
        Input(0.0, "induction", 1.0),
        Input(6.0, "induction", 0.0),
        Input(30.0, "induction", 3.0),
    ],
    "two values of an input at one instant": [
        Dose(0.0, "depot", 100.0),
        Input(4.0, "induction", 9.0),
        Input(4.0, "induction", 0.5),
    ],
}


@pytest.fixture(scope="module")
def solved(one_compartment):
    """All schedules above as those of one batch of patients, a column each, padded with no-ops."""
    tables = [
        schedule(one_compartment, actions, observe=OBSERVE)[0] for actions in SCHEDULES.values()
    ]
    longest = 8
    rows, columns = len(OBSERVE) * longest, []
    for table in tables:
        # Row k·longest observes output k; what happens from then on follows; the rest is NONE.
        column = Events(
            time=np.repeat(OBSERVE, longest).astype(float),
            kind=np.full(rows, Kind.NONE, np.int32),
            target=np.zeros(rows, np.int32),
            amount=np.zeros(rows),
            order=np.full(rows, -1, np.int32),
        )
        used = np.zeros(len(OBSERVE), int)
        for index in range(len(table.time)):
            if table.kind[index] == Kind.NONE:
                continue
            interval = int(np.searchsorted(OBSERVE, table.time[index], side="right")) - 1
            start = interval * longest
            used[interval] += 1
            place = start + used[interval]
            for field, source in zip(column, table, strict=True):
                field[place] = source[index]
            column.time[place + 1 : start + longest] = table.time[index]
        columns.append(column)
    events = Events(*(np.stack(fields, axis=1) for fields in zip(*columns, strict=True)))
    pattern = Pattern(
        rows=rows,
        observed=tuple(range(0, rows, longest)),
        slots=(False,) * rows,
        infused=(0, 1),
    )
    parameters = one_compartment.Parameters(*(np.full(len(SCHEDULES), v) for v in TYPICAL))
    return solve(one_compartment, parameters, events, pattern, tolerances=TIGHT)


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_gives_the_exact_answer(name, solved, exact):
    """Patients of one batch, each with its own rows, times and numbers of doses."""
    index = list(SCHEDULES).index(name)
    assert solved.status[index] == Status.OK
    found = np.stack([output[index] for output in solved.outputs], axis=-1)
    _assert_close(found, exact(TYPICAL, SCHEDULES[name], OBSERVE))


@pytest.mark.parametrize(
    "name", ["dose at an output time", "overlapping infusions", "two doses at one instant"]
)
def test_a_schedule_shared_by_all_patients_gives_the_exact_answer(
    name, one_compartment, patients, exact
):
    parameters = patients(one_compartment, TYPICAL, 5)
    solution = _solve(one_compartment, parameters, SCHEDULES[name], OBSERVE)
    for index, own in enumerate(zip(*parameters, strict=True)):
        found = np.stack([output[index] for output in solution.outputs], axis=-1)
        _assert_close(found, exact(own, SCHEDULES[name], OBSERVE))


def test_an_infusion_follows_the_textbook_formula(solved):
    """The superposition of two infusions, each C(t) = R/CL·(1 − e^(−k·min(t, T)))·e^(−k·(t−T)⁺)."""
    clearance, volume = TYPICAL[1:]
    elimination = clearance / volume
    index = list(SCHEDULES).index("infusion that starts as another ends")
    expected = np.zeros(len(OBSERVE))
    for start, amount, duration in [(0.0, 60.0, 6.0), (6.0, 30.0, 6.0)]:
        since = np.maximum(np.array(OBSERVE) - start, 0.0)
        during, after = np.minimum(since, duration), np.maximum(since - duration, 0.0)
        plateau = amount / duration / clearance
        expected += plateau * (1 - np.exp(-elimination * during)) * np.exp(-elimination * after)
    _assert_close(solved.outputs.concentration[index], expected)


@pytest.mark.parametrize("start", [0.0, 100.0, 20_000.0])
def test_an_empty_compartment_may_begin_to_fill_at_any_time(one_compartment, start):
    """1 g an hour is 1e11 tolerances an hour: the first step is as short as the clock allows."""
    events, pattern = schedule(
        one_compartment, [Infusion(start, "central", 1000.0, 1.0)], observe=[start + 1.0]
    )
    solution = solve(one_compartment, one_compartment.Parameters(*TYPICAL), events, pattern)
    assert solution.status[0] == Status.OK
    elimination = TYPICAL[1] / TYPICAL[2]
    expected = 1000.0 / elimination * (1.0 - np.exp(-elimination))
    np.testing.assert_allclose(solution.outputs.central[0, 0], expected, rtol=1e-6)


def test_no_drug_is_lost_or_made(solved):
    for index, (name, actions) in enumerate(SCHEDULES.items()):
        given = [
            sum(
                action.amount
                * (
                    np.clip((time - action.time) / action.duration, 0.0, 1.0)
                    if isinstance(action, Infusion)
                    else action.time < time
                )
                for action in actions
                if not isinstance(action, Input)
            )
            for time in OBSERVE
        ]
        found = sum(solved.outputs[column][index] for column in range(3))
        # Steps preserve linear invariants, so only rounding is left.
        np.testing.assert_allclose(found, given, rtol=1e-12, atol=1e-11, err_msg=name)


def test_an_observation_at_the_time_of_a_dose_sees_the_state_before(solved):
    index = list(SCHEDULES).index("dose at the last output time")
    assert solved.outputs.depot[index, -1] < 1.0
    assert solved.state.depot[index] > 1e5


def test_a_start_other_than_zero_is_when_the_initial_state_holds(one_compartment, exact):
    observe = [-10.0, -4.0, 0.0, 5.0]
    actions = [Dose(-10.0, "depot", 100.0), Dose(-1.0, "central", 10.0)]
    solution = _solve(
        one_compartment, one_compartment.Parameters(*TYPICAL), actions, observe, start=-10.0
    )
    shifted = [Dose(action.time + 10.0, action.compartment, action.amount) for action in actions]
    expected = exact(TYPICAL, shifted, [time + 10.0 for time in observe])
    found = np.stack([output[0] for output in solution.outputs], axis=-1)
    _assert_close(found, expected)


def test_an_observation_shares_the_row_of_the_first_action_at_its_time(one_compartment):
    events, pattern = schedule(
        one_compartment,
        [Dose(1.0, "depot", 5.0), Dose(1.0, "central", 7.0), Infusion(2.0, "central", 6.0, 3.0)],
        observe=[0.0, 1.0, 2.0, 2.0],
    )
    assert events.time.tolist() == [0.0, 1.0, 1.0, 2.0, 2.0, 5.0]
    assert events.kind.tolist() == [
        Kind.NONE,
        Kind.DOSE,
        Kind.DOSE,
        Kind.RATE,
        Kind.NONE,
        Kind.RATE,
    ]
    assert pattern.observed == (0, 1, 3, 4)
    assert pattern.infused == (1,)
    assert events.amount.tolist() == [0.0, 5.0, 7.0, 2.0, 0.0, -2.0]


def test_one_action_and_one_time_need_no_list(one_compartment):
    one = schedule(one_compartment, Dose(1.0, "depot", 5.0), observe=5.0)
    listed = schedule(one_compartment, [Dose(1.0, "depot", 5.0)], observe=[5.0])
    np.testing.assert_equal(one[0], listed[0])
    assert one[1] == listed[1]
    with pytest.raises(ValueError, match="output times must be"):
        schedule(one_compartment, observe=np.ones((2, 2)))


def test_slots_are_as_many_as_visits_fit_between_two_rows(one_compartment):
    _, pattern = schedule(
        one_compartment,
        [Dose(24.0, "depot", 1.0), Dose(60.0, "depot", 1.0)],
        visits_until=48.0,
        shortest_recheck=8.0,
    )
    # At 0, 8, 16, 24 and before the dose; three in (24, 48]; none after the last visit.
    assert pattern.slots == (True,) * 4 + (False,) + (True,) * 3 + (False,)


def test_visits_at_stated_times_have_a_slot_each_before_a_dose_of_that_time(one_compartment):
    doses = [Dose(8.0, "depot", 1.0), Dose(20.0, "depot", 1.0)]
    events, pattern = schedule(one_compartment, doses, visits_at=[8.0, 8.25, 32.0])
    assert events.time.tolist() == [8.0, 8.0, 8.25, 20.0, 32.0]
    assert pattern.slots == (True, False, True, False, True)


def test_an_infusion_gives_all_of_its_amount_however_late_and_short(one_compartment):
    # A million hours on the clock counts in 1.2e-10 h, and a stated duration is 7 % off.
    events, _ = schedule(one_compartment, Infusion(1e6, "central", 100.0, 5e-10))
    start, end = events.time
    assert end - start != 5e-10
    assert events.amount[0] * (end - start) == pytest.approx(100.0, rel=1e-15)
    assert events.amount[1] == -events.amount[0]


@pytest.mark.parametrize(
    ("actions", "observe", "options", "error", "message"),
    [
        ([Dose(-1.0, "depot", 1.0)], [], {}, ValueError, "not before 0"),
        ([Dose(np.nan, "depot", 1.0)], [], {}, ValueError, "finite"),
        ([Dose(np.inf, "depot", 1.0)], [], {}, ValueError, "finite"),
        ([Infusion(0.0, "central", 1.0, 0.0)], [], {}, ValueError, "duration"),
        ([Infusion(0.0, "central", 1.0, np.nan)], [], {}, ValueError, "duration"),
        ([(0.0, "depot", 1.0)], [], {}, ValueError, "is no action"),
        ([Infusion(1e6, "central", 1.0, 1e-12)], [], {}, ValueError, "so short a duration"),
        ([], [2.0, 1.0], {}, ValueError, "increasing"),
        ([], [-1.0], {}, ValueError, "not before 0"),
        ([], [np.nan], {}, ValueError, "finite"),
        ([Dose(0.0, "liver", 1.0)], [], {}, KeyError, "depot, central"),
        ([Input(0.0, "inhibition", 1.0)], [], {}, KeyError, "induction"),
        ([], [], {"visits_until": 9.0}, ValueError, "shortest_recheck"),
        ([], [], {"visits_until": 9.0, "shortest_recheck": 0.0}, ValueError, "shortest_recheck"),
        ([], [], {"visits_at": [2.0, 2.0]}, ValueError, "visits must be finite, increasing"),
        ([], [], {"visits_at": [-1.0]}, ValueError, "visits must be finite, increasing"),
    ],
)
def test_an_impossible_schedule_is_refused(
    one_compartment, actions, observe, options, error, message
):
    with pytest.raises(error, match=message):
        schedule(one_compartment, actions, observe=observe, **options)
