"""Derivatives of solves: exact for the steps taken, in every way that is offered."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from insilico import models
from insilico.solve import (
    LANES,
    DerivativeError,
    Dose,
    Infusion,
    Input,
    Status,
    Tolerances,
    hessian_vector_product,
    methods,
    over_devices,
    recordings,
    schedule,
    solve,
    solve_traced,
    stability,
    value_and_gradient,
    walk,
)
from insilico.solve import objectives as objectives_
from insilico.solve.adaptive import Limits, Position, attempt, start
from insilico.solve.replays import Journey

TYPICAL = (1.0, 3.0, 30.0)
ACTIONS = [
    Dose(0.0, "depot", 100.0),
    Infusion(5.0, "central", 60.0, 7.5),
    Input(20.0, "induction", 0.7),
    Dose(24.0, "depot", 80.0),
]
OBSERVE = [3.0, 8.0, 24.0, 30.0, 40.0]


@pytest.fixture(scope="module")
def course(one_compartment):
    """A dose, an infusion, an induction and a dose at an observation, for four patients."""
    return one_compartment, *schedule(one_compartment, ACTIONS, observe=OBSERVE)


def parameters_of(patients, model, count=4):
    return jax.tree.map(jnp.asarray, patients(model, TYPICAL, count))


def weighted(outputs):
    """Every output at every time, each with a weight of its own."""
    terms = [
        jnp.sum(output * jnp.cos(1.0 + index + jnp.arange(output.shape[-1])))
        for index, output in enumerate(outputs)
    ]
    return jnp.stack(terms).sum()


def directions(tree, seed=0):
    """Of the size of the numbers, where these are floating-point ones."""
    generator = np.random.default_rng(seed)

    def leaf(values):
        values = jnp.asarray(values)
        if not jnp.issubdtype(values.dtype, jnp.floating):
            return np.zeros(values.shape, jax.dtypes.float0)
        return values * generator.normal(size=values.shape)

    return jax.tree.map(leaf, tree)


def moved(tree, along, step):
    return jax.tree.map(
        lambda leaf, way: leaf if way.dtype == jax.dtypes.float0 else leaf + step * way, tree, along
    )


def inner(left, right):
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return sum(float(jnp.vdot(a, b)) for a, b in pairs if b.dtype != jax.dtypes.float0)


def objective(course, derivative, method="tsit5", tolerances=None):
    model, _, pattern = course

    def of(given):
        parameters, events = given
        solution = solve_traced(
            model,
            parameters,
            events,
            pattern,
            derivative=derivative,
            method=method,
            tolerances=tolerances,
        )
        return weighted(solution.outputs)

    return of


SLOW = [
    pytest.param(name, marks=pytest.mark.slow) for name in ("taylor", "dopri8", "rodas4", "rodas5p")
]


@pytest.mark.parametrize("method", ["tsit5", *SLOW])
def test_ways_agree_with_each_other_and_with_differences(course, patients, method):
    """With respect to parameters, doses, rates, values of inputs and the times of all of them."""
    model, events, _ = course
    given = (parameters_of(patients, model), jax.tree.map(jnp.asarray, events))
    along = directions(given)
    gradient = jax.jit(jax.grad(objective(course, "reverse", method), allow_int=True))(given)
    _, slope = jax.jit(
        lambda given: jax.jvp(objective(course, "forward", method), (given,), (along,))
    )(given)
    # Both are derivatives of the same arithmetic; they differ by rounding.
    assert inner(gradient, along) == pytest.approx(float(slope), rel=1e-10)
    tight = Tolerances(1e-12, 1e-12)
    value = jax.jit(objective(course, None, method, tight))
    step = 1e-5
    difference = (value(moved(given, along, step)) - value(moved(given, along, -step))) / (2 * step)
    assert float(slope) == pytest.approx(float(difference), rel=1e-5)


@pytest.mark.slow
def test_the_gradient_is_that_of_the_steps_taken(course, patients):
    """Against differences of solves that repeat the very steps, at a loose tolerance."""
    model, events, pattern = course
    parameters = jax.tree.map(
        lambda leaf: jnp.pad(leaf, (0, LANES - 4), mode="edge"), parameters_of(patients, model)
    )
    given = (parameters, jax.tree.map(jnp.asarray, events))
    tolerances = Tolerances(1e-3, 1e-3)
    lengths: list = []
    probes: list = []

    def taking(method, field, position, target, fresh, tolerances, negligible):
        limits = Limits.of(target, tolerances, negligible)
        stepper = method.prepare(field, position.time, position.state)
        moving = start(method, stepper, position, fresh, limits)
        probe = probes[-1] if probes else stability.begin(method, position.state)
        assert probe is not None
        lengths.append([])
        while bool(jnp.any(going := limits.allow(moving, target))):
            moving, probe = stability.bounded(probe, method, stepper, moving, going, limits)
            moving, tried = attempt(method, stepper, moving, target, limits)
            lengths[-1].append(jnp.where(tried.taken, tried.length, 0.0))
        probes.append(probe)
        return limits.judge(moving, target)

    def repeating(way, method, field, position, target, fresh, tolerances, negligible):
        stepper = method.prepare(field, position.time, position.state)
        time, state = position.time, position.state
        sizes = next(way)
        ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
        for size, end in zip(sizes, ends, strict=True):
            last = (size > 0) & (end >= sum(sizes))
            length = jnp.where(last, target - time, size)
            after = stepper.flow(time, jnp.where(size > 0, length, 1.0), state)
            state = tuple(jnp.where(size > 0, a, b) for a, b in zip(after, state, strict=True))
            time = time + jnp.where(size > 0, length, 0.0)
        return Position(time, position.size, state, position.steps), jnp.zeros(LANES, jnp.int32)

    def value(given, advance):
        with jax.disable_jit():
            walked = walk(
                model,
                given[0],
                given[1],
                pattern,
                tolerances.numbers(),
                advance=functools.partial(advance, methods.get("tsit5")),
            )
        return float(weighted([output[:, :4].T for output in walked.outputs]))

    value(given, taking)
    along = directions(given)
    along = (jax.tree.map(lambda leaf: leaf.at[4:].set(0.0), along[0]), along[1])
    step = 1e-6
    higher, lower = (
        value(moved(given, along, sign * step), functools.partial(repeating, iter(lengths)))
        for sign in (1, -1)
    )
    four = (jax.tree.map(lambda leaf: leaf[:4], parameters), given[1])
    gradient = jax.grad(objective(course, "reverse", "tsit5", tolerances), allow_int=True)(four)
    found = inner(gradient, (jax.tree.map(lambda leaf: leaf[:4], along[0]), along[1]))
    assert found == pytest.approx((higher - lower) / (2 * step), rel=1e-6)


def sum_of(outputs, data=None):
    """A patient's objective: `weighted` of its outputs, (lanes,)."""
    weights = [
        jnp.cos(1.0 + index + jnp.arange(leaf.shape[0])) for index, leaf in enumerate(outputs)
    ]
    return jnp.stack([w @ leaf for w, leaf in zip(weights, outputs, strict=True)]).sum(0)


@pytest.mark.slow
def test_a_gradient_at_once_is_that_of_the_traced_solve(course, patients):
    model, events, pattern = course
    parameters = patients(model, TYPICAL, 100)
    at_once = value_and_gradient(model, parameters, events, pattern, sum_of)
    traced = objective(course, "reverse")
    given = (jax.tree.map(jnp.asarray, parameters), events)
    gradient = jax.jit(jax.grad(lambda p: traced((p, events))))(given[0])
    assert float(at_once.value.sum()) == pytest.approx(float(traced(given)), rel=1e-12)
    for mine, other in zip(at_once.gradient, gradient, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-11, atol=1e-11 * np.abs(other).max())


@pytest.fixture(scope="module")
def many(one_compartment, patients):
    """Ten thousand patients and their gradients."""
    model = one_compartment
    events, pattern = schedule(model, ACTIONS, observe=OBSERVE)
    parameters = patients(model, TYPICAL, 10_000)
    found = value_and_gradient(model, parameters, events, pattern, sum_of)
    return model, events, pattern, parameters, found


@pytest.mark.slow
def test_a_patient_has_the_same_gradient_among_ten_thousand_as_alone(many):
    model, events, pattern, parameters, found = many
    for patient in (0, 4_321, 9_999):
        alone = model.Parameters(*(leaf[patient : patient + 1] for leaf in parameters))
        single = value_and_gradient(model, alone, events, pattern, sum_of)
        # Chunks are always full, so the very instructions are the same.
        assert single.value[0] == found.value[patient]
        for mine, other in zip(single.gradient, found.gradient, strict=True):
            assert mine[0] == other[patient]


@pytest.mark.slow
def test_a_record_that_is_too_short_changes_nothing(many, monkeypatch):
    """Of the steps on the way to a row, none, some or all have to be taken again."""
    model, events, pattern, parameters, found = many
    some = model.Parameters(*(leaf[:LANES] for leaf in parameters))
    needed = int(solve(model, some, events, pattern).steps.max())
    step = 8 * LANES * (2 + 3)
    for room in (16, needed // 2, needed - 3):
        monkeypatch.setattr(recordings, "RECORD_BYTES", step * room)
        jax.clear_caches()

        def another(outputs, data, room=room):
            return sum_of(outputs)

        short = value_and_gradient(model, some, events, pattern, another)
        for mine, other in zip(short.gradient, found.gradient, strict=True):
            np.testing.assert_allclose(mine, other[:LANES], rtol=1e-13)


@pytest.mark.slow
def test_a_long_way_is_taken_no_more_than_thrice(course, monkeypatch):
    """A record of sixteen steps, and some hundred steps to one row: each part of them, seen from
    the end, sets out from the mark before it, not from the beginning."""
    model, _, _ = course
    # Fast absorption keeps the steps short, and slow elimination something to be seen at the end.
    parameters = model.Parameters(*(np.full(4, value) for value in (1.0, 0.03, 30.0)))
    events, pattern = schedule(model, [Dose(0.0, "depot", 100.0)], observe=[2000.0])
    tolerances = Tolerances(relative=1e-8)
    steps = int(solve(model, parameters, events, pattern, tolerances=tolerances).steps.max())
    assert steps > 20 * 16
    counted = []
    recording = Journey._recording

    def counting(journey, *carry):
        jax.debug.callback(lambda: counted.append(1))
        return recording(journey, *carry)

    whole = value_and_gradient(model, parameters, events, pattern, sum_of, tolerances=tolerances)
    monkeypatch.setattr(Journey, "_recording", counting)
    monkeypatch.setattr(recordings, "RECORD_BYTES", 0)
    short = value_and_gradient(
        model, parameters, events, pattern, lambda o, _: sum_of(o), tolerances=tolerances
    )
    jax.effects_barrier()
    # A first program finds that they are not all on record; a second records them, and takes them
    # again once to leave marks and once in parts.
    assert len(counted) / jax.device_count() == pytest.approx(4 * steps, rel=0.1)
    # The same steps, compiled otherwise: rounding of some thousand of them.
    for mine, other in zip(short.gradient, whole.gradient, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-10)


@pytest.mark.slow
def test_only_steps_that_do_not_fit_the_record_need_a_second_program(course, patients, monkeypatch):
    model, events, pattern = course
    parameters = patients(model, TYPICAL, 6)
    programs = []

    def counted(function, **options):
        programs.append(function)
        return over_devices(function, **options)

    monkeypatch.setattr(objectives_, "over_devices", counted)
    objectives = [lambda outputs, data: sum_of(outputs) for _ in range(2)]
    found = value_and_gradient(model, parameters, events, pattern, objectives[0])
    assert len(programs) == 1
    monkeypatch.setattr(recordings, "RECORD_BYTES", 0)
    short = value_and_gradient(model, parameters, events, pattern, objectives[1])
    assert len(programs) == 3
    # Steps and the order of sums are the same, instructions need not be.
    for mine, other in zip(short.gradient, found.gradient, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-12)
    value_and_gradient(model, parameters, events, pattern, objectives[1])
    assert len(programs) == 3


@pytest.mark.optimised
def test_a_patient_that_fails_has_no_gradient_and_spoils_no_other(course, patients):
    model, events, pattern = course
    parameters = patients(model, TYPICAL, 6)
    found = value_and_gradient(model, parameters, events, pattern, sum_of)
    for broken in (math.nan, 1e30):
        spoiled = model.Parameters(*(leaf.copy() for leaf in parameters))
        spoiled.clearance[2] = broken
        answer = value_and_gradient(model, spoiled, events, pattern, sum_of)
        assert answer.status[2] != Status.OK and np.isnan(answer.value[2])
        others = [0, 1, 3, 4, 5]
        assert np.all(answer.status[others] == Status.OK)
        for mine, other in zip(answer.gradient, found.gradient, strict=True):
            assert mine[2] == 0.0
            np.testing.assert_array_equal(mine[others], other[others])


@pytest.mark.parametrize("way", ["reverse", "forward"])
def test_what_was_observed_before_a_patient_failed_has_no_derivative_either(way):
    """A second dose takes away more than there is, after the first output."""
    model = models.get("one_compartment")
    doses = [Dose(0.0, "depot", 100.0), Dose(6.0, "central", -90.0)]
    events, pattern = schedule(model, doses, observe=[3.0, 9.0])
    parameters = model.Parameters(jnp.array([1.0, 1.0]), jnp.array([0.1, 4.0]), jnp.full(2, 12.0))

    def early(clearance):
        own = parameters._replace(clearance=clearance)
        found = solve_traced(model, own, events, pattern, derivative=way)
        return found.outputs.central[:, 0], found.status

    found, status = early(parameters.clearance)
    assert list(status) == [Status.OK, Status.LEFT_DOMAIN] and np.all(found > 0.0)
    derivative = jax.jacrev if way == "reverse" else jax.jacfwd
    slopes = jax.jit(derivative(lambda c: early(c)[0]))(parameters.clearance)
    assert slopes[0, 0] < 0.0 and slopes[1, 1] == 0.0


@pytest.mark.slow
def test_scenarios_are_vectorised_over(course, patients):
    model, events, _ = course
    parameters = parameters_of(patients, model)

    def of(factor, derivative):
        scaled = events._replace(amount=events.amount * factor)
        return objective(course, derivative)((parameters, scaled))

    factors = jnp.array([0.5, 1.0, 3.0])
    together = jax.jit(jax.vmap(jax.grad(lambda f: of(f, "reverse"))))(factors)
    forwards = jax.jit(jax.vmap(lambda f: jax.jvp(lambda f: of(f, "forward"), (f,), (1.0,))[1]))(
        factors
    )
    alone = [jax.jit(jax.grad(lambda f: of(f, "reverse")))(factor) for factor in factors]
    np.testing.assert_allclose(together, np.array(alone), rtol=1e-10)
    np.testing.assert_allclose(together, forwards, rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["tsit5", "rodas5p"])
def test_a_hessian_vector_product_is_the_gradients_derivative(course, patients, method):
    model, events, _ = course
    parameters = parameters_of(patients, model)
    along = directions(parameters)
    tolerances = Tolerances(1e-9, 1e-9)

    def value(derivative):
        return lambda p: objective(course, derivative, method, tolerances)((p, events))

    product = jax.jit(lambda p: hessian_vector_product(value("second"), p, along))(parameters)
    slope = jax.jit(jax.grad(value("reverse")))
    step = 1e-4
    higher, lower = slope(moved(parameters, along, step)), slope(moved(parameters, along, -step))
    for mine, up, down in zip(product, higher, lower, strict=True):
        difference = (up - down) / (2 * step)
        np.testing.assert_allclose(mine, difference, rtol=1e-5, atol=1e-6 * np.abs(mine).max())


WAYS = {
    "grad": lambda f, x: jax.grad(f)(x),
    "jvp": lambda f, x: jax.jvp(f, (x,), (x,)),
    "hessian": lambda f, x: jax.grad(lambda y: jax.grad(f)(y).sum())(x),
    "reverse of forward": lambda f, x: jax.grad(lambda y: jax.jvp(f, (y,), (y,))[1])(x),
    "forward of reverse": lambda f, x: jax.jvp(jax.grad(f), (x,), (x,)),
}
REFUSED = {
    None: ("grad", "jvp"),
    "reverse": ("jvp", "hessian", "reverse of forward", "forward of reverse"),
    "forward": ("grad", "reverse of forward", "forward of reverse"),
    "second": ("jvp", "hessian", "reverse of forward"),
}


@pytest.mark.parametrize(
    ("derivative", "way"),
    [
        pytest.param(mode, way, marks=pytest.mark.slow if way == "hessian" else ())
        for mode, ways in REFUSED.items()
        for way in ways
    ],
)
def test_a_derivative_that_was_not_asked_for_is_refused(one_compartment, derivative, way):
    events, pattern = schedule(one_compartment, [Dose(0.0, "depot", 1.0)], observe=[1.0])

    @jax.jit
    def value(clearance):
        parameters = one_compartment.Parameters(*(jnp.ones(1) * x for x in (1.0, clearance, 30.0)))
        solution = solve_traced(one_compartment, parameters, events, pattern, derivative=derivative)
        return jnp.sum(solution.outputs.central)

    with pytest.raises(DerivativeError, match=r"say derivative="):
        WAYS[way](value, 3.0)


def test_an_unknown_derivative_is_refused(course, patients):
    model, events, pattern = course
    with pytest.raises(ValueError, match=r"reverse, forward, second, or None; found 'backward'"):
        solve_traced(
            model,
            parameters_of(patients, model),
            events,
            pattern,
            derivative="backward",  # pyright: ignore[reportArgumentType]
        )


PROBLEMS = {
    "indirect_response": (
        (0.8, 4.0, 30.0, 6.0, 60.0, 5.0, 0.05, 0.9, 0.7),
        [Dose(24.0 * day, "depot", 100.0) for day in range(4)],
    ),
    "target_mediated_disposition": (
        (0.02, 0.012, 3.0, 0.02, 3.0, 0.1, 0.3, 0.01, 0.1, 0.02),
        [Dose(168.0 * week, "depot", 600.0) for week in range(2)],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PROBLEMS)
def test_gradients_of_library_models_against_differences(patients, name):
    model = models.get(name)
    typical, doses = PROBLEMS[name]
    typical = typical[: len(model.Parameters._fields)]
    events, pattern = schedule(model, doses, observe=[doses[-1].time + 6.0 * k for k in range(9)])
    parameters = patients(model, typical, 16)

    def plain(outputs, data):
        return jnp.stack([jnp.sum(leaf, 0) for leaf in outputs]).sum(0)

    found = value_and_gradient(
        model, parameters, events, pattern, plain, tolerances=Tolerances(1e-9, 1e-11)
    )
    tight = Tolerances(1e-12, 1e-14, max_steps=1_000_000)
    for index, name in enumerate(model.Parameters._fields):
        step = 1e-4 * parameters[index]

        def value(sign, index=index, step=step):
            there = [leaf + sign * step * (i == index) for i, leaf in enumerate(parameters)]
            outputs = solve(
                model, model.Parameters(*there), events, pattern, tolerances=tight
            ).outputs
            return sum(leaf.sum(axis=1) for leaf in outputs)

        difference = (value(1) - value(-1)) / (2 * step)
        np.testing.assert_allclose(
            found.gradient[index] * parameters[index],
            difference * parameters[index],
            rtol=1e-5,
            atol=1e-5 * np.abs(found.value).max(),
            err_msg=name,
        )
