"""Patients of few records beside those of many: solved as if alone, without the others' work."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from insilico import models
from insilico.solve import Status, objective_traced, read_records, solve
from insilico.solve.events import FEW_ROWS, ROWS_TOGETHER
from insilico.solve.records.packing import Packing

ORAL = models.get("one_compartment")
STEADY = [0, 5, 1, 2]
"""Steady-state records of each patient; the second has a dose more between each two of them."""


def _table(patients):
    columns = {name: [] for name in ("ID", "TIME", "EVID", "AMT", "CMT", "II", "SS")}

    def add(*cells):
        for column, cell in zip(columns.values(), cells, strict=True):
            column.append(cell)

    for patient in patients:
        add(patient, 0.0, 1, 50.0, 1, 0.0, 0)
        for number in range(STEADY[patient]):
            begin = 30.0 * (number + 1)
            add(patient, begin, 1, 100.0 + 10.0 * number, 1, 8.0 + patient, 1)
            add(patient, begin + 3.0, 0, 0.0, 1, 0.0, 0)
            if patient == 1:
                add(patient, begin + 6.0, 1, 70.0, 1, 0.0, 0)
        add(patient, 30.0 * (STEADY[patient] + 1), 0, 0.0, 1, 0.0, 0)
    return {name: np.array(column) for name, column in columns.items()}


def _parameters(patients):
    typical = np.array([1.0, 3.0, 30.0])[:, None]
    return ORAL.Parameters(
        *(typical * np.exp(0.2 * np.sin(np.array([[1.0], [2.0], [3.0]]) + patients)))
    )


def _last(outputs, shown):
    return jnp.sum(jnp.where(shown, outputs.concentration, 0.0) ** 2, axis=0)


def test_steady_states_take_packs_of_lanes_not_one_for_each_record():
    wanted = np.arange(9)[:, None] < np.array([0, 9, 1, 2, 0, 1, 3, 0])
    packing = Packing.of(jnp.asarray(wanted))
    packs = np.asarray(packing.packed(jnp.asarray(wanted)))
    assert packs.any(axis=1).sum() == -(-wanted.sum() // wanted.shape[1]) == 2
    numbers = jnp.arange(wanted.size).reshape(wanted.shape)
    np.testing.assert_array_equal(packing.unpacked(packing.packed(numbers)), numbers)
    lanes = packing.of_lanes(jnp.arange(8))
    np.testing.assert_array_equal(lanes, packing.packed(numbers) % 8)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["closed_form", "tsit5"])
def test_neither_values_nor_gradients_depend_on_who_has_more_records(method):
    """Alone the others' tables are shorter, down to a single block of rows and no steady state."""

    def gradient(patients):
        table, layout = read_records(ORAL, _table(patients)).laid_out()
        shown = jnp.asarray(table.observing) >= 0

        def total(parameters):
            found, status = objective_traced(
                ORAL, parameters, table, layout, _last, shown, method=method
            )
            return jnp.sum(found), (found, status)

        run = jax.jit(jax.grad(total, has_aux=True))
        found, (values, status) = run(jax.tree.map(jnp.asarray, _parameters(np.array(patients))))
        assert (status == Status.OK).all()
        return layout, np.stack([values, *found])

    layout, together = gradient([0, 1, 2, 3])
    assert layout.rows > FEW_ROWS and layout.rows % ROWS_TOGETHER == 0
    for patient in (0, 3):
        alone, own = gradient([patient])
        assert alone.rows < layout.rows
        np.testing.assert_allclose(together[:, patient], own[:, 0], rtol=1e-12)


def test_a_patient_without_a_steady_state_fails_alone():
    patients = np.arange(4)
    parameters = _parameters(patients)
    cleared = parameters._replace(clearance=np.where(patients == 3, 0.0, parameters.clearance))
    solution = solve(ORAL, cleared, read_records(ORAL, _table(patients)))
    expected = [Status.OK] * 3 + [Status.NO_STEADY_STATE]
    assert solution.status.tolist() == expected
    full = solve(ORAL, parameters, read_records(ORAL, _table(patients)))
    np.testing.assert_array_equal(
        solution.outputs.concentration[:3], full.outputs.concentration[:3]
    )
    assert np.isfinite(full.outputs.concentration[1, 1:]).all()
