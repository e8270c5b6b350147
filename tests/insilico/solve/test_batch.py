"""A patient's numbers do not depend, to the last bit, on who is solved beside it, or where."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import numpy as np
import pytest

from insilico import models
from insilico.solve import Dose, Infusion, Plan, Status, Tolerances, schedule, solve, submit

pytestmark = pytest.mark.optimised

MODEL = models.get("indirect_response")
TYPICAL = (0.8, 4.0, 30.0, 6.0, 60.0, 5.0, 0.05, 0.9, 0.7)
MANY = 10_000


def _schedule():
    return schedule(
        MODEL,
        [
            Dose(0.0, "depot", 100.0),
            Infusion(20.0, "central", 50.0, 7.0),
            Dose(24.0, "depot", 100.0),
        ],
        observe=[6.0, 24.0, 36.0],
    )


@pytest.fixture(scope="module")
def crowd(patients):
    """Parameters of 10,000 patients and their solution in one batch."""
    parameters = patients(MODEL, TYPICAL, MANY)
    return parameters, solve(MODEL, parameters, *_schedule())


def _numbers(solution) -> np.ndarray:
    """Everything that came of each patient: (patients, numbers)."""
    leaves = [np.asarray(leaf, float) for leaf in jax.tree.leaves(solution)]
    return np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)


def _some(parameters, index):
    return MODEL.Parameters(*(values[index] for values in parameters))


@pytest.mark.parametrize("patient", [0, 63, 64, 5_123, MANY - 1])
def test_a_patient_alone_is_the_same_to_the_last_bit(crowd, patient):
    parameters, together = crowd
    alone = solve(MODEL, _some(parameters, slice(patient, patient + 1)), *_schedule())
    np.testing.assert_array_equal(_numbers(alone)[0], _numbers(together)[patient])


@pytest.mark.parametrize("count", [65, 1_025])
def test_a_smaller_batch_is_the_same_to_the_last_bit(crowd, count):
    parameters, together = crowd
    part = solve(MODEL, _some(parameters, slice(0, count)), *_schedule())
    np.testing.assert_array_equal(_numbers(part), _numbers(together)[:count])


def test_the_order_of_patients_does_not_matter(crowd):
    parameters, together = crowd
    order = np.random.default_rng(3).permutation(MANY)
    shuffled = solve(MODEL, _some(parameters, order), *_schedule())
    np.testing.assert_array_equal(_numbers(shuffled), _numbers(together)[order])


def test_crowded_out_patients_differ(crowd):
    """The comparisons above would hold of constants, too."""
    numbers = _numbers(crowd[1])
    assert len(np.unique(numbers[:, 0])) == MANY


def test_schedules_of_each_patient_give_the_bits_of_one_for_all(crowd):
    parameters, together = crowd
    events, pattern = _schedule()
    count = 100
    own = type(events)(*(np.repeat(column[:, None], count, axis=1) for column in events))
    found = solve(MODEL, _some(parameters, slice(0, count)), own, pattern)
    np.testing.assert_array_equal(_numbers(found), _numbers(together)[:count])


def test_the_number_of_host_devices_does_not_matter(crowd, tmp_path: Path):
    parameters, together = crowd
    count = 1_500
    devices = 1 if jax.local_device_count() > 1 else 2
    np.savez(tmp_path / "in.npz", *_some(parameters, slice(0, count)))
    script = f"""
        import jax, numpy as np
        from insilico.devices import use_host_devices
        assert use_host_devices({devices}) == {devices}
        from insilico import models
        from insilico.solve import Dose, Infusion, schedule, solve
        model = models.get("indirect_response")
        with np.load("in.npz") as archive:
            parameters = model.Parameters(*(archive[name] for name in archive.files))
        actions = [
            Dose(0.0, "depot", 100.0),
            Infusion(20.0, "central", 50.0, 7.0),
            Dose(24.0, "depot", 100.0),
        ]
        events, pattern = schedule(model, actions, observe=[6.0, 24.0, 36.0])
        solution = solve(model, parameters, events, pattern)
        leaves = [np.asarray(leaf, float) for leaf in jax.tree.leaves(solution)]
        np.save("out.npy", np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1))
    """
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    environment.pop("XLA_FLAGS", None)
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=tmp_path,
        env=environment,
        check=True,
        timeout=120,
    )
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), _numbers(together)[:count])


class Twice:
    """Doubles the dose from the visit at 12 h on."""

    def start(self, subject):
        return Plan(12.0 + 0.0 * subject, 1.0 + 0.0 * subject)

    def visit(self, visit, plan, subject):
        return visit.outputs.response, Plan(np.inf + 0.0 * subject, 2.0 * plan.memory)

    def administer(self, time, plan, subject):
        return (plan.memory * subject,), plan


@pytest.mark.slow
def test_with_a_rule_too_a_patient_alone_is_the_same_to_the_last_bit(crowd):
    parameters, _ = crowd
    events, pattern = schedule(
        MODEL,
        [Dose(0.0, "depot", 100.0, order=0), Dose(24.0, "depot", 100.0, order=0)],
        observe=[36.0],
        visits_until=24.0,
        shortest_recheck=12.0,
    )
    rule, count = Twice(), 1_100
    subject = np.linspace(0.5, 2.0, count)
    together = solve(
        MODEL, _some(parameters, slice(0, count)), events, pattern, rule=rule, subject=subject
    )
    alone = solve(
        MODEL,
        _some(parameters, slice(700, 701)),
        events,
        pattern,
        rule=rule,
        subject=subject[700:701],
    )
    np.testing.assert_array_equal(_numbers(alone)[0], _numbers(together)[700])


@pytest.mark.slow
def test_other_numbers_of_the_same_shape_compile_nothing(crowd, compilations):
    parameters, _ = crowd
    events, pattern = _schedule()
    few = _some(parameters, slice(0, 200))
    solve(MODEL, few, events, pattern)
    changed = events._replace(time=events.time * 1.5, amount=events.amount * 0.5)
    before = compilations.count
    solve(
        MODEL,
        MODEL.Parameters(*(1.1 * values for values in few)),
        changed,
        pattern,
        tolerances=Tolerances(relative=1e-5, absolute=1e-7, max_steps=50_000),
    )
    assert compilations.count == before
    solve(MODEL, _some(parameters, slice(0, 600)), events, pattern)
    assert compilations.count > before, "none is seen, so that the test above says nothing"


def test_numbers_and_arrays_may_be_mixed(crowd):
    parameters, _ = crowd
    events, pattern = _schedule()
    mixed = MODEL.Parameters(*(values[0] for values in parameters))._replace(
        clearance=parameters.clearance[:3]
    )
    full = MODEL.Parameters(*(np.full(3, values[0]) for values in parameters))._replace(
        clearance=parameters.clearance[:3]
    )
    np.testing.assert_array_equal(
        _numbers(solve(MODEL, mixed, events, pattern)),
        _numbers(solve(MODEL, full, events, pattern)),
    )


def test_lists_are_arrays(crowd):
    parameters, _ = crowd
    events, pattern = _schedule()
    few = _some(parameters, slice(0, 3))
    lists = MODEL.Parameters(*(values.tolist() for values in few))
    np.testing.assert_array_equal(
        _numbers(solve(MODEL, lists, events, pattern)), _numbers(solve(MODEL, few, events, pattern))
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.ones((3, 2)), r"parameter clearance must be .* found one of shape \(3, 2\)"),
        (["a", "b", "c"], "parameter clearance must hold numbers"),
        ([[1.0], [1.0, 2.0]], "parameter clearance must hold numbers"),
        (None, "parameter clearance must hold numbers; found None"),
        ("3", "parameter clearance must hold numbers; found '3'"),
    ],
)
def test_parameters_that_are_no_numbers_of_patients_are_refused(crowd, wrong, said):
    parameters, _ = crowd
    events, pattern = _schedule()
    few = _some(parameters, slice(0, 3))._replace(clearance=wrong)
    with pytest.raises(ValueError, match=said):
        solve(MODEL, few, events, pattern)
    with pytest.raises(ValueError, match="must be its Parameters; found tuple"):
        solve(MODEL, tuple(few), events, pattern)


def test_arrays_of_different_lengths_are_refused(crowd):
    parameters, _ = crowd
    events, pattern = _schedule()
    few = _some(parameters, slice(0, 10))
    with pytest.raises(ValueError, match="lengths"):
        solve(MODEL, few._replace(clearance=parameters.clearance[:9]), events, pattern)


@pytest.mark.parametrize("wrong", [9, 11])
def test_events_or_subjects_of_another_length_are_refused(crowd, wrong):
    parameters, _ = crowd
    events, pattern = _schedule()
    few = _some(parameters, slice(0, 10))
    own = type(events)(*(np.repeat(column[:, None], wrong, axis=1) for column in events))
    with pytest.raises(ValueError, match="lengths"):
        solve(MODEL, few, own, pattern)
    with pytest.raises(ValueError, match="lengths"):
        solve(MODEL, few, events, pattern, rule=Twice(), subject=np.ones(wrong))


def test_numbers_for_all_go_with_events_or_subjects_of_each(crowd):
    parameters, _ = crowd
    one, three = _some(parameters, 0), _some(parameters, np.zeros(3, int))
    events, pattern = _schedule()
    own = events._replace(amount=events.amount[:, None] * [1.0, 2.0, 3.0])
    together = solve(MODEL, one, own, pattern)
    assert together.status.shape == (3,)
    np.testing.assert_array_equal(_numbers(together), _numbers(solve(MODEL, three, own, pattern)))
    ruled, slots = schedule(MODEL, visits_until=24.0, shortest_recheck=12.0)
    assert len(solve(MODEL, one, ruled, slots, rule=Twice(), subject=np.ones(2)).status) == 2


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("time", [6.0, 0.0], "must be finite and not fall"),
        ("time", [-1.0, 0.0], "must be finite and not fall, from 0.0 on"),
        ("time", [0.0, np.nan], "must be finite"),
        ("time", [0.0, 1.0, 2.0], "of the pattern's 2 rows.*found shape .3,."),
        ("target", [99, 0], "kind DOSE has the target 99, which is no compartment of model"),
        ("target", [-1, 0], "kind DOSE has the target -1"),
        ("kind", [2, 0], "no compartment that the pattern has infused"),
        ("kind", [3, 0], "which is no input of model indirect_response; allowed: none"),
    ],
)
@pytest.mark.parametrize("each", [False, True])
def test_events_that_no_schedule_gives_are_refused(crowd, column, values, said, each):
    events, pattern = schedule(MODEL, Dose(0.0, "depot", 1.0), observe=6.0)
    values = np.array(values)
    wrong = events._replace(**{column: np.stack([values] * 3, axis=1) if each else values})
    with pytest.raises(ValueError, match=said):
        solve(MODEL, _some(crowd[0], slice(0, 3)), wrong, pattern)


def test_events_and_pattern_are_told_apart(crowd):
    events, pattern = _schedule()
    with pytest.raises(ValueError, match="those of `schedule`, in this order"):
        solve(MODEL, _some(crowd[0], 0), pattern, events)  # pyright: ignore[reportArgumentType]


def test_no_patients_at_all_are_refused():
    events, pattern = _schedule()
    nobody = MODEL.Parameters(*(np.zeros(0) for _ in MODEL.Parameters._fields))
    with pytest.raises(ValueError, match="no patients"):
        solve(MODEL, nobody, events, pattern)


def test_orders_without_a_rule_are_refused_and_unknown_orders_fail(crowd):
    parameters, _ = crowd
    few = _some(parameters, slice(0, 3))
    first = MODEL.components()[0]
    ordered = [Dose(0.0, first, 10.0), Dose(12.0, first, 10.0, order=7)]
    events, pattern = schedule(MODEL, ordered, observe=[6.0, 24.0])
    with pytest.raises(ValueError, match="no rule"):
        solve(MODEL, few, events, pattern)
    solution = solve(MODEL, few, events, pattern, rule=Twice(), subject=np.ones(3))
    assert np.all(solution.status == Status.NOT_FINITE)
    np.testing.assert_array_equal(np.isfinite(solution.outputs[0]), [[True, False]] * 3)


def test_pending_patients_become_the_solution(crowd):
    parameters, _ = crowd
    few = _some(parameters, slice(0, 10))
    events, pattern = _schedule()
    pending = submit(MODEL, few, events, pattern).wait()
    np.testing.assert_array_equal(
        _numbers(pending.solution()), _numbers(solve(MODEL, few, events, pattern))
    )
