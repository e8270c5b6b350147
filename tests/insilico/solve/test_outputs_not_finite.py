"""An output that is no number fails its patient, though the state is finite, and nobody else."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from insilico import models
from insilico.solve import Dose, Status, read_records, schedule, solve, solve_traced

ORAL = models.get("one_compartment")
DOSES = [Dose(1.0, "depot", 100.0)]
EVENTS, PATTERN = schedule(ORAL, DOSES, observe=[0.0, 2.0, 3.0])
TINY = 1e-307
"""A volume by which a dose divided is infinite, in an equation that does not use it."""


def _parameters(volumes):
    volumes = jnp.asarray(volumes)
    return ORAL.Parameters(jnp.ones_like(volumes), jnp.zeros_like(volumes), volumes)


@pytest.mark.parametrize(
    ("method", "driver"),
    [
        ("closed_form", "xla"),
        ("tsit5", "xla"),
        pytest.param("tsit5", "kernel", marks=pytest.mark.slow),
    ],
)
def test_it_is_told_when_and_the_others_are_what_they_were(method, driver):
    solution = solve(
        ORAL, _parameters([30.0, TINY, 20.0]), EVENTS, PATTERN, method=method, driver=driver
    )
    others = solve(
        ORAL, _parameters([30.0, 10.0, 20.0]), EVENTS, PATTERN, method=method, driver=driver
    )
    assert solution.status.tolist() == [Status.OK, Status.NOT_FINITE, Status.OK]
    assert solution.stopped[1] == 2.0
    for output, fine in zip(solution.outputs, others.outputs, strict=True):
        np.testing.assert_array_equal(output[[0, 2]], fine[[0, 2]])
        assert np.isnan(output[1]).tolist() == [False, True, True]


def test_gradients_of_it_are_zero_and_those_of_others_what_they_were():
    def total(scale, volumes):
        parameters = _parameters(volumes)
        parameters = parameters._replace(absorption_rate=scale * parameters.absorption_rate)
        solution = solve_traced(ORAL, parameters, EVENTS, PATTERN, derivative="reverse")
        solved = (solution.status == Status.OK)[:, None]
        return jnp.sum(jnp.where(solved, solution.outputs.concentration, 0.0))

    gradient = jax.jit(jax.grad(total, argnums=(0, 1)))
    scale, volumes = gradient(1.3, jnp.array([30.0, TINY, 20.0]))
    fine, of_fine = gradient(1.3, jnp.array([30.0, 10.0, 20.0]))
    alone = of_fine[1] * 0.0
    np.testing.assert_array_equal(volumes, jnp.array([of_fine[0], alone, of_fine[2]]))
    # By what all share: without the second patient's part, which is proportional to 1 / volume.
    part = gradient(1.3, jnp.array([10.0] * 3))[0] / 3
    np.testing.assert_allclose(scale, fine - part, rtol=1e-12)


def test_of_an_event_table_only_observations_are_looked_at():
    """The second patient's output is infinite at a dose alone, where nothing is measured."""
    rows = {"TIME": [0.0, 1.0, 2.0] * 2, "EVID": [1, 0, 0] * 2, "CMT": [1] * 6}
    rows |= {"ID": np.repeat([1, 2], 3), "AMT": [10.0, 0.0, 0.0] * 2}
    logarithmic = _logarithmic()
    solution = solve(logarithmic, _parameters([30.0, 30.0]), read_records(logarithmic, rows))
    assert np.isneginf(solution.outputs.concentration[:, 0]).all()
    assert (solution.status == Status.OK).all()


def _logarithmic():
    def outputs(time, state, parameters):
        found = ORAL.outputs(time, state, parameters)
        return found._replace(concentration=jnp.log(found.concentration))

    return dataclasses.replace(ORAL, outputs=outputs)
