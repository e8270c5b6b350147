"""Exact propagation of linear kinetics against arithmetic of 50 digits, laws and the solver."""

import math
from decimal import Decimal, localcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from insilico.divided_differences import divided_difference
from insilico.linear_kinetics import Mammillary, propagate
from insilico.models import one_compartment, three_compartment, two_compartment
from insilico.solve import Dose, Infusion, Tolerances, schedule, solve

MODULES = (one_compartment, two_compartment, three_compartment)
PERIPHERALS = (0, 1, 2)
PATIENTS = 144
KINDS = 12


def patients(peripherals: int, seed: int) -> tuple[Any, ...]:
    """Arguments of `propagate`: rates of 1e-4 to 1e3 per hour, times to 1e4 hours, and every way in
    which rates can be equal, nearly equal or zero."""
    random = np.random.default_rng(seed)
    kind = np.arange(PATIENTS) % KINDS

    def spread(low: float, high: float) -> np.ndarray:
        return 10.0 ** random.uniform(low, high, PATIENTS)

    absorption, elimination, duration = spread(-4, 3), spread(-4, 3), spread(-2, 4)
    distribution = [spread(-4, 3) for _ in range(peripherals)]
    backward = [spread(-4, 3) for _ in range(peripherals)]
    if peripherals == 2:
        backward[1] = np.where(kind == 0, backward[0], backward[1])
        backward[1] = np.where(kind == 1, backward[0] * (1 + 1e-8), backward[1])
    ratio = [
        np.clip(back / forth, 1e-6, 1e6) for back, forth in zip(backward, distribution, strict=True)
    ]
    if peripherals:
        distribution[0] = np.where((kind == 2) | (kind == 3), 0.0, distribution[0])
        distribution[-1] = np.where((kind == 3) | (kind == 4), 0.0, distribution[-1])
        absorption = np.where(kind == 5, distribution[0] * ratio[0], absorption)
    elimination = np.where((kind == 6) | (kind == 3) & (duration > 10.0), 0.0, elimination)
    absorption = np.where(kind == 7, 0.0, absorption)
    absorption = np.where(kind == 8, elimination, absorption)
    absorption = np.where(kind == 9, elimination * (1 + 1e-9), absorption)
    duration = np.where((kind == 10) & (duration > 10.0), 0.0, duration)
    shape = (peripherals + 2, PATIENTS)
    amounts = random.uniform(1.0, 100.0, shape) * (random.random(shape) < 0.6)
    amounts[1] += 1.0
    infusion = random.uniform(0.0, 10.0, shape) * (random.random(shape) < 0.3)
    system = Mammillary(absorption, elimination, tuple(distribution), tuple(ratio))
    return duration, tuple(amounts), system, tuple(infusion)


def directions(arguments: Any, seed: int) -> Any:
    """A direction of change for each patient, of the sizes of the numbers that change."""
    random = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: random.normal(size=PATIENTS) * np.where(leaf == 0.0, 1e-2, leaf), arguments
    )


def matrix(arguments: Any, number: Any) -> np.ndarray:
    """The generator times the duration; its last column holds the infusions."""
    duration, amounts, system, infusion = arguments
    size = len(amounts) + 1
    found = np.array([[number(0)] * size for _ in range(size)])
    found[0, 0], found[1, 0], found[1, 1] = (
        -system.absorption,
        system.absorption,
        -system.elimination,
    )
    for j, (forth, ratio) in enumerate(
        zip(system.distribution, system.volume_ratio, strict=True), start=2
    ):
        found[1, 1] -= forth
        found[j, 1], found[1, j], found[j, j] = forth, forth * ratio, -forth * ratio
    found[:-1, -1] = infusion
    return found * duration


def exponential(exponent: np.ndarray) -> np.ndarray:
    """Of a matrix of decimals, by scaling, a Taylor series, and squaring."""
    norm = float(abs(exponent).sum(axis=0).max())
    squarings = max(0, math.ceil(math.log2(norm)) + 4) if norm > 0.0 else 0
    scaled = exponent / Decimal(2) ** squarings
    term = result = np.vectorize(Decimal, otypes=[object])(np.eye(len(exponent)))
    # The first term left out is below (1/16)^20 / 20!, 1e-42.
    for k in range(1, 20):
        term = term.dot(scaled) / k
        result = result + term
    for _ in range(squarings):
        result = result.dot(result)
    return result


def in_many_digits(arguments: Any) -> np.ndarray:
    """Amounts, of arguments that are decimals."""
    found = exponential(matrix(arguments, Decimal))
    return found.dot(np.array([*arguments[1], Decimal(1)]))[:-1]


def patient(arguments: Any, index: int) -> Any:
    return jax.tree.map(lambda leaf: float(leaf[index]), arguments)


def decimals(arguments: Any) -> Any:
    return jax.tree.map(Decimal, arguments)


def largest(*amounts: Any) -> np.ndarray:
    return np.max([np.max(np.abs(np.asarray(each, float)), axis=0) for each in amounts], axis=0)


@pytest.mark.parametrize("peripherals", PERIPHERALS)
def test_amounts_and_derivatives_agree_with_arithmetic_of_many_digits(peripherals: int):
    arguments = patients(peripherals, seed=1)
    changes = directions(arguments, seed=2)
    found, found_dot = map(np.asarray, jax.jvp(propagate, arguments, changes))
    single = np.asarray(propagate(*jax.tree.map(np.float32, arguments)), float)
    answer, answer_dot = np.empty_like(found), np.zeros_like(found)
    with localcontext() as context:
        context.prec = 50
        # Central differences in many digits leave no error to speak of.
        step = Decimal(10) ** -16
        for i in range(PATIENTS):
            here, there = decimals(patient(arguments, i)), decimals(patient(changes, i))
            ahead, behind = (
                in_many_digits(jax.tree.map(lambda x, y, by=by: x + by * y, here, there))
                for by in (step, -step)
            )
            answer[:, i] = (ahead + behind) / 2
            answer_dot[:, i] = (ahead - behind) / (2 * step)
    scale = largest(answer, arguments[1])
    assert (np.abs(found - answer) / scale).max() < 1e-12
    assert (np.abs(found_dot - answer_dot) / largest(answer_dot, [scale])).max() < 1e-10
    assert (np.abs(single - answer) / scale).max() < 1e-4


@pytest.mark.parametrize("peripherals", PERIPHERALS)
def test_amounts_agree_with_scipys_matrix_exponential(peripherals: int):
    arguments = patients(peripherals, seed=3)
    found = np.asarray(propagate(*arguments))
    for i in range(PATIENTS):
        own = patient(arguments, i)
        exponent = matrix(own, float)
        answer = (scipy.linalg.expm(exponent) @ [*own[1], 1.0])[:-1]
        # The error of its repeated squaring: ours is seen above.
        assert np.abs(found[:, i] - answer).max() < 1e-9 * largest(answer, own[1])


@pytest.mark.parametrize("peripherals", PERIPHERALS)
def test_two_durations_after_each_other_are_one_long_one(peripherals: int):
    duration, amounts, system, infusion = patients(peripherals, seed=4)
    halfway = propagate(0.3 * duration, amounts, system, infusion)
    twice = np.asarray(propagate(0.7 * duration, halfway, system, infusion))
    once = np.asarray(propagate(duration, amounts, system, infusion))
    assert (np.abs(twice - once) / largest(once, amounts)).max() < 1e-12


@pytest.mark.parametrize("peripherals", PERIPHERALS)
def test_nothing_is_lost_or_found(peripherals: int):
    """What entered is there or was eliminated: the integral of K10·central, by Gauss' rule."""
    duration, amounts, system, infusion = patients(peripherals, seed=5)
    nodes, weights = np.polynomial.legendre.leggauss(40)
    backward = [f * r for f, r in zip(system.distribution, system.volume_ratio, strict=True)]
    fastest = largest([system.absorption, system.elimination + sum(system.distribution), *backward])
    # Not longer than the rule can follow.
    duration = np.minimum(duration, 10.0 / fastest)
    run = jax.jit(propagate)
    eliminated = sum(
        weight
        / 2
        * duration
        * system.elimination
        * np.asarray(run(duration * (1 + node) / 2, amounts, system, infusion))[1]
        for node, weight in zip(nodes, weights, strict=True)
    )
    after = np.asarray(run(duration, amounts, system, infusion))
    entered = np.sum(amounts, axis=0) + np.sum(infusion, axis=0) * duration
    np.testing.assert_allclose(after.sum(axis=0) + eliminated, entered, rtol=1e-12)


@pytest.mark.parametrize("peripherals", PERIPHERALS)
def test_nothing_is_lost_without_clearance(peripherals: int):
    duration, amounts, system, infusion = patients(peripherals, seed=6)
    system = system._replace(elimination=np.zeros(PATIENTS))
    after = np.asarray(propagate(duration, amounts, system, infusion))
    entered = np.sum(amounts, axis=0) + np.sum(infusion, axis=0) * duration
    np.testing.assert_allclose(after.sum(axis=0), entered, rtol=1e-12)


def parameters_of(module: Any, lanes: int, seed: int) -> Any:
    """Ordinary patients: volumes of litres, rates of minutes to days."""
    random = np.random.default_rng(seed)
    fields = module.Parameters._fields
    return module.Parameters(
        *(
            random.uniform(5.0, 100.0, lanes)
            if name.endswith("volume")
            else random.uniform(0.3, 10.0, lanes)
            for name in fields
        )
    )


@pytest.mark.parametrize("module", MODULES)
def test_an_infusion_settles_at_its_rate_over_clearance_everywhere(module: Any):
    parameters = parameters_of(module, 50, seed=7)
    nothing = np.zeros(50)
    start = module.State(*(nothing for _ in module.State._fields))
    rates = start._replace(central=nothing + 3.0)
    state = module.propagate(1e5, start, parameters, rates)
    volumes = [getattr(parameters, name) for name in parameters._fields if name.endswith("volume")]
    for amount, volume in zip(state[1:], volumes, strict=True):
        np.testing.assert_allclose(amount / volume, 3.0 / parameters.clearance, rtol=1e-12)


@pytest.mark.parametrize("module", MODULES)
def test_the_states_rate_of_change_is_the_models_derivative(module: Any):
    parameters = parameters_of(module, 50, seed=8)
    random = np.random.default_rng(9)
    start, rates = (
        module.State(*(random.uniform(0.0, 20.0, 50) for _ in module.State._fields))
        for _ in range(2)
    )
    duration = random.uniform(0.0, 24.0, 50)
    state, change = jax.jvp(
        lambda time: module.propagate(time, start, parameters, rates),
        (jnp.asarray(duration),),
        (jnp.ones(50),),
    )
    answer = module.derivative(0.0, state, parameters, ())
    for found, expected, rate in zip(change, answer, rates, strict=True):
        np.testing.assert_allclose(found, expected + rate, rtol=1e-11, atol=1e-11)


@pytest.mark.slow
def test_the_solver_arrives_at_the_same_state():
    module = three_compartment
    parameters = parameters_of(module, 20, seed=10)
    events, pattern = schedule(
        module.MODEL,
        [
            Dose(0.0, "depot", 100.0),
            Dose(0.0, "central", 20.0),
            Infusion(4.0, "central", 30.0, 2.0),
        ],
        observe=[4.0, 6.0, 30.0],
    )
    tight = Tolerances(relative=1e-12, absolute=1e-12)
    solved = solve(module.MODEL, parameters, events, pattern, tolerances=tight).outputs
    nothing = module.State(*(0.0 for _ in module.State._fields))
    run = module.propagate
    first = run(4.0, nothing._replace(depot=100.0, central=20.0), parameters, nothing)
    second = run(2.0, first, parameters, nothing._replace(central=15.0))
    third = run(24.0, second, parameters, nothing)
    for visit, state in enumerate((first, second, third)):
        outputs = module.outputs(0.0, state, parameters)
        for name in outputs._fields:
            found, expected = getattr(outputs, name), getattr(solved, name)[:, visit]
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_reverse_derivatives_are_the_forward_ones_turned_around():
    arguments = patients(1, seed=11)
    changes = directions(arguments, seed=12)
    _, forward = jax.jvp(propagate, arguments, changes)
    backward = jax.grad(
        lambda *own: sum(jnp.sum(x) for x in propagate(*own)), argnums=(0, 1, 2, 3)
    )(*arguments)
    products = jax.tree.map(lambda x, y: x * y, backward, changes)
    sizes = largest(*([np.asarray(leaf)] for leaf in jax.tree.leaves(products)))
    found = sum(jax.tree.leaves(products))
    assert np.isfinite(sizes).all()
    assert (np.abs(found - sum(forward)) / largest([sizes], arguments[1])).max() < 1e-10


def test_a_gradient_is_finite_where_nothing_moves():
    """No absorption, no clearance, no exchange, no time: all rates are equal, and zero."""
    zero = jnp.zeros(())
    arguments = (
        zero,
        (1.0, 2.0, 3.0, 4.0),
        Mammillary(zero, zero, (zero,) * 2, (1.0, 2.0)),
        (0.0,) * 4,
    )
    for duration in (0.0, 5.0):
        gradient = jax.grad(lambda *own: propagate(*own)[1], argnums=(0, 1, 2))(
            jnp.asarray(duration), *arguments[1:3], arguments[3]
        )
        # One hour moves the depot's 1 mg, −2 mg, and −2 + 1·3 or −2 + 2·4 mg for unit rates.
        assert gradient[0] == 0.0
        np.testing.assert_allclose(gradient[1], (0.0, 1.0, 0.0, 0.0), atol=1e-15)
        np.testing.assert_allclose(gradient[2].absorption, duration * 1.0, rtol=1e-14)
        np.testing.assert_allclose(gradient[2].elimination, duration * -2.0, rtol=1e-14)
        np.testing.assert_allclose(
            gradient[2].distribution, (duration * 1.0, duration * 6.0), rtol=1e-14
        )


@pytest.mark.slow
def test_second_derivatives_agree_with_differences_of_first_ones():
    def central(own: jax.Array) -> jax.Array:
        system = Mammillary(own[1], own[2], (own[3],), (own[4],))
        return propagate(own[0], (3.0, 1.0, 2.0), system, (1.0, 2.0, 0.0))[1]

    point = jnp.array([1.3, 0.7, 0.4, 0.9, 1.5])
    towards = jnp.array([0.2, -0.3, 0.5, 0.4, 0.1])

    def slope(own: jax.Array) -> jax.Array:
        return jax.jvp(central, (own,), (towards,))[1]

    found = jax.jvp(slope, (point,), (towards,))[1]
    step = 1e-5
    differences = (slope(point + step * towards) - slope(point - step * towards)) / (2 * step)
    np.testing.assert_allclose(found, differences, rtol=1e-8)


@pytest.mark.parametrize("count", (1, 2, 3, 4))
def test_divided_differences_at_equal_points_are_derivatives(count: int):
    point = jnp.array([-3.0, 0.0])
    np.testing.assert_allclose(
        divided_difference(*[point] * count), np.exp(point) / math.factorial(count - 1), rtol=1e-15
    )


def test_divided_differences_do_not_depend_on_the_points_distance_or_order():
    """Where the series ends and the recurrence begins included."""
    apart = np.concatenate(
        [[0.0], 10.0 ** np.linspace(-12, 3, 200), 0.25 + np.array([-1, 1]) / 1e9]
    )
    points = (-apart, np.zeros_like(apart), -0.6 * apart, -0.3 * apart)
    found = np.asarray(divided_difference(*map(jnp.asarray, points)))
    turned = np.asarray(divided_difference(*map(jnp.asarray, points[::-1])))
    # Opitz: a corner of the exponential of the matrix with the points on its diagonal, ones above.
    with localcontext() as context:
        context.prec = 50
        for i in range(len(apart)):
            generator = np.array([[Decimal(int(c == r + 1)) for c in range(4)] for r in range(4)])
            np.fill_diagonal(generator, [Decimal(float(point[i])) for point in points])
            result = exponential(generator)
            assert found[i] == pytest.approx(float(result[0, 3]), rel=1e-13)
    np.testing.assert_array_equal(found, turned)


@pytest.mark.optimised
def test_a_patients_amounts_do_not_depend_on_who_is_beside():
    arguments = patients(2, seed=13)
    together = np.asarray(propagate(*arguments))
    alone = np.asarray(propagate(*patient(arguments, 17)))
    np.testing.assert_allclose(alone, together[:, 17], rtol=1e-13)
    assert alone.shape == (4,)


def test_compiled_programs_give_the_same_amounts():
    arguments = patients(2, seed=14)
    plain, compiled = np.asarray(propagate(*arguments)), np.asarray(jax.jit(propagate)(*arguments))
    assert (np.abs(compiled - plain) / largest(plain, arguments[1])).max() < 1e-12


def test_numbers_keep_their_precision():
    single = np.float32(1.0)
    found = propagate(2.0, (single, single), Mammillary(single, 0.5), (0.0, 0.0))
    assert [x.dtype for x in found] == [jnp.float32] * 2
    whole = propagate(2, (1, 0), Mammillary(1, 1), (0, 0))
    np.testing.assert_allclose(whole, (math.exp(-2.0), 2.0 * math.exp(-2.0)), rtol=1e-14)


def test_compartments_must_agree_in_number():
    with pytest.raises(ValueError, match="1 in amounts, 0 in infusion, 1 in distribution"):
        propagate(1.0, (1.0, 0.0, 0.0), Mammillary(1.0, 1.0, (1.0,), (1.0,)), (0.0, 0.0))
