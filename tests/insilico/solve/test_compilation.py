"""Numbers are arguments of compiled programs: whoever changes numbers alone compiles nothing.

That compilations are seen at all, `test_batch` shows.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from insilico import models
from insilico.solve import (
    Dose,
    Plan,
    read_records,
    schedule,
    solve,
    solve_traced,
    value_and_gradient,
)
from insilico.solve.blocks import compiler_options

pytestmark = pytest.mark.optimised

MODEL = models.get("one_compartment")


@pytest.fixture
def traces() -> Callable[[Callable[[], Any]], int]:
    """How many programs JAX traces in a call."""

    def counted(call: Callable[[], Any]) -> int:
        seen = []

        def listen(event: str, duration_secs: float, **_: Any) -> None:
            seen.append(event)

        jax.monitoring.register_event_duration_secs_listener(listen)
        try:
            call()
        finally:
            jax.monitoring.unregister_event_duration_listener(listen)
        return seen.count("/jax/core/compile/jaxpr_trace_duration")

    return counted


class Halving:
    """A rule that multiplies the dose at its first visit by a number of the subject's."""

    def start(self, subject: Any) -> Plan:
        return Plan(6.0 + 0.0 * subject, 1.0 + 0.0 * subject)

    def visit(self, visit: Any, plan: Plan, subject: Any) -> Any:
        return {"seen": visit.outputs.central}, Plan(np.inf + 0.0 * subject, subject * plan.memory)

    def administer(self, time: Any, plan: Plan, subject: Any) -> Any:
        return (plan.memory,), plan


RULE = Halving()


def _patients(factor: float) -> Any:
    return MODEL.Parameters(np.array([1.0, 2.0]) * factor, np.array([1.0, 1.5]), np.full(2, 12.0))


def _plan(factor: float) -> Any:
    doses = [Dose(0.0, "depot", 10.0 * factor), Dose(6.0 * factor, "depot", 10.0)]
    return schedule(MODEL, doses, observe=[3.0, 9.0 * factor])


def _by_records(factor: float) -> Any:
    rows = [
        (1, 0.0, 10.0 * factor, 1, 1),
        (1, 5.0 * factor, 0.0, 0, 2),
        (1, 9.0, 0.0, 0, 2),
        (2, 0.0, 20.0, 1, 1),
        (2, 9.0, 0.0, 0, 2),
        (2, 11.0 * factor, 0.0, 0, 2),
    ]
    table = pd.DataFrame(rows, columns=["ID", "TIME", "AMT", "EVID", "CMT"]).assign(DV=1.0)
    return solve(MODEL, _patients(factor), read_records(MODEL, table)).outputs


def _sum(outputs: Any, data: Any) -> Any:
    return outputs.central.sum(axis=0)


def _by_gradient(factor: float) -> Any:
    events, pattern = _plan(factor)
    found = value_and_gradient(MODEL, _patients(factor), events, pattern, _sum, method="taylor")
    return found.gradient


def _in_single_precision(factor: float) -> Any:
    return solve(MODEL, _patients(factor), *_plan(factor), precision="single").outputs


def _with_a_rule(factor: float) -> Any:
    doses = [Dose(12.0 * number * factor, "depot", 10.0, order=0) for number in range(3)]
    plan = schedule(
        MODEL,
        doses,
        observe=[36.0 * factor],
        visits_until=36.0 * factor,
        shortest_recheck=6.0 * factor,
    )
    subject = np.array([0.5, 0.6]) * factor
    return solve(MODEL, _patients(factor), *plan, rule=RULE, subject=subject).outputs


def _by_choice(factor: float) -> Any:
    return solve(MODEL, _patients(factor), *_plan(factor), method="auto").outputs


@dataclasses.dataclass
class Given:
    """A rule with an array in it, for which it has no hash."""

    factor: Any

    def start(self, subject: Any) -> Plan:
        return Plan(np.inf + 0.0 * subject, self.factor * subject)

    def visit(self, visit: Any, plan: Plan, subject: Any) -> Any:
        return {}, plan

    def administer(self, time: Any, plan: Plan, subject: Any) -> Any:
        return (plan.memory,), plan


GIVEN = Given(np.array(0.5))


def _called(factor: float, rule: Any) -> Any:
    events, pattern = schedule(MODEL, [Dose(0.0, "depot", factor, order=0)], observe=[5.0])
    found = solve_traced(
        MODEL, _patients(factor), events, pattern, derivative=None, rule=rule, subject=np.ones(2)
    )
    return found.outputs.central


def _differentiated(factor: float) -> Any:
    def total(parameters: Any) -> Any:
        found = solve_traced(MODEL, parameters, *_plan(factor), derivative="reverse")
        return found.outputs.central.sum()

    return jax.grad(total)(jax.tree.map(jnp.asarray, _patients(factor))).clearance


@pytest.mark.parametrize(
    "way",
    [
        _by_records,
        _by_gradient,
        _with_a_rule,
        pytest.param(_in_single_precision, marks=pytest.mark.slow),
        pytest.param(_by_choice, marks=pytest.mark.slow),
        # Traced solves outside of programs.
        pytest.param(lambda factor: _called(factor, RULE), id="traced_rule"),
        pytest.param(lambda factor: _called(factor, GIVEN), id="traced_rule_without_hash"),
        pytest.param(_differentiated, id="traced_gradient"),
    ],
)
def test_other_numbers_trace_and_compile_nothing(
    way: Callable[[float], Any], traces: Callable[[Callable[[], Any]], int], compilations
):
    first = way(1.0)
    before = compilations.count
    found = []
    assert traces(lambda: found.append(way(1.25))) == 0
    assert compilations.count == before
    assert not np.array_equal(np.stack(list(first)), np.stack(list(found[0])))


def test_programs_of_lanes_are_optimised_unless_jax_is_told_not_to():
    level = "xla_backend_optimization_level"
    assert compiler_options()[level] == "1"
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        assert compiler_options()[level] == "0"
    finally:
        jax.config.update("jax_disable_most_optimizations", False)
