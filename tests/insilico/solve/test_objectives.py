"""An objective in a traced program has the value and the gradient that a solve gives it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from insilico import models
from insilico.solve import (
    DerivativeError,
    Status,
    Tolerances,
    objective_traced,
    read_records,
    recordings,
    solve_traced,
)

ORAL = models.get("one_compartment")
RECORDS = read_records(
    ORAL,
    {
        "ID": np.repeat([1, 2, 3], 4),
        "TIME": [0, 1, 4, 9, 0, 2, 3, 11, 0, 1, 5, 6],
        "EVID": [1, 0, 0, 0] * 3,
        "AMT": [100, 0, 0, 0, 80, 0, 0, 0, 60, 0, 0, 0],
        "CMT": ["depot", "", "", ""] * 3,
    },
)
TABLE, LAYOUT = RECORDS.laid_out()
TABLE = jax.tree.map(jnp.asarray, TABLE)
MEASURED = jnp.asarray(np.random.default_rng(1).uniform(0.5, 3.0, TABLE.time.shape))
PARAMETERS = ORAL.Parameters(
    *(jnp.asarray(each) for each in ([1.5, 0.8, 2.0], [3.0, 2.0, 4.0], [30.0, 25.0, 40.0]))
)
SD = jnp.array([0.5, 0.7, 0.4])
TIGHT = Tolerances(relative=1e-9, absolute=1e-9)


def fit(outputs: Any, data: tuple[jax.Array, jax.Array]) -> jax.Array:
    measured, sd = data
    return -jnp.sum((outputs.concentration - measured) ** 2, axis=0) / sd - jnp.log(sd)


def by_objective(parameters: Any, table: Any, sd: jax.Array, method: str = "tsit5") -> jax.Array:
    return objective_traced(
        ORAL, parameters, table, LAYOUT, fit, (MEASURED, sd), tolerances=TIGHT, method=method
    )[0]


def by_solve(parameters: Any, table: Any, sd: jax.Array, method: str = "tsit5") -> jax.Array:
    solution = solve_traced(
        ORAL, parameters, table, LAYOUT, derivative="reverse", tolerances=TIGHT, method=method
    )
    return fit(jax.tree.map(jnp.transpose, solution.outputs), (MEASURED, sd))


def gradient(values: Any) -> Any:
    weights = jnp.array([1.0, -2.0, 0.5])
    return jax.jit(
        jax.grad(
            lambda *given: jnp.sum(weights * values(*given)), argnums=(0, 1, 2), allow_int=True
        )
    )


def floats(tree: Any) -> list[np.ndarray]:
    leaves = jax.tree.leaves(tree)
    return [np.asarray(leaf) for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating)]


@pytest.fixture(scope="module")
def both():
    """Gradients by parameters, table and data; the steps are the same, and so are the numbers."""
    return [gradient(values)(PARAMETERS, TABLE, SD) for values in (by_objective, by_solve)]


def test_values_are_those_of_a_solve():
    found, wanted = by_objective(PARAMETERS, TABLE, SD), by_solve(PARAMETERS, TABLE, SD)
    np.testing.assert_allclose(found, wanted, rtol=1e-7)


def test_gradients_by_parameters_data_and_table_are_those_of_a_solve(both):
    for found, wanted in zip(*map(floats, both), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)
    assert np.abs(np.asarray(both[0][1].amount)).max() > 0.0
    assert np.abs(np.asarray(both[0][1].time)).max() > 0.0


@pytest.mark.slow
def test_a_closed_form_has_them_too():
    ours = gradient(lambda *given: by_objective(*given, method="closed_form"))
    theirs = gradient(lambda *given: by_solve(*given, method="closed_form"))
    for one, other in zip(
        *(floats(each(PARAMETERS, TABLE, SD)[::2]) for each in (ours, theirs)), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_a_batch_shares_lanes_and_changes_nothing():
    """To rounding: a wider chunk may meet other instructions."""
    scales = jnp.array([0.9, 1.0, 1.2])

    def total(scale: jax.Array) -> jax.Array:
        own = jax.tree.map(lambda leaf: scale * leaf, PARAMETERS)
        return jnp.sum(by_objective(own, TABLE, SD))

    batch = jax.jit(jax.vmap(jax.grad(total)))(scales)
    one = jax.jit(jax.grad(total))
    np.testing.assert_allclose(batch, [one(scale) for scale in scales], rtol=1e-10)


def test_who_fails_has_a_status_and_no_derivative():
    wrong = PARAMETERS._replace(clearance=PARAMETERS.clearance.at[1].set(jnp.nan))

    def total(parameters: Any, sd: jax.Array) -> tuple[jax.Array, jax.Array]:
        value, status = objective_traced(
            ORAL, parameters, TABLE, LAYOUT, fit, (MEASURED, sd), method="tsit5"
        )
        return jnp.sum(jnp.where(status == Status.OK, value, 0.0)), status

    (value, status), found = jax.jit(jax.value_and_grad(total, argnums=(0, 1), has_aux=True))(
        wrong, SD
    )
    assert status.tolist() == [Status.OK, Status.NOT_FINITE, Status.OK]
    assert np.isfinite(value)
    for leaf in floats(found):
        assert leaf[1] == 0.0 and np.all(leaf[[0, 2]] != 0.0)


@pytest.mark.slow
def test_steps_that_fell_off_the_record_are_taken_again(both, monkeypatch):
    monkeypatch.setattr(recordings, "RECORD_BYTES", 1)
    found = gradient(lambda *given: by_objective(*given))(PARAMETERS, TABLE, SD)
    for short, wanted in zip(*map(floats, (found, both[0])), strict=True):
        np.testing.assert_allclose(short, wanted, rtol=1e-12, atol=1e-14)


def test_other_derivatives_are_refused_in_words():
    def total(sd: jax.Array) -> jax.Array:
        return jnp.sum(by_objective(PARAMETERS, TABLE, sd))

    with pytest.raises(DerivativeError, match="derivative='reverse'"):
        jax.jvp(total, (SD,), (SD,))
    with pytest.raises(DerivativeError, match="derivative='reverse'"):
        jax.hessian(total)(SD)
