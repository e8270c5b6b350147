"""Parameters that change between occasions: equal to patients of each, and differentiable."""

import dataclasses
import functools
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from insilico import models
from insilico.devices import QUICKLY
from insilico.model import Model, Trigger
from insilico.occasions import by_occasion
from insilico.solve import (
    Covariate,
    Derivative,
    Dose,
    Input,
    Status,
    Tolerances,
    choose_driver,
    read_records,
    schedule,
    solve,
    solve_traced,
)
from insilico.solve.records import Records, also_at, in_occasions
from insilico.vocabulary import Value

quickly = functools.partial(jax.jit, compiler_options=QUICKLY)
TIGHT = Tolerances(relative=1e-10, absolute=1e-10)
ORAL = models.get("one_compartment")
RESPONSE = models.get("indirect_response")


def solved(
    records: Records,
    occasion: Any,
    parameters: Any,
    names: tuple[str, ...],
    *,
    derivative: Derivative | None = None,
    method: str | None = None,
) -> Any:
    """Patients by their occasions; `parameters` of these `names` are (occasions, patients)."""
    varied = records.by_occasion(dict.fromkeys(names, np.asarray(occasion)))
    table, layout = varied.laid_out()

    def solution(parameters: Any) -> Any:
        own, occasional = in_occasions(varied.model, parameters, table)
        return solve_traced(
            varied.model,
            own,
            occasional,
            layout,
            derivative=derivative,
            tolerances=TIGHT,
            method=method,
        )

    return solution(parameters) if derivative else quickly(solution)(parameters)


def plainly(model: Model, parameters: Any, records: Records, method: str | None = None) -> Any:
    """Patients without occasions."""
    table, layout = records.laid_out()

    def solution(parameters: Any) -> Any:
        return solve_traced(
            model, parameters, table, layout, derivative=None, tolerances=TIGHT, method=method
        )

    return quickly(solution)(parameters)


def oral_table(*records: dict[str, float], patients: int = 1) -> Records:
    """The same records for each patient: a dose into the depot unless they say otherwise."""
    rows = [{"EVID": 1, "CMT": 1, "AMT": 0.0} | record for record in records]
    columns = {n: np.tile([row.get(n, 0.0) for row in rows], patients) for n in ("EVID", "AMT")}
    columns |= {n: np.tile([row[n] for row in rows], patients) for n in ("TIME", "CMT")}
    return read_records(ORAL, columns | {"ID": np.repeat(np.arange(patients), len(rows))})


def observation(time: float) -> dict[str, float]:
    return {"TIME": time, "EVID": 0, "CMT": 0}


@pytest.mark.parametrize("method", ["closed_form", pytest.param("tsit5", marks=pytest.mark.slow)])
def test_a_record_belongs_to_its_occasion_with_all_that_follows_it(method):
    into_central = {"CMT": 2, "AMT": 100.0}
    times = np.array([1.0, 3.0, 4.0, 6.0, 7.0])
    records = oral_table({"TIME": 0.0, **into_central}, *map(observation, times))
    clearance, volume = np.array([[2.0], [5.0]]), np.array([[20.0], [30.0]])
    parameters = ORAL.Parameters(jnp.ones(1), clearance, volume)
    # The occasion changes at the record of 4 h, and back again at that of 7 h.
    number = [0, 0, 0, 1, 1, 0]
    found = solved(records, number, parameters, ("clearance", "central_volume"), method=method)
    first, second = clearance.ravel() / volume.ravel()
    amount = 100.0 * np.exp(
        -np.array([first, 3 * first, 4 * first, 4 * first + 2 * second, 4 * first + 3 * second])
    )
    inside = volume.ravel()[[0, 0, 1, 1, 0]]
    np.testing.assert_allclose(found.outputs.central[0, 1:], amount, rtol=1e-9)
    np.testing.assert_allclose(found.outputs.concentration[0, 1:], amount / inside, rtol=1e-9)


def test_a_dose_has_the_lag_and_the_bioavailability_of_its_occasion(
    lagged, make_table, solve_table
):
    observe = (1.0, 2.0, 2.6, 4.0, 6.0, 9.0)
    data = make_table(
        {"TIME": 0.0, "AMT": 100, "ADDL": 1, "II": 4}, {"TIME": 2.0, "AMT": 80}, observe=observe
    )
    records = read_records(lagged, data, covariates={"effect": Covariate("EFFECT", "locf")})
    later = (records.columns.time >= 2.0).astype(int)
    parameters = lagged.Parameters(
        jnp.full(1, 1.3),
        jnp.full(1, 0.12),
        np.array([[0.8], [0.5]]),
        np.array([[3.0], [0.5]]),
        jnp.full(1, 2.5),
        jnp.full(1, 30.0),
    )
    found = solved(records, later, parameters, ("bioavailability", "lag"))
    # What arrives when, written out: the first dose and its repetition arrive after the second.
    plain = make_table(
        {"TIME": 2.5, "AMT": 40},
        {"TIME": 3.0, "AMT": 80},
        {"TIME": 7.0, "AMT": 80},
        observe=observe,
    )
    expected = solve_table(plain, bioavailability=1.0, lag=0.0)
    for output, other in zip(found.outputs, expected.outputs, strict=True):
        np.testing.assert_allclose(
            output[0, data["EVID"] == 0], other[0, plain["EVID"] == 0], rtol=1e-8, atol=1e-8
        )


@pytest.mark.parametrize("first", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_an_occasion_that_begins_by_a_reset_is_a_patient_of_its_own(first):
    """Two periods, the clock set back in between; the initial response varies, too."""
    times = np.array([0.0, 1.0, 3.0, 8.0, 20.0])
    period = {"TIME": times, "EVID": [first, 0, 0, 0, 0], "AMT": [50.0, 0, 0, 0, 0]}
    one = {name: np.asarray(values, float) for name, values in period.items()}
    two = {name: np.concatenate([of, of]) for name, of in one.items()}
    two["EVID"][5] = 4
    both = read_records(RESPONSE, two)
    alone = read_records(
        RESPONSE, {**two, "ID": np.repeat([1, 2], 5), "EVID": np.tile(one["EVID"], 2)}
    )
    names = ("clearance", "production")
    typical = np.array(RESPONSE.typical)[:, None] * np.ones((1, 2))
    apart = RESPONSE.Parameters(*typical)
    apart = apart._replace(clearance=np.array([3.0, 6.0]), production=np.array([5.0, 8.0]))
    varying = {name: getattr(apart, name)[:, None] for name in names}
    together = RESPONSE.Parameters(*(values[:1] for values in apart))._replace(**varying)
    found = solved(both, np.repeat([0, 1], 5), together, names)
    expected = plainly(RESPONSE, apart, alone)
    assert np.all(found.status == Status.OK)
    for output, other in zip(found.outputs, expected.outputs, strict=True):
        np.testing.assert_allclose(output[0], np.ravel(other), rtol=1e-8, atol=1e-10)
    # What was there before any dose is that of the second occasion's own parameters.
    assert float(other[1, 1]) != float(other[0, 1])


@pytest.mark.slow
def test_a_steady_state_is_that_of_its_occasion():
    interval = {"TIME": 0.0, "AMT": 50.0, "SS": 1, "II": 8.0, "CMT": 1, "EVID": 1}
    rows = [interval, observation(4.0), {**interval, "TIME": 8.0}, observation(12.0)]
    data = {n: np.array([row.get(n, 0.0) for row in rows]) for n in interval}
    twice = {n: np.tile(values, 2) for n, values in data.items()}
    parameters = ORAL.Parameters(jnp.ones(1), np.array([[2.0], [5.0]]), jnp.full(1, 20.0))
    found = solved(read_records(ORAL, data), [0, 0, 1, 1], parameters, ("clearance",))
    apart = ORAL.Parameters(np.ones(2), np.array([2.0, 5.0]), np.full(2, 20.0))
    expected = plainly(ORAL, apart, read_records(ORAL, twice | {"ID": np.repeat([1, 2], 4)}))
    own = np.asarray(expected.outputs.central)[[0, 0, 1, 1], [0, 1, 2, 3]]
    np.testing.assert_allclose(found.outputs.central[0], own, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["closed_form", "tsit5"])
def test_without_a_change_nothing_is_other_than_without_occasions(method):
    dose = {"TIME": 0.0, "AMT": 100.0}
    records = oral_table(dose, *map(observation, (1.0, 4.0, 9.0)), patients=2)
    plain = ORAL.Parameters(np.array([1.0, 0.4]), np.array([2.0, 3.0]), np.array([20.0, 30.0]))
    twice = plain._replace(clearance=np.tile(plain.clearance, (2, 1)))
    found = solved(records, [0, 0, 1, 1, 0, 0, 0, 0], twice, ("clearance",), method=method)
    expected = plainly(ORAL, plain, records, method)
    for output, other in zip(found.outputs, expected.outputs, strict=True):
        # A row more ends a step more.
        np.testing.assert_allclose(output, other, rtol=1e-9, atol=1e-12)


def test_records_put_in_between_are_of_the_occasion_above_them():
    records = oral_table({"TIME": 0.0, "AMT": 9.0}, *map(observation, (2.0, 4.0)))
    more = also_at(records.by_occasion({"clearance": np.array([0, 0, 1])}), np.array([1.0, 5.0]))
    assert more.columns.values[0].tolist() == [0, 0, 0, 1, 1]


class Bound(NamedTuple):
    full: Annotated[Value, Trigger("the amount falls below half of the volume: a dose is given")]


REFILLED = dataclasses.replace(
    ORAL,
    name="refilled",
    Triggers=Bound,
    fastest_rate=None,
    propagate=None,
    method="tsit5",
    triggers=lambda time, state, p: Bound(0.5 * p.central_volume - state.central),
    react=lambda time, state, p: {"full": state._replace(central=state.central + p.clearance)},
)


@pytest.mark.slow
def test_triggers_see_the_parameters_of_the_occasion():
    rows = {"TIME": [0.0, 1.0, 2.0, 3.0], "EVID": [1, 0, 0, 0], "AMT": [20.0, 0, 0, 0], "CMT": 2}
    data = {name: np.broadcast_to(np.asarray(of, float), 4) for name, of in rows.items()}
    parameters = REFILLED.Parameters(
        jnp.full(1, 1.0), np.array([[1.0], [3.0]]), np.array([[10.0], [60.0]])
    )
    records, names = read_records(REFILLED, data), ("clearance", "central_volume")
    found = solved(records, [0, 0, 1, 1], parameters, names)
    # 20 mg fall to 18.1 by 2 h: above half of 10 L, below that of 60 L; then 3 mg come on top.
    assert int(found.triggered.full.count[0]) == 1
    assert float(found.triggered.full.first[0]) == pytest.approx(2.0, abs=1e-9)
    left = 20.0 * np.exp(-0.2)
    np.testing.assert_allclose(found.outputs.central[0, 3], (left + 3.0) * np.exp(-0.05), rtol=1e-8)


# Steps are frozen in a derivative, and move in a difference: so the solves are tight.
GRADIENTS = {
    "closed_form": (ORAL, ("clearance", "central_volume"), 1e-7),
    "tsit5": (ORAL, ("clearance", "central_volume"), 1e-6),
}


def _objective(method: str, patients: int = 3) -> tuple[Any, Any]:
    model, names, _ = GRADIENTS[method]
    rows = [
        {"TIME": 0.0, "AMT": 100.0},
        observation(2.0),
        {"TIME": 5.0, "AMT": 50.0},
        observation(7.0),
        observation(12.0),
    ]
    records = oral_table(*rows, patients=patients)
    number = np.tile([0, 0, 1, 1, 1], patients)
    # The last has one occasion.
    number[-5:] = 0
    rng = np.random.default_rng(1)
    at = np.exp(rng.normal(np.log([1.0, 3.0, 3.0, 30.0, 30.0])[:, None], 0.3, (5, patients)))
    weights = rng.normal(size=(patients, 5))

    def objective(flat: Any, derivative: Derivative | None = "reverse") -> Any:
        parameters = model.Parameters(flat[0], flat[1:3], flat[3:5])
        found = solved(records, number, parameters, names, derivative=derivative, method=method)
        return jnp.sum(weights * (found.outputs.concentration + 0.1 * found.outputs.depot))

    return objective, jnp.asarray(at)


@pytest.mark.parametrize("method", [pytest.param("closed_form", marks=pytest.mark.slow), "tsit5"])
def test_gradients_by_the_parameters_of_each_occasion_are_differences(method):
    objective, at = _objective(method)
    value = quickly(objective)
    gradient = quickly(jax.grad(objective))(at)
    assert np.all(gradient[jnp.array([0, 1, 3])] != 0.0)
    # Of the occasion that the last patient lacks nothing depends on anything.
    np.testing.assert_array_equal(gradient[jnp.array([2, 4]), 2], 0.0)
    for along in np.random.default_rng(2).normal(size=(3, *at.shape)) * np.asarray(at):
        there, back = (float(value(at + step * along)) for step in (1e-5, -1e-5))
        slope = float(jnp.sum(gradient * along))
        assert (there - back) / 2e-5 == pytest.approx(slope, rel=GRADIENTS[method][2])


@pytest.mark.slow
@pytest.mark.parametrize("method", GRADIENTS)
def test_derivatives_forwards_and_of_batches_are_those_in_reverse(method):
    objective, at = _objective(method)
    gradient = quickly(jax.grad(objective))
    forth = quickly(jax.jacfwd(lambda at: objective(at, "forward")))
    np.testing.assert_allclose(forth(at), gradient(at), rtol=1e-8, atol=1e-12)
    batch = jnp.stack([at, 1.2 * at, 0.7 * at])
    together = quickly(jax.vmap(jax.grad(objective)))(batch)
    for found, one in zip(together, batch, strict=True):
        np.testing.assert_allclose(found, gradient(one), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("names", [(), ("clearence",), ("clearance", "clearance")])
def test_what_varies_is_named_once_by_the_model_s_names(names):
    with pytest.raises(ValueError, match="absorption_rate, clearance, central_volume"):
        by_occasion(ORAL, names)


def test_the_kernel_refuses_them():
    model = by_occasion(ORAL, ("clearance",))
    records = oral_table({"TIME": 0.0, "AMT": 1.0}).by_occasion({"clearance": np.zeros(1)})
    with pytest.raises(ValueError, match="cannot do parameters that vary between occasions"):
        choose_driver(
            model,
            ORAL.Parameters(*np.ones((3, 1))),
            *records.laid_out(),
            method="tsit5",
            driver="kernel",
        )


def test_the_same_names_give_the_same_model():
    assert by_occasion(ORAL, ("clearance",)) is by_occasion(ORAL, ("clearance",))


def test_the_first_occasion_needs_no_event():
    """What varies begins with the parameters' own values, which `initial` and a first row see."""
    varied = by_occasion(ORAL, ("clearance",))
    later = Input(10.0, "occasion_clearance", 6.0)
    schedule_of = functools.partial(schedule, observe=[0.0, 10.0, 20.0])
    parameters = ORAL.Parameters(absorption_rate=50.0, clearance=3.0, central_volume=30.0)
    found = solve(varied, parameters, *schedule_of(varied, [Dose(0.0, "central", 90.0), later]))
    first, second = 3.0 * np.exp(-1.0), 3.0 * np.exp(-1.0 - 2.0)
    concentration = np.asarray(found.outputs.concentration).ravel()
    np.testing.assert_allclose(concentration, [0.0, first, second], rtol=1e-6)
