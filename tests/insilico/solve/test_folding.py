"""Solves under `vmap` are lanes of one solve, with the results and derivatives of each alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from insilico import models
from insilico.solve import Derivative, DerivativeError, Dose, schedule, solve_traced
from insilico.solve.blocks import FEWEST, LANES, filled

MODEL = models.get("one_compartment_michaelis_menten")
TIMES = np.linspace(1.0, 48.0, 6)
EVENTS, PATTERN = schedule(MODEL, [Dose(0.0, "depot", 400.0)], observe=TIMES)


def parameters(factors: jax.Array):
    """Patients whose elimination differs, and little else."""
    typical = MODEL.typical
    return type(typical)(
        *(jnp.full_like(factors, value) for value in typical[:2]),
        typical[2] * factors,
        typical[3] / factors,
    )


def concentrations(factors: jax.Array, events=EVENTS, derivative: Derivative | None = "reverse"):
    solution = solve_traced(MODEL, parameters(factors), events, PATTERN, derivative=derivative)
    return solution.outputs.concentration


FACTORS = jnp.asarray(np.random.default_rng(1).lognormal(0.0, 0.3, (3, 2)))
ROUNDING = 1e-12
"""The compiler merges products and sums otherwise where a vector is narrower."""


def test_a_few_patients_take_a_narrow_chunk():
    assert [filled(n) for n in (1, 4, 5, 12, 33, 64, 65, 200)] == [4, 4, 8, 16, 64, 64, 128, 256]
    assert filled(1) == FEWEST and filled(LANES) == LANES


@pytest.mark.parametrize(
    "method",
    ["tsit5", *(pytest.param(each, marks=pytest.mark.slow) for each in ("taylor", "rodas5p"))],
)
def test_width_of_the_chunk_changes_no_more_than_roundings(method: str):
    @jax.jit
    def of(factors: jax.Array) -> jax.Array:
        return solve_traced(
            MODEL, parameters(factors), EVENTS, PATTERN, derivative=None, method=method
        ).outputs.concentration

    many = jnp.asarray(np.random.default_rng(2).lognormal(0.0, 0.3, LANES))
    whole = np.asarray(of(many))
    # A rounding may change the length of a step, after which what is nearly eliminated differs by
    # more of itself, though by no more of what there was.
    most = float(whole.max())
    for count in (1, 7, 30):
        np.testing.assert_allclose(
            of(many[:count]), whole[:count], rtol=ROUNDING, atol=ROUNDING * most
        )


def test_a_batch_is_solved_as_its_members_are():
    solve, together = jax.jit(concentrations), jax.jit(jax.vmap(concentrations))(FACTORS)
    for one, factors in zip(together, FACTORS, strict=True):
        np.testing.assert_allclose(one, solve(factors), rtol=ROUNDING)


def objective_of_one(factors: jax.Array) -> jax.Array:
    return jnp.sum(jnp.log(concentrations(factors)) ** 2)


@pytest.fixture(scope="module")
def gradients() -> jax.Array:
    """Of the members of a batch, by one program."""
    return jax.jit(jax.vmap(jax.grad(objective_of_one)))(FACTORS)


@pytest.mark.slow
def test_gradients_of_a_batch_are_those_of_its_members(gradients):
    gradient = jax.jit(jax.grad(objective_of_one))
    for found, factors in zip(gradients, FACTORS, strict=True):
        np.testing.assert_allclose(found, gradient(factors), rtol=1e-10)


def test_gradients_of_a_batch_are_differences_of_its_members(gradients):
    value, step = jax.jit(objective_of_one), 1e-5
    for found, factors in zip(gradients, FACTORS, strict=True):
        ups, downs = (
            [value(factors.at[i].add(sign * step)) for i in range(factors.size)] for sign in (1, -1)
        )
        by_differences = (np.array(ups) - np.array(downs)) / (2 * step)
        np.testing.assert_allclose(found, by_differences, rtol=1e-5)


@pytest.mark.slow
def test_a_number_that_the_batch_shares_gets_the_sum_of_its_derivatives():
    def objective(scale: jax.Array, factors: jax.Array) -> jax.Array:
        return jnp.sum(concentrations(scale * factors))

    one, gradient = jnp.asarray(1.0), jax.jit(jax.grad(objective))
    together = jax.jit(jax.grad(lambda s: jnp.sum(jax.vmap(objective, (None, 0))(s, FACTORS))))
    alone = sum(gradient(one, factors) for factors in FACTORS)
    np.testing.assert_allclose(together(one), alone, rtol=1e-10)


@pytest.mark.slow
def test_batches_of_batches_are_folded_too():
    nested = jnp.stack([FACTORS, 1.1 * FACTORS])
    found = jax.jit(jax.vmap(jax.vmap(concentrations)))(nested)
    np.testing.assert_allclose(
        found[1], jax.jit(jax.vmap(concentrations))(nested[1]), rtol=ROUNDING
    )


@pytest.mark.slow
def test_schedules_that_differ_within_the_batch_are_solved_alike():
    """They are shared by the patients of a member, which folding has no place for."""
    amounts = jnp.asarray([1.0, 2.0, 0.5])

    def of(scale: jax.Array, factors: jax.Array) -> jax.Array:
        return concentrations(factors, EVENTS._replace(amount=scale * jnp.asarray(EVENTS.amount)))

    def total(scales: jax.Array) -> jax.Array:
        return jnp.sum(jax.vmap(of)(scales, FACTORS))

    found, slopes = jax.jit(jax.vmap(of))(amounts, FACTORS), jax.jit(jax.grad(total))(amounts)
    solve, slope = jax.jit(of), jax.jit(jax.grad(lambda s, f: jnp.sum(of(s, f))))
    for index, (scale, factors) in enumerate(zip(amounts, FACTORS, strict=True)):
        np.testing.assert_allclose(found[index], solve(scale, factors), rtol=ROUNDING)
        np.testing.assert_allclose(slopes[index], slope(scale, factors), rtol=1e-10)


def test_other_derivatives_are_still_refused_in_our_words():
    with pytest.raises(DerivativeError, match="derivative='forward'"):
        jax.jvp(lambda f: concentrations(f), (FACTORS[0],), (FACTORS[0],))
    with pytest.raises(DerivativeError, match="without derivatives"):
        jax.grad(lambda f: jnp.sum(concentrations(f, derivative=None)))(FACTORS[0])
