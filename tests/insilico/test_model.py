"""What a model declares about itself."""

import dataclasses
from typing import Annotated, NamedTuple

import pytest

from insilico.model import Model, NoInputs, Quantity
from insilico.vocabulary import Value, Vector


class State(NamedTuple):
    gut: Annotated[Value, Quantity("mg", "drug in the gut", negligible=0.5)]
    transit: Annotated[Value, Quantity("1", "chain", size=3, negligible=2.0)]
    central: Annotated[Value, Quantity("mg", "drug in the body")]


class Parameters(NamedTuple):
    rate: Annotated[Value, Quantity("1/h", "rate")]


class Outputs(NamedTuple):
    central: Annotated[Value, Quantity("mg", "drug in the body")]


def _state(p: Parameters) -> State:
    return State(0.0 * p.rate, Vector(1.0, 1.0, 1.0), 0.0 * p.rate)


MODEL = Model(
    name="example",
    title="An example",
    citation="none",
    State=State,
    Parameters=Parameters,
    Outputs=Outputs,
    initial=_state,
    derivative=lambda time, s, p, inputs: State(-p.rate * s.gut, 0.0 * s.transit, p.rate * s.gut),
    outputs=lambda time, s, p: Outputs(s.central),
)


def test_quantities_are_those_of_the_annotations_in_order():
    found = MODEL.quantities("State")
    assert list(found) == ["gut", "transit", "central"]
    assert found["transit"] == Quantity("1", "chain", size=3, negligible=2.0)
    assert MODEL.quantities("Inputs") == {} and MODEL.Inputs is NoInputs


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"negligible": -1.0}, "drug: negligible must be finite and not below 0; found -1.0"),
        ({"negligible": float("nan")}, "drug: negligible must be finite"),
        ({"size": 0}, "drug: size must be at least 1; found 0"),
        ({"lowest": float("-inf")}, "drug: lowest must be finite; found -inf"),
    ],
)
def test_a_quantity_that_says_nothing_is_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        Quantity("mg", "drug", **wrong)


def test_components_are_the_state_laid_flat():
    assert MODEL.components() == ["gut", "transit[0]", "transit[1]", "transit[2]", "central"]
    assert MODEL.negligible() == (0.5, 2.0, 2.0, 2.0, 1.0)


def test_a_compartment_is_found_by_the_name_of_its_component():
    assert MODEL.compartment("gut") == 0
    assert MODEL.compartment("transit[1]") == 2
    assert MODEL.compartment("central") == 4


@pytest.mark.parametrize("name", ["liver", "transit", "Gut", ""])
def test_an_unknown_compartment_is_an_error_that_lists_the_known(name: str):
    with pytest.raises(
        KeyError, match=r"example has no compartment .*gut, transit\[0\], .*central"
    ):
        MODEL.compartment(name)


def test_a_field_without_a_unit_is_an_error_that_names_it():
    class Bare(NamedTuple):
        rate: float

    with pytest.raises(TypeError, match="Parameters of model example: field 'rate' needs a unit"):
        dataclasses.replace(MODEL, Parameters=Bare).quantities("Parameters")


def test_a_sound_structure_passes():
    MODEL.check_structure(Parameters(0.5))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"initial": lambda p: (0.0, Vector(1.0, 1.0, 1.0), 0.0)},
            "initial state .* State; .*tuple",
        ),
        (
            {"initial": lambda p: State(0.0, Vector(1.0, 1.0), 0.0)},
            "initial state .*transit must have 3",
        ),
        ({"derivative": lambda t, s, p, i: (0.0, 0.0, 0.0)}, "derivative .* State; found tuple"),
        ({"derivative": lambda t, s, p, i: State(0.0, 0.0, 0.0)}, "transit must have 3 .*found 1"),
        (
            # Five components in all, but not where they were declared.
            {"derivative": lambda t, s, p, i: State(Vector(0.0, 0.0), Vector(0.0, 0.0), 0.0)},
            "derivative .*gut must have 1 .*found 2",
        ),
    ],
)
def test_a_wrong_structure_is_an_error_that_says_where(changed, message):
    with pytest.raises(TypeError, match=message):
        dataclasses.replace(MODEL, **changed).check_structure(Parameters(0.5))
