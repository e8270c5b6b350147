"""Checks that solve: three solvers against each other, gradients, lanes, times of compilation."""

from __future__ import annotations

import functools
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from insilico.checks.findings import NOT_OK, Finding
from insilico.checks.kinks import crossed
from insilico.checks.situations import PATIENTS, Situation
from insilico.model import Model
from insilico.programs import unshared
from insilico.solve import (
    LANES,
    Solution,
    Status,
    Tolerances,
    loops,
    reference,
    solve,
    value_and_gradient,
    walk,
)
from insilico.solve.methods import ADAPTIVE, STIFF

COMPARED_AT = Tolerances(relative=1e-11, absolute=1e-11, max_steps=2_000_000)
"""For solvers that are compared. An explicit method that stability holds to thousands of steps errs
by the tolerance in each: at 1e-9, `tsit5` misses target-mediated disposition by 2e-5."""

DIFFERENTIATED_AT = Tolerances(relative=1e-12, absolute=1e-12, max_steps=2_000_000)
"""For finite differences, which magnify the error of a solve by one over their step."""

AGREEING = 1e-6
"""Largest relative difference of two solvers: errors of thousands of steps add up."""

FLOOR = 1e-3
"""Values below this share of their quantity's largest are judged against that share."""

STEP = 1e-3
"""Relative step of finite differences of order 4: errors of 1e-12 by truncation and about 1e-9 by
the tolerance."""

DIFFERING = 1e-5
"""Largest relative difference of gradient and finite differences, but for what `KINKED` says."""

KINKED = 1e-4
"""The same where a solution goes over a kink of the equations (a maximum, a choice): a hundred
times the root of the tolerance.

A gradient is that of the steps taken, and a step over a kink errs by the square of its length, of
which the derivative by the place of the kink has the first power left. Steps are cut until the
square is within the tolerance, so that the gradient errs by about its root while the solution keeps
to the tolerance. Type 1 diabetes by the threshold of renal excretion, which a patient falls below
once, for tolerances of 1e-8, 1e-10, 1e-12 and 1e-13: tsit5 is off by 2e-3, 9e-5, 2e-5 and 8e-6,
rodas5p by 9e-4, 3e-5, 3e-6 and 1e-6, from central differences at 1e-13, which agree with one
another to 3e-7 whatever their step from 3e-3 down to 3e-5."""

DIFFERENTIATED = 2
"""Patients whose gradient is compared."""

ALONE = 3
"""Patients that are solved alone."""

COMPILING = 60.0
"""Seconds of processor time that a model may take to compile and still be worked with."""

STABLE = 3.3
"""Longest step of an explicit pair of order 5 in time constants of the fastest rate, before its
solution grows instead of falling: the end of Dormand and Prince's stability on the real axis."""

MOST_EXPLICIT = 100_000
"""Steps that stability may force on an explicit method before it is left out."""

_OFFSETS = (-2, -1, 1, 2)
_WEIGHTS = (1 / 12, -8 / 12, 8 / 12, -1 / 12)


def solved(
    situation: Situation,
    model: Model,
    method: str,
    tolerances: Tolerances,
    parameters: Any = None,
    keys: Any = None,
) -> Solution:
    """`insilico.solve.solve` of the situation's schedule; default: of all its patients.

    Patients go through in batches of the devices' lanes, so that one compiled program serves all.
    """
    parameters = situation.parameters if parameters is None else parameters
    events, pattern = situation.schedule
    (patients,), batch = np.shape(jax.tree.leaves(parameters)[0]), LANES * jax.local_device_count()
    found = [
        solve(
            model,
            jax.tree.map(lambda leaf, own=own: leaf[own], parameters),
            events,
            pattern,
            method=method,
            tolerances=tolerances,
            noise=None if keys is None else keys[own],
        )
        for own in (slice(start, start + batch) for start in range(0, patients, batch))
    ]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *found)


def failures(status: Any) -> str:
    """How many patients failed and how, or nothing."""
    status = np.asarray(status)
    failed = status[status != Status.OK]
    if not failed.size:
        return ""
    ways = ", ".join(sorted({Status(value).name.lower().replace("_", " ") for value in failed}))
    return f"{failed.size} of {status.size} patients fail ({ways})"


def _explicit_and_stiff(model: Model) -> tuple[str, str]:
    stiff = model.method if model.method in STIFF else "rodas5p"
    explicit = model.method if model.method in ADAPTIVE and model.method not in STIFF else "tsit5"
    return explicit, stiff


def solvers(situation: Situation) -> list[Finding]:
    """Explicit against stiff against diffrax at a tight tolerance; noise is left out."""
    model = situation.without_noise
    explicit, stiff = _explicit_and_stiff(situation.model)
    found, seen = [], {}
    walks = {stiff: lambda: _numbers(solved(situation, model, stiff, COMPARED_AT))}
    if _forced(situation) <= MOST_EXPLICIT:
        walks[explicit] = lambda: _numbers(solved(situation, model, explicit, COMPARED_AT))
        walks["diffrax"] = lambda: _by_diffrax(situation)
    for name, solving in walks.items():
        numbers, failed = solving()
        if failed:
            detail = f"at a relative tolerance of {COMPARED_AT.relative:g} {failed}"
            found.append(Finding("solvers", name, NOT_OK, None, None, detail))
        else:
            seen[name] = numbers
    if explicit not in walks:
        reason = f"stability forces more than {MOST_EXPLICIT:,} explicit steps"
        return [*found, Finding.skipped("solvers", f"{stiff} and {explicit}, diffrax", reason)]
    left_out = "without noise; " if situation.model.diffusion is not None else ""
    detail = f"{left_out}largest relative difference at a tolerance of {COMPARED_AT.relative:g}"
    for first, second in ((explicit, stiff), (explicit, "diffrax"), (stiff, "diffrax")):
        if first in seen and second in seen:
            apart = _apart(seen[first], seen[second])
            what = f"{first} and {second}"
            found.append(Finding.within("solvers", what, apart, AGREEING, detail))
    if situation.model.method not in ADAPTIVE:
        reason = "steps are stated, not chosen by a tolerance"
        found.append(Finding.skipped("solvers", situation.model.method, reason))
    return found


def _forced(situation: Situation) -> float:
    """Explicit steps that stability forces at random states, the median patient's."""
    start = [np.asarray(leaf, float) for leaf in jax.tree.leaves(situation.random_points[0])]
    states = np.stack([leaf[:, None] for leaf in start], axis=-1)
    slopes = situation.jacobians(np.zeros(1), states, situation.parameters)
    fastest = np.abs(np.linalg.eigvals(np.nan_to_num(slopes))).max(axis=(1, 2))
    return float(np.median(fastest)) * situation.horizon / STABLE


def _numbers(solution: Solution) -> tuple[np.ndarray, str]:
    """(patients, numbers, times), and who failed."""
    return np.stack(list(solution.outputs), axis=1), failures(solution.status)


def _by_diffrax(situation: Situation) -> tuple[np.ndarray, str]:
    events, pattern = situation.schedule
    found = jax.jit(
        lambda parameters: reference(
            situation.without_noise, parameters, events, pattern, COMPARED_AT
        )
    )(jax.tree.map(jnp.asarray, situation.parameters))
    numbers = np.stack([np.asarray(each).T for each in found.outputs], axis=1)
    return numbers, failures(found.status)


def _apart(first: np.ndarray, second: np.ndarray) -> float:
    """The largest relative difference of numbers (…, times)."""
    size = np.maximum(np.abs(first), np.abs(second))
    size = np.maximum(size, FLOOR * size.max(axis=-1, keepdims=True))
    apart = np.abs(first - second)
    return float(np.max(apart / np.where(size > 0.0, size, 1.0)))


class _Timed(NamedTuple):
    result: Any
    seconds: float
    """Processor time that a first call takes beyond a second one: to compile. It hardly depends on
    what else the machine does."""


def _timed(call: Any) -> _Timed:
    moments = [time.process_time()]
    result = None
    # Another check may have compiled the same program.
    with unshared():
        for _ in range(2):
            result = call()
            moments.append(time.process_time())
    begun, compiled, ended = moments
    return _Timed(result, max(0.0, (compiled - begun) - (ended - compiled)))


@functools.lru_cache(maxsize=2)
def _first_solve(situation: Situation) -> _Timed:
    model = situation.observed
    return _timed(lambda: solved(situation, model, model.method, Tolerances(), keys=situation.keys))


@functools.lru_cache(maxsize=2)
def _first_gradient(situation: Situation) -> _Timed:
    model, (events, pattern) = situation.without_noise, situation.schedule
    few = jax.tree.map(lambda leaf: leaf[:DIFFERENTIATED], situation.parameters)
    solution = solved(situation, model, model.method, DIFFERENTIATED_AT, few)
    components = len(situation.model.components())
    states = np.stack(list(solution.outputs)[:components], axis=-1)
    kinked = crossed(situation, states, few)
    sizes = tuple(np.abs(each).max(axis=1) for each in solution.outputs)
    sizes = tuple(np.where(size > 0.0, size, 1.0) for size in sizes)
    gradients = _timed(
        lambda: value_and_gradient(
            model, few, events, pattern, _mean_square, sizes, tolerances=DIFFERENTIATED_AT
        )
    )
    return gradients._replace(result=(gradients.result, few, sizes, kinked))


def _mean_square(outputs: Any, sizes: Any) -> Any:
    """Of each patient's numbers, (times, patients), each beside its size, (patients,)."""
    squares = [
        (1.0 + place) * ((each / size) ** 2).mean(axis=0)
        for place, (each, size) in enumerate(zip(outputs, sizes, strict=True))
    ]
    return sum(squares) / len(squares)


def gradient(situation: Situation) -> list[Finding]:
    """`value_and_gradient` against central finite differences; noise is left out."""
    model = situation.without_noise
    found, few, sizes, kinked = _first_gradient(situation).result
    failed = failures(found.status)
    if failed:
        return [Finding("gradient", "gradient", NOT_OK, None, None, f"by {model.method} {failed}")]
    names, count = model.numbers("Parameters"), len(_OFFSETS)
    columns = np.stack(jax.tree.leaves(few))
    # Where a typical value is 0, its relative step would be nothing.
    steps = STEP * np.where(columns != 0.0, np.abs(columns), 1.0)
    around = np.tile(columns[:, :, None, None], (1, 1, len(names), count))
    for index in range(len(names)):
        around[index, :, index, :] += steps[index][:, None] * np.array(_OFFSETS)
    shape = around.shape[1:]
    solution = solved(
        situation,
        model,
        model.method,
        DIFFERENTIATED_AT,
        jax.tree.unflatten(jax.tree.structure(few), list(around.reshape(len(names), -1))),
    )
    if failed := failures(solution.status):
        detail = f"beside the parameters {failed}"
        return [Finding("gradient", "gradient", NOT_OK, None, None, detail)]
    own = [np.repeat(size, shape[1] * shape[2]) for size in sizes]
    values = _mean_square([each.T for each in solution.outputs], own)
    by_differences = (np.asarray(values).reshape(shape) @ np.array(_WEIGHTS)).T * (1.0 / STEP)
    by_gradient = np.stack(jax.tree.leaves(found.gradient)) * steps / STEP
    size = np.maximum(np.abs(by_differences), np.abs(by_gradient))
    size = np.maximum(size, FLOOR * size.max(axis=0))
    apart = np.abs(by_gradient - by_differences) / np.where(size > 0.0, size, 1.0)
    worst = names[int(np.argmax(apart.max(axis=1)))]
    left_out = "without noise, " if situation.model.diffusion is not None else ""
    over = " over a kink" if kinked else ""
    detail = f"{left_out}by {model.method}: relative difference from finite ones{over}, in {worst}"
    measured = float(apart.max()) if np.isfinite(apart).all() else float("nan")
    return [
        Finding.within("gradient", "gradient", measured, KINKED if kinked else DIFFERING, detail)
    ]


def lanes(situation: Situation) -> list[Finding]:
    """Patients among others and alone: the same bits; and without lanes, to a tolerance."""
    model, keys = situation.observed, situation.keys
    together = _first_solve(situation).result
    differing = 0
    for patient in range(ALONE):
        own = slice(patient, patient + 1)
        alone = solved(
            situation,
            model,
            model.method,
            Tolerances(),
            jax.tree.map(lambda leaf, own=own: leaf[own], situation.parameters),
            None if keys is None else keys[own],
        )
        for ours, theirs in zip(together.outputs, alone.outputs, strict=True):
            same = (ours[patient] == theirs[0]) | (np.isnan(ours[patient]) & np.isnan(theirs[0]))
            differing += int(np.sum(~same))
    detail = f"numbers of {ALONE} patients whose bits differ among {PATIENTS} and alone"
    found = [Finding.within("lanes", "lanes and alone", differing, 0, detail)]
    if failed := failures(together.status):
        detail = f"by {model.method} at the default tolerance {failed}"
        found.append(Finding("lanes", "patients", NOT_OK, None, None, detail))
    if keys is not None:
        return [*found, Finding.skipped("lanes", "without lanes", "paths of noise are on lanes")]
    events, pattern = situation.schedule
    advance = loops.advance_of(model, model.method)

    def one(parameters: Any) -> Any:
        return walk(model, parameters, events, pattern, COMPARED_AT.numbers(), advance=advance)

    typical = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), situation.parameters)
    alone = np.stack([np.asarray(each) for each in jax.jit(one)(typical).outputs])
    lane = solved(
        situation,
        model,
        model.method,
        COMPARED_AT,
        jax.tree.map(lambda leaf: leaf[:1], situation.parameters),
    )
    apart = _apart(np.stack([each[0] for each in lane.outputs]), alone)
    detail = f"by {model.method}: relative difference of the typical patient"
    return [*found, Finding.within("lanes", "without lanes", apart, AGREEING, detail)]


def compilation(situation: Situation) -> list[Finding]:
    """Seconds of processor time that the solve and its gradient take to compile."""
    return [
        Finding.within(
            "compilation",
            what,
            timed(situation).seconds,
            COMPILING,
            f"seconds of processor time, by {method}",
        )
        for what, timed, method in (
            ("compiling the solve", _first_solve, situation.model.method),
            ("compiling the gradient", _first_gradient, situation.without_noise.method),
        )
    ]
