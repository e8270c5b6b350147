"""Stochastic models on lanes: orders on given paths, moments, events, the bits, and diffrax."""

import dataclasses
from typing import Annotated, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

from insilico.model import Model, Quantity, Wiener
from insilico.randomness import purpose_key, subject_keys
from insilico.solve import (
    Dose,
    Infusion,
    Input,
    Plan,
    Status,
    Tolerances,
    read_records,
    reference,
    schedule,
    solve,
    stochastic_reference,
)
from insilico.solve.brownian import Paths, words_of
from insilico.vocabulary import Value


class State(NamedTuple):
    amount: Annotated[Value, Quantity("mg", "drug in the body")]
    effect: Annotated[Value, Quantity("mg", "what follows it")]


class Parameters(NamedTuple):
    elimination: Annotated[Value, Quantity("1/h", "rate of elimination")]
    spread: Annotated[Value, Quantity("1/h^0.5", "fluctuation of the elimination")]
    constant: Annotated[Value, Quantity("mg/h^0.5", "fluctuation of the effect")]


class Inputs(NamedTuple):
    induction: Annotated[Value, Quantity("1", "relative increase of the elimination")]


class Outputs(NamedTuple):
    amount: Annotated[Value, Quantity("mg", "drug in the body")]
    effect: Annotated[Value, Quantity("mg", "what follows it")]


class Noise(NamedTuple):
    elimination: Annotated[State, Wiener("fluctuation of the elimination")]
    response: Annotated[State, Wiener("fluctuation of the response")]


def _derivative(time: Value, s: State, p: Parameters, inputs: Inputs) -> State:
    eliminated = p.elimination * (1.0 + inputs.induction) * s.amount
    return State(-eliminated, p.elimination * (s.amount - s.effect))


def _diffusion(time: Value, s: State, p: Parameters, inputs: Inputs) -> Noise:
    return Noise(elimination=State(p.spread * s.amount, 0.0), response=State(0.0, p.constant))


KINETICS = Model(
    name="kinetics",
    title="One compartment whose elimination fluctuates, and a noisy response",
    citation="none",
    State=State,
    Parameters=Parameters,
    Inputs=Inputs,
    Outputs=Outputs,
    Noise=Noise,
    initial=lambda p: State(1.0 + 0.0 * p.elimination, 0.0),
    derivative=_derivative,
    diffusion=_diffusion,
    outputs=lambda time, s, p: Outputs(s.amount, s.effect),
    fastest_rate=lambda p: p.elimination,
    method="milstein",
    step=0.125,
)


def _with_noise(function) -> Model:
    return dataclasses.replace(
        KINETICS, diffusion=lambda time, s, p, inputs: Noise(*function(s, p))
    )


def _keys(count: int, seed: int = 7) -> jax.Array:
    zeros = jnp.zeros(count, int)
    return subject_keys(purpose_key(seed, "noise"), zeros, zeros, jnp.arange(count))


def _path_at(keys: jax.Array, time: float) -> np.ndarray:
    """The values of both processes at a time: (2, lanes)."""
    paths = Paths.of(jnp.asarray(words_of(keys)), Noise._fields, 0.125)
    lanes = jnp.zeros(len(keys))
    return np.asarray(paths.go(paths.at(lanes), lanes + time)[0])


MANY = 1_000
STEPS = 2.0 ** -np.arange(3, 8)


def _strong_errors(model: Model, parameters: Parameters, method: str, exact=None) -> np.ndarray:
    """Mean distance at 2 h from the exact solution on the same paths, or from a much finer one."""
    keys = _keys(MANY)
    events, pattern = schedule(model, [], observe=[2.0])
    crowd = Parameters(*(np.full(MANY, value) for value in parameters))

    def final(step: float, method: str) -> np.ndarray:
        solution = solve(
            model,
            crowd,
            events,
            pattern,
            method=method,
            noise=keys,
            tolerances=Tolerances(step=step),
        )
        assert np.all(solution.status == Status.OK)
        return np.stack(solution.outputs)[..., 0]

    answer = final(STEPS[-1] / 8.0, method) if exact is None else exact(*_path_at(keys, 2.0))
    return np.array([np.abs(final(step, method) - answer).sum(axis=0).mean() for step in STEPS])


def _order(errors: np.ndarray) -> float:
    return float(np.polyfit(np.log(STEPS), np.log(errors), 1)[0])


STRONG = Parameters(0.5, 0.6, 0.0)


def _growth(elimination: float, spreads, path) -> np.ndarray:
    """Geometric Brownian motion at 2 h, and an effect that stays 0."""
    spreads = np.asarray(spreads)
    drift = -elimination - 0.5 * np.sum(spreads**2)
    amount = np.exp(2.0 * drift + spreads @ path)
    return np.stack([amount, np.zeros_like(amount)])


def _alone(model: Model) -> Model:
    """Without the effect that follows."""
    return dataclasses.replace(
        model, derivative=lambda time, s, p, inputs: State(-p.elimination * s.amount, 0.0)
    )


@pytest.mark.parametrize(
    ("method", "order"),
    [pytest.param("euler_maruyama", 0.5, marks=pytest.mark.slow), ("milstein", 1.0)],
)
def test_strong_orders_on_geometric_brownian_motion(method: str, order: float):
    """The exact solution is known on the path that the lanes have walked."""
    model = _alone(_with_noise(lambda s, p: (State(p.spread * s.amount, 0.0), State(0.0, 0.0))))
    errors = _strong_errors(
        model, STRONG, method, lambda *path: _growth(0.5, [0.6, 0.0], np.stack(path))
    )
    np.testing.assert_allclose(_order(errors), order, atol=0.07)


@pytest.mark.slow
def test_two_sources_for_one_state_commute_and_keep_the_order():
    model = _alone(
        _with_noise(
            lambda s, p: (State(p.spread * s.amount, 0.0), State(0.5 * p.spread * s.amount, 0.0))
        )
    )
    errors = _strong_errors(
        model, STRONG, "milstein", lambda *path: _growth(0.5, [0.6, 0.3], np.stack(path))
    )
    np.testing.assert_allclose(_order(errors), 1.0, atol=0.07)


@pytest.mark.optimised
@pytest.mark.parametrize(
    ("noise", "method", "order"),
    [
        # One source for two states, one of which changes the coefficient of the other.
        pytest.param(
            lambda s, p: (State(p.spread * s.amount, p.spread * s.amount), State(0.0, 0.0)),
            "milstein", 1.0, marks=pytest.mark.slow,
        ),
        # Diagonal noise, and additive noise, which needs no more than Euler-Maruyama.
        (lambda s, p: (State(p.spread * s.amount, 0.0), State(0.0, p.spread * s.effect)),
         "milstein", 1.0),
        pytest.param(
            lambda s, p: (State(p.constant, 0.0), State(p.constant, p.constant)),
            "euler_maruyama", 1.0, marks=pytest.mark.slow,
        ),
        # Noise that does not commute.
        (lambda s, p: (State(p.spread * s.amount, 0.0), State(0.0, p.spread * s.amount)),
         "euler_maruyama", 0.5),
    ],
)  # fmt: skip
def test_strong_orders_by_the_structure_of_noise(noise, method: str, order: float):
    errors = _strong_errors(_with_noise(noise), Parameters(0.5, 0.6, 0.5), method)
    np.testing.assert_allclose(_order(errors), order, atol=0.1)


ACTIONS = [
    Dose(0.0, "amount", 100.0),
    Infusion(6.0, "amount", 50.0, 6.0),
    Input(15.0, "induction", 1.0),
    Dose(18.5, "amount", 50.0),
]
OBSERVE = [5.0, 10.0, 18.5, 24.0]
TYPICAL = Parameters(0.1, 0.12, 2.0)


def _moments(p: Parameters) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of both states at the output times: a linear system of five moments."""
    a, b, aa, ab, bb = moments = np.zeros(5)
    moments[:] = a, b, aa, ab, bb = 1.0, 0.0, 1.0, 0.0, 0.0
    rate, induction, time, found = 0.0, 0.0, 0.0, []
    points = sorted(
        [(t, 0, None) for t in OBSERVE]
        + [(0.0, 1, ("dose", 100.0)), (18.5, 1, ("dose", 50.0)), (15.0, 1, ("induction", 1.0))]
        + [(6.0, 1, ("rate", 50.0 / 6.0)), (12.0, 1, ("rate", -50.0 / 6.0))],
        key=lambda point: point[:2],
    )
    for until, _, change in points:
        k, q = p.elimination * (1.0 + induction), p.elimination
        matrix = np.array(
            [  # of 1, E[A], E[B], E[A²], E[AB], E[B²]
                [0, 0, 0, 0, 0, 0],
                [rate, -k, 0, 0, 0, 0],
                [0, q, -q, 0, 0, 0],
                [0, 2 * rate, 0, p.spread**2 - 2 * k, 0, 0],
                [0, 0, rate, q, -k - q, 0],
                [p.constant**2, 0, 0, 0, 2 * q, -2 * q],
            ]
        )
        moments = (expm(matrix * (until - time)) @ [1.0, *moments])[1:]
        time = until
        if change is None:
            a, b, aa, _, bb = moments
            found.append(([a, b], [aa - a * a, bb - b * b]))
        elif change[0] == "dose":
            a, b, aa, ab, bb = moments
            dose = change[1]
            moments = np.array([a + dose, b, aa + 2 * dose * a + dose**2, ab + dose * b, bb])
        elif change[0] == "rate":
            rate += change[1]
        else:
            induction = change[1]
    means, variances = zip(*found, strict=True)
    return np.array(means), np.array(variances)


@pytest.fixture(scope="module")
def crowd():
    """10,000 patients of the typical values through doses, an infusion and an input."""
    count = 10_000
    events, pattern = schedule(KINETICS, ACTIONS, observe=OBSERVE)
    parameters = Parameters(*(np.full(count, value) for value in TYPICAL))
    return solve(
        KINETICS,
        parameters,
        events,
        pattern,
        noise=_keys(count),
        tolerances=Tolerances(step=2.0**-6),
    )


@pytest.mark.slow
def test_moments_are_those_of_the_closed_form_with_doses_infusions_and_inputs(crowd):
    found = np.stack(crowd.outputs, axis=-1)
    assert np.all(crowd.status == Status.OK)
    means, variances = _moments(TYPICAL)
    error = found.std(axis=0) / np.sqrt(len(found))
    # Four standard errors, and the method's own of k·h/2 a time constant of 1/k, three of them.
    bias = 0.5 * 0.2 * 2.0**-6 * 3.0
    assert np.all(np.abs(found.mean(axis=0) - means) < 4.0 * error + bias * means)
    centred = (found - found.mean(axis=0)) ** 2
    error = centred.std(axis=0) / np.sqrt(len(found))
    assert np.all(np.abs(centred.mean(axis=0) - variances) < 4.0 * error + 2.0 * bias * variances)
    # The comparison has power: Monte-Carlo errors of a hundredth, of a twentieth for variances.
    assert np.all(4.0 * found.std(axis=0) / 100.0 < 0.05 * means)
    assert np.all(4.0 * error < 0.25 * variances)


def _numbers(solution) -> np.ndarray:
    leaves = [np.asarray(leaf, float) for leaf in jax.tree.leaves(solution)]
    return np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)


@pytest.mark.optimised
@pytest.mark.parametrize(
    "method", ["euler_maruyama", pytest.param("milstein", marks=pytest.mark.slow)]
)
def test_a_patient_alone_has_the_bits_it_has_in_any_batch_and_order(method: str):
    count = 1_100
    generator = np.random.default_rng(5)
    low, high = [[0.05], [0.01], [0.5]], [[0.5], [0.3], [2.0]]
    parameters = Parameters(*generator.uniform(low, high, (3, count)))
    keys = _keys(count)
    events, pattern = schedule(KINETICS, ACTIONS, observe=[5.03, 24.0])

    def numbers(index) -> np.ndarray:
        some = Parameters(*(values[index] for values in parameters))
        return _numbers(solve(KINETICS, some, events, pattern, method=method, noise=keys[index]))

    together = numbers(slice(None))
    assert len(np.unique(together[:, 0])) == count
    for patient in (0, 700, count - 1):
        np.testing.assert_array_equal(numbers(slice(patient, patient + 1))[0], together[patient])
    order = generator.permutation(count)
    np.testing.assert_array_equal(numbers(order), together[order])


def _few(observe, actions=ACTIONS, count: int = 70, **options):
    events, pattern = schedule(KINETICS, actions, observe=observe)
    parameters = Parameters(*(np.full(count, value) for value in TYPICAL))
    return solve(KINETICS, parameters, events, pattern, noise=_keys(count), **options)


@pytest.mark.slow
def test_another_observation_does_not_change_the_path():
    plain = np.stack(_few(OBSERVE).outputs)
    # On the grid of steps it changes nothing at all, nor does a longer schedule.
    more = np.stack(_few([1.0, *OBSERVE, 31.0]).outputs)[..., 1:-1]
    np.testing.assert_array_equal(more, plain)
    # Off the grid it cuts one step in two: an error of the step's size, on the same path.
    between = np.stack(_few([1.03, *OBSERVE]).outputs)[..., 1:]
    other = np.stack(_few(OBSERVE, count=140).outputs)[:, 70:]
    assert 0.0 < np.abs(between - plain).max() < 0.5
    assert np.abs(other - plain).max() > 20.0


@pytest.mark.optimised
def test_a_dose_changes_what_comes_after_it_and_nothing_before():
    with_dose = np.stack(_few(OBSERVE, [*ACTIONS, Dose(20.0, "amount", 100.0)]).outputs)
    plain = np.stack(_few(OBSERVE).outputs)
    np.testing.assert_array_equal(with_dose[..., :3], plain[..., :3])
    # 100 mg over 4 h at 0.2/h, times what noise makes of them.
    gained = with_dose[0, :, 3] - plain[0, :, 3]
    np.testing.assert_allclose(gained.mean(), 100.0 * np.exp(-0.8), rtol=0.15)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "solver", "step"),
    [
        ("milstein", diffrax.ItoMilstein(), None),
        ("milstein", diffrax.ItoMilstein(), 0.0625),
        ("euler_maruyama", diffrax.Euler(), 0.5),
    ],
)
def test_diffrax_gives_the_same_on_the_same_paths(method: str, solver, step: float | None):
    """Steps as long as a path's cells, longer and shorter."""
    count = 6
    events, pattern = schedule(KINETICS, ACTIONS, observe=OBSERVE)
    parameters = Parameters(*(np.full(count, value) for value in TYPICAL))
    tolerances = Tolerances(step=step)
    ours = solve(
        KINETICS,
        parameters,
        events,
        pattern,
        method=method,
        tolerances=tolerances,
        noise=_keys(count),
    )
    theirs = stochastic_reference(
        KINETICS, parameters, events, pattern, _keys(count), tolerances, solver=solver
    )
    assert np.all(theirs.status == Status.OK)
    np.testing.assert_array_equal(ours.steps, theirs.steps)
    for mine, its in zip(ours.outputs, theirs.outputs, strict=True):
        # Rounding, over hundreds of steps of amounts up to 100.
        np.testing.assert_allclose(mine, its.T, rtol=1e-11, atol=1e-11)


@pytest.mark.slow
def test_milstein_agrees_with_diffrax_where_noise_couples_states():
    model = _with_noise(
        lambda s, p: (State(p.spread * s.amount, p.spread * s.amount), State(0.0, 0.0))
    )
    count = 6
    events, pattern = schedule(model, ACTIONS, observe=OBSERVE)
    parameters = Parameters(*(np.full(count, value) for value in TYPICAL))
    ours = solve(model, parameters, events, pattern, noise=_keys(count))
    theirs = stochastic_reference(model, parameters, events, pattern, _keys(count))
    for mine, its in zip(ours.outputs, theirs.outputs, strict=True):
        np.testing.assert_allclose(mine, its.T, rtol=1e-11, atol=1e-11)


class Twice:
    """A second dose for who is below 20 mg at the visit at 12 h."""

    def start(self, subject):
        return Plan(12.0 + 0.0 * subject, 0.0 * subject)

    def visit(self, visit, plan, subject):
        low = jnp.where(visit.outputs.amount < 20.0, 1.0, 0.0)
        return visit.outputs.amount, Plan(jnp.inf + 0.0 * subject, low)

    def administer(self, time, plan, subject):
        return (plan.memory,), plan


@pytest.mark.optimised
def test_rules_decide_on_what_noise_has_made_of_a_patient():
    count = 200
    actions = [Dose(0.0, "amount", 50.0), Dose(12.5, "amount", 100.0, order=0)]
    events, pattern = schedule(
        KINETICS, actions, observe=[12.5, 12.625], visits_until=12.5, shortest_recheck=12.0
    )
    parameters = Parameters(*(np.full(count, value) for value in TYPICAL))
    solution = solve(
        KINETICS,
        parameters,
        events,
        pattern,
        noise=_keys(count),
        rule=Twice(),
        subject=np.ones(count),
    )
    held = np.isfinite(solution.visit_time)
    assert np.all(held.sum(axis=1) == 1)
    low = solution.records[held] < 20.0
    assert 20 < low.sum() < count - 20
    jumped = solution.outputs.amount[:, 1] - solution.outputs.amount[:, 0] > 60.0
    np.testing.assert_array_equal(jumped, low)


@pytest.mark.optimised
def test_other_keys_and_another_step_compile_nothing(compilations):
    first = _few([1.0], count=3)
    events, pattern = schedule(KINETICS, ACTIONS, observe=[1.0])
    keys = jax.random.split(jax.random.key(2), 3)
    parameters = Parameters(*(np.full(3, value) for value in TYPICAL))
    before = compilations.count
    other = solve(
        KINETICS, parameters, events, pattern, noise=keys, tolerances=Tolerances(step=0.1)
    )
    assert compilations.count == before
    assert not np.any(other.outputs.amount == first.outputs.amount)


def test_who_is_not_finite_fails_and_its_neighbours_do_not():
    events, pattern = schedule(KINETICS, [], observe=[1.0, 2.0])
    spread = np.array([0.1, np.nan, 0.1])
    solution = solve(KINETICS, Parameters(0.1, spread, 1.0), events, pattern, noise=_keys(3))
    assert solution.status.tolist() == [Status.OK, Status.NOT_FINITE, Status.OK]
    assert np.isfinite(solution.outputs.amount).all(axis=1).tolist() == [True, False, True]
    assert np.all(np.isfinite(solution.state.amount))
    limited = solve(
        KINETICS,
        Parameters(0.1, 0.1, 1.0),
        events,
        pattern,
        noise=_keys(1),
        tolerances=Tolerances(max_steps=10),
    )
    assert limited.status.tolist() == [Status.STEP_LIMIT]


def test_what_does_not_go_together_is_refused():
    events, pattern = schedule(KINETICS, [], observe=[1.0])
    keys, someone = _keys(1), Parameters(0.1, 0.1, 1.0)

    def refused(said: str, model: Model = KINETICS, **options) -> None:
        with pytest.raises(ValueError, match=said):
            solve(model, someone, events, pattern, **options)

    calm = dataclasses.replace(KINETICS, diffusion=None, method="tsit5")
    refused("kinetics has noise, which method tsit5 does not know", method="tsit5", noise=keys)
    refused("has noise, which method rk4 does not know", method="rk4", noise=keys)
    refused("kinetics has noise: pass one random key a patient", method="milstein")
    refused("milstein is for models with noise", calm, method="milstein", noise=keys)
    refused("kinetics has no noise, but there are keys", calm, noise=keys)
    refused(
        "states no step, on whose grid",
        dataclasses.replace(KINETICS, step=None),
        noise=keys,
        tolerances=Tolerances(step=0.1),
    )
    three = Parameters(np.full(3, 0.1), 0.1, 1.0)
    with pytest.raises(ValueError, match="different lengths"):
        solve(KINETICS, three, events, pattern, noise=_keys(2))
    tangled = _with_noise(
        lambda s, p: (State(p.spread * s.amount, 0.0), State(0.0, p.spread * s.amount))
    )
    refused(
        "milstein is right for commutative noise only, and the noise of elimination, response is "
        "not: .* choose euler_maruyama",
        tangled,
        noise=keys,
    )
    steady = {"TIME": [0.0], "EVID": [1], "AMT": [1.0], "II": [12.0], "SS": [1], "induction": [0.0]}
    records = read_records(KINETICS, steady, covariates={"induction": "induction"})
    with pytest.raises(ValueError, match="kinetics has noise, with which it comes to no steady"):
        solve(KINETICS, someone, records, noise=keys)
    with pytest.raises(ValueError, match="kinetics has noise: take stochastic_reference"):
        reference(KINETICS, someone, events, pattern, Tolerances())
    assert solve(tangled, someone, events, pattern, noise=keys, method="euler_maruyama")
