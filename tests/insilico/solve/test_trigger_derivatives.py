"""Times of events that a state sets off, and all that comes after, have derivatives."""

import dataclasses

import eventful_models as eventful
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from insilico.solve import (
    Tolerances,
    hessian_vector_product,
    methods,
    objectives,
    over_devices,
    recordings,
    schedule,
    solve,
    solve_traced,
    value_and_gradient,
)

TUMOUR, BALL, RESCUE = eventful.TUMOUR, eventful.BALL, eventful.RESCUE

OBSERVE = [2.0, 5.0, 9.0]
FORMS = (*methods.ADAPTIVE, "closed_form")

# They take long to compile.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rescue():
    return schedule(RESCUE, eventful.INSULIN, observe=eventful.HOURS, triggered=3)


def weighted_ball(derivative, method, tolerances=None):
    """Heights and the time of the first bounce, as one number, of balls."""
    events, pattern = schedule(BALL, observe=[0.3, 1.0, 1.1], triggered=4)

    def of(falls):
        found = solve_traced(
            BALL,
            falls,
            events,
            pattern,
            derivative=derivative,
            method=method,
            tolerances=tolerances,
        )
        weights = jnp.array([1.0, 0.7, 0.3])
        return jnp.sum(found.outputs.height @ weights) + 3.0 * found.triggered.bounce.first.sum()

    return of


def exactly_weighted(falls):
    def one(drop, gravity, restitution):
        fall = eventful.Fall(drop, gravity, restitution)
        heights = jnp.stack([eventful.bouncing(fall, time) for time in (0.3, 1.0, 1.1)])
        return heights @ jnp.array([1.0, 0.7, 0.3]) + 3.0 * jnp.sqrt(2.0 * fall.drop / fall.gravity)

    return jax.vmap(one)(*falls).sum()


FALLS = jax.tree.map(jnp.asarray, eventful.FALLS)


def close(mine, others, rtol):
    for one, other in zip(mine, others, strict=True):
        scale = np.abs(np.asarray(other)).max()
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol * scale)


@pytest.mark.parametrize("method", methods.ADAPTIVE)
@pytest.mark.parametrize("derivative", ["reverse", "forward"])
def test_derivatives_through_bounces_are_those_of_the_closed_form(method, derivative):
    """Times of events, jumps of the state, and what comes after, to the rounding of polynomials."""
    way = jax.grad if derivative == "reverse" else jax.jacfwd
    found = jax.jit(way(weighted_ball(derivative, method)))(FALLS)
    close(found, jax.grad(exactly_weighted)(FALLS), rtol=1e-9)


def test_second_derivatives_are_right_too():
    along = eventful.Fall(jnp.array([1.0, 0.3, 0.5]), jnp.full(3, 0.1), jnp.array([0.4, 0.5, -0.2]))
    value = weighted_ball("second", "tsit5")
    found = jax.jit(lambda falls: hessian_vector_product(value, falls, along))(FALLS)
    close(found, hessian_vector_product(exactly_weighted, FALLS, along), rtol=1e-9)


def times_of_tumour(parameters, derivative, method):
    """Deaths and progressions that happen, and sizes in between, as one number."""
    halving = dataclasses.replace(
        TUMOUR,
        react=lambda time, state, p: {"progression": state._replace(size=0.5 * state.size)},
    )
    events, pattern = schedule(halving, observe=OBSERVE, triggered=8)
    found = solve_traced(
        halving,
        parameters,
        events,
        pattern,
        derivative=derivative,
        method=method,
        tolerances=Tolerances(1e-10, 1e-10),
    )
    triggered = found.triggered
    death = jnp.where(triggered.death.count > 0, triggered.death.first, 0.0)
    progression = jnp.where(triggered.progression.count > 0, triggered.progression.first, 0.0)
    size = jnp.where(jnp.isnan(found.outputs.size), 0.0, found.outputs.size)
    return jnp.sum(2.0 * death + 3.0 * progression) + jnp.sum(size)


def exact_times_of_tumour(p):
    """A size that is halved grows on from there, so the bound is reached every log 2 / rate."""
    death, progression = p.threshold / p.hazard, jnp.log(p.bound / p.start) / p.rate
    end = jnp.minimum(death, OBSERVE[-1])
    total = 2.0 * jnp.where(death < OBSERVE[-1], death, 0.0)
    total = total + 3.0 * jnp.where(progression < end, progression, 0.0)
    for time in OBSERVE:
        halvings = jnp.ceil((time - progression) * p.rate / jnp.log(2.0))
        size = p.start * jnp.exp(p.rate * time) * 0.5 ** jnp.maximum(halvings, 0.0)
        total = total + jnp.where(time < death, size, 0.0)
    return jnp.sum(total)


@pytest.fixture(scope="module")
def six():
    """Patients who do not start above the bound."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[1:7]), eventful.growths(7))


@pytest.mark.parametrize("method", FORMS)
def test_derivatives_of_times_of_death_and_progression_are_those_of_their_formulas(six, method):
    expected = jax.grad(exact_times_of_tumour)(six)
    found = jax.jit(jax.grad(lambda p: times_of_tumour(p, "reverse", method)))(six)
    # To 1e-10 a step; the formulas' own derivatives amplify that by the number of weeks.
    close(found, expected, rtol=1e-6)


@pytest.mark.parametrize("method", FORMS)
def test_forward_and_second_derivatives_of_such_times_agree(six, method):
    forwards = jax.jit(jax.jacfwd(lambda p: times_of_tumour(p, "forward", method)))(six)
    close(forwards, jax.grad(exact_times_of_tumour)(six), rtol=1e-6)
    along = jax.tree.map(lambda leaf: 0.3 * leaf, six)
    product = jax.jit(
        lambda p: hessian_vector_product(lambda q: times_of_tumour(q, "second", method), p, along)
    )(six)
    close(product, hessian_vector_product(exact_times_of_tumour, six, along), rtol=1e-5)


def glucose(outputs, data):
    return (outputs.glucose * jnp.cos(jnp.arange(len(eventful.HOURS)))[:, None]).sum(0) + 0.0 * data


@pytest.fixture(scope="module")
def gradient_of_rescue(rescue):
    events, pattern = rescue
    return value_and_gradient(
        RESCUE,
        eventful.PEOPLE,
        events,
        pattern,
        glucose,
        np.zeros(3),
        tolerances=Tolerances(1e-10, 1e-10),
        method="tsit5",
    )


def test_gradients_agree_with_central_differences(rescue, gradient_of_rescue):
    """With doses between events, of which one patient has several and one none."""
    weights = np.cos(np.arange(len(eventful.HOURS)))
    for name in eventful.Person._fields:
        values = []
        for sign in (1.0, -1.0):
            moved = getattr(eventful.PEOPLE, name) * (1.0 + sign * 1e-5)
            found = solve(
                RESCUE,
                eventful.PEOPLE._replace(**{name: moved}),
                *rescue,
                tolerances=Tolerances(1e-12, 1e-12),
                method="tsit5",
            )
            values.append(found.outputs.glucose @ weights)
        difference = (values[0] - values[1]) / (2e-5 * getattr(eventful.PEOPLE, name))
        ours = getattr(gradient_of_rescue.gradient, name)
        np.testing.assert_allclose(ours, difference, rtol=1e-5, atol=1e-6, err_msg=name)


def test_steps_that_are_no_more_on_record_are_taken_again(rescue, gradient_of_rescue, monkeypatch):
    monkeypatch.setattr(recordings, "RECORD_BYTES", 0)
    jax.clear_caches()
    programs = []

    def counted(function, **options):
        programs.append(function)
        return over_devices(function, **options)

    monkeypatch.setattr(objectives, "over_devices", counted)

    def another(outputs, data):
        return glucose(outputs, data)

    events, pattern = rescue
    short = value_and_gradient(
        RESCUE,
        eventful.PEOPLE,
        events,
        pattern,
        another,
        np.zeros(3),
        tolerances=Tolerances(1e-10, 1e-10),
        method="tsit5",
    )
    close(short.gradient, gradient_of_rescue.gradient, rtol=1e-12)
    # One that keeps all steps on record, and then one that need not.
    assert len(programs) == 2


def test_scenarios_are_vectorised_over():
    value = weighted_ball("reverse", "tsit5")

    def of(factor):
        return value(FALLS._replace(drop=factor * FALLS.drop))

    factors = jnp.array([0.8, 1.0, 1.3])
    together = jax.jit(jax.vmap(jax.grad(of)))(factors)
    alone = [jax.jit(jax.grad(of))(factor) for factor in factors]
    np.testing.assert_allclose(together, np.array(alone), rtol=1e-10)
