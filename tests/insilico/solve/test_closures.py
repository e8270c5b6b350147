"""What a solve depends on is given to it: a traced number that a function holds is refused."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from insilico import models
from insilico.solve import (
    Derivative,
    DerivativeError,
    Dose,
    Plan,
    objective_traced,
    read_records,
    schedule,
    solve,
    solve_traced,
    value_and_gradient,
)

ONE = models.get("one_compartment")
PARAMETERS = ONE.Parameters(np.ones(2), np.full(2, 3.0), np.full(2, 30.0))
EVENTS, PATTERN = schedule(ONE, [Dose(0.0, "depot", 100.0)], observe=[1.0])
TABLE = read_records(ONE, {"ID": [1, 1], "TIME": [0.0, 1.0], "AMT": [9.0, 0.0], "CMT": [1, 1]})


def _scaled(factor):
    def outputs(time, state, parameters):
        found = ONE.outputs(time, state, parameters)
        return found._replace(concentration=factor * found.concentration)

    return dataclasses.replace(ONE, outputs=outputs)


class Halving:
    """A rule that holds a number."""

    def __init__(self, factor):
        self.factor = factor

    def start(self, subject):
        return Plan(jnp.full(2, jnp.inf), ())

    def visit(self, visit, plan, subject):
        return (), plan

    def administer(self, time, plan, subject):
        return (self.factor * jnp.ones(2),), plan


def _by_model(factor, derivative: Derivative = "reverse"):
    solution = solve_traced(_scaled(factor), PARAMETERS, EVENTS, PATTERN, derivative=derivative)
    return jnp.sum(solution.outputs.concentration)


def _by_rule(factor):
    solution = solve_traced(
        ONE, PARAMETERS, EVENTS, PATTERN, derivative="reverse", rule=Halving(factor)
    )
    return jnp.sum(solution.outputs.concentration)


def _by_objective(factor):
    def objective(outputs, data):
        return factor * outputs.concentration[-1]

    one = jax.tree.map(lambda leaf: leaf[:1], PARAMETERS)
    return jnp.sum(objective_traced(ONE, one, *TABLE.laid_out(), objective)[0])


def _outside(factor):
    return jnp.sum(jnp.asarray(solve(_scaled(factor), PARAMETERS, EVENTS, PATTERN).outputs[0]))


def _outside_by_objective(factor):
    objective = functools.partial(lambda factor, outputs, data: factor * outputs[0][0], factor)
    found = value_and_gradient(ONE, PARAMETERS, EVENTS, PATTERN, objective)
    return jnp.sum(jnp.asarray(found.value))


@pytest.mark.parametrize(
    ("function", "holder"),
    [
        (_by_model, r"model\.outputs\.factor .* the model holds"),
        (_by_rule, r"rule\.factor .* the rule holds"),
        (_by_objective, r"objective\.factor .* the objective holds"),
        (_outside, r"model\.outputs\.factor .* the model holds"),
        (_outside_by_objective, r"objective\.0 .* the objective holds"),
    ],
)
def test_it_is_told_who_holds_it_and_where_it_should_be(function, holder):
    batched = jax.vmap(function)
    for way in (lambda: jax.grad(function)(2.0), lambda: batched(jnp.ones(2))):
        with pytest.raises(DerivativeError, match=holder) as told:
            way()
        assert "field of the model's Parameters" in str(told.value)


def test_forwards_and_as_a_constant_it_may_be_held():
    """The outputs are proportional to it."""
    value, slope = jax.jvp(lambda factor: _by_model(factor, "forward"), (2.0,), (1.0,))
    np.testing.assert_allclose(value, 2.0 * slope, rtol=1e-14)
    np.testing.assert_allclose(jax.jit(_by_model)(2.0), value, rtol=1e-14)
