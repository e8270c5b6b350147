"""Explicit or stiff, by what a sample of the patients costs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest

from insilico import models
from insilico.solve import (
    Dose,
    Input,
    Plan,
    Tolerances,
    choose_method,
    methods,
    read_records,
    schedule,
    solve,
    solve_traced,
    submit,
    value_and_gradient,
)
from insilico.solve.choosing import candidates

pytestmark = pytest.mark.optimised

PROBLEMS = Path(__file__).parents[4] / "shared" / "bench" / "ensemble_problems.npz"


@pytest.fixture
def oscillators(van_der_pol) -> Callable[..., tuple[Any, Any, Any]]:
    """Parameters and schedule for damping of these sizes."""

    def arguments(*sizes: float) -> tuple[Any, Any, Any]:
        events, pattern = schedule(van_der_pol, observe=[0.0, max(20.0, 2.0 * max(sizes))])
        return van_der_pol.Parameters(np.array(sizes)), events, pattern

    return arguments


def test_van_der_pol_is_explicit_when_smooth_and_stiff_when_stiff(van_der_pol, oscillators):
    smooth = choose_method(van_der_pol, *oscillators(1.0, 1.2))
    assert smooth.name == "tsit5" and smooth.estimate is not None and smooth.estimate < 0.5
    assert "tsit5 took" in smooth.reason and "times the work" in smooth.reason
    stiff = choose_method(van_der_pol, *oscillators(1000.0, 900.0))
    assert stiff.name == "rodas4" and stiff.estimate is not None and stiff.estimate > 5.0
    assert "tsit5 gave up 2 of 2 patients" in stiff.reason
    # One patient whom the explicit method would keep for ages, or lose, is enough.
    mixed = choose_method(van_der_pol, *oscillators(*[1.0] * 60, 1000.0))
    assert mixed.name == "rodas4" and "gave up 1 of 61 patients" in mixed.reason


@pytest.mark.parametrize(
    ("problem", "name", "dose", "every", "times", "expected"),
    [
        ("p1", "indirect_response", 100.0, 24.0, 28, "taylor"),
        pytest.param(
            "p2", "target_mediated_disposition", 600.0, 168.0, 12, "rodas4", marks=pytest.mark.slow
        ),
    ],
)
def test_benchmark_problems(problem, name, dose, every, times, expected):
    if not PROBLEMS.is_file():
        pytest.skip(f"{PROBLEMS} is not there: the benchmark problems are kept apart")
    model = models.get(name)
    with np.load(PROBLEMS) as archive:
        numbers, observe = archive[problem][:200], archive[f"{problem}_times"]
    plan = schedule(
        model, [Dose(every * number, "depot", dose) for number in range(times)], observe=observe
    )
    found = choose_method(model, model.Parameters(*numbers.T), *plan)
    assert found.name == expected, found


@pytest.mark.slow
def test_the_order_of_a_batch_changes_nothing(one_compartment, patients):
    """More patients than the sample holds, each with a schedule of its own."""
    parameters = patients(one_compartment, (1.0, 3.0, 30.0), 300)
    events, pattern = schedule(one_compartment, [Dose(1.0, "depot", 10.0)], observe=[5.0, 24.0])
    scale = np.linspace(0.5, 2.0, 300)
    own = type(events)(*(np.repeat(column[:, None], 300, axis=1) for column in events))
    own = own._replace(time=own.time * scale)
    shuffled = np.random.default_rng(1).permutation(300)
    first = choose_method(one_compartment, parameters, own, pattern)
    second = choose_method(
        one_compartment,
        one_compartment.Parameters(*(column[shuffled] for column in parameters)),
        type(own)(*(column[:, shuffled] for column in own)),
        pattern,
    )
    assert first == second
    assert first.name == "tsit5" and "of 64 patients" in first.reason


def test_a_solve_says_what_it_was_done_by_and_gives_its_bits(van_der_pol, oscillators):
    for stiffness, name in ((1.0, "tsit5"), (1000.0, "rodas4")):
        arguments = oscillators(stiffness)
        pending = submit(van_der_pol, *arguments, method="auto")
        assert pending.method.name == name
        assert pending.method == choose_method(van_der_pol, *arguments)
        found, same = pending.solution(), solve(van_der_pol, *arguments, method=name)
        for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(same), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert submit(van_der_pol, *arguments).method == ("tsit5", "it is the model's own", None)
    asked = submit(van_der_pol, *arguments, method="rodas5p").method
    assert asked == ("rodas5p", "it was asked for", None)


class Halving:
    """A rule that halves the dose at its first visit."""

    def start(self, subject):
        return Plan(6.0 + 0.0 * subject, 1.0 + 0.0 * subject)

    def visit(self, visit, plan, subject):
        return {"seen": visit.outputs.central}, Plan(np.inf + 0.0 * subject, 0.5 * plan.memory)

    def administer(self, time, plan, subject):
        return (plan.memory,), plan


@pytest.mark.slow
def test_it_chooses_for_rules_and_for_event_tables(one_compartment, patients):
    parameters = patients(one_compartment, (1.0, 3.0, 30.0), 5)
    doses = [Dose(12.0 * k, "depot", 10.0, order=0) for k in range(3)]
    actions = [*doses, Input(3.0, "induction", 0.5)]
    events, pattern = schedule(
        one_compartment, actions, observe=[30.0], visits_until=30.0, shortest_recheck=6.0
    )
    ruled = choose_method(
        one_compartment, parameters, events, pattern, rule=Halving(), subject=np.ones(5)
    )
    assert ruled.name == "tsit5"
    model = models.get("one_compartment")
    table = {
        "ID": [1, 1, 2, 2],
        "TIME": [0.0, 5.0, 0.0, 9.0],
        "AMT": [10.0, 0.0, 20.0, 0.0],
        "EVID": [1, 0, 1, 0],
        "CMT": [1, 2, 1, 2],
        "DV": [0.0, 1.0, 0.0, 1.0],
    }
    records = read_records(model, pd.DataFrame(table))
    own = model.Parameters(np.array([1.0, 2.0]), np.array([1.0, 1.5]), np.array([10.0, 12.0]))
    assert choose_method(model, own, records).name == "tsit5"


def test_candidates_are_the_models_own_where_it_has_one():
    tight = Tolerances(relative=1e-9)
    stiff, smooth = models.get("target_mediated_disposition"), models.get("one_compartment")
    assert candidates(stiff, Tolerances()) == ("tsit5", "rodas4")
    assert candidates(stiff, tight) == ("tsit5", "rodas4")
    assert candidates(smooth, Tolerances()) == ("tsit5", "rodas4")
    assert candidates(smooth, tight) == ("tsit5", "rodas5p")
    assert candidates(models.get("hodgkin_huxley1952"), tight) == ("tsit5", "rodas5p")


def test_where_nothing_can_be_solved_beforehand_it_is_refused(van_der_pol, oscillators):
    parameters, events, pattern = oscillators(1.0)
    message = r"choose beforehand by insilico\.solve\.choose_method"
    with pytest.raises(ValueError, match=message):
        jax.jit(
            lambda p: solve_traced(van_der_pol, p, events, pattern, derivative=None, method="auto")
        )(parameters)
    with pytest.raises(ValueError, match=message):
        value_and_gradient(
            van_der_pol,
            parameters,
            events,
            pattern,
            lambda outputs, data: outputs.position.sum(axis=0),
            method="auto",
        )
    with pytest.raises(ValueError, match=message):
        methods.known("auto")


def test_noise_has_no_choice():
    model = models.get("gompertz_noise")
    parameters = model.Parameters(*(1.0 for _ in model.Parameters._fields))
    events, pattern = schedule(model, observe=[1.0])
    with pytest.raises(ValueError, match="name one of euler_maruyama, milstein"):
        solve(
            model,
            parameters,
            events,
            pattern,
            method="auto",
            noise=jax.random.split(jax.random.key(0), 1),
        )
