"""Visits and decisions: when they happen, what they see, and what they change."""

import math
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from insilico.model import Model, Quantity
from insilico.solve import Dose, Plan, Status, Tolerances, Visit, schedule, solve, solve_traced

TIGHT = Tolerances(relative=1e-10, absolute=1e-10)
TYPICAL = (1.2, 3.0, 30.0)


class Dosing(NamedTuple):
    """Memory of the titrating rule: dose level, doses ordered and their sum, last measurement."""

    level: Any
    orders: Any
    given: Any
    measured: Any


class Titration:
    """Next visit and dose depend on a measured value and, through memory, on the one before."""

    def start(self, subject):
        nothing = 0.0 * subject["first"]
        return Plan(subject["first"], Dosing(nothing + 1.0, nothing, nothing, nothing + 1.0))

    def visit(self, visit: Visit, plan: Plan, subject):
        day = jnp.clip(jnp.floor(visit.time / 24.0), 0, 9).astype(int)
        noise = jnp.take_along_axis(subject["noise"], day[None], axis=0)[0]
        measured = visit.outputs.concentration * noise
        after, wait = titrate(jnp, plan.memory, measured, subject["target"])
        record = {
            "measured": measured,
            "level": after.level,
            "risen": measured > plan.memory.measured,
        }
        return record, Plan(visit.time + wait, after)

    def administer(self, time, plan: Plan, subject):
        memory = plan.memory
        after = memory._replace(orders=memory.orders + 1.0, given=memory.given + memory.level)
        return (memory.level, 0.5 * memory.level), plan._replace(memory=after)


def titrate(library, memory: Dosing, measured, target):
    """The toy's decision, in JAX's words or NumPy's."""
    ratio = measured / target
    level = memory.level * library.clip(1.0 / library.maximum(ratio, 1e-3), 0.5, 2.0)
    wait = library.clip(15.0 * ratio * memory.measured / (measured + 0.1), 7.0, 50.0)
    return memory._replace(level=level, measured=measured), wait


UNTIL = 200.0
DAILY = [Dose(24.0 * day, "depot", 40.0, order=0) for day in range(9)] + [
    Dose(60.0, "central", 20.0, order=1),
    Dose(100.0, "central", 5.0),
]
OBSERVE = [24.0, 100.0, 150.0, 220.0]


def simulated_alone(patient, first, target, noise):
    """One patient of the titration by matrix exponentials and an ordinary loop over time."""
    plan_next, memory = first, Dosing(1.0, 0.0, 0.0, 1.0)
    visits, rows, given = [], [], []
    # At one instant: a visit, then an observation, then doses.
    points = [(time, 1, None) for time in OBSERVE] + [(dose.time, 2, dose) for dose in DAILY]
    for time, _, dose in sorted(points, key=lambda point: point[:2]):
        while plan_next <= min(time, UNTIL):
            patient.go_to(plan_next)
            measured = patient.outputs[3] * noise[min(int(plan_next // 24.0), 9)]
            risen = measured > memory.measured
            memory, wait = titrate(np, memory, measured, target)
            visits.append((plan_next, measured, memory.level, risen))
            plan_next += wait
        patient.go_to(time)
        if dose is None:
            rows.append(patient.outputs)
            continue
        amount = dose.amount * {-1: 1.0, 0: memory.level, 1: 0.5 * memory.level}[dose.order]
        patient.state[0 if dose.compartment == "depot" else 1] += amount
        if dose.order >= 0:
            given.append(amount)
            memory = memory._replace(orders=memory.orders + 1, given=memory.given + memory.level)
    while plan_next <= UNTIL:
        raise AssertionError("the last row comes after the last visit in this schedule")
    return np.array(visits), np.array(rows), np.array(given)


@pytest.fixture(scope="module")
def titrated(one_compartment, patients, exact_patient):
    number = 20
    generator = np.random.default_rng(7)
    parameters = patients(one_compartment, TYPICAL, number)
    subject = {
        "first": generator.uniform(0.0, 40.0, number),
        "target": generator.uniform(0.3, 2.0, number),
        "noise": np.exp(generator.normal(0.0, 0.2, (10, number))),
    }
    subject["first"][0] = 0.0
    events, pattern = schedule(
        one_compartment, DAILY, observe=OBSERVE, visits_until=UNTIL, shortest_recheck=7.0
    )
    solution = solve(
        one_compartment,
        parameters,
        events,
        pattern,
        tolerances=TIGHT,
        rule=Titration(),
        subject=subject,
    )
    alone = [
        simulated_alone(
            exact_patient(own), subject["first"][i], subject["target"][i], subject["noise"][:, i]
        )
        for i, own in enumerate(zip(*parameters, strict=True))
    ]
    return solution, alone


def test_rule_driven_visits_are_those_of_patients_simulated_one_by_one(titrated):
    """Visit times, measurements, doses and outputs against an independent simulation."""
    solution, alone = titrated
    assert np.all(solution.status == Status.OK)
    for index, (visits, rows, _) in enumerate(alone):
        held = ~np.isnan(solution.visit_time[index])
        found = np.stack(
            [
                solution.visit_time[index][held],
                solution.records["measured"][index][held],
                solution.records["level"][index][held],
                solution.records["risen"][index][held],
            ],
            axis=-1,
        )
        # Errors of 1e-10 a step, carried through up to thirty decisions.
        np.testing.assert_allclose(found, visits, rtol=1e-6, err_msg=f"patient {index}")
        outputs = np.stack([output[index] for output in solution.outputs], axis=-1)
        np.testing.assert_allclose(outputs, rows, rtol=1e-6, atol=1e-6)


def test_what_a_rule_gave_is_told_of_each_dose_that_asked_for_it(titrated):
    solution, alone = titrated
    expected = np.stack([given for _, _, given in alone])
    assert expected.shape == (20, 10) and np.unique(expected[:, -1]).size > 10
    np.testing.assert_allclose(solution.administered, expected, rtol=1e-6)


def test_the_toy_titration_visits_often_rarely_and_at_odd_times(titrated):
    """The comparison above would be weak if all patients had the same few visits."""
    _, alone = titrated
    counts = {len(visits) for visits, _, _ in alone}
    times = np.concatenate([visits[:, 0] for visits, _, _ in alone])
    assert len(counts) >= 4 and max(counts) >= 12
    assert np.mean(times % 24.0 != 0.0) > 0.9


def test_unused_slots_have_neither_time_nor_record(titrated):
    solution, _ = titrated
    unused = np.isnan(solution.visit_time)
    assert unused.any()
    assert np.all(np.isnan(solution.records["measured"][unused]))
    assert np.all(np.isfinite(solution.records["measured"][~unused]))


class Counted(NamedTuple):
    visits: Any
    orders: Any


class Regular:
    """Visits at a fixed distance; the record tells what the memory held."""

    def start(self, subject):
        nothing = jnp.zeros_like(subject["first"])
        return Plan(subject["first"], Counted(nothing, nothing))

    def visit(self, visit: Visit, plan: Plan, subject):
        memory = plan.memory
        record = {"central": visit.outputs.central, "orders": memory.orders}
        after = memory._replace(visits=memory.visits + 1.0)
        following = jnp.where(after.visits < subject["most"], visit.time + subject["gap"], jnp.inf)
        return record, Plan(following, after)

    def administer(self, time, plan: Plan, subject):
        memory = plan.memory._replace(orders=plan.memory.orders + 1.0)
        return (1.0 + memory.visits,), plan._replace(memory=memory)


PLANS = {
    # name: (first, gap, most visits)
    "at the doses": (0.0, 12.0, math.inf),
    "between the doses": (5.0, 12.0, math.inf),
    "several between two doses": (1.0, 4.0, math.inf),
    "only at the very end": (48.0, 12.0, math.inf),
    "just after the end": (48.0 + 1e-6, 12.0, math.inf),
    "one only": (7.0, 12.0, 1.0),
    "never": (math.inf, 12.0, math.inf),
    "never, by not a number": (math.nan, 12.0, math.inf),
    "too often": (0.0, 1.0, math.inf),
    "too often at the end": (47.0, 0.125, math.inf),
}


@pytest.fixture(scope="module")
def regular(one_compartment):
    first, gap, most = np.array(list(PLANS.values())).T
    events, pattern = schedule(
        one_compartment,
        [Dose(0.0, "central", 10.0, order=0), Dose(0.0, "central", 5.0)]
        + [Dose(12.0 * k, "central", 10.0, order=0) for k in range(1, 4)],
        observe=[48.0],
        visits_until=48.0,
        shortest_recheck=4.0,
    )
    never_eliminated = one_compartment.Parameters(
        np.ones(len(PLANS)), np.zeros(len(PLANS)), np.ones(len(PLANS))
    )
    solution = solve(
        one_compartment,
        never_eliminated,
        events,
        pattern,
        rule=Regular(),
        subject={"first": first, "gap": gap, "most": most},
    )

    def of(name: str):
        index = list(PLANS).index(name)
        held = ~np.isnan(solution.visit_time[index])
        return (
            solution.visit_time[index][held],
            {key: record[index][held] for key, record in solution.records.items()},
            Status(solution.status[index]),
            float(solution.outputs.central[index, -1]),
            solution.administered[index].tolist(),
        )

    return of


def test_a_visit_at_a_dose_precedes_it(regular):
    times, records, status, _, _ = regular("at the doses")
    assert status == Status.OK
    assert times.tolist() == [0.0, 12.0, 24.0, 36.0, 48.0]
    # The k-th dose is 10 × (1 + visits so far); the plain 5 mg come at the start.
    assert records["central"].tolist() == [0.0, 25.0, 55.0, 95.0, 145.0]


def test_a_patient_who_failed_is_given_nothing_that_is_known(regular):
    """Doses at 0, 12, 24 and 36 h; the last is after the visit that came too soon."""
    *_, given = regular("too often")
    assert given[0] == 20.0 and math.isnan(given[-1])


def test_the_memory_counts_orders_at_ordered_rows_only(regular):
    _, records, _, _, _ = regular("at the doses")
    assert records["orders"].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_a_visit_between_doses_is_held_at_its_own_time(regular):
    times, records, _, last, _ = regular("between the doses")
    assert times.tolist() == [5.0, 17.0, 29.0, 41.0]
    assert records["central"].tolist() == [15.0, 35.0, 65.0, 105.0]
    assert last == 105.0


def test_as_many_visits_as_fit_are_held(regular):
    times, _, status, _, _ = regular("several between two doses")
    assert status == Status.OK
    assert times.tolist() == list(range(1, 48, 4))


def test_the_last_visit_counts(regular):
    times, _, status, _, _ = regular("only at the very end")
    assert status == Status.OK and times.tolist() == [48.0]


def test_a_visit_after_the_end_is_not_held(regular):
    times, _, status, _, _ = regular("just after the end")
    assert status == Status.OK and times.size == 0


@pytest.mark.parametrize("name", ["never", "never, by not a number"])
def test_a_patient_without_visits_is_dosed_all_the_same(regular, name):
    times, _, status, last, _ = regular(name)
    assert status == Status.OK and times.size == 0 and last == 45.0


def test_visits_stop_when_the_rule_says_so(regular):
    times, _, status, last, _ = regular("one only")
    assert status == Status.OK and times.tolist() == [7.0]
    assert last == 5.0 + 10.0 + 3 * 20.0


def test_visits_closer_than_the_shortest_recheck_are_a_failure(regular):
    times, _, status, last, _ = regular("too often")
    assert status == Status.LATE_VISIT
    assert len(times) < 48 and math.isnan(last)


def test_a_visit_without_a_slot_is_a_failure_at_the_end_too(regular):
    """The last interval has three slots for the nine visits asked for."""
    times, _, status, _, _ = regular("too often at the end")
    assert status == Status.LATE_VISIT
    assert times.tolist() == [47.0, 47.125, 47.25]


def test_an_order_that_is_no_tuple_of_orders_is_refused(one_compartment):
    class Bare(Titration):
        def administer(self, time, plan, subject):
            return plan.memory.level, plan

    subject = {name: np.ones(2) for name in ("first", "target")} | {"noise": np.ones((10, 2))}
    events, pattern = schedule(
        one_compartment, DAILY[:1], observe=[1.0], visits_until=1.0, shortest_recheck=7.0
    )
    with pytest.raises(TypeError, match="must give a tuple of orders"):
        parameters = one_compartment.Parameters(*TYPICAL)
        solve(one_compartment, parameters, events, pattern, rule=Bare(), subject=subject)


def test_a_failed_patient_holds_no_more_visits(one_compartment):
    events, pattern = schedule(
        one_compartment, [Dose(12.0, "depot", 1.0)], visits_until=24.0, shortest_recheck=6.0
    )
    parameters = one_compartment.Parameters(
        np.array([1.0, np.nan]), np.array([1.0, 1.0]), np.array([1.0, 1.0])
    )
    subject = {"first": np.array([0.0, 0.0]), "gap": np.full(2, 6.0), "most": np.full(2, np.inf)}
    solution = solve(one_compartment, parameters, events, pattern, rule=Regular(), subject=subject)
    assert solution.status.tolist() == [Status.OK, Status.NOT_FINITE]
    assert np.sum(~np.isnan(solution.visit_time), axis=1).tolist() == [5, 1]


class Clock(NamedTuple):
    elapsed: Annotated[Any, Quantity("h", "time since the start")]
    still: Annotated[Any, Quantity("1", "what never changes")]


class Nothing(NamedTuple):
    unused: Annotated[Any, Quantity("1", "of no use")]


def test_rates_that_are_the_same_for_all_patients_may_be_plain_numbers():
    model = Model(
        name="clock",
        title="",
        citation="",
        State=Clock,
        Parameters=Nothing,
        Outputs=Clock,
        initial=lambda p: Clock(0.0, 2.0),
        derivative=lambda t, s, p, i: Clock(1.0, 0.0),
        outputs=lambda t, s, p: s,
    )
    events, pattern = schedule(model, observe=[3.0, 5.0])
    solution = solve(model, Nothing(np.ones(3)), events, pattern)
    np.testing.assert_allclose(solution.outputs.elapsed, [[3.0, 5.0]] * 3, rtol=1e-12)
    np.testing.assert_array_equal(solution.outputs.still, np.full((3, 2), 2.0))


def test_decisions_are_differentiated(one_compartment, patients):
    """Through doses, memory and the times of visits, which follow from what was measured."""
    generator = np.random.default_rng(11)
    parameters = jax.tree.map(jnp.asarray, patients(one_compartment, TYPICAL, 4))
    subject = {
        "first": jnp.asarray(generator.uniform(0.0, 20.0, 4)),
        "target": jnp.asarray(generator.uniform(0.5, 1.5, 4)),
        "noise": jnp.asarray(np.exp(generator.normal(0.0, 0.2, (10, 4)))),
    }
    events, pattern = schedule(
        one_compartment, DAILY[:3], observe=[60.0], visits_until=55.0, shortest_recheck=7.0
    )

    def value(given, derivative, tolerances):
        parameters, target = given
        solution = solve_traced(
            one_compartment,
            parameters,
            events,
            pattern,
            tolerances=tolerances,
            derivative=derivative,
            rule=Titration(),
            subject={**subject, "target": target},
        )
        return jnp.sum(solution.outputs.concentration) + jnp.nansum(solution.records["level"])

    given = (parameters, subject["target"])
    gradient = jax.jit(jax.grad(lambda g: value(g, "reverse", Tolerances(1e-8, 1e-8))))(given)
    tight = jax.jit(lambda g: value(g, None, Tolerances(1e-12, 1e-12)))
    along = jax.tree.map(lambda leaf: leaf * generator.normal(size=leaf.shape), given)
    step = 1e-6
    up, down = (
        tight(jax.tree.map(lambda x, d, s=sign: x + s * step * d, given, along)) for sign in (1, -1)
    )
    pairs = zip(jax.tree.leaves(gradient), jax.tree.leaves(along), strict=True)
    slope = sum(float(jnp.vdot(a, b)) for a, b in pairs)
    assert slope == pytest.approx(float(up - down) / (2 * step), rel=1e-5)
