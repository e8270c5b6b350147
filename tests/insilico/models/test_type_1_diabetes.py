"""Type 1 diabetes against reference solutions of a day with three meals."""

from pathlib import Path

import numpy as np
import pytest

from insilico import models
from insilico.solve import Dose, Input, schedule, solve

ARCHIVE = Path(__file__).resolve().parents[4] / "shared" / "bench" / "ensemble_problems.npz"
MODEL = models.get("type_1_diabetes")
PATIENTS = 50
PICOMOLES_A_UNIT = 6000.0

pytestmark = pytest.mark.skipif(not ARCHIVE.is_file(), reason=f"no reference: {ARCHIVE}")


@pytest.fixture(scope="module")
def archive() -> dict[str, np.ndarray]:
    with np.load(ARCHIVE) as file:
        return {name: file[name] for name in file.files if name.startswith("p3")}


@pytest.fixture(scope="module")
def parameters(archive):
    return MODEL.Parameters(*archive["p3"][:PATIENTS].T)


def test_a_day_with_three_meals_is_that_of_the_reference(archive, parameters):
    actions = []
    for start, _, meal, last_meal, bolus in archive["p3_segments"].tolist():
        actions += [Input(start, "meal", meal), Input(start, "last_meal", last_meal)]
        if bolus:
            actions.append(Dose(start, "injected", PICOMOLES_A_UNIT * bolus))
    events, pattern = schedule(MODEL, actions, observe=archive["p3_times"].tolist())
    found = np.stack(list(solve(MODEL, parameters, events, pattern).outputs), axis=-1)
    expected = archive["p3_reference"][:PATIENTS]
    # The steps' tolerance is 1e-6; none of these is ever near zero.
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert np.ptp(expected[..., 0], axis=1).min() > 20.0, "glucose has hardly moved"


def test_patients_rest_without_meals_at_the_steady_state_that_is_given(parameters):
    inputs = MODEL.Inputs(0.0, 0.0)
    state = MODEL.initial(parameters)
    rates = MODEL.derivative(0.0, state, parameters, inputs)
    # State and rate over a day, as far as the archive's digits go.
    for name, size, rate in zip(MODEL.State._fields, state, rates, strict=True):
        np.testing.assert_allclose(
            1440.0 * rate, 0.0, atol=1e-6 * np.max(size) + 1e-9, err_msg=name
        )
