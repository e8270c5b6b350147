"""Events that a state sets off: where they are, and what they do."""

import dataclasses
import math
from typing import Annotated, NamedTuple

import eventful_models as eventful
import jax
import numpy as np
import pytest
import scipy.integrate

from insilico.model import Model, NoTriggers, Quantity, Trigger
from insilico.solve import (
    Dose,
    Kind,
    Plan,
    Status,
    Tolerances,
    methods,
    read_records,
    reference,
    schedule,
    solve,
)
from insilico.vocabulary import Value

TUMOUR, BALL, RESCUE = eventful.TUMOUR, eventful.BALL, eventful.RESCUE

TIGHT = Tolerances(relative=1e-9, absolute=1e-9)
OBSERVE = [2.0, 5.0, 9.0]
METHODS = [
    name if name == "tsit5" else pytest.param(name, marks=pytest.mark.slow)
    for name in methods.ADAPTIVE
]
FORMS = [*METHODS, "closed_form"]


def at_death(parameters):
    return parameters.threshold / parameters.hazard


def at_progression(parameters):
    return np.maximum(np.log(parameters.bound / parameters.start) / parameters.rate, 0.0)


@pytest.mark.parametrize("method", FORMS)
def test_events_are_where_closed_forms_have_them_and_the_dead_are_followed_no_further(method):
    parameters = eventful.growths(100)
    events, pattern = schedule(TUMOUR, observe=OBSERVE)
    found = solve(TUMOUR, parameters, events, pattern, method=method, tolerances=TIGHT)
    death, progression = at_death(parameters), at_progression(parameters)
    dies, progresses = death < OBSERVE[-1], progression < np.minimum(death, OBSERVE[-1])
    assert 20 < dies.sum() < 80 and 20 < progresses.sum() < 80
    assert np.all(found.status == Status.OK)
    for events_of, happens, time in (
        (found.triggered.death, dies, death),
        (found.triggered.progression, progresses, progression),
    ):
        np.testing.assert_array_equal(events_of.count, happens)
        # Errors of 1e-9 a step, of a size that changes by a tenth of itself in a week or faster.
        expected = np.where(happens, time, math.nan)
        np.testing.assert_allclose(events_of.first, expected, rtol=1e-7, atol=1e-8)
    assert found.triggered.progression.first[0] == 0.0
    stopped = np.where(dies, death, OBSERVE[-1])
    np.testing.assert_allclose(found.stopped, stopped, rtol=1e-9)
    size = parameters.start[:, None] * np.exp(parameters.rate[:, None] * OBSERVE)
    alive = np.array(OBSERVE) <= death[:, None]
    np.testing.assert_allclose(found.outputs.size, np.where(alive, size, math.nan), rtol=1e-7)
    np.testing.assert_allclose(
        found.state.size, parameters.start * np.exp(parameters.rate * stopped), rtol=1e-7
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_ball_bounces_as_often_and_as_high_as_it_should(method):
    """Steps without an error grow until one of them ends far below the floor."""
    times = [0.3, 1.0, 1.1]
    events, pattern = schedule(BALL, observe=times, triggered=4)
    found = solve(BALL, eventful.FALLS, events, pattern, method=method)
    assert np.all(found.status == Status.OK)
    for index, fall in enumerate(zip(*eventful.FALLS, strict=True)):
        one = eventful.Fall(*fall)
        heights = [eventful.bouncing(one, time) for time in times]
        np.testing.assert_allclose(found.outputs.height[index], heights, atol=1e-10)
        landing = math.sqrt(2.0 * one.drop / one.gravity)
        assert found.triggered.bounce.first[index] == pytest.approx(landing, rel=1e-12)
        gaps = 2.0 * landing * np.cumsum(one.restitution ** np.arange(1, 9))
        bounces = 1 + np.sum(landing + gaps < times[-1])
        assert found.triggered.bounce.count[index] == bounces


def followed_alone(person, doses, observe):
    """One person by scipy, event by event."""
    p = eventful.Person(*person)
    state = np.array([float(np.ravel(leaf)[0]) for leaf in RESCUE.initial(p)])
    time, rows, sugar = 0.0, [], []

    def rates(time, state):
        return np.array(RESCUE.derivative(time, eventful.Sugar(*state), p, None))

    def low(time, state):
        return p.bound - state[1]

    low.terminal, low.direction = True, 1.0
    points = [(at, 0, None) for at in observe] + [(dose.time, 1, dose) for dose in doses]
    for until, _, dose in sorted(points, key=lambda point: point[:2]):
        while time < until:
            way = scipy.integrate.solve_ivp(
                rates, (time, until), state, method="DOP853", rtol=1e-12, atol=1e-12, events=low
            )
            time, state = way.t[-1], way.y[:, -1]
            if way.status == 1:
                sugar.append(time)
                state = state + np.array([p.rescue, 0.0, 0.0])
                # Just past zero, so that the same event is not found once more.
                way = scipy.integrate.solve_ivp(
                    rates, (time, time + 1e-6), state, rtol=1e-12, atol=1e-12
                )
                time, state = way.t[-1], way.y[:, -1]
        if dose is None:
            rows.append(state)
        else:
            state = state + np.array([0.0, 0.0, dose.amount])
    return np.array(rows), sugar


@pytest.fixture(scope="module")
def rescue():
    return schedule(RESCUE, eventful.INSULIN, observe=eventful.HOURS, triggered=3)


@pytest.mark.parametrize("method", METHODS)
def test_people_take_sugar_when_scipy_says_so(rescue, method):
    """Events that come again, between doses, in a model that is not linear."""
    found = solve(RESCUE, eventful.PEOPLE, *rescue, method=method, tolerances=TIGHT)
    assert np.all(found.status == Status.OK)
    for index, person in enumerate(zip(*eventful.PEOPLE, strict=True)):
        rows, sugar = followed_alone(person, eventful.INSULIN, eventful.HOURS)
        assert found.triggered.low.count[index] == len(sugar)
        ours = np.stack([output[index] for output in found.outputs], axis=-1)
        np.testing.assert_allclose(ours, rows, rtol=1e-6, atol=1e-6)
        first = sugar[0] if sugar else math.nan
        np.testing.assert_allclose(found.triggered.low.first[index], first, rtol=1e-8)
    assert list(found.triggered.low.count[[0, 2]]) != [0, 0] and found.triggered.low.count[2] == 0


ONE = eventful.Growth(*(np.array([value]) for value in (1.0, 0.1, 3.0, 1e-3, 1.0)))
FIRST = pytest.approx(math.log(3.0) / 0.1, rel=1e-7)


def progressions(times, amounts, observe, **changed):
    """Of patients with doses of their own, (patients, doses): times and numbers of progressions."""
    events, pattern = schedule(TUMOUR, [Dose(time, "size", 1.0) for time in times], observe=observe)
    own = np.repeat(events.amount[:, None], len(amounts), axis=1)
    own[events.kind == Kind.DOSE] = np.transpose(amounts)
    parameters = eventful.Growth(*(np.repeat(leaf, len(amounts)) for leaf in ONE))
    found = solve(
        TUMOUR,
        parameters._replace(**changed),
        events._replace(amount=own),
        pattern,
        method="tsit5",
        tolerances=TIGHT,
    )
    assert np.all(found.status == Status.OK)
    return list(zip(*found.triggered.progression, strict=True))


def test_a_jump_above_zero_sets_off_its_event_at_once():
    jumped, never, last, initial = progressions(
        [4.0, 4.0, 12.0],
        [(5.0, 0.0, 0.0), (5.0, -5.0, 0.0), (0.0, -0.5, 2.0), (0.0, 0.0, 0.0)],
        observe=[10.0],
        bound=np.array([3.0, 9.0, 3.0, 0.5]),
    )
    assert jumped == (4.0, 1) and initial == (0.0, 1)
    # Whatever a schedule does at one instant is done before a trigger is looked at.
    assert never[1] == 0
    # Nothing comes after the last row; what it sets off happens all the same.
    assert last == (12.0, 1)


def test_an_event_comes_again_once_its_trigger_was_at_or_below_zero():
    alone, shrunk, grown = progressions([12.0], [(0.0,), (-1.0,), (1.0,)], observe=[30.0])
    assert alone == (FIRST, 1) and shrunk == (FIRST, 2) and grown == (FIRST, 1)


@pytest.mark.parametrize("method", ["tsit5", "closed_form"])
def test_an_event_at_the_time_of_a_row_happens_once(method):
    """A rounding decides on which side of the row; it is never on both."""
    rate = np.linspace(0.07, 0.13, 64)
    parameters = eventful.Growth(*(np.repeat(leaf, 64) for leaf in ONE))
    parameters = parameters._replace(rate=rate, bound=np.exp(rate * 5.0))
    events, pattern = schedule(TUMOUR, observe=[5.0, 10.0])
    found = solve(TUMOUR, parameters, events, pattern, method=method).triggered.progression
    assert np.all(found.count == 1)
    np.testing.assert_allclose(found.first, 5.0, rtol=1e-5)


@pytest.mark.optimised
def test_who_has_more_events_than_slots_fails_and_says_so_and_spoils_nobody():
    events, pattern = schedule(BALL, observe=[1.1])
    found = solve(BALL, eventful.FALLS, events, pattern)
    # The third lands at 0.32 s, and again at 0.89 s.
    assert list(found.status) == [Status.OK, Status.OK, Status.TOO_MANY_TRIGGERED]
    assert list(np.isnan(found.outputs.height[:, 0])) == [False, False, True]
    assert found.stopped[2] == pytest.approx(0.8940, abs=1e-4)
    assert found.triggered.bounce.count[2] == 1
    alone = solve(BALL, eventful.Fall(*(leaf[:2] for leaf in eventful.FALLS)), events, pattern)
    np.testing.assert_array_equal(found.outputs.height[:2], alone.outputs.height)


class Weekly:
    """A visit every two weeks, at which a dose is halved."""

    def start(self, subject):
        return Plan(1.0 + 0.0 * subject, 1.0 + 0.0 * subject)

    def visit(self, visit, plan, subject):
        return {"size": visit.outputs.size}, Plan(visit.time + 2.0, 0.5 * plan.memory)

    def administer(self, time, plan, subject):
        return (plan.memory,), plan


def test_visits_and_events_share_slots_and_the_dead_hold_no_visit():
    doses = [Dose(4.0, "size", 1.0, order=0), Dose(8.0, "size", 1.0, order=0)]
    plan = schedule(TUMOUR, doses, observe=[10.0], visits_until=9.0, shortest_recheck=2.0)
    parameters = eventful.Growth(
        start=np.array([1.0, 1.0]),
        rate=np.array([0.1, 0.1]),
        bound=np.array([1.25, 1.25]),
        hazard=np.array([0.2, 0.2]),
        threshold=np.array([9.0, 1.2]),
    )
    found = solve(TUMOUR, parameters, *plan, rule=Weekly(), subject=np.ones(2), tolerances=TIGHT)
    assert np.all(found.status == Status.OK)
    held = [times[~np.isnan(times)] for times in found.visit_time]
    np.testing.assert_allclose(held[0], [1.0, 3.0, 5.0, 7.0, 9.0])
    np.testing.assert_allclose(held[1], [1.0, 3.0, 5.0])
    np.testing.assert_allclose(found.triggered.progression.first, math.log(1.25) / 0.1, rtol=1e-7)
    np.testing.assert_allclose(found.stopped, [10.0, 6.0])
    size = (math.exp(0.4) + 0.25) * math.exp(0.4) + 0.0625
    np.testing.assert_allclose(found.outputs.size[:, 0], [size * math.exp(0.2), math.nan])
    np.testing.assert_allclose(found.state.size[1], (math.exp(0.4) + 0.25) * math.exp(0.2))


@pytest.mark.slow
def test_one_of_ten_thousand_has_the_bits_that_it_has_alone():
    parameters = eventful.growths(10_000)
    events, pattern = schedule(TUMOUR, observe=OBSERVE)
    together = solve(TUMOUR, parameters, events, pattern, method="tsit5", tolerances=TIGHT)
    assert np.all(together.status == Status.OK)
    for patient in (0, 17, 9_999):
        own = eventful.Growth(*(leaf[patient : patient + 1] for leaf in parameters))
        alone = solve(TUMOUR, own, events, pattern, method="tsit5", tolerances=TIGHT)
        for mine, others in zip(jax.tree.leaves(alone), jax.tree.leaves(together), strict=True):
            np.testing.assert_array_equal(mine[0], others[patient])


def test_event_tables_have_them_too():
    """Doses, a death between records, and a reset, up to which nothing is followed."""
    records = {
        "ID": [1, 1, 1, 1, 2, 2, 2, 3, 3, 3],
        "TIME": [0.0, 1.0, 4.0, 9.0, 0.0, 2.0, 5.0, 0.0, 1.0, 5.0],
        "AMT": [0.5, 0, 0, 0, 0, 4.0, 0, 0, 0, 0],
        "EVID": [1, 0, 0, 0, 0, 1, 0, 0, 3, 0],
        "CMT": [1] * 10,
    }
    import pandas as pd

    parameters = eventful.Growth(
        np.array([1.0, 1.0, 1.0]),
        np.array([0.2, 0.1, 0.6]),
        np.array([2.0, 2.0, 8.0]),
        np.array([0.02, 0.3, 0.01]),
        np.array([0.1, 1.0, 1.0]),
    )
    found = solve(
        TUMOUR,
        parameters,
        read_records(TUMOUR, pd.DataFrame(records)),
        method="tsit5",
        tolerances=TIGHT,
    )
    assert np.all(found.status == Status.OK)
    np.testing.assert_allclose(
        found.triggered.progression.first,
        [math.log(2.0 / 1.5) / 0.2, 2.0, 1.0 + math.log(8.0) / 0.6],
        rtol=1e-7,
    )
    np.testing.assert_allclose(found.triggered.death.first, [5.0, 1.0 / 0.3, math.nan], rtol=1e-9)
    np.testing.assert_allclose(
        found.outputs.size[0], [1.5, 1.5 * math.exp(0.2), 1.5 * math.exp(0.8), math.nan], rtol=1e-7
    )
    assert np.isnan(found.outputs.size[1, 2]) and np.isfinite(found.outputs.size[2, 2])


@pytest.mark.slow
def test_single_precision_finds_them_as_exactly_as_it_can():
    parameters = eventful.growths(100)
    events, pattern = schedule(TUMOUR, observe=OBSERVE)
    found = solve(TUMOUR, parameters, events, pattern, method="taylor", precision="single")
    happens = found.triggered.death.count > 0
    assert np.all(found.status == Status.OK) and happens.sum() > 20
    # A death that is a rounding away from the last row may be on either side of it.
    np.testing.assert_allclose(
        found.triggered.death.first[happens], at_death(parameters)[happens], rtol=1e-5
    )


def test_what_does_not_go_together_is_refused():
    events, pattern = schedule(TUMOUR, observe=[1.0])
    with pytest.raises(ValueError, match=r"has triggers, which method rk4 does not look out for"):
        solve(TUMOUR, ONE, events, pattern, method="rk4", tolerances=Tolerances(step=0.1))
    with pytest.raises(ValueError, match="has triggers, which the reference does not know"):
        reference(TUMOUR, ONE, events, pattern, Tolerances())
    without = dataclasses.replace(TUMOUR, Triggers=NoTriggers, triggers=None)
    with pytest.raises(ValueError, match="no slots for the triggers of model tumour: make it for"):
        solve(TUMOUR, ONE, *schedule(without, observe=[1.0]))
    for model, number in ((TUMOUR, 0), (without, 2)):
        with pytest.raises(ValueError, match="triggered must be at least 1, and only for a model"):
            schedule(model, observe=[1.0], triggered=number)


def test_slots_stand_before_every_row_that_time_passes_up_to():
    doses = [Dose(2.0, "size", 1.0), Dose(2.0, "size", 1.0)]
    events, _ = schedule(TUMOUR, doses, observe=[3.0], triggered=1)
    kinds = [Kind.PAUSE, Kind.DOSE, Kind.DOSE, Kind.PAUSE, Kind.NONE]
    assert list(events.kind) == kinds and list(events.time) == [2.0, 2.0, 2.0, 3.0, 3.0]


class Wrong(NamedTuple):
    death: Annotated[Value, Trigger("death", ends=True)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"triggers": None}, "declares Triggers or react, but no function triggers"),
        ({"Triggers": NoTriggers}, "has a function triggers, but declares no Triggers"),
        ({"Triggers": Wrong}, "triggers of model tumour must be a Wrong; found Course"),
        ({"react": lambda t, s, p: {"death": s}}, "names 'death', which is no trigger after"),
        ({"react": lambda t, s, p: {"progression": 1.0}}, "reaction to progression of model"),
    ],
)
def test_a_model_that_is_not_what_it_declares_is_told_so(change, message):
    with pytest.raises(TypeError, match=message):
        dataclasses.replace(TUMOUR, **change).check_structure(ONE)
    # A solve says so too, instead of going on without what it does not find.
    with pytest.raises(TypeError, match=message):
        solve(dataclasses.replace(TUMOUR, **change), ONE, *schedule(TUMOUR, observe=[1.0]))


def test_a_trigger_needs_a_description():
    class Bare(NamedTuple):
        death: Value

    with pytest.raises(TypeError, match=r"field 'death' needs a description; annotate it as"):
        dataclasses.replace(TUMOUR, Triggers=Bare).trigger_fields()


def test_units_of_triggers_and_reactions_are_checked():
    from insilico.dimensions import inconsistencies

    assert inconsistencies(TUMOUR) == [] and inconsistencies(RESCUE) == []
    mixed = dataclasses.replace(
        TUMOUR, triggers=lambda t, s, p: eventful.Course(s.size - p.threshold, s.hazard)
    )
    assert any("triggers" in problem for problem in inconsistencies(mixed))
    wrong = dataclasses.replace(
        TUMOUR, react=lambda t, s, p: {"progression": s._replace(size=s.size * s.size)}
    )
    assert any("react" in problem for problem in inconsistencies(wrong))


def test_a_number_that_is_not_finite_sets_off_nothing():
    class Level(NamedTuple):
        level: Annotated[Value, Quantity("1", "level")]

    model = Model(
        name="level",
        title="",
        citation="none",
        State=Level,
        Parameters=Level,
        Outputs=Level,
        initial=lambda p: Level(p.level),
        derivative=lambda t, s, p, i: Level(p.level),
        outputs=lambda t, s, p: s,
        Triggers=Wrong,
        triggers=lambda t, s, p: Wrong(s.level - 3.0),
    )
    events, pattern = schedule(model, observe=[10.0])
    found = solve(model, Level(np.array([1.0, math.nan, 0.1])), events, pattern)
    assert list(found.status) == [Status.OK, Status.NOT_FINITE, Status.OK]
    assert list(found.triggered.death.count) == [1, 0, 0]
    assert found.triggered.death.first[0] == pytest.approx(2.0)
