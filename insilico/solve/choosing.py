"""Whether an explicit or a stiff method costs less for a batch of patients: measured on a sample.

An explicit step is limited by accuracy or by stability, whichever asks for the shorter one, a stiff
step by accuracy alone; but a stiff step costs more. So a sample of the patients is solved by both
on the host's side of a program, before the batch's own is compiled, and steps are multiplied by
what a step costs. The explicit solve is given up once it has cost many times the stiff one's.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from insilico.model import Model
from insilico.solve import adaptive, methods
from insilico.solve.courses import Course, Rule
from insilico.solve.drivers import Choice, programs
from insilico.solve.events import Events, Pattern, schedule
from insilico.solve.jobs import Blocks, prepare, program_of
from insilico.solve.methods.taylor import without_rule
from insilico.solve.records import Records
from insilico.solve.status import Status
from insilico.solve.tolerances import Tolerances

SAMPLE = 64
"""Patients that are solved for the choice: a chunk of lanes."""

PATIENCE = 20.0
"""An explicit solve is given up at so many times the cost of the slowest stiff one."""

TIGHT = 1e-7
"""Below this relative tolerance the stiff method is the one of the higher order."""

WORK = {"div": 8, "exp": 16, "log": 16, "log1p": 16, "expm1": 16, "tanh": 24, "pow": 32, "sqrt": 8}
"""Operations that cost more than one multiplication on lanes, roughly how many times."""

FREE = ("broadcast_in_dim", "reshape", "squeeze", "convert_element_type", "optimization_barrier")
"""Operations that cost nothing."""


class MethodChoice(NamedTuple):
    """The method of integration for a batch.

    - `name`: one of `insilico.solve.methods.NAMES`; `reason`: why, in a sentence.
    - `estimate`: what an explicit solve costs relative to a stiff one: above 1, the stiff method is
      taken. At least that much, where the explicit one was given up; None where none was measured.
    """

    name: str
    reason: str
    estimate: float | None = None


def choose_method(
    model: Model,
    parameters: Any,
    events: Events | Records,
    pattern: Pattern | None = None,
    tolerances: Tolerances | None = None,
    *,
    rule: Rule | None = None,
    subject: Any = None,
    noise: Any = None,
) -> MethodChoice:
    """An explicit or a stiff adaptive method for these patients, whichever costs less.

    Arguments as for `insilico.solve.solve`. The explicit one is the model's own, or Tsit5, the
    stiff one the model's own, or Rodas4, or Rodas5P for tight tolerances. Of up to 64 patients
    both are measured, picked by their numbers alone: the same batch in another order makes the
    same choice. It compiles two programs, which take as long as the batch's own.

    Raises `ValueError` as `solve` does, and for a model with noise, whose steps nothing adapts.
    """
    if model.diffusion is not None or noise is not None:
        raise ValueError(
            f"method 'auto' chooses among {', '.join(methods.ADAPTIVE)}, which are for models "
            f"without noise; for model {model.name} name one of {', '.join(methods.STOCHASTIC)}"
        )
    tolerances = tolerances or Tolerances()
    explicit, stiff = candidates(model, tolerances)
    job = prepare(model, parameters, events, pattern, rule, subject, None)
    sample, count = _sample(job.blocks)
    leaves, structure = jax.tree.flatten(sample[1])
    lanes = tuple(jax.ShapeDtypeStruct(leaf.shape[-1:], leaf.dtype) for leaf in leaves)
    ratio = _work(model, stiff, structure, lanes) / _work(model, explicit, structure, lanes)

    def solved(name: str, most: int) -> tuple[np.ndarray, np.ndarray]:
        program = program_of(model, job.pattern, name, rule, job.layout, _XLA, "double")
        limited = dataclasses.replace(tolerances, max_steps=most)
        walk = program(limited.numbers(), *sample)
        return np.asarray(walk.status)[0, :count], np.asarray(walk.steps)[0, :count]

    status, slow_steps = solved(stiff, tolerances.max_steps)
    by_stiff = status == Status.OK
    most = tolerances.max_steps
    if np.any(by_stiff):
        most = min(most, math.ceil(PATIENCE * ratio * max(slow_steps[by_stiff].max(), 10.0)))
    status, steps = solved(explicit, most)
    return _compared(explicit, stiff, ratio, by_stiff, slow_steps, status == Status.OK, steps)


def candidates(model: Model, tolerances: Tolerances) -> tuple[str, str]:
    """The explicit and the stiff method between which a model has the choice."""
    own = model.method
    if own in methods.STIFF:
        return "tsit5", own
    explicit = own if own in methods.ADAPTIVE else "tsit5"
    if explicit in methods.SERIES and without_rule(model):
        explicit = "tsit5"
    return explicit, "rodas5p" if tolerances.relative < TIGHT else "rodas4"


_XLA = Choice("xla", "a sample of patients is solved for the choice of the method")


def _compared(
    explicit: str,
    stiff: str,
    ratio: float,
    by_stiff: np.ndarray,
    stiff_steps: np.ndarray,
    by_explicit: np.ndarray,
    steps: np.ndarray,
) -> MethodChoice:
    """The choice between two methods of which the second takes `ratio` times the work a step."""
    patients = f"of {by_stiff.size} patients" if by_stiff.size > 1 else "of one patient"
    if not np.any(by_stiff):
        return MethodChoice(explicit, f"{stiff} solved none {patients}")
    given_up = by_stiff & ~by_explicit
    stiff_only = int(given_up.sum())
    estimate = float(steps[by_stiff].mean() / (ratio * stiff_steps[by_stiff].mean()))
    if stiff_only:
        return MethodChoice(
            stiff,
            f"{explicit} gave up {stiff_only} {patients} after up to {steps[given_up].max():.0f} "
            f"steps, {stiff} took up to {stiff_steps[by_stiff].max():.0f}",
            max(estimate, 1.0),
        )
    explicit_only = int((by_explicit & ~by_stiff).sum())
    if explicit_only:
        return MethodChoice(explicit, f"{stiff} could not solve {explicit_only} {patients}")
    taken = stiff if estimate > 1.0 else explicit
    return MethodChoice(
        taken,
        f"{explicit} took {steps[by_stiff].mean():.0f} steps in the mean {patients}, {stiff} "
        f"{stiff_steps[by_stiff].mean():.0f} of {ratio:.1f} times the work",
        estimate,
    )


def _sample(blocks: Blocks) -> tuple[tuple[list, Any, list, Any], int]:
    """Arguments of a program for one chunk of patients, the same on each device, and how many of
    them are different ones."""
    common, *own = blocks.arguments

    def patients_last(leaf: np.ndarray) -> np.ndarray:
        rows = np.moveaxis(leaf, 0, -2)
        return rows.reshape(*rows.shape[:-2], -1)[..., : blocks.patients]

    whole = jax.tree.map(patients_last, tuple(own))
    # By a digest of all that is a patient's own, which knows nothing of places in a batch.
    chosen = np.argsort(_digest(jax.tree.leaves(whole), blocks.patients), kind="stable")[:SAMPLE]
    places = np.resize(chosen, SAMPLE)
    devices = jax.local_device_count()

    def taken(leaf: np.ndarray) -> np.ndarray:
        picked = leaf[..., places]
        return np.broadcast_to(picked, (devices, *picked.shape))

    parameters, columns, others = jax.tree.map(taken, whole)
    return (common, parameters, columns, others), len(chosen)


def _digest(leaves: list[np.ndarray], patients: int) -> np.ndarray:
    """A number for each patient of all its numbers, alike for no two in practice."""
    digest = np.full(patients, 0x9E3779B97F4A7C15, np.uint64)
    for leaf in leaves:
        for row in np.asarray(leaf, float).reshape(-1, patients):
            digest = (digest ^ np.ascontiguousarray(row).view(np.uint64)) * np.uint64(
                0xBF58476D1CE4E5B9
            )
            digest ^= digest >> np.uint64(29)
    return digest


@functools.lru_cache(maxsize=256)
def _work(
    model: Model, name: str, structure: Any, lanes: tuple[jax.ShapeDtypeStruct, ...]
) -> float:
    """Operations on lanes of a trial step, in multiplications; parameters are such as `lanes`.

    To trace one takes longer than many a solve.
    """
    method = methods.get(name)
    _, pattern = schedule(model, [], observe=[1.0])

    def advance(parameters: Any, target: Array) -> Any:
        course = Course(model, parameters, pattern)
        now = course.start()
        return adaptive.advance(
            method,
            course.field(course.prepare(), now),
            now.position,
            target,
            jnp.bool_(True),
            Tolerances().numbers(),
            model.negligible(),
        )

    target = lanes[0]
    program = jax.make_jaxpr(advance)(jax.tree.unflatten(structure, lanes), target).jaxpr
    (loop,) = (each for each in program.eqns if each.primitive.name == "while")
    return _weighed(loop.params["body_jaxpr"].jaxpr, target.shape)


def _weighed(program: Any, lanes: tuple[int, ...]) -> float:
    total = 0.0
    for equation in program.eqns:
        inner = list(programs(equation))
        if inner:
            total += sum(_weighed(each, lanes) for each in inner)
        elif equation.primitive.name not in FREE:
            on_lanes = any(getattr(out.aval, "shape", ()) == lanes for out in equation.outvars)
            total += WORK.get(equation.primitive.name, 1) if on_lanes else 0.0
    return total
