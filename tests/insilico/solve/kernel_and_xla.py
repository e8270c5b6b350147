"""Every case of `test_kernel`, by XLA's driver and by the interpreted kernel, to the last bit.

A program of its own, because the two are the same to the last bit only where the processor rounds
after every operation: XLA merges products and sums as it likes, unless the process was told to
compile for a processor without such an instruction. Prints one JSON object a case.
"""

import functools
import importlib.util
import json
from pathlib import Path
from typing import Any, NamedTuple

import eventful_models as triggering
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from insilico import models
from insilico.devices import QUICKLY
from insilico.solve import (
    Covariate,
    Dose,
    Infusion,
    Input,
    Plan,
    Tolerances,
    methods,
    read_records,
    schedule,
    walk,
)
from insilico.solve.kernel import walk_in_kernel
from insilico.solve.loops import advance_of
from insilico.solve.rows import as_rows

LANES = 64
LOOSE = {"float64": Tolerances(), "float32": Tolerances(1e-4, 1e-4)}


def _beside(name: str) -> Any:
    path = Path(__file__).parent / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


shared, walks = _beside("conftest"), _beside("test_walks")
tables = _beside("records/conftest")
SIMPLE = shared.ONE_COMPARTMENT


class Case(NamedTuple):
    """What is solved; `rule` is made from a number that is traced."""

    model: Any
    parameters: Any
    schedule: Any
    tolerances: Tolerances
    dtype: str = "float64"
    method: str | None = None
    rule: Any = None
    subject: Any = None


def daily_dosing(dtype: str) -> Case:
    model = models.get("indirect_response")
    doses = [Dose(24.0 * day, "depot", 100.0) for day in range(28)]
    plan = schedule(model, doses, observe=[0.0, *np.linspace(12.0, 672.0, 56)])
    typical = (0.8, 4.0, 30.0, 6.0, 60.0, 5.0, 0.05, 0.9, 0.7)
    return Case(model, _patients(model, typical), plan, LOOSE[dtype], dtype)


def binding(dtype: str) -> Case:
    model = models.get("target_mediated_disposition")
    doses = [Dose(168.0 * week, "depot", 600.0) for week in range(3)]
    plan = schedule(model, doses, observe=np.arange(0.0, 500.0, 24.0).tolist())
    typical = (0.05, 0.012, 3.0, 0.02, 3.0, 0.5, 0.05, 0.01, 0.02, 0.1)
    return Case(model, _patients(model, typical), plan, LOOSE[dtype], dtype)


DIABETIC = models.get("type_1_diabetes").Parameters(
    body_weight=88.0, gut_absorption=0.071, fastest_emptying=0.068, slowest_emptying=0.0039,
    slowing_share=0.62, resuming_share=0.21, glucose_volume=3.43, insulin_volume=0.042,
    insulin_effect_on_use=0.032, half_use=188.0, from_tissue=0.124, to_tissue=0.054,
    action_rate=0.0196, from_liver=0.16, to_liver=0.28, plasma_clearance=0.061,
    liver_clearance=0.24, signal_rate=0.0058, glucose_effect=0.0054,
    insulin_effect_on_production=0.015, bioavailability=0.92, excretion=0.00064,
    excretion_threshold=315.0, constant_use=0.60, basal_use=4.64, dissolution=0.0186,
    sensor_rate=0.0615, injected_absorption=0.0021, dissolved_absorption=0.0055,
    largest_production=7.11, basal_insulin=100.0, basal_infusion=0.963,
    basal_plasma_glucose=476.0, basal_tissue_glucose=188.0, basal_plasma_insulin=4.19,
    basal_liver_insulin=2.94, basal_injected=46.7, basal_dissolved=158.0,
)  # fmt: skip


def diabetes(dtype: str) -> Case:
    model = models.get("type_1_diabetes")
    actions = [
        Input(0.0, "last_meal", 45_000.0),
        Input(60.0, "meal", 5_000.0),
        Dose(60.0, "injected", 18_000.0),
        Input(69.0, "meal", 0.0),
    ]
    observe = np.arange(0.0, 300.0, 5.0).tolist()
    # The kernel's steps end at every row.
    plan = schedule(model, actions, observe=observe, interpolate=False)
    return Case(model, _patients(model, DIABETIC), plan, LOOSE[dtype], dtype)


EVENTFUL = [
    Dose(0.0, "depot", 40.0),
    Input(5.0, "induction", 1.0),
    Infusion(6.0, "central", 30.0, 12.0),
    Infusion(10.0, "central", 10.0, 4.0),
    Dose(10.0, "depot", 40.0),
    Input(20.0, "induction", 0.2),
]


def eventful(method: str) -> Case:
    """Infusions that overlap, and an input, by each method."""
    plan = schedule(SIMPLE, EVENTFUL, observe=[0.0, 7.0, 10.0, 30.0])
    return Case(SIMPLE, _patients(SIMPLE, walks.TYPICAL), plan, LOOSE["float64"], method=method)


def own_schedules(dtype: str) -> Case:
    """Each patient's own times and amounts."""
    case = eventful("tsit5")
    events, pattern = case.schedule
    stretch = np.linspace(0.5, 3.0, LANES)
    own = type(events)(*(np.repeat(column[:, None], LANES, axis=1) for column in events))
    own = own._replace(time=own.time * stretch, amount=own.amount * stretch)
    return case._replace(schedule=(own, pattern), tolerances=LOOSE[dtype], dtype=dtype)


def titration(dtype: str) -> Case:
    """Doses and visits by what was measured, with a memory and a table of errors by day."""
    generator = np.random.default_rng(7)
    subject = {
        "first": generator.uniform(0.0, 40.0, LANES),
        "target": generator.uniform(0.3, 2.0, LANES),
        "noise": np.exp(generator.normal(0.0, 0.2, (10, LANES))),
    }
    plan = schedule(
        SIMPLE, walks.DAILY, observe=walks.OBSERVE, visits_until=walks.UNTIL, shortest_recheck=7.0
    )
    return Case(
        SIMPLE,
        _patients(SIMPLE, walks.TYPICAL),
        plan,
        LOOSE[dtype],
        dtype,
        rule=lambda _: walks.Titration(),
        subject=subject,
    )


def visits_of_all_kinds() -> Case:
    """Visits at doses, between them, never, too late, and by patients whose state is NaN."""
    first, gap, most = (
        np.resize(column, LANES) for column in np.transpose([*walks.PLANS.values()])
    )
    doses = [Dose(12.0 * k, "central", 10.0, order=0) for k in range(4)]
    plan = schedule(SIMPLE, doses, observe=[48.0], visits_until=48.0, shortest_recheck=4.0)
    ones = np.ones(LANES)
    absorption = np.where(np.arange(LANES) < 50, 1.0, np.nan)
    return Case(
        SIMPLE,
        SIMPLE.Parameters(absorption, 0.1 * ones, ones),
        plan,
        LOOSE["float64"],
        rule=lambda _: walks.Regular(),
        subject={"first": first, "gap": gap, "most": most},
    )


class ByArm:
    """Doses by the number of an arm, which the rule holds and no subject knows."""

    def __init__(self, arm: Any):
        self.arm = arm

    def start(self, subject: Any) -> Plan:
        return Plan(12.0 + 0.0 * subject["scale"], 0.0 * subject["scale"] > 1.0)

    def visit(self, visit: Any, plan: Plan, subject: Any) -> Any:
        high = visit.outputs.concentration > subject["scale"]
        factor = lax.switch(self.arm, [lambda: 1.0, lambda: 2.0, lambda: 1.0 + 2.0 * self.arm])
        record = {"high": high, "factor": factor * subject["scale"], "known": subject["known"][1]}
        return record, Plan(jnp.where(high, visit.time + 13.0, jnp.inf), plan.memory | high)

    def administer(self, time: Any, plan: Plan, subject: Any) -> Any:
        day = jnp.floor(time / 24.0).astype(int)
        takes = jnp.take_along_axis(subject["known"], day[None], axis=0, mode="clip")[0]
        return (jnp.where(plan.memory & takes, 0.5 * self.arm, 1.0),), plan


def an_arm_that_is_traced() -> Case:
    doses = [Dose(12.0 * k, "depot", 40.0, order=0) for k in range(8)]
    plan = schedule(SIMPLE, doses, observe=[96.0], visits_until=96.0, shortest_recheck=12.0)
    generator = np.random.default_rng(3)
    subject = {
        "scale": generator.uniform(0.1, 1.0, LANES),
        "known": generator.uniform(size=(3, LANES)) < 0.5,
    }
    return Case(
        SIMPLE,
        _patients(SIMPLE, walks.TYPICAL),
        plan,
        LOOSE["float64"],
        rule=ByArm,
        subject=subject,
    )


def warfarin_by_series() -> Case:
    model = models.get("warfarin_hamberg2010")
    doses = [Dose(24.0 * day, "gut", 2.5) for day in range(5)]
    plan = schedule(model, doses, observe=[12.0, 60.0, 110.0])
    return Case(model, _patients(model, model.typical), plan, LOOSE["float64"], method="taylor")


def too_few_steps() -> Case:
    case = daily_dosing("float64")
    return case._replace(tolerances=Tolerances(max_steps=200))


def too_stiff() -> Case:
    """An explicit method that runs out of steps, with many to go to the next row."""
    case = binding("float64")
    far = schedule(case.model, [Dose(0.0, "depot", 600.0)], observe=[2000.0])
    return case._replace(schedule=far, tolerances=Tolerances(max_steps=500), method="tsit5")


def below_the_lowest() -> Case:
    """Doses that take away more than there is in some patients."""
    model = models.get("one_compartment")
    doses = [Dose(0.0, "central", 100.0), Dose(30.0, "central", -30.0)]
    plan = schedule(model, doses, observe=np.arange(0.0, 99.0, 6.0).tolist())
    return Case(model, _patients(model, (1.0, 1.0, 30.0)), plan, LOOSE["float64"])


def event_tables(dtype: str) -> Case:
    """Patients whose tables differ in everything, length too, at and without a steady state."""
    generator = np.random.default_rng(11)
    own = []
    for patient in range(LANES):
        first = {"TIME": 0.0, "AMT": 50.0, "II": 12.0, "SS": patient % 3, "ADDL": patient % 5}
        infusion = {"TIME": 7.0, "AMT": 20.0, "CMT": 2, "RATE": -2}
        back = {"TIME": 30.0, "EVID": 3 + patient % 2, "AMT": 40.0 * (patient % 2)}
        effect = {"TIME": 20.0, "EVID": 2, "EFFECT": 0.5}
        chosen = [first, infusion, effect, back][: 1 + patient % 4]
        observe = np.sort(generator.uniform(0.0, 48.0, 3 + patient % 4)).tolist()
        own.append(tables.table(*chosen, observe=observe, patient=patient))
    data = {name: np.concatenate([one[name] for one in own]) for name in own[0]}
    covariate = {"effect": Covariate("EFFECT", "linear")}
    records = read_records(tables.LAGGED, data, covariates=covariate)
    typical = tuple((tables.TYPICAL | {"lag": 0.3}).values())
    parameters = _patients(tables.LAGGED, typical)
    tolerances = LOOSE[dtype]
    return Case(tables.LAGGED, parameters, records.laid_out(1), tolerances, dtype)


def triggered(method: str, dtype: str = "float64") -> Case:
    """Progressions, and deaths between doses; some patients are at once progressed."""
    model = triggering.TUMOUR
    plan = schedule(model, [Dose(4.0, "size", 0.5)], observe=[2.0, 5.0, 9.0])
    return Case(model, triggering.growths(LANES), plan, LOOSE[dtype], dtype, method)


def rescued() -> Case:
    """Sugar taken again and again, and by some more often than there are slots."""
    model = triggering.RESCUE
    plan = schedule(model, triggering.INSULIN, observe=triggering.HOURS, triggered=2)
    person = (2.0, 50.0, 0.5, 0.08, 0.4, 60.0, 20.0)
    return Case(model, _patients(model, person), plan, LOOSE["float64"])


def deaths_between_records() -> Case:
    """Tables of patients who progress and die on the way through them."""
    model = triggering.TUMOUR
    own = []
    for patient in range(LANES):
        second = {"TIME": 4.0, "AMT": 0.5, "CMT": 1, "ADDL": patient % 3, "II": 2.0}
        first = {"TIME": 0.0, "AMT": 0.1, "CMT": 1}
        observe = [2.0, 5.0, 9.0][: 1 + patient % 3]
        table = tables.table(*[first, second][: 1 + patient % 2], observe=observe, patient=patient)
        own.append({name: column for name, column in table.items() if name != "EFFECT"})
    data = {name: np.concatenate([one[name] for one in own]) for name in own[0]}
    laid_out = read_records(model, data).laid_out()
    return Case(model, triggering.growths(LANES), laid_out, LOOSE["float64"])


CASES = {
    **{f"daily dosing {dtype}": functools.partial(daily_dosing, dtype) for dtype in LOOSE},
    **{f"binding {dtype}": functools.partial(binding, dtype) for dtype in LOOSE},
    **{f"diabetes {dtype}": functools.partial(diabetes, dtype) for dtype in LOOSE},
    **{f"events by {name}": functools.partial(eventful, name) for name in methods.ADAPTIVE},
    **{f"own schedules {dtype}": functools.partial(own_schedules, dtype) for dtype in LOOSE},
    **{f"titration {dtype}": functools.partial(titration, dtype) for dtype in LOOSE},
    **{f"event tables {dtype}": functools.partial(event_tables, dtype) for dtype in LOOSE},
    "deaths between records": deaths_between_records,
    "visits of all kinds": visits_of_all_kinds,
    "an arm that is traced": an_arm_that_is_traced,
    "warfarin by series": warfarin_by_series,
    "too few steps": too_few_steps,
    "too stiff": too_stiff,
    "below the lowest": below_the_lowest,
    **{f"triggers by {name}": functools.partial(triggered, name) for name in methods.ADAPTIVE},
    "triggers in float32": functools.partial(triggered, "tsit5", "float32"),
    "rescues": rescued,
}


def _patients(model: Any, typical: Any) -> Any:
    return shared.log_normal_patients(model, typical, LANES)


def compared(case: Case) -> dict[str, Any]:
    """Which arrays of the two walks differ, by how much, and what there was to compare."""
    own = case.model.method if case.model.method in methods.ADAPTIVE else "tsit5"
    method = methods.get(case.method or own)
    events, pattern = case.schedule

    def cast(tree: Any) -> Any:
        return jax.tree.map(
            lambda leaf: jnp.asarray(leaf, case.dtype if leaf.dtype.kind == "f" else None), tree
        )

    parameters, events, subject = map(cast, (case.parameters, events, case.subject))
    order = jnp.asarray(np.random.default_rng(0).permutation(LANES))
    drivers = {
        "xla": functools.partial(walk, advance=advance_of(case.model, method.name)),
        "kernel": functools.partial(walk_in_kernel, method=method, order=order, interpret=True),
    }
    walked = {}
    for name, driver in drivers.items():

        @functools.partial(jax.jit, compiler_options=QUICKLY)
        def solved(parameters, events, subject, arm, driver=driver):
            rule = None if case.rule is None else case.rule(arm)
            numbers = case.tolerances.numbers()
            numbers = jax.tree.map(lambda number: jnp.asarray(number, case.dtype), numbers)
            rows, shape, prior = as_rows(
                case.model,
                parameters,
                events,
                pattern,
                numbers,
                advance_of(case.model, method.name),
                None,
                method.name,
            )
            return driver(
                case.model,
                parameters,
                rows,
                shape,
                numbers,
                rule=rule,
                subject=subject,
                prior=prior,
            )

        walked[name] = jax.tree.map(np.asarray, solved(parameters, events, subject, 2))
    different = {}
    leaves = [jax.tree_util.tree_leaves_with_path(walked[name]) for name in drivers]
    assert [path for path, _ in leaves[0]] == [path for path, _ in leaves[1]]
    for (path, theirs), (_, ours) in zip(*leaves, strict=True):
        name = jax.tree_util.keystr(path)
        if theirs.dtype != ours.dtype or theirs.shape != ours.shape:
            different[name] = f"{theirs.dtype}{theirs.shape} and {ours.dtype}{ours.shape}"
        elif not np.array_equal(theirs, ours, equal_nan=theirs.dtype.kind == "f"):
            gap = np.abs(np.asarray(theirs, float) - np.asarray(ours, float))
            different[name] = f"by up to {np.nanmax(gap):g}"
    xla = walked["xla"]
    return {
        "different": different,
        "statuses": sorted({int(value) for value in xla.status}),
        "steps": float(xla.steps.mean()),
        "visits": int(np.sum(np.isfinite(xla.visit_time))),
        "triggered": sum(int(np.sum(each.count)) for each in xla.triggered),
    }


if __name__ == "__main__":
    for name, make in CASES.items():
        print(json.dumps({"case": name, **compared(make())}), flush=True)
