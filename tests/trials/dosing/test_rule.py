"""The dosing of an arm, visit by visit and dose by dose."""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cohorts import ResidualNumbers
from insilico.config import Expression, Name
from insilico.solve import Plan, Visit
from trials.config import BandSpec
from trials.dosing import (
    ArmRule,
    DoseSizes,
    DosingRule,
    Formula,
    LateKnowledge,
    Person,
    Titration,
    VisitDays,
    VisitTimes,
)

DAYS = 30


class Outputs(NamedTuple):
    inr: jax.Array


def band(**fields: object) -> BandSpec:
    percent = {
        name: f"{fields[name]} %" for name in ("change", "again") if fields.get(name) is not None
    }
    return BandSpec.model_validate({**fields, **percent})


TITRATION = Titration(
    "inr",
    (
        band(below=2.0, change=10.0, next_dose=2.0, recheck="3 d"),
        band(below=3.0, change=0.0, recheck="14 d"),
        band(below=5.0, change=-10.0, next_dose=0.0),
        band(change=-20.0, hold=True, recheck="2 d"),
    ),
)
REVISED = Formula("revised", Expression("4 / inr + 0*dose_2"), "mg/d")
SCHEDULE = VisitDays(days=(4, 7, 14, 28), hour=9.0, retry_after=1, last_day=28)
NO_LIMITS = DoseSizes(None, None, None, None)


def rule(*arms: ArmRule, arm: jax.Array | int = 0, sizes: DoseSizes = NO_LIMITS) -> DosingRule:
    return DosingRule(
        arm=arm,
        arms=arms,
        schedule=SCHEDULE,
        sizes=sizes,
        measure=lambda outputs, noise, spread: {"inr": outputs.inr * jnp.exp(0.1 * noise["inr"])},
        outputs=("inr",),
        vocabulary={"inr": Name(), "dose_2": Name()},
        late=LateKnowledge({}),
    )


def person(lanes: int = 1, **changes: object) -> Person:
    everyone = jnp.ones((DAYS, lanes))
    return Person(
        values={"age": jnp.full(lanes, 60.0)},
        start_dose=5.0 * everyone,
        unknown_until={},
        noise={"inr": 0.0 * everyone},
        residual={"inr": ResidualNumbers(jnp.full(lanes, 0.1))},
        attends=everyone,
        takes=everyone,
        leaves=jnp.full(lanes, math.inf),
    )._replace(**changes)


def at(day: float, inr: float) -> Visit:
    return Visit(jnp.array([(day - 1) * 24 + 9.0]), Outputs(jnp.array([inr])))


def given(dosing: DosingRule, plan: Plan, day: int, subject: Person) -> tuple[float, Plan]:
    (order,), plan = dosing.administer(jnp.array([(day - 1) * 24 + 18.0]), plan, subject)
    return float(order[0]), plan


def next_day(plan: Plan) -> float:
    return float((plan.next_visit[0] - 9.0) / 24 + 1)


def test_the_first_visit_is_the_first_scheduled_one():
    assert next_day(rule(ArmRule()).start(person())) == 4


def test_starting_doses_hold_until_a_visit_changes_them():
    dosing, subject = rule(ArmRule()), person(start_dose=jnp.arange(1.0, DAYS + 1)[:, None])
    plan = dosing.start(subject)
    assert [given(dosing, plan, day, subject)[0] for day in (1, 2, 9)] == [1.0, 2.0, 9.0]


def test_titration_changes_the_dose_from_then_on_and_the_next_dose_alone():
    dosing, subject = rule(ArmRule(titration=TITRATION)), person()
    record, plan = dosing.visit(at(4, 1.5), dosing.start(subject), subject)
    assert float(record["daily_dose"][0]) == pytest.approx(5.5)
    assert next_day(plan) == 7
    doubled, plan = given(dosing, plan, 4, subject)
    after, plan = given(dosing, plan, 5, subject)
    assert (doubled, after) == pytest.approx((11.0, 5.5))


def test_a_recheck_comes_before_the_next_scheduled_visit_never_after():
    dosing, subject = rule(ArmRule(titration=TITRATION)), person()
    start = dosing.start(subject)
    assert next_day(dosing.visit(at(7, 1.5), start, subject)[1]) == 10
    assert next_day(dosing.visit(at(7, 2.5), start, subject)[1]) == 14


def test_the_last_visit_is_the_last():
    dosing, subject = rule(ArmRule(titration=TITRATION)), person()
    assert math.isinf(dosing.visit(at(28, 1.5), dosing.start(subject), subject)[1].next_visit[0])


def test_an_omitted_dose_and_a_hold_until_the_next_visit():
    dosing, subject = rule(ArmRule(titration=TITRATION)), person()
    _, plan = dosing.visit(at(4, 3.5), dosing.start(subject), subject)
    omitted, plan = given(dosing, plan, 4, subject)
    after, _ = given(dosing, plan, 5, subject)
    assert (omitted, after) == pytest.approx((0.0, 4.5))
    _, plan = dosing.visit(at(4, 6.0), dosing.start(subject), subject)
    held = []
    for day in (4, 5):
        order, plan = given(dosing, plan, day, subject)
        held.append(order)
    assert held == [0.0, 0.0]
    assert next_day(plan) == 6
    _, plan = dosing.visit(at(6, 2.5), plan, subject)
    assert given(dosing, plan, 6, subject)[0] == pytest.approx(4.0)


def test_revision_is_by_formula_on_each_of_its_days_and_titration_starts_after_them():
    arm = ArmRule((4, 5), (REVISED,), TITRATION, titration_from=6)
    dosing, subject = rule(arm), person()
    _, plan = dosing.visit(at(4, 1.6), dosing.start(subject), subject)
    assert given(dosing, plan, 4, subject)[0] == pytest.approx(2.5)
    _, again = dosing.visit(at(5, 1.0), plan, subject)
    assert given(dosing, again, 5, subject)[0] == pytest.approx(4.0)
    _, plan = dosing.visit(at(7, 1.0), plan, subject)
    assert float(plan.memory.dose[0]) == pytest.approx(2.75)


def test_a_revision_ends_a_hold_as_any_visit_does():
    arm = ArmRule((6,), (REVISED,), TITRATION, titration_from=4)
    dosing, subject = rule(arm), person()
    _, plan = dosing.visit(at(4, 6.0), dosing.start(subject), subject)
    assert given(dosing, plan, 4, subject)[0] == 0.0
    _, plan = dosing.visit(at(6, 1.6), plan, subject)
    assert given(dosing, plan, 6, subject)[0] == pytest.approx(2.5)


def test_a_revision_ends_a_factor_on_a_next_dose_that_was_never_given():
    arm = ArmRule((5,), (REVISED,), TITRATION, titration_from=4)
    dosing, subject = rule(arm), person()
    _, plan = dosing.visit(at(4, 1.5), dosing.start(subject), subject)
    _, plan = dosing.visit(at(5, 1.6), plan, subject)
    assert given(dosing, plan, 5, subject)[0] == pytest.approx(2.5)


@pytest.mark.parametrize(("morning", "on_its_day"), [(False, 5.0), (True, 0.0)])
def test_after_the_last_dose_there_is_no_daily_dose(morning, on_its_day):
    dosing, subject = rule(ArmRule()), person()
    dosing = dataclasses.replace(dosing, doses_end=7.0, dosed_before_visit=morning)
    plan = dosing.start(subject)
    doses = [
        float(dosing.visit(at(day, 2.0), plan, subject)[0]["daily_dose"][0]) for day in (4, 7, 8)
    ]
    assert doses == [5.0, on_its_day, 0.0]


def test_days_between_those_of_a_revision_are_not_its_own():
    dosing, subject = rule(ArmRule((4, 9), (REVISED,), titration_from=10)), person()
    _, plan = dosing.visit(at(7, 1.6), dosing.start(subject), subject)
    assert given(dosing, plan, 7, subject)[0] == 5.0
    _, plan = dosing.visit(at(9, 1.6), plan, subject)
    assert given(dosing, plan, 9, subject)[0] == pytest.approx(2.5)


def test_a_factor_on_the_next_dose_keeps_to_the_doses_there_are():
    sizes = DoseSizes(0.5, None, None, 8.0)
    dosing, subject = rule(ArmRule(titration=TITRATION), sizes=sizes), person()
    _, plan = dosing.visit(at(4, 1.5), dosing.start(subject), subject)
    doubled, plan = given(dosing, plan, 4, subject)
    after, _ = given(dosing, plan, 5, subject)
    assert (doubled, after) == (8.0, 5.5)


def test_the_dose_of_the_visit_s_own_day_is_none_of_a_day_before():
    seen = Formula("seen", Expression("dose_1 + 10*dose_2"), "mg/d")
    dosing = dataclasses.replace(
        rule(ArmRule(revision_days=(4,), revision=(seen,))),
        vocabulary={"dose_1": Name(), "dose_2": Name()},
        dosed_before_visit=True,
    )
    subject = person(start_dose=jnp.arange(1.0, DAYS + 1)[:, None])
    plan = dosing.start(subject)
    for day in (1, 2, 3, 4):
        _, plan = given(dosing, plan, day, subject)
    _, plan = dosing.visit(at(4, 1.0), plan, subject)
    assert float(plan.memory.dose[0]) == pytest.approx(3 + 20)


@pytest.mark.parametrize(
    ("sizes", "dose", "expected"),
    [
        (DoseSizes(2.0, None, None, 9.0), 30.0, 8.0),
        (DoseSizes(2.0, None, 3.0, None), 1.0, 4.0),
        (DoseSizes(None, None, None, None), -3.0, 0.0),
        (DoseSizes(None, 1.0, 0.5, 20.0), 30.0, 20.0),
    ],
)
def test_limits_are_doses_that_exist(sizes, dose, expected):
    assert float(sizes.fit(jnp.array([dose]))[0]) == pytest.approx(expected)


@pytest.mark.parametrize("precision", [jnp.float32, jnp.float64])
def test_halfway_between_two_doses_the_even_multiple_is_taken(precision):
    """1.5 times an odd number of mg a week is always halfway, and no accident of the last bit."""
    weekly = np.arange(1, 140, 2)
    dose = jnp.asarray(weekly / 7.0, precision)
    fitted = DoseSizes(None, 1.0, None, None).fit(dose * 1.5)
    np.testing.assert_allclose(7 * fitted, np.rint(1.5 * weekly), rtol=1e-5)


def test_no_dose_is_below_the_lowest_but_none():
    """A placebo, or a nomogram that stops the drug, gives nothing, and a share of it is nothing."""
    tablets, stopped = DoseSizes(0.5, None, 0.5, 10.0), Formula("stopped", Expression("0"), "mg/d")
    assert tablets.fit(jnp.array([0.0, 0.1])).tolist() == [0.0, 0.5]
    of_arm = ArmRule(revision_days=(4,), revision=(stopped,), titration=TITRATION, titration_from=5)
    dosing, subject = rule(of_arm, sizes=tablets), person()
    record, plan = dosing.visit(at(4, 1.5), dosing.start(subject), subject)
    assert float(record["daily_dose"][0]) == 0.0
    record, plan = dosing.visit(at(7, 1.5), plan, subject)
    assert float(record["daily_dose"][0]) == given(dosing, plan, 7, subject)[0] == 0.0


def test_formulas_speak_of_a_day_whatever_the_interval_between_doses():
    seen = Formula("seen", Expression("dose_2 + 100*dose"), "mg/d")
    sizes = DoseSizes(None, None, None, None, every=2.0)
    dosing = rule(ArmRule(revision_days=(5,), revision=(seen,)), sizes=sizes)
    dosing = dataclasses.replace(dosing, vocabulary={"dose_2": Name(), "dose": Name()})
    subject = person()
    plan = dosing.start(subject)
    for day in (1, 3):
        _, plan = given(dosing, plan, day, subject)
    record, plan = dosing.visit(at(5, 1.0), plan, subject)
    # 5 mg every second day is 2.5 mg a day; the formula's 252.5 mg a day is 505 mg a dose.
    assert float(record["daily_dose"][0]) == pytest.approx(252.5)
    assert given(dosing, plan, 5, subject)[0] == pytest.approx(505.0)


def test_a_value_from_before_the_first_dose_changes_nothing():
    dosing, subject = rule(ArmRule(titration=TITRATION)), person()
    _, plan = dosing.visit(at(1, 1.0), dosing.start(subject), subject)
    assert given(dosing, plan, 1, subject)[0] == 5.0


def test_the_formula_sees_the_doses_ordered_on_the_days_before():
    lagged = Formula("lagged", Expression("dose_1 + 10*dose_2 + 100*dose_3 + 1000*dose_4"), "mg/d")
    dosing = rule(ArmRule(revision_days=(4,), revision=(lagged,)))
    dosing = DosingRule(
        **{**dosing.__dict__, "vocabulary": {f"dose_{lag}": Name() for lag in range(1, 5)}}
    )
    subject = person(start_dose=jnp.arange(1.0, DAYS + 1)[:, None], takes=jnp.zeros((DAYS, 1)))
    plan = dosing.start(subject)
    for day in (1, 2, 3):
        taken, plan = given(dosing, plan, day, subject)
        assert taken == 0.0
    # The order counts, whether or not it was taken: it is what the clinician knows.
    _, plan = dosing.visit(at(4, 1.0), plan, subject)
    assert float(plan.memory.dose[0]) == pytest.approx(3 + 20 + 100)


def test_a_missed_visit_measures_and_changes_nothing_and_is_made_up():
    dosing = rule(ArmRule(titration=TITRATION))
    subject = person(attends=jnp.ones((DAYS, 1)).at[3].set(0.0))
    record, plan = dosing.visit(at(4, 1.0), dosing.start(subject), subject)
    assert not bool(record["attended"][0])
    assert next_day(plan) == 5
    assert given(dosing, plan, 4, subject)[0] == 5.0


def test_nobody_is_seen_after_leaving():
    dosing, subject = rule(ArmRule(titration=TITRATION)), person(leaves=jnp.array([6.5]))
    assert next_day(dosing.start(subject)) == 4
    assert math.isinf(dosing.visit(at(4, 1.0), dosing.start(subject), subject)[1].next_visit[0])


def test_decisions_are_made_on_what_is_measured_not_on_the_truth():
    dosing = rule(ArmRule(titration=TITRATION))
    subject = person(noise={"inr": jnp.full((DAYS, 1), 10 * math.log(2.5 / 1.5))})
    record, plan = dosing.visit(at(4, 1.5), dosing.start(subject), subject)
    assert float(record["inr_measured"][0]) == pytest.approx(2.5)
    assert float(record["inr"][0]) == 1.5
    assert float(plan.memory.dose[0]) == pytest.approx(5.0)


def test_a_traced_arm_number_chooses_the_arm():
    arms = (ArmRule(), ArmRule(titration=TITRATION))
    subject = person()

    @jax.jit
    def dose(arm: jax.Array) -> jax.Array:
        dosing = rule(*arms, arm=arm)
        return dosing.visit(at(4, 1.0), dosing.start(subject), subject)[0]["daily_dose"]

    assert float(dose(jnp.array(0))[0]) == 5.0
    assert float(dose(jnp.array(1))[0]) == pytest.approx(5.5)


@pytest.mark.parametrize(
    ("sizes", "dose", "fitted"),
    [
        (DoseSizes(0.5, None, None, None), 5.3, 5.5),
        (DoseSizes(None, 1.0, None, None), 5.3, 37 / 7),
        (DoseSizes(0.5, None, 1.0, 10.0), 0.2, 1.0),
        (DoseSizes(0.5, None, 1.0, 10.0), 12.0, 10.0),
        (DoseSizes(None, 10.0, None, None, every=7.0), 26.0, 30.0),
    ],
)
def test_doses_are_those_that_exist(sizes, dose, fitted):
    assert float(sizes.fit(jnp.array(dose))) == pytest.approx(fitted)


TIMES = VisitTimes(times=(0.0, 0.25, 1.0, 24.0), first_dose=8.0)


def test_visits_at_times_are_held_then_and_only_then():
    dosing = dataclasses.replace(rule(ArmRule()), schedule=TIMES)
    misses = jnp.array([1.0, 0.0, 1.0, 1.0])[:, None]
    subject = person(attends=misses, noise={"inr": jnp.arange(4.0)[:, None]})
    plan = dosing.start(subject)
    seen, kept, measured = [], [], []
    while math.isfinite(time := float(plan.next_visit[0])):
        visit = Visit(jnp.array([time]), Outputs(jnp.array([1.0])))
        record, plan = dosing.visit(visit, plan, subject)
        seen.append(time)
        kept.append(bool(record["attended"][0]))
        measured.append(float(record["inr_measured"][0]))
    assert seen == [8.0, 8.25, 9.0, 32.0]
    assert kept == [True, False, True, True]
    # Each has its own row of the random tables.
    assert measured == pytest.approx([math.exp(0.1 * place) for place in range(4)])


def test_who_leaves_misses_the_visits_at_times_after_that():
    dosing = dataclasses.replace(rule(ArmRule()), schedule=TIMES)
    # Half a day after the first dose.
    subject = person(leaves=jnp.array([1.5]))
    plan = dosing.start(subject)
    for time in TIMES.clock[:3]:
        assert float(plan.next_visit[0]) == time
        visit = Visit(jnp.array([time]), Outputs(jnp.array([1.0])))
        _, plan = dosing.visit(visit, plan, subject)
    assert float(plan.next_visit[0]) == math.inf
