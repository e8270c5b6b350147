"""Modes at several places of the population's parameters are those of each place alone."""

import jax
import numpy as np
import pytest

from cohorts.inference.marginal_likelihood import marginal
from cohorts.inference.modes import ROUGH, SEARCH, Modes, individual_modes
from cohorts.inference.side_by_side import at_once, marginals_at, modes_ahead, modes_at

from .stand_ins import decay, quickly


@pytest.fixture(scope="module")
def made():
    """A joint density, its data, and more places than are side by side on all devices."""
    joint, theta, data = decay()
    count = jax.local_device_count() * at_once(joint) + 3
    places = theta + 0.1 * np.random.default_rng(5).normal(size=(count, len(theta)))
    return joint, places, data


@pytest.fixture(scope="module")
def found(made):
    joint, places, data = made
    return modes_at(joint, places, data, search=SEARCH)


def test_modes_are_those_of_each_place_alone(made, found):
    joint, places, data = made
    alone = quickly(lambda theta: individual_modes(joint, theta, data))
    assert found.x.shape == (len(places), 2, joint.subjects)
    for number in (0, 1, len(places) - 1):
        one = alone(places[number])
        np.testing.assert_allclose(found.x[number], one.x, atol=1e-9)
        np.testing.assert_array_equal(found.status[number], one.status)


def test_any_start_comes_to_the_same_modes(made, found):
    joint, places, data = made
    again = modes_at(joint, places[:4], data, found.x[0], SEARCH)
    np.testing.assert_allclose(again.x, found.x[:4], atol=1e-8)
    # From a mode there is nothing left to go.
    assert np.all(again.iterations[0] < found.iterations[0])


def test_marginal_likelihoods_are_those_of_each_place_alone(made):
    joint, places, data = made
    theirs = marginals_at(joint, places, data).value
    alone = quickly(lambda theta: marginal(joint, theta, data, search=ROUGH).value)
    np.testing.assert_allclose(theirs[-1], alone(places[-1]), rtol=1e-8)


def test_places_starts_and_tolerances_are_numbers_of_one_program(made, found, compilations):
    joint, places, data = made
    before = compilations.count
    modes_ahead(joint, places.shape[1], data)
    for search, start in ((ROUGH, None), (SEARCH, found.x[0])):
        for count in (1, 2, len(places)):
            modes_at(joint, places[:count], data, start, search)
    assert compilations.count == before


def test_blank_modes_are_shaped_as_found_ones(made, found):
    joint, *_ = made
    blank = Modes.blank(2, joint.subjects)
    for ours, theirs in zip(blank, found, strict=True):
        assert (ours.shape, ours.dtype) == (theirs.shape[1:], theirs.dtype)
