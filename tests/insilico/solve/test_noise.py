"""How noise acts is read off a model's equations."""

import dataclasses
from typing import Annotated, NamedTuple

import numpy as np
import pytest

from insilico.dimensions import inconsistencies
from insilico.model import Model, Quantity, Wiener
from insilico.solve.noise import structure_of
from insilico.vocabulary import Value, Vector, exp, maximum, sqrt


class State(NamedTuple):
    prey: Annotated[Value, Quantity("mg", "one")]
    chain: Annotated[Value, Quantity("mg", "two in a row", size=2)]


class Parameters(NamedTuple):
    size: Annotated[Value, Quantity("1/h^0.5", "of fluctuations in proportion")]
    constant: Annotated[Value, Quantity("mg/h^0.5", "of fluctuations on their own")]


class Outputs(NamedTuple):
    prey: Annotated[Value, Quantity("mg", "one")]


class Noise(NamedTuple):
    first: Annotated[State, Wiener("one source")]
    second: Annotated[State, Wiener("another")]


def _model(first, second) -> Model:
    """A model whose two processes have the coefficients that two functions of (state, p) give."""
    return Model(
        name="noisy",
        title="Three states with noise",
        citation="none",
        State=State,
        Parameters=Parameters,
        Outputs=Outputs,
        Noise=Noise,
        initial=lambda p: State(p.constant / p.size, Vector(*[p.constant / p.size] * 2)),
        derivative=lambda time, s, p, inputs: State(0.0, Vector(0.0, 0.0)),
        diffusion=lambda time, s, p, inputs: Noise(first(s, p), second(s, p)),
        outputs=lambda time, s, p: Outputs(s.prey),
        method="euler_maruyama",
        step=0.1,
    )


NOTHING = State(0.0, Vector(0.0, 0.0))


def _prey(s, p) -> State:
    return NOTHING._replace(prey=p.size * s.prey)


@pytest.mark.parametrize(
    ("second", "entries", "additive", "commutative"),
    [
        # One process alone, acting on two states.
        (lambda s, p: NOTHING, 1, False, True),
        # Each on its own by itself: diagonal.
        (lambda s, p: State(0.0, Vector(p.size * s.chain[0], 0.0)), 2, False, True),
        # Two in proportion to the same state, which no structure shows but the values do.
        (lambda s, p: State(p.size * 0.5 * s.prey, Vector(0.0, 0.0)), 2, False, True),
        (lambda s, p: State(exp(-2.0) * p.size * s.prey, Vector(0.0, 0.0)), 2, False, True),
        # One changes the coefficient of the other.
        (lambda s, p: State(0.0, Vector(p.size * s.prey, 0.0)), 2, False, False),
        (lambda s, p: State(p.constant, Vector(0.0, 0.0)), 2, False, False),
        (lambda s, p: State(sqrt(p.constant * p.size * s.prey), NOTHING.chain), 2, False, False),
    ],
)
def test_what_acts_where_and_whether_it_commutes(second, entries, additive, commutative):
    structure = structure_of(_model(_prey, second))
    assert structure.processes == ("first", "second")
    assert structure.entries[0] == (0, 0) and len(structure.entries) == entries
    assert (structure.additive, structure.commutative) == (additive, commutative)


def test_noise_that_no_state_changes_is_additive():
    structure = structure_of(
        _model(
            lambda s, p: State(p.constant, Vector(0.0, 2.0 * p.constant)),
            lambda s, p: State(p.constant, Vector(0.0, 0.0)),
        )
    )
    assert structure.additive and structure.commutative
    assert structure.entries == ((0, 0), (0, 2), (1, 0))


def test_where_points_say_nothing_noise_does_not_count_as_commutative():
    def hidden(s, p):
        return State(p.size * sqrt(maximum(s.prey - 5.0, -1.0) - 5.0), Vector(0.0, 0.0))

    assert not structure_of(_model(_prey, hidden)).commutative


def test_noise_that_acts_on_nothing_is_an_error():
    with pytest.raises(ValueError, match="diffusion of model noisy is zero throughout"):
        structure_of(_model(lambda s, p: NOTHING, lambda s, p: NOTHING))
    silent = dataclasses.replace(_model(_prey, _prey), diffusion=None)
    with pytest.raises(ValueError, match="noisy has no noise"):
        structure_of(silent)


def test_units_of_noise_are_checked():
    sound = _model(_prey, lambda s, p: State(p.constant, Vector(0.0, 0.0)))
    assert inconsistencies(sound) == []
    found = inconsistencies(_model(_prey, lambda s, p: State(s.prey, Vector(p.size, 0.0))))
    assert len(found) == 2
    assert "diffusion: second.prey is mass, declared mass·time^-1/2" in found
    assert any("second.chain" in problem for problem in found)


def test_the_structure_of_diffusion_is_checked():
    numbers = Parameters(np.ones(3), np.ones(3))
    _model(_prey, _prey).check_structure(numbers)
    with pytest.raises(TypeError, match="diffusion by second of model noisy must be a State"):
        _model(_prey, lambda s, p: p.constant).check_structure(numbers)
    with pytest.raises(TypeError, match="by second of model noisy: chain must have 2 comp"):
        _model(_prey, lambda s, p: State(p.constant, 0.0)).check_structure(numbers)
    wrong = dataclasses.replace(
        _model(_prey, _prey), diffusion=lambda time, s, p, inputs: (NOTHING, NOTHING)
    )
    with pytest.raises(TypeError, match="diffusion of model noisy must be a Noise; found tuple"):
        wrong.check_structure(numbers)


def test_processes_are_described():
    assert _model(_prey, _prey).processes() == {
        "first": Wiener("one source"),
        "second": Wiener("another"),
    }

    class Bare(NamedTuple):
        first: State

    with pytest.raises(TypeError, match="Noise of model noisy: field 'first' needs a description"):
        dataclasses.replace(_model(_prey, _prey), Noise=Bare).processes()
