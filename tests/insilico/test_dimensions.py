"""Every model's equations agree with its units, and a wrong model is found out."""

import dataclasses
import subprocess
import sys
from typing import Annotated, NamedTuple

import jax.numpy as jnp
import pytest

from insilico import models
from insilico.dimensions import DimensionError, check_dimensions, inconsistencies
from insilico.model import Model, Quantity
from insilico.vocabulary import (
    Value,
    Vector,
    absolute,
    exp,
    log,
    maximum,
    minimum,
    power,
    shift,
    sqrt,
    tanh,
    total,
    where,
)


@pytest.mark.parametrize("name", models.names())
def test_the_equations_of_every_model_in_the_library_agree_with_its_units(name: str):
    check_dimensions(models.get(name))


class State(NamedTuple):
    amount: Annotated[Value, Quantity("mg", "amount")]
    chain: Annotated[Value, Quantity("1", "chain", size=2)]


class Parameters(NamedTuple):
    clearance: Annotated[Value, Quantity("L/h", "clearance")]
    volume: Annotated[Value, Quantity("L", "volume")]
    rate: Annotated[Value, Quantity("1/h", "rate")]
    half: Annotated[Value, Quantity("mg/L", "concentration of half effect")]
    hill: Annotated[Value, Quantity("1", "exponent")]


class Outputs(NamedTuple):
    concentration: Annotated[Value, Quantity("mg/L", "concentration")]


def _initial(p: Parameters) -> State:
    return State(0.0 * p.clearance, Vector(1.0 + 0.0 * p.volume, 1.0))


def _derivative(time: Value, s: State, p: Parameters, inputs: Value) -> State:
    return State(-p.clearance / p.volume * s.amount, p.rate * (shift(s.chain, 1.0) - s.chain))


SOUND = Model(
    name="sound",
    title="A model whose units agree",
    citation="none",
    State=State,
    Parameters=Parameters,
    Outputs=Outputs,
    initial=_initial,
    derivative=_derivative,
    outputs=lambda time, s, p: Outputs(s.amount / p.volume),
    fastest_rate=lambda p: maximum(p.rate, p.clearance / p.volume),
)


def _with_rate_of_amount(rate) -> list[str]:
    """Problems of the model above with another equation for the amount."""

    def derivative(time, s, p, inputs):
        return _derivative(time, s, p, inputs)._replace(amount=rate(time, s, p))

    return inconsistencies(dataclasses.replace(SOUND, derivative=derivative))


def test_a_sound_model_passes():
    check_dimensions(SOUND)


SOUND_RATES = {
    "powers of pure numbers": lambda t, s, p: -p.rate * s.amount * (s.chain[0] ** p.hill),
    "the vocabulary's power": lambda t, s, p: (
        -p.rate * s.amount * power(s.amount / p.volume / p.half, p.hill)
    ),
    "squares and roots": lambda t, s, p: -p.rate * sqrt(s.amount**2 + s.amount * s.amount),
    "half powers": lambda t, s, p: -p.rate * s.amount**0.5 * s.amount**0.5,
    "zero is of any dimension": lambda t, s, p: where(s.amount > 0, -p.rate * s.amount, 0.0),
    "clipping at zero": lambda t, s, p: -p.rate * maximum(s.amount, 0.0),
    "functions of pure numbers": lambda t, s, p: (
        -p.rate * s.amount * exp(-p.rate * t) * tanh(log(p.hill)) * total(s.chain)
    ),
    "comparison of like with like": lambda t, s, p: (
        where(s.amount / p.volume > p.half, 2.0, 1.0)
        * absolute(minimum(-p.rate, -p.clearance / p.volume))
        * s.amount
    ),
}


@pytest.mark.parametrize("name", SOUND_RATES)
def test_what_is_consistent_passes(name: str):
    assert _with_rate_of_amount(SOUND_RATES[name]) == []


WRONG_RATES = {
    "the volume forgotten": (lambda t, s, p: -p.clearance * s.amount, "amount is"),
    "the rate forgotten": (lambda t, s, p: -s.amount, "amount is mass, declared mass·time^-1"),
    "mass and concentration added": (
        lambda t, s, p: p.rate * (s.amount + s.amount / p.volume),
        "add of mass and length^-3·mass",
    ),
    "a number added to a mass": (
        lambda t, s, p: p.rate * (s.amount + 1.0),
        "add of mass and a pure",
    ),
    "exponential of a time": (lambda t, s, p: p.rate * s.amount * exp(-t), "exp of time"),
    "logarithm of a mass": (lambda t, s, p: p.rate * s.amount * log(s.amount), "log of mass"),
    "power of a concentration": (
        lambda t, s, p: p.rate * s.amount * power(s.amount / p.volume, p.hill),
        "line",
    ),
    "plain power of a concentration": (
        lambda t, s, p: p.rate * s.amount * (s.amount / p.volume) ** p.hill,
        "variable exponent",
    ),
    "an exponent with a unit": (
        lambda t, s, p: p.rate * s.amount * p.hill**s.amount,
        "exponent is mass",
    ),
    "choice between unlikes": (
        lambda t, s, p: where(t > 0.0, p.rate * s.amount, s.amount),
        "choice of mass and mass·time^-1",
    ),
    "comparison of unlikes": (
        lambda t, s, p: where(s.amount > p.half, p.rate, 2.0 * p.rate) * s.amount,
        "comparison of mass and length^-3·mass",
    ),
    "maximum of unlikes": (
        lambda t, s, p: p.rate * maximum(s.amount, p.volume),
        "max of mass and length^3",
    ),
    "root of the wrong thing": (lambda t, s, p: p.rate * sqrt(s.amount), "mass^1/2"),
    "an operation it does not know": (
        lambda t, s, p: p.rate * s.amount * jnp.sort(jnp.stack([t, t]))[0],
        "does not know",
    ),
}


@pytest.mark.parametrize("name", WRONG_RATES)
def test_what_is_inconsistent_is_reported(name: str):
    rate, message = WRONG_RATES[name]
    problems = _with_rate_of_amount(rate)
    assert len(problems) == 1, problems
    assert problems[0].startswith("derivative: ") and message in problems[0]


def test_a_vector_is_checked_component_by_component():
    def derivative(time, s, p, inputs):
        return _derivative(time, s, p, inputs)._replace(chain=Vector(p.rate, p.clearance))

    (problem,) = inconsistencies(dataclasses.replace(SOUND, derivative=derivative))
    assert "chain" in problem and "length^3·time^-1, declared time^-1" in problem


def test_initial_state_outputs_and_fastest_rate_are_checked_too():
    wrong = dataclasses.replace(
        SOUND,
        initial=lambda p: _initial(p)._replace(amount=p.volume),
        outputs=lambda time, s, p: Outputs(s.amount),
        fastest_rate=lambda p: p.clearance,
    )
    labels = [problem.split(":")[0] for problem in inconsistencies(wrong)]
    assert labels == ["initial", "outputs", "fastest_rate"]


def test_the_error_names_the_model_the_line_and_every_place():
    def derivative(time, s, p, inputs):
        first = s.amount + p.volume
        return State(first * p.rate, p.rate * (s.chain - exp(time)))

    wrong = dataclasses.replace(SOUND, derivative=derivative)
    line = derivative.__code__.co_firstlineno + 1
    with pytest.raises(DimensionError) as caught:
        check_dimensions(wrong)
    message = str(caught.value)
    assert "model sound" in message
    assert f"derivative: line {line}: add of mass and length^3" in message
    assert f"derivative: line {line + 1}: exp of time" in message


def test_units_of_vectors_are_checked_in_a_process_that_imported_nothing_else():
    """Vectors are nodes of JAX's trees only once that is told to JAX."""
    program = (
        "from insilico.model import Model, Quantity\n"
        "from insilico.vocabulary import Value, Vector\n"
        "from typing import Annotated, NamedTuple\n"
        "class State(NamedTuple):\n"
        "    chain: Annotated[Vector, Quantity('mg', 'drug', size=2)]\n"
        "class Parameters(NamedTuple):\n"
        "    rate: Annotated[Value, Quantity('1/h', 'transit')]\n"
        "start = lambda p: State(Vector(0.0, 0.0))\n"
        "rates = lambda t, s, p, i: State(-p.rate * s.chain)\n"
        "model = Model('m', '', '', State, Parameters, State, start, rates, lambda t, s, p: s)\n"
        "from insilico.dimensions import check_dimensions\n"
        "check_dimensions(model)\n"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
