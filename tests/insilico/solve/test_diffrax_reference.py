"""The reference answers to what is known exactly, so that lanes may answer to it."""

import diffrax
import jax
import numpy as np
import pytest

from insilico.solve import Dose, Infusion, Input, Status, Tolerances, reference, schedule

TYPICAL = (1.2, 3.0, 30.0)
OBSERVE = [0.0, 5.0, 12.0, 24.0, 30.0]
ACTIONS = [
    Dose(0.0, "depot", 100.0),
    Infusion(3.0, "central", 50.0, 6.0),
    Input(12.0, "induction", 1.0),
    Dose(24.0, "depot", 50.0),
]


@pytest.mark.parametrize("solver", [None, pytest.param(diffrax.Tsit5(), marks=pytest.mark.slow)])
def test_the_reference_gives_the_exact_answer(one_compartment, patients, exact, solver):
    parameters = patients(one_compartment, TYPICAL, 3)
    events, pattern = schedule(one_compartment, ACTIONS, observe=OBSERVE)
    tolerances = Tolerances(relative=1e-12, absolute=1e-12)
    found = reference(one_compartment, parameters, events, pattern, tolerances, solver=solver)
    assert np.all(found.status == Status.OK)
    for index, own in enumerate(zip(*parameters, strict=True)):
        rows = np.stack([output[:, index] for output in found.outputs], axis=-1)
        # A hundred steps' errors of 1e-12, and amounts of 100.
        np.testing.assert_allclose(rows, exact(own, ACTIONS, OBSERVE), rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_a_patient_without_numbers_fails_and_its_neighbour_does_not(one_compartment, patients):
    parameters = patients(one_compartment, TYPICAL, 2)
    spoilt = parameters._replace(clearance=np.array([parameters.clearance[0], np.nan]))
    events, pattern = schedule(one_compartment, ACTIONS, observe=OBSERVE)
    walks = [
        reference(one_compartment, p, events, pattern, Tolerances()) for p in (parameters, spoilt)
    ]
    assert walks[1].status.tolist() == [Status.OK, Status.NOT_FINITE]
    for ours, theirs in zip(
        jax.tree.leaves(walks[0].outputs), jax.tree.leaves(walks[1].outputs), strict=True
    ):
        np.testing.assert_array_equal(ours[:, 0], theirs[:, 0])
