"""The kernel for a GPU: interpreted, it gives XLA's bits, and it lowers for CUDA."""

import json
import os
import platform
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import eventful_models as eventful
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractDevice, AbstractMesh

from insilico import models
from insilico.solve import (
    Choice,
    Dose,
    Infusion,
    Launch,
    Plan,
    Tolerances,
    choose_driver,
    jobs,
    kernel,
    kernel_check,
    lane_program,
    loops,
    methods,
    plain,
    read_records,
    schedule,
    solve,
    solve_block,
    submit,
)
from insilico.solve.drivers import MOST_WORDS
from insilico.solve.kernel import walk_in_kernel
from insilico.solve.records import expand
from insilico.solve.records.table import Role
from insilico.solve.walks import passed

pytestmark = pytest.mark.optimised

FAILURES = {
    "visits of all kinds": [0, 2, 3],
    "too few steps": [1],
    "too stiff": [8],
    "below the lowest": [0, 7],
    "rescues": [0, 9],
}
"""The statuses that some cases have to show; all others solve everybody."""
VISITS = ("titration float64", "titration float32", "visits of all kinds", "an arm that is traced")
TRIGGERED = (
    *(f"triggers by {name}" for name in methods.ADAPTIVE),
    "triggers in float32",
    "rescues",
    "deaths between records",
)
CASES = (
    *(f"{problem} {precision}"
      for problem in ("daily dosing", "binding", "diabetes", "own schedules", "titration",
                      "event tables")
      for precision in ("float64", "float32")),
    *(f"events by {name}" for name in methods.ADAPTIVE),
    "visits of all kinds", "an arm that is traced", "warfarin by series", "too few steps",
    "too stiff", "below the lowest", *TRIGGERED,
)  # fmt: skip


@pytest.fixture(scope="module")
def comparisons() -> dict[str, dict]:
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("only on x86 can the compiler be told not to merge products and sums")
    environment = dict(
        os.environ,
        PYTHONPATH=os.pathsep.join(sys.path),
        XLA_FLAGS="--xla_cpu_max_isa=AVX",  # the last without an instruction that does both
        JAX_PLATFORMS="cpu",
    )
    ran = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("kernel_and_xla.py"))],
        env=environment,
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return {found.pop("case"): found for found in map(json.loads, ran.stdout.splitlines())}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_interpreted_kernel_gives_the_bits_of_xla(comparisons, case):
    """Outputs, visits, records, statuses, times, steps and states of 64 patients."""
    found = comparisons[case]
    assert found["different"] == {}
    assert found["statuses"] == FAILURES.get(case, [0])
    # From event to event there are few.
    assert found["steps"] > (4 if case in TRIGGERED else 10)
    assert (found["visits"] > 100) == (case in VISITS)
    assert (found["triggered"] > 50) == (case in TRIGGERED)


@pytest.mark.slow
def test_every_case_is_looked_at(comparisons):
    assert sorted(comparisons) == sorted(CASES)


MODEL = models.get("indirect_response")
TYPICAL = (0.8, 4.0, 30.0, 6.0, 60.0, 5.0, 0.05, 0.9, 0.7)
ACTIONS = [Dose(0.0, "depot", 100.0), Infusion(20.0, "central", 50.0, 7.0)]


@pytest.mark.slow
def test_users_choose_the_driver_and_get_the_same(patients):
    parameters = patients(MODEL, TYPICAL, 70)
    events, pattern = schedule(MODEL, ACTIONS, observe=[6.0, 36.0])
    # By tsit5: a series' estimate of an error far below its tolerance is rounding, and sizes steps.
    expected = solve(MODEL, parameters, events, pattern, method="tsit5")
    pending = submit(
        MODEL,
        parameters,
        events,
        pattern,
        method="tsit5",
        driver="kernel",
        launch=Launch(lanes=128, warps=4),
    )
    assert pending.choice.driver == "kernel" and pending.choice.interpreted
    found = pending.solution()
    np.testing.assert_array_equal(found.steps, expected.steps)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        # A product and a sum may be rounded once or twice.
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("method", methods.ADAPTIVE)
def test_a_kernel_of_fused_products_and_sums_solves_the_same(monkeypatch, patients, method):
    """NVIDIA's instruction, which no CPU has, is a product and a sum in this test."""
    used = []

    def instruction(code, *, args, **_):
        used.append(code)
        return [args[0] * args[1] + args[2]]

    def fused(*arguments, **options):
        return lane_program.Program(*arguments, **{**options, "fused": True})

    monkeypatch.setattr(kernel, "Program", fused)
    monkeypatch.setattr(plain.triton, "elementwise_inline_asm", instruction)
    model, numbers = MODEL, Tolerances(1e-8, 1e-10).numbers()
    parameters = patients(model, TYPICAL, 32)
    events, pattern = schedule(model, ACTIONS, observe=[6.0, 36.0])
    found = walk_in_kernel(
        model, parameters, events, pattern, numbers, method=methods.get(method), interpret=True
    )
    assert len(used) > 20
    expected = solve(
        model, parameters, events, pattern, method=method, tolerances=Tolerances(1e-8, 1e-10)
    )
    assert np.all(found.status == 0)
    for ours, theirs in zip(
        jax.tree.leaves(found.outputs), jax.tree.leaves(expected.outputs), strict=True
    ):
        # Where a rounding lets one step be judged otherwise, by a part of the tolerance.
        np.testing.assert_allclose(ours, theirs.T, rtol=1e-7)


class ByRank:
    """A rule that compares patients, which no rule may do."""

    def start(self, subject):
        return Plan(1.0 + 0.0 * subject, 0.0 * subject)

    def visit(self, visit, plan, subject):
        return jnp.sort(visit.outputs.response), Plan(jnp.inf + 0.0 * subject, plan.memory)

    def administer(self, time, plan, subject):
        return (), plan


def test_the_choice_and_its_reason_are_to_be_had(monkeypatch):
    events, pattern = schedule(MODEL, ACTIONS, observe=[6.0])
    slots = schedule(MODEL, ACTIONS, observe=[6.0], visits_until=6.0, shortest_recheck=6.0)
    parameters = MODEL.Parameters(*(np.ones(64) for _ in TYPICAL))

    def choice(plan=(events, pattern), **more):
        return choose_driver(MODEL, parameters, *plan, **more)

    assert choice().driver == "xla" and "no GPU" in choice().reason
    assert choice(driver="xla").reason == "it was asked for"
    with pytest.raises(ValueError, match=r"no driver 'cuda'; there are auto, xla, kernel"):
        choice(driver="cuda")
    ranked = {"rule": ByRank(), "subject": np.ones(64)}
    with pytest.raises(ValueError, match="cannot do the operation sort.*driver='xla'"):
        choice(slots, driver="kernel", **ranked)

    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(kernel_check, "fault", lambda: None)
    taken = choice()
    assert taken.driver == "kernel" and taken.launch == Launch() and not taken.interpreted
    assert taken.words is not None and f"{taken.words} words" in taken.reason
    refused = choice(slots, **ranked)
    assert refused.driver == "xla" and "sort" in refused.reason
    derived = choice(derivative="reverse")
    assert derived.driver == "xla" and "cannot do derivatives" in derived.reason
    monkeypatch.setattr("insilico.solve.drivers.MOST_WORDS", taken.words - 1)
    assert choice().driver == "xla" and "more than" in choice().reason


@pytest.fixture
def unchecked():
    """Whether the kernel works is not yet known, nor afterwards."""
    kernel_check.fault.cache_clear()
    yield
    kernel_check.fault.cache_clear()


def test_the_kernel_is_not_taken_where_a_small_solve_by_it_fails(monkeypatch, unchecked):
    """Here it fails for want of a GPU, as it would on one that the compiler does not know."""
    events, pattern = schedule(MODEL, ACTIONS, observe=[6.0])
    parameters = MODEL.Parameters(*(np.ones(64) for _ in TYPICAL))
    with monkeypatch.context() as patched:
        patched.setattr(jax, "default_backend", lambda: "gpu")
        chosen = choose_driver(MODEL, parameters, events, pattern)
    assert chosen.driver == "xla"
    assert chosen.reason.startswith("the kernel does not run here (ValueError: Only interpret")


def test_a_small_solve_tells_a_right_kernel_from_a_wrong_one(monkeypatch, unchecked):
    assert kernel_check.fault(interpreted=True) is None

    def other_lane(*arguments, **options):
        walked = walk_in_kernel(*arguments, **options)
        return walked._replace(outputs=jax.tree.map(lambda y: jnp.roll(y, 1, -1), walked.outputs))

    kernel_check.fault.cache_clear()
    jobs.program_of.cache_clear()
    monkeypatch.setattr(kernel, "walk_in_kernel", other_lane)
    wrong = kernel_check.fault(interpreted=True)
    jobs.program_of.cache_clear()
    assert wrong is not None and wrong.startswith("differs from XLA's driver here, by ")


def _words(name: str, method: str, dtype: type) -> int:
    model = models.get(name)
    events, pattern = schedule(model, [], observe=[1.0])
    parameters = model.Parameters(*(np.ones(64, dtype) for _ in model.Parameters._fields))
    words = choose_driver(model, parameters, events, pattern, method=method, driver="kernel").words
    assert words is not None
    return words


CHOSEN = [
    (name, models.get(name).method)
    for name in models.names()
    if models.get(name).method in methods.ADAPTIVE
]
"""The models that a kernel serves, with their own method."""


def test_the_estimate_of_a_lane_grows_with_states_stages_and_precision():
    small = _words("one_compartment", "tsit5", np.float32)
    # Two states, their rates at seven stages, three parameters, time, size, target and floors.
    assert 20 < small < 60
    assert _words("one_compartment", "dopri8", np.float32) > small
    assert _words("three_compartment", "tsit5", np.float32) > small
    # Of numbers that are written in the code, some count as single ones.
    assert _words("one_compartment", "tsit5", np.float64) == pytest.approx(2 * small, rel=0.1)


@pytest.mark.slow
def test_lanes_of_every_model_that_is_chosen_are_small_enough():
    for name, method in CHOSEN:
        assert _words(name, method, np.float64) < MOST_WORDS


def test_patients_have_to_fill_programs(patients):
    events, pattern = schedule(MODEL, ACTIONS, observe=[6.0])
    parameters = patients(MODEL, TYPICAL, 96)
    for lanes in (64, 48):
        with pytest.raises(ValueError, match=f"96 patients do not fill programs of {lanes} lanes"):
            walk_in_kernel(
                MODEL,
                parameters,
                events,
                pattern,
                Tolerances().numbers(),
                method=methods.get("tsit5"),
                launch=Launch(lanes),
            )


class Known(NamedTuple):
    dose: Any
    factor: Any


class Table:
    """Doses by day, and a visit that halves them."""

    def start(self, subject: Known) -> Plan:
        return Plan(12.0 + 0.0 * subject.factor, subject.factor)

    def visit(self, visit, plan, subject):
        return visit.outputs, Plan(jnp.full_like(visit.time, jnp.inf), 0.5 * plan.memory)

    def administer(self, time, plan, subject):
        day = jnp.clip(jnp.floor(time / 24.0), 0, 2).astype(int)
        dose = jnp.take_along_axis(subject.dose, day[None], axis=0)[0]
        return (dose * jnp.round(plan.memory),), plan


def lowered_for_cuda(function, *arguments) -> str:
    """The program that would be sent to an H200, on a machine without one."""
    device = AbstractDevice(device_kind="NVIDIA H200", num_cores=132, platform="gpu")
    mesh = AbstractMesh((1,), ("x",), abstract_device=device)
    with jax.sharding.use_abstract_mesh(mesh), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = jax.jit(function).trace(*arguments)
        return traced.lower(lowering_platforms=("cuda",)).as_text()


def _kernels(text: str) -> int:
    return text.count("__gpu$xla.gpu.triton")


def _lanes(model, dtype, *shape):
    return model.Parameters(*(jax.ShapeDtypeStruct(shape, dtype) for _ in model.Parameters._fields))


@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("name", "method"),
    [
        *CHOSEN,
        *(
            pytest.param("target_mediated_disposition", name, marks=pytest.mark.slow)
            for name in methods.ADAPTIVE
        ),
        # A series of logarithms, written out in float64.
        pytest.param("warfarin_hamberg2010", "taylor", marks=pytest.mark.slow),
    ],
)
def test_every_model_and_every_method_lowers_to_one_kernel(name, method, dtype):
    model = models.get(name)
    first = model.components()[0]
    actions = [Dose(0.0, first, 100.0), Infusion(3.0, first, 3.0, 2.0)]
    events, pattern = schedule(model, actions, observe=[1.0, 30.0])

    def solved(parameters, events, numbers):
        order = jnp.argsort(jax.tree.leaves(parameters)[0])
        return walk_in_kernel(
            model, parameters, events, pattern, numbers, method=methods.get(method), order=order
        )

    text = lowered_for_cuda(solved, _lanes(model, dtype, 1024), events, Tolerances().numbers())
    assert _kernels(text) == 1
    assert "grid_x = 32 : i32" in text and "num_warps = 1 : i32" in text


@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "method",
    [
        name if name == "tsit5" else pytest.param(name, marks=pytest.mark.slow)
        for name in methods.ADAPTIVE
    ],
)
def test_events_that_a_state_sets_off_lower_to_one_kernel_too(method, dtype):
    model = eventful.RESCUE
    events, pattern = schedule(model, [Dose(1.0, "insulin", 30.0)], observe=[2.0], triggered=2)

    def solved(parameters, events, numbers):
        return walk_in_kernel(
            model, parameters, events, pattern, numbers, method=methods.get(method)
        )

    text = lowered_for_cuda(solved, _lanes(model, dtype, 64), events, Tolerances().numbers())
    assert _kernels(text) == 1


@pytest.mark.slow
def test_the_kernel_finds_the_events_that_a_state_sets_off():
    model, parameters = eventful.TUMOUR, eventful.growths(64)
    plan = schedule(model, [Dose(4.0, "size", 0.5)], observe=[2.0, 5.0, 9.0])
    expected = solve(model, parameters, *plan, method="tsit5")
    found = solve(model, parameters, *plan, method="tsit5", driver="kernel")
    assert expected.triggered.death.count.sum() > 20
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        # A product and a sum may be rounded once or twice.
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_blocks_with_rules_and_schedules_of_their_own_are_one_kernel_too(dtype):
    model, blocks, block = MODEL, 70_000, 128
    doses = [Dose(24.0 * day, "depot", 1.0, order=0) for day in range(3)]
    events, pattern = schedule(model, doses, visits_until=60.0, shortest_recheck=24.0)

    def own(*shape):
        return jax.ShapeDtypeStruct((blocks, *shape, block), dtype)

    columns = jax.tree.map(
        lambda column: jax.ShapeDtypeStruct((blocks, pattern.rows, block), column.dtype), events
    )

    def solved(parameters, columns, subject, numbers):
        return jax.vmap(
            lambda parameters, columns, subject: walk_in_kernel(
                model,
                parameters,
                columns,
                pattern,
                numbers,
                method=methods.get("rodas4"),
                rule=Table(),
                subject=subject,
                launch=Launch(lanes=64, warps=2),
            )
        )(parameters, columns, subject)

    text = lowered_for_cuda(
        solved,
        _lanes(model, dtype, blocks, block),
        columns,
        Known(own(3), own()),
        Tolerances().numbers(),
    )
    assert _kernels(text) == 1
    # More blocks than a grid's second axis may have: both axes become the first.
    assert "grid_x = 140000 : i32" in text and "num_warps = 2 : i32" in text


@pytest.fixture(scope="module")
def records():
    """Two patients' tables with a steady state, of one who is observed more often."""
    data = {
        "ID": [1, 1, 1, 2, 2],
        "TIME": [0.0, 5.0, 9.0, 0.0, 7.0],
        "EVID": [1, 0, 0, 1, 0],
        "AMT": [100.0, 0, 0, 50.0, 0],
        "CMT": [1, 1, 1, 1, 1],
        "II": [12.0, 0, 0, 12.0, 0],
        "SS": [1, 0, 0, 1, 0],
    }
    return read_records(MODEL, {name: np.array(column) for name, column in data.items()})


def test_the_kernel_is_chosen_for_event_tables(records, monkeypatch):
    parameters = MODEL.Parameters(*(np.ones(2) for _ in TYPICAL))
    table, layout = records.laid_out()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(kernel_check, "fault", lambda: None)
    chosen = choose_driver(MODEL, parameters, table, layout)
    assert chosen.driver == "kernel" and chosen.words is not None


def test_a_choice_is_made_once_for_batches_alike(monkeypatch):
    events, pattern = schedule(MODEL, ACTIONS, observe=[6.0, 7.0])
    parameters = MODEL.Parameters(*(np.ones(64) for _ in TYPICAL))
    words = choose_driver(MODEL, parameters, events, pattern, driver="kernel").words
    monkeypatch.setattr(kernel, "walk_in_kernel", None)
    larger = MODEL.Parameters(*(2.0 * np.ones(128) for _ in TYPICAL))
    assert choose_driver(MODEL, larger, events, pattern, driver="kernel").words == words


@pytest.mark.slow
def test_patients_pass_no_rows_that_only_fill_up_their_table(records):
    table, layout = records.laid_out()
    parameters = MODEL.Parameters(*(jnp.ones(2) for _ in TYPICAL))
    advance = loops.advance_of(MODEL, "tsit5")
    expanded = expand(MODEL, parameters, table, layout, Tolerances().numbers(), advance=advance)
    rows = passed(expanded.events, expanded.prior.observing)
    used = np.sum(np.asarray(table.row.role) != Role.UNUSED, axis=0)
    assert used[1] < used[0] <= layout.rows
    # One more than it uses: what its last row has led to is looked at there.
    np.testing.assert_array_equal(rows, np.minimum(used + 1, layout.rows))


@pytest.mark.slow
def test_an_event_table_is_one_kernel_once_its_rows_are_known(records):
    table, layout = records.laid_out()
    table = jax.tree.map(lambda leaf: np.repeat(leaf, 64, axis=-1), table)
    text = lowered_for_cuda(
        lambda parameters, table: solve_block(
            MODEL,
            parameters,
            table,
            layout,
            Tolerances().numbers(),
            driver=Choice("kernel", "a test", Launch()),
        ),
        _lanes(MODEL, np.float64, 128),
        table,
    )
    assert _kernels(text) == 1


REPOSITORY = Path(__file__).resolve().parents[3]
DATA = REPOSITORY.parent / "shared" / "bench"


@pytest.mark.skipif(
    not (DATA / "ensemble_problems.npz").is_file(), reason=f"no benchmark problems in {DATA}"
)
@pytest.mark.slow
def test_the_check_for_machines_with_a_gpu_runs_without_one():
    """`scripts/bench/kernel_check.py`: the two drivers agree."""
    ran = subprocess.run(
        [sys.executable, "scripts/bench/kernel_check.py", "--data", str(DATA), "--problems", "P2",
         "--precisions", "float64"],
        cwd=REPOSITORY, env=dict(os.environ, JAX_PLATFORMS="cpu"),
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    machine, compared = map(json.loads, ran.stdout.splitlines())
    assert machine["backend"] == "cpu"
    assert compared["agree"] and compared["largest_difference"] < 1e-9
    assert compared["error"]["kernel"] < 1e-5
