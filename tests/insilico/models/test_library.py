"""What holds of every model in the library."""

import numpy as np
import pytest

from insilico import devices as _devices  # noqa: F401  (float64)
from insilico import models
from insilico.checks import ALL, CHEAP
from insilico.config import dimensions
from insilico.solve.methods import STOCHASTIC
from insilico.testing import check_model

NARROW = {"type_1_diabetes": {"cv": 0.1}}
"""Models of which patients all of whose parameters spread by 30 % are not all possible: a basal
insulin that follows from the others may be negative, and such a patient leaves the domain."""

LONG = ("hodgkin_huxley1952", "type_1_diabetes")
"""Models whose equations take long to compile; each has tests of its own besides."""


@pytest.fixture(params=models.names())
def model(request):
    return models.get(request.param)


def test_the_library_knows_its_models_by_file_name(model):
    assert model.name in models.names() == sorted(models.names())


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in models.names()],
)
def test_a_model_passes_the_checks_that_solve_nothing(name):
    check_model(models.get(name), only=CHEAP)


# How long compiling takes says more about the machine, and its other tests, than about a model.
@pytest.mark.slow
@pytest.mark.parametrize("name", models.names())
def test_a_model_passes_the_checks_that_solve(name):
    spread = NARROW.get(name, {})
    check_model(models.get(name), only=[each for each in ALL if each != "compilation"], **spread)


def test_a_model_states_typical_values(model):
    assert isinstance(model.typical, model.Parameters)


def test_an_unknown_model_is_an_error_that_lists_the_known():
    with pytest.raises(KeyError, match="no model 'aspirin'; there are .*warfarin_hamberg2010"):
        models.get("aspirin")


def test_a_model_says_where_it_comes_from_and_how_far_it_can_be_trusted(model):
    assert len(model.citation) > 30 and any(char.isdigit() for char in model.citation)
    assert model.validated and model.limits
    assert all(isinstance(line, str) and line for line in (*model.validated, *model.limits))


def test_every_quantity_has_a_known_unit_and_a_description(model):
    for group in ("State", "Parameters", "Inputs", "Outputs"):
        for name, quantity in model.quantities(group).items():
            dimensions(quantity.unit)
            assert len(quantity.description) > 3, name
    assert dict(dimensions(model.time_unit)) == {"[time]": 1}


def test_a_model_with_noise_says_what_fluctuates_and_on_which_grid(model):
    assert (model.diffusion is not None) == bool(model.processes())
    assert all(len(process.description) > 3 for process in model.processes().values())
    if model.diffusion is not None:
        assert model.method in STOCHASTIC and model.step is not None


def test_a_model_has_the_structure_it_declares_on_floats_and_on_lanes(model):
    ones = model.Parameters(*(1.0 for _ in model.Parameters._fields))
    model.check_structure(ones)
    model.check_structure(model.Parameters(*(np.ones(3) for _ in model.Parameters._fields)))


def test_lanes_are_patients_side_by_side(model):
    """Each lane's rates are those of its patient alone: nothing mixes patients."""
    generator = np.random.default_rng(1)
    parameters = model.Parameters(*generator.uniform(0.5, 2.0, (len(model.Parameters._fields), 4)))
    inputs = model.Inputs(*(0.5 for _ in model.Inputs._fields))
    lanes = model.derivative(1.0, model.initial(parameters), parameters, inputs)
    for index in range(4):
        own = model.Parameters(*(float(values[index]) for values in parameters))
        alone = model.derivative(1.0, model.initial(own), own, inputs)
        for name, ours, theirs in zip(model.State._fields, lanes, alone, strict=True):
            ours = [
                np.asarray(part)[..., index] if np.ndim(part) else part for part in _parts(ours)
            ]
            # Vectorised and scalar elementary functions may round differently.
            np.testing.assert_allclose(ours, _parts(theirs), rtol=1e-13, atol=1e-15, err_msg=name)


def _parts(field):
    return list(field) if hasattr(field, "components") else [field]
