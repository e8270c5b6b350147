"""What records do: equal to doses written out, shifted and scaled, and to closed forms."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from insilico import models
from insilico.devices import QUICKLY
from insilico.solve import (
    Covariate,
    Dose,
    Plan,
    Status,
    Tolerances,
    loops,
    read_records,
    schedule,
    solve,
    solve_block,
)
from insilico.solve.records import expand

ORAL = models.get("one_compartment")
OBSERVE = [0.0, 1.0, 3.5, 8.0, 12.0, 19.0, 24.0, 36.0, 50.0]


def _close(found, expected):
    """Errors of 1e-10 a step add up over a hundred steps; amounts are about 100."""
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)


def _at_observations(solution, data) -> np.ndarray:
    """(components, observations) of the only patient."""
    assert solution.status.tolist() == [Status.OK]
    return np.stack([np.asarray(output)[0] for output in solution.outputs])[:, data["EVID"] == 0]


@pytest.fixture(scope="module")
def observed(make_table, solve_table):
    """`observed(*records, **parameters)`: amounts at `OBSERVE`."""

    def of(*records, observe=tuple(OBSERVE), interpolation=None, **parameters):
        data = make_table(*records, observe=observe)
        solution = solve_table(data, interpolation=interpolation, **parameters)
        return _at_observations(solution, data)

    return of


EQUAL = {
    # name: (records, parameters, records, parameters)
    "additional doses are doses": (
        [{"TIME": 0.0, "AMT": 50, "ADDL": 3, "II": 9.5}], {},
        [{"TIME": 9.5 * k, "AMT": 50} for k in range(4)], {},
    ),
    "additional infusions that overlap are infusions": (
        [{"TIME": 0.5, "AMT": 50, "RATE": 5, "CMT": 2, "ADDL": 4, "II": 4}], {},
        [{"TIME": 0.5 + 4 * k, "AMT": 50, "RATE": 5, "CMT": 2} for k in range(5)], {},
    ),
    "bioavailability scales a bolus": (
        [{"TIME": 1.0, "AMT": 100}], {"bioavailability": 0.3},
        [{"TIME": 1.0, "AMT": 30}], {"bioavailability": 1.0},
    ),
    "bioavailability shortens an infusion of given rate": (
        [{"TIME": 1.0, "AMT": 100, "RATE": 20}], {"bioavailability": 0.3},
        [{"TIME": 1.0, "AMT": 30, "RATE": 20}], {"bioavailability": 1.0},
    ),
    "bioavailability shortens an infusion of modelled rate": (
        [{"TIME": 1.0, "AMT": 100, "RATE": -1}], {"bioavailability": 0.3, "rate": 20.0},
        [{"TIME": 1.0, "AMT": 30, "RATE": 20}], {"bioavailability": 1.0},
    ),
    "a modelled duration sets the rate": (
        [{"TIME": 1.0, "AMT": 100, "RATE": -2, "CMT": 2}], {"duration": 8.0},
        [{"TIME": 1.0, "AMT": 100, "RATE": 12.5, "CMT": 2}], {},
    ),
    "a lag shifts doses, additional ones and infusions": (
        [{"TIME": 0.0, "AMT": 50, "ADDL": 3, "II": 5},
         {"TIME": 2.0, "AMT": 9, "RATE": 3, "CMT": 2}],
        {"lag": 1.7},
        [*({"TIME": 1.7 + 5 * k, "AMT": 50} for k in range(4)),
         {"TIME": 3.7, "AMT": 9, "RATE": 3, "CMT": 2}], {},
    ),
    "a lag may be longer than the interval": (
        [{"TIME": 0.0, "AMT": 50, "ADDL": 3, "II": 5}], {"lag": 11.0},
        [{"TIME": 11.0 + 5 * k, "AMT": 50} for k in range(4)], {},
    ),
    "a lag too small for the clock is none": (
        [{"TIME": 3.5, "EVID": 4, "AMT": 50}], {"lag": 1e-30},
        [{"TIME": 3.5, "EVID": 4, "AMT": 50}], {},
    ),
    "a reset forgets everything": (
        [{"TIME": 0.0, "AMT": 50, "ADDL": 9, "II": 2, "RATE": 7},
         {"TIME": 8.0, "EVID": 4, "AMT": 20}, {"TIME": 30.0, "EVID": 3}], {"lag": 0.4},
        [{"TIME": 0.0, "AMT": 50, "ADDL": 3, "II": 2, "RATE": 7}, {"TIME": 8.0, "EVID": 3},
         {"TIME": 8.0, "AMT": 20}, {"TIME": 30.0, "EVID": 3}], {"lag": 0.4},
    ),
    "nothing is given after the last record": (
        [{"TIME": 0.0, "AMT": 50, "ADDL": 1_000_000, "II": 6}], {},
        [{"TIME": 6.0 * k, "AMT": 50} for k in range(9)], {},
    ),
    "what EVID 8 sets knows no bioavailability": (
        [{"TIME": 1.0, "AMT": 100}, {"TIME": 9.0, "EVID": 8, "AMT": 40}], {"bioavailability": 0.3},
        [{"TIME": 9.0, "EVID": 8, "AMT": 40}, {"TIME": 1.0, "AMT": 30}], {"bioavailability": 1.0},
    ),
    "nothing available is nothing": (
        [{"TIME": 1.0, "AMT": 100}, {"TIME": 2.0, "AMT": 100, "RATE": 10},
         {"TIME": 3.0, "AMT": 100, "RATE": -1}], {"bioavailability": 0.0}, [], {},
    ),
    "a steady state leaves only its own doses": (
        [{"TIME": 0.0, "AMT": 70, "RATE": 3, "CMT": 2, "ADDL": 5, "II": 4},
         {"TIME": 12.0, "AMT": 50, "SS": 1, "II": 12}], {},
        [{"TIME": 0.0, "AMT": 70, "RATE": 3, "CMT": 2, "ADDL": 2, "II": 4},
         {"TIME": 12.0, "EVID": 4, "AMT": 50, "SS": 1, "II": 12}], {},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def ways(make_table, solve_table):
    """Both ways of each pair above as patients of one batch: (patients, amounts) by name."""
    tables, changed = [], []
    for first, its, second, others in EQUAL.values():
        for records, parameters in ((first, its), (second, others)):
            data = make_table(*records, observe=OBSERVE, patient=len(tables))
            tables.append(pd.DataFrame(data))
            changed.append(
                {"lag": 0.0, "bioavailability": 0.8, "duration": 2.5, "rate": 30.0} | parameters
            )
    data = pd.concat(tables, ignore_index=True)
    parameters = {name: np.array([own[name] for own in changed]) for name in changed[0]}
    solution = solve_table(data, **parameters)
    assert np.all(solution.status == Status.OK)
    found: list[np.ndarray] = []
    for index, table in enumerate(tables):
        observing = np.flatnonzero(np.asarray(table["EVID"]) == 0)
        amounts = [np.asarray(output)[index, observing] for output in solution.outputs]
        found.append(np.stack(amounts))
    pairs = zip(found[::2], found[1::2], strict=True)
    return dict(zip(EQUAL, pairs, strict=True))


@pytest.mark.parametrize("name", EQUAL)
def test_two_ways_to_say_the_same_are_the_same(name, ways):
    _close(*ways[name])


def test_doses_are_those_of_a_schedule(one_compartment):
    """Records meet the same equations as the other way to say what is given."""
    data = {
        "TIME": [0.0, 1.0, 6.0, 6.0, 9.0],
        "EVID": [1, 0, 0, 1, 0],
        "AMT": [9, 0, 0, 5, 0],
        "CMT": ["depot", 0, 0, "central", 0],
        "INDUCTION": [0.0] * 5,
    }
    records = read_records(one_compartment, data, covariates={"induction": "INDUCTION"})
    parameters = one_compartment.Parameters(1.2, 3.0, 30.0)
    tight = Tolerances(relative=1e-10, absolute=1e-10)
    found = solve(one_compartment, parameters, records, tolerances=tight)
    actions = [Dose(0.0, "depot", 9.0), Dose(6.0, "central", 5.0)]
    events, pattern = schedule(one_compartment, actions, observe=[1.0, 6.0, 9.0])
    expected = solve(one_compartment, parameters, events, pattern, tolerances=tight)
    for own, other in zip(found.outputs, expected.outputs, strict=True):
        _close(own[0][[1, 2, 4]], other[0])


def test_rows_that_stand_in_order_are_what_sorting_makes_of_them():
    frame = pd.DataFrame(
        [(1, 0, 0, 0, 1), (1, 0, 1, 100, 1), (1, 0, 0, 0, 1), (1, 3, 0, 0, 1), (1, 3, 1, 50, 2),
         (1, 5, 4, 20, 1), (1, 6, 0, 0, 1), (2, 1, 1, 70, 1), (2, 2, 0, 0, 1), (2, 4, 3, 0, 1)],
        columns=["ID", "TIME", "EVID", "AMT", "CMT"],
    )  # fmt: skip
    table, layout = read_records(ORAL, frame).laid_out()
    assert layout.ordered
    table = jax.tree.map(jnp.asarray, table)
    parameters = jax.tree.map(lambda value: jnp.full(2, value), ORAL.Parameters(1.5, 3.0, 30.0))

    def rows(layout):
        tolerances = Tolerances().numbers()
        advance = loops.advance_of(ORAL, "tsit5")
        return expand(ORAL, parameters, table, layout, tolerances, advance=advance)

    ordered, sorted_ = rows(layout), rows(dataclasses.replace(layout, ordered=False))
    jax.tree.map(np.testing.assert_array_equal, ordered.events, sorted_.events)
    np.testing.assert_array_equal(ordered.prior.observing, sorted_.prior.observing)


def test_tables_with_doses_of_their_own_times_are_sorted():
    frame = pd.DataFrame({"TIME": [0.0, 9.0], "AMT": [50.0, 0.0], "EVID": [1, 0]})
    assert read_records(ORAL, frame).laid_out()[1].ordered
    lagged = dataclasses.replace(ORAL, dosing=lambda parameters, inputs: {})
    assert not read_records(lagged, frame).laid_out()[1].ordered
    for more in ({"ADDL": [2, 0], "II": [3.0, 0.0]}, {"RATE": [10.0, 0.0]}):
        assert not read_records(ORAL, frame.assign(**more)).laid_out()[1].ordered


def test_an_observation_costs_no_new_start():
    """A step goes on over a row at which nothing jumps."""
    frame = pd.DataFrame({"TIME": [0.0, *np.linspace(1.0, 24.0, 47)], "EVID": [1] + [0] * 47})
    frame["AMT"] = np.where(frame.EVID == 1, 100.0, 0.0)
    parameters = ORAL.Parameters(1.5, 3.0, 30.0)
    by_table = solve(ORAL, parameters, read_records(ORAL, frame), method="tsit5")
    by_schedule = solve(
        ORAL,
        parameters,
        *schedule(ORAL, [Dose(0.0, "depot", 100.0)], observe=frame.TIME[1:]),
        method="tsit5",
    )
    # The table's first row is its own: the dose's record has an output.
    assert by_table.steps[0] <= by_schedule.steps[0] + 1


def test_records_of_one_instant_act_in_the_order_of_the_file(solve_table):
    """Observation, dose, observation, replacement, observation, reset, observation."""
    data = {
        "ID": np.ones(7),
        "TIME": np.full(7, 4.0),
        "EVID": np.array([0, 1, 0, 8, 0, 3, 0]),
        "AMT": np.array([0, 10, 0, 3, 0, 0, 0.0]),
        "CMT": np.full(7, 2),
        "EFFECT": np.zeros(7),
    }
    central = solve_table(data).outputs.central[0]
    assert central.tolist() == [0.0, 10.0, 10.0, 3.0, 3.0, 0.0, 0.0]


@pytest.mark.parametrize("lag", [0.0, 1.5])
def test_additional_and_lagged_doses_come_before_records_of_their_instant(observed, lag):
    depot, _ = observed(
        {"TIME": 0.0, "AMT": 100, "ADDL": 1, "II": 3.0}, observe=(lag, 3.0 + lag), lag=lag
    )
    decayed = np.exp(-1.3 * 3.0)
    # At 0 the observation is written below the dose.
    _close(depot, [80.0, 80.0 * (1.0 + decayed)])


def test_a_clock_that_a_reset_turns_back_starts_again(make_table, solve_table):
    """Two periods after each other, and each of them as a patient of its own."""
    first = make_table({"TIME": 5.0, "AMT": 100, "ADDL": 9, "II": 3.0}, observe=(6.0, 12.0))
    second = make_table({"TIME": 0.0, "EVID": 4, "AMT": 40}, observe=(1.0, 8.0))
    data = {name: np.tile(np.concatenate([first[name], second[name]]), 2) for name in first}
    data["ID"] = np.repeat([1, 2, 3], [6, 3, 3])
    for output in solve_table(data).outputs:
        _close(output[0], np.concatenate([output[1][:3], output[2][:3]]))


EFFECTS = {
    "TIME": np.array([0.0, 2.0, 2.0, 7.0, 11.0, 16.0]),
    "EFFECT": np.array([0.5, 1.0, 2.0, 0.0, -0.5, 1.5]),
}


def _effect(interpolation: str, time: float) -> float:
    times, values = EFFECTS["TIME"], EFFECTS["EFFECT"]
    if interpolation == "nocb":
        return values[min(np.searchsorted(times, time, side="left"), 5)]
    if interpolation == "locf":
        return values[np.searchsorted(times, time, side="right") - 1]
    return np.interp(time, times, values)


@pytest.mark.parametrize("interpolation", ["nocb", "locf", "linear"])
def test_a_covariate_holds_as_its_interpolation_says(solve_table, interpolation):
    """Against a general solver that looks the covariate up; the dose takes the first value."""
    data = EFFECTS | {"EVID": np.array([4, 0, 0, 0, 0, 0]), "AMT": np.array([100.0, 0, 0, 0, 0, 0])}
    found = solve_table(data, interpolation=interpolation)
    state = np.array([80.0 * 1.25, 0.0])
    expected = [state]

    def rates(time, y, low, high):
        middle = min(max(time, low + 1e-12), high - 1e-12)
        effect = _effect(interpolation, middle)
        return [-1.3 * y[0], 1.3 * y[0] - 0.12 * (1.0 + effect) * y[1]]

    for low, high in zip(EFFECTS["TIME"][:-1], EFFECTS["TIME"][1:], strict=True):
        if high > low:
            span = solve_ivp(rates, (low, high), state, args=(low, high), rtol=1e-10, atol=1e-10)
            state = span.y[:, -1]
        expected.append(state)
    np.testing.assert_allclose(
        np.stack([output[0] for output in found.outputs], axis=1), expected, rtol=1e-6, atol=1e-7
    )


IMPOSSIBLE = {
    "negative lag": {"lag": -0.1},
    "lag that is no number": {"lag": np.nan},
    "infinite lag": {"lag": np.inf},
    "negative bioavailability": {"bioavailability": -0.1},
    "no duration": {"duration": 0.0},
    "negative rate": {"rate": -1.0},
    "duration too short for the clock": {"duration": 1e-15},
    "rate too high for the clock": {"rate": 1e17},
}


def test_impossible_dosing_fails_its_patient_alone(lagged, make_table, solve_table):
    parts = []
    for patient in range(len(IMPOSSIBLE) + 1):
        parts.append(
            make_table(
                {"TIME": 0.0, "AMT": 10},
                {"TIME": 1.0, "AMT": 10, "RATE": -1},
                {"TIME": 2.0, "AMT": 10, "RATE": -2, "CMT": 2},
                observe=(5.0,),
                patient=patient,
            )
        )
    data = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    good = {"lag": 0.2, "bioavailability": 0.8, "duration": 2.5, "rate": 30.0}
    changed = {
        name: np.array([good[name], *(own.get(name, good[name]) for own in IMPOSSIBLE.values())])
        for name in good
    }
    solution = solve_table(data, **changed)
    assert solution.status.tolist() == [Status.OK] + [Status.IMPOSSIBLE_DOSING] * len(IMPOSSIBLE)
    assert np.all(np.isnan(solution.outputs.central[1:]))
    _close(solution.outputs.central[0], solve_table(parts[0], lag=0.2).outputs.central[0])


def test_what_no_dose_asks_for_may_be_impossible(observed):
    record = {"TIME": 0.0, "AMT": 10}
    _close(observed(record, duration=-1.0, rate=np.nan), observed(record))


@pytest.fixture(scope="module")
def crowd(lagged):
    """Ten thousand patients, their parameters, and what comes of them."""
    data, parameters = _crowd_of(lagged, 10_000)
    return data, parameters, _solved_crowd(lagged, data, parameters)


def _crowd_of(lagged, patients):
    """Patients with tables of 3 to 14 records, some at steady state, and their parameters."""
    generator, parts = np.random.default_rng(5), []
    for patient in range(1, patients + 1):
        count = int(generator.integers(3, 15))
        doses = generator.uniform(size=count) < 0.4
        infused = doses & (generator.uniform(size=count) < 0.3)
        steady = doses & (generator.uniform(size=count) < 0.1)
        parts.append(
            pd.DataFrame(
                {
                    "ID": patient,
                    "TIME": np.sort(generator.integers(0, 60, count) * 0.75),
                    "EVID": np.where(doses, 1, 0),
                    "AMT": np.where(doses, generator.uniform(10, 100, count), 0.0),
                    "CMT": generator.integers(1, 3, count),
                    "RATE": np.where(infused, 20.0, 0.0),
                    "ADDL": np.where(doses & (generator.uniform(size=count) < 0.3), 2, 0),
                    "II": np.where(doses, 6.0, 0.0),
                    "SS": np.where(steady, generator.integers(1, 3, count), 0),
                    "EFFECT": generator.uniform(-0.3, 0.3, count),
                }
            )
        )
    data = pd.concat(parts, ignore_index=True)
    scale = np.exp(generator.normal(0.0, 0.3, (6, patients)))
    typical = np.array([1.3, 0.12, 0.8, 0.7, 2.5, 30.0])
    return data, lagged.Parameters(*(typical[:, None] * scale))


def _solved_crowd(model, data, parameters):
    records = read_records(model, data, covariates={"effect": Covariate("EFFECT", "linear")})
    return solve(model, parameters, records)


@pytest.mark.slow
def test_the_crowd_is_solved_and_padded(crowd):
    data, _, solution = crowd
    counts = data.groupby("ID").size().to_numpy()
    assert np.all(solution.status == Status.OK)
    assert solution.outputs.central.shape == (10_000, counts.max())
    padded = np.arange(counts.max()) >= counts[:, None]
    for output in solution.outputs:
        np.testing.assert_array_equal(np.isnan(output), padded)


@pytest.mark.slow
def test_a_patient_of_the_crowd_is_the_same_to_the_last_bit_among_others(lagged, crowd):
    """Their tables are shorter, so that the program is another; the numbers are not."""
    data, parameters, together = crowd
    # One with as many records as any has the layout of all.
    longest = int(data.groupby("ID").size().to_numpy().argmax()) + 1
    for chosen in ([64, 65, longest], [longest, 5_000, 10_000]):
        few = sorted(set(chosen))
        own = data[data["ID"].isin(few)]
        index = np.array(few) - 1
        alone = _solved_crowd(lagged, own, lagged.Parameters(*(p[index] for p in parameters)))
        for found, expected in zip(alone.outputs, together.outputs, strict=True):
            shape = found.shape[1]
            np.testing.assert_array_equal(found, expected[index][:, :shape])
        np.testing.assert_array_equal(alone.steps, together.steps[index])


@pytest.mark.slow
def test_outputs_stand_beside_the_table_in_its_order(lagged, crowd):
    data, _, solution = crowd
    records = read_records(lagged, data, covariates={"effect": "EFFECT"})
    frame = records.frame(solution)
    assert frame.columns.tolist() == [*data.columns, "depot", "central", "status"]
    pd.testing.assert_frame_equal(frame.reindex(columns=data.columns), data)
    assert set(frame["status"]) == {"solved"}
    for patient in (1, 77, 10_000):
        own = frame[frame["ID"] == patient]
        found = solution.outputs.central[patient - 1][: len(own)]
        np.testing.assert_array_equal(own["central"], found)
    with pytest.raises(ValueError, match="its own depot; give the outputs a prefix"):
        read_records(lagged, data.assign(depot=0), covariates={"effect": "EFFECT"}).frame(solution)


@pytest.mark.slow
def test_a_block_takes_a_table_and_its_layout(lagged):
    data, parameters = _crowd_of(lagged, 64)
    records = read_records(lagged, data, covariates={"effect": Covariate("EFFECT", "linear")})
    table, layout = records.laid_out(4)

    def central(parameters, table):
        return solve_block(
            lagged, parameters, table, layout, Tolerances().numbers()
        ).outputs.central

    found = jax.jit(central, compiler_options=QUICKLY)(parameters, table)
    expected = _solved_crowd(lagged, data, parameters)
    assert np.all(expected.status == Status.OK)
    np.testing.assert_allclose(np.asarray(found).T, expected.outputs.central, rtol=1e-4)


def test_what_does_not_fit_together_is_refused(lagged, one_compartment, make_table):
    data = make_table({"TIME": 0.0, "AMT": 1.0}, observe=(1.0,))
    records = read_records(lagged, data, covariates={"effect": "EFFECT"})
    six = lagged.Parameters(*[1.0] * 6)

    class Never:
        def start(self, subject):
            return Plan(jnp.inf + jnp.zeros(1), None)

    with pytest.raises(ValueError, match="with an event table there are none"):
        solve(lagged, six, records, rule=Never())  # type: ignore
    with pytest.raises(ValueError, match="parameters of 2 patients; the table has 1"):
        solve(lagged, six._replace(lag=np.ones(2)), records)
    with pytest.raises(ValueError, match="was read for model lagged"):
        solve(one_compartment, one_compartment.Parameters(1.0, 1.0, 1.0), records)
    with pytest.raises(ValueError, match="need their pattern"):
        solve(
            one_compartment, one_compartment.Parameters(1.0, 1.0, 1.0), schedule(one_compartment)[0]
        )


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9)), min_size=1, max_size=6),
    st.floats(0.0, 9.0),
    st.floats(0.05, 1.0),
)
def test_doses_superpose(make_table, solve_table, doses, lag, available):
    """The sum of each dose's own answer, whatever their order in time and their lag."""
    width, observe = 6, (10.0, 25.0, 41.0)

    def central(amounts):
        # As many records each time, so that nothing compiles anew.
        filled = [*amounts, *[(40, 0)] * (width - len(amounts))]
        records = [{"TIME": 1.0 * time, "AMT": 1.0 * amount} for time, amount in filled]
        data = make_table(*records, observe=observe)
        rows = _at_observations(solve_table(data, lag=lag, bioavailability=available), data)
        return rows[1]

    total = central(doses)
    np.testing.assert_allclose(total, sum(central([dose]) for dose in doses), rtol=1e-7, atol=1e-7)
