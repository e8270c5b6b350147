"""Taylor coefficients of each operation, against derivatives that JAX takes."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from insilico import vocabulary as v
from insilico.devices import QUICKLY
from insilico.model import Model
from insilico.solve import (
    Tolerances,
    loops,
    methods,
    schedule,
    solve,
    solve_traced,
    submit,
    value_and_gradient,
)
from insilico.solve.choosing import candidates
from insilico.solve.fields import traced
from insilico.solve.methods.taylor import _propagation

X, Y = jnp.array([0.7, 1.3, 2.1]), jnp.array([1.9, 0.4, 1.1])
DEGREE = 6

OPERATIONS = {
    "sum": lambda t, x, y: x + 2.0 * y - t,
    "product": lambda t, x, y: x * y,
    "square": lambda t, x, y: x * x - y**2,
    "constant factor": lambda t, x, y: 3.0 * x * y * 0.5,
    "quotient": lambda t, x, y: x / (1.0 + y * y),
    "inverse": lambda t, x, y: 1.0 / x,
    "hill": lambda t, x, y: v.power(x, 1.7) / (v.power(x, 1.7) + 2.0),
    "exponential": lambda t, x, y: v.exp(-x * t) * y,
    "logarithm": lambda t, x, y: v.log(x + y),
    "root": lambda t, x, y: v.sqrt(x * y + 1.0),
    "tangent": lambda t, x, y: v.tanh(2.0 * x - y) * y,
    "sine": lambda t, x, y: v.sin(x * t) + v.cos(y),
    "third power": lambda t, x, y: x**3,
    "seventh power": lambda t, x, y: (x * y) ** 7,
    "negative power": lambda t, x, y: x**-2,
    "no power": lambda t, x, y: x**0 + y,
    "larger": lambda t, x, y: v.maximum(x * y, 1.0) + v.minimum(x, y * y),
    "choice": lambda t, x, y: v.where(x > 1.0, x * x, -y * t),
    "absolute": lambda t, x, y: v.absolute(x - y) * x,
    "whole": lambda t, x, y: jnp.floor(x) * y,
    "time alone": lambda t, x, y: t * t + 1.0,
    "constant": lambda t, x, y: jnp.zeros_like(x) + 2.0,
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_coefficients_are_derivatives_over_factorials(name: str):
    """Along the curve t + s, x + s·a + s²·b, y − s·b: as functions of s."""
    function = OPERATIONS[name]
    time, a, b = jnp.array([0.2, 0.5, 0.9]), 0.3 * X, 0.2 * Y
    program = traced(lambda t, x, y: (function(t, x, y),), time, X, Y)
    propagate = _propagation(
        program, program.reciprocals(), [[time, jnp.ones(3)], [X, a, b], [Y, -b]]
    )
    found = np.array([propagate(power)[0] for power in range(DEGREE)])

    def along(s):
        return function(time + s, X + s * a + s * s * b, Y - s * b) + 0.0 * s

    # Each point has its own s, so that one tangent of ones gives the derivatives of all.
    derivatives: list[Callable[[Any], Any]] = [along]
    for _ in range(DEGREE - 1):
        derivatives.append(_slope(derivatives[-1]))
    together = jax.jit(lambda s: [f(s) for f in derivatives], compiler_options=QUICKLY)
    for power, value in enumerate(together(jnp.zeros(3))):
        expected = value / math.factorial(power)
        scale = np.max(np.abs(expected)) + 1.0
        np.testing.assert_allclose(found[power], expected, atol=1e-11 * scale, err_msg=f"{power}")


def _slope(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda s: jax.jvp(function, (s,), (jnp.ones_like(s),))[1]


def test_an_operation_without_a_rule_is_refused_by_name():
    field = lambda time, state: (jax.lax.erf(state[0]),)  # noqa: E731
    with pytest.raises(ValueError, match="method taylor has no rule for erf"):
        methods.get("taylor").prepare(field, jnp.zeros(1), (jnp.ones(1),))


def damped_by(function: Callable[[Any, Any], Any], model: Model) -> Model:
    """The oscillator with `function(its position, its parameter)` added to its speed's rate."""

    def derivative(time: Any, state: Any, parameters: Any, inputs: Any) -> Any:
        rates = model.derivative(time, state, parameters, inputs)
        more = function(state.position, parameters.stiffness)
        return rates._replace(speed=rates.speed - more)

    return dataclasses.replace(model, derivative=derivative, method="taylor")


def test_a_model_with_such_an_operation_is_refused_wherever_it_is_solved(van_der_pol):
    model = damped_by(lambda x, p: lax.erf(x) + jnp.logaddexp(x, p), van_der_pol)
    parameters, plan = model.Parameters(np.ones(3)), schedule(model, observe=[1.0])
    message = (
        "model van_der_pol uses erf, logaddexp, for which method taylor has no rule: choose one of "
        "tsit5, dopri8, rodas4, rodas5p"
    )

    def objective(outputs: Any, data: Any) -> Any:
        return outputs.position.sum(axis=0)

    for attempt in (
        lambda: solve(model, parameters, *plan),
        lambda: submit(
            dataclasses.replace(model, method="tsit5"), parameters, *plan, method="taylor"
        ),
        lambda: value_and_gradient(model, parameters, *plan, objective),
        lambda: solve_traced(
            model, jax.tree.map(jnp.asarray, parameters), *plan, derivative="forward"
        ),
    ):
        with pytest.raises(ValueError, match=message):
            attempt()
    # Nor does the choice of a method take it, or stumble over it.
    assert candidates(model, Tolerances())[0] == "tsit5"
    own = dataclasses.replace(van_der_pol, method="taylor")
    assert candidates(own, Tolerances())[0] == "taylor"


def test_what_depends_on_parameters_alone_needs_no_rule(van_der_pol):
    loops.check(damped_by(lambda x, p: lax.erf(p) * x, van_der_pol), "taylor", noisy=False)
    with pytest.raises(ValueError, match="uses erf,"):
        loops.check(damped_by(lambda x, p: lax.erf(p * x), van_der_pol), "taylor", noisy=False)


def test_a_kink_within_a_step_is_seen():
    """x' = −max(x − 1, 0) − 0.2 from above 1: where the maximum takes over no coefficient tells."""
    field = lambda time, state: (-5.0 * jnp.maximum(state[0] - 1.0, 0.0) - 0.2,)  # noqa: E731
    time, state = jnp.zeros(1), (jnp.array([1.1]),)
    stepper = methods.get("taylor").prepare(field, time, state)
    # Down to 1 it takes ln(3.5)/5 = 0.25; then x falls in a straight line.
    for size in (0.3, 0.5, 0.8):
        trial = stepper.step(time, jnp.array([size]), state, ())
        exact = 1.0 - 0.2 * (size - np.log(3.5) / 5.0)
        error = abs(float(trial.state[0][0]) - exact)
        assert error < abs(float(trial.error[0][0]))
