"""Solves that are differentiated: inside a traced program, or with their gradient at once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from insilico.model import Model
from insilico.solve import gradients, guards, loops
from insilico.solve.batch import Solution, prepare, put_together
from insilico.solve.blocks import (
    LANES,
    Chunks,
    filled,
    over_devices,
    solve_block,
)
from insilico.solve.courses import Rule
from insilico.solve.events import Events, Pattern
from insilico.solve.folding import differentiable
from insilico.solve.records import Records
from insilico.solve.replays import pullback, smooth
from insilico.solve.rows import Schedule, Shape, as_rows, refuse_rule
from insilico.solve.tolerances import Tolerances, TolerancesAsNumbers

Objective = Callable[[Any, Any], Array]
"""One number a patient, (lanes,), of the model's outputs, (times, lanes), and of data whose arrays
have the lanes' axis last. It is elementwise over lanes: a log-likelihood, a sum of squares."""


def solve_traced(
    model: Model,
    parameters: Any,
    events: Schedule,
    pattern: Shape,
    *,
    derivative: str | None,
    tolerances: Tolerances | TolerancesAsNumbers | None = None,
    method: str | None = None,
    rule: Rule | None = None,
    subject: Any = None,
) -> Solution:
    """`insilico.solve.solve` as part of a traced program: under `jit`, `vmap` and derivatives.

    **Arguments:** as for `solve`, but numbers may be traced; `parameters` are arrays (patients,),
    and in place of an event table stand the two parts that `Records.laid_out` gives.

    - `derivative`: what it is prepared for. None: no derivative. `"reverse"`: `jax.grad`,
      `jax.vjp`, with a cost that does not grow with the number of parameters. `"forward"`:
      `jax.jvp`, `jax.jacfwd`, any number of times. `"second"`: `hessian_vector_product`. They are
      exact for the steps taken, with respect to parameters, amounts and times of events, and
      `subject`; step sizes count as constants.

    Runs on one device. Under `vmap` the patients of the whole batch share chunks of lanes, but for
    `"forward"` and `"second"`. Patients that fail have derivatives of zero and say so in `status`.
    Raises `ValueError` for another `derivative`, `DerivativeError` where it is differentiated
    otherwise.
    """
    guards.check_mode(derivative)
    numbers = tolerances or Tolerances()
    numbers = numbers.numbers() if isinstance(numbers, Tolerances) else numbers

    def solution(given: list[Array]) -> Solution:
        parameters, events, subject, tolerances = jax.tree.unflatten(structure, given)
        (patients,) = jnp.shape(jax.tree.leaves(parameters)[0])

        def padded(leaf: Array) -> Array:
            if not (extra := filled(patients) - patients):
                return leaf
            # As `jnp.pad` with the edge, in a tenth of its operations.
            last = jnp.broadcast_to(leaf[..., -1:], (*leaf.shape[:-1], extra))
            return jnp.concatenate([leaf, last], axis=-1)

        walked = solve_block(
            model,
            jax.tree.map(padded, parameters),
            jax.tree.map(lambda leaf: padded(leaf) if leaf.ndim == 2 else leaf, events),
            pattern,
            tolerances,
            method=method,
            derivative=derivative,
            rule=rule,
            subject=jax.tree.map(padded, subject),
        )
        return Solution(
            **jax.tree.map(lambda leaf: jnp.moveaxis(leaf[..., :patients], -1, 0), walked)._asdict()
        )

    given = jax.tree.map(jnp.asarray, (parameters, events, subject))
    leaves, structure = jax.tree.flatten((*guards.guarded(derivative, given), numbers))
    axes = [-1] * len(jax.tree.leaves(parameters))
    axes += [-1 if jnp.ndim(leaf) == 2 else None for leaf in jax.tree.leaves(events)]
    axes += [-1] * len(jax.tree.leaves(subject)) + [None] * len(jax.tree.leaves(numbers))
    leaves = [jnp.asarray(leaf) for leaf in leaves]
    if derivative in ("forward", "second"):
        return solution(leaves)
    again = functools.partial(guards.guarded, derivative, level=1)
    return guards.guarded(derivative, differentiable(solution, axes, again)(leaves))


def hessian_vector_product(function: Callable[[Any], Array], at: Any, along: Any) -> Any:
    """The derivative of `function`'s gradient at `at` in the direction `along`.

    `function` gives one number and solves with `derivative="second"`; `at` and `along` are trees
    alike, and so is the result. Its cost does not grow with their number of entries.
    """
    return jax.jvp(jax.grad(function), (at,), (along,))[1]


class Gradients(NamedTuple):
    """Of each patient, (patients,): an objective's value, its gradient by the model's parameters,
    and the status of the solve. Where that failed the value is NaN and the gradient zero."""

    value: np.ndarray
    gradient: Any
    status: np.ndarray


def value_and_gradient(
    model: Model,
    parameters: Any,
    events: Events | Records,
    pattern: Pattern | None,
    objective: Objective,
    data: Any = None,
    *,
    tolerances: Tolerances | None = None,
    method: str | None = None,
    rule: Rule | None = None,
    subject: Any = None,
) -> Gradients:
    """An objective of each patient's outputs, and its gradient by that patient's parameters.

    Chunk after chunk is solved and differentiated while its steps are in the cache, on all devices:
    the fastest way to a gradient where each patient's objective depends on its own outputs alone.

    - `objective`, `data`: see `Objective`. One program is compiled for each objective.
    - All else as for `insilico.solve.solve`.
    """
    job = prepare(model, parameters, events, pattern, rule, subject, data)
    chosen = loops.reversible(model, method)
    program = _program(model, job.pattern, chosen, rule, objective, job.layout)
    found = program((tolerances or Tolerances()).numbers(), *job.blocks.arguments)
    return Gradients(*jax.tree.map(job.blocks.joined, found))


class _Program:
    """The compiled program of an objective's gradient.

    It keeps all steps of a chunk on record, and knows when they did not fit. Only then is a program
    compiled that takes steps again, and used from then on.
    """

    def __init__(self, of_block: Callable[..., Any]):
        self._of_block = of_block
        self._again = False
        self._compiled: dict[bool, Callable[..., Any]] = {}

    def __call__(self, *arguments: Any) -> tuple[Array, Any, Array]:
        *found, on_record = self._run(*arguments)
        if not self._again and not np.all(on_record):
            self._again = True
            *found, _ = self._run(*arguments)
        value, gradient, status = found
        return value, gradient, status

    def _run(self, *arguments: Any) -> Any:
        again = self._again
        if again not in self._compiled:
            of_block = functools.partial(self._of_block, again=again)
            self._compiled[again] = over_devices(of_block, shared=2)
        return self._compiled[again](*arguments)


@functools.lru_cache(maxsize=64)
def _program(
    model: Model,
    pattern: Shape,
    method: str,
    rule: Rule | None,
    objective: Objective,
    layout: tuple[Any, tuple[bool, ...]],
) -> _Program:
    def one_block(
        tolerances: TolerancesAsNumbers,
        common: list,
        parameters: Any,
        columns: list,
        others: Any,
        again: bool,
    ) -> tuple[Array, Any, Array, Array]:
        events = put_together(layout, common, columns)
        subject, data = others
        return _gradient_of_block(
            model, parameters, events, pattern, tolerances, objective, data,
            method=method, rule=rule, subject=subject, again=again,
        )  # fmt: skip

    return _Program(one_block)


def value_and_gradient_block(
    model: Model,
    parameters: Any,
    events: Schedule,
    pattern: Shape,
    tolerances: TolerancesAsNumbers,
    objective: Objective,
    data: Any = None,
    *,
    method: str | None = None,
    rule: Rule | None = None,
    subject: Any = None,
) -> tuple[Array, Any, Array]:
    """`value_and_gradient` of a number of patients that is a multiple of `LANES`, traced.

    Arrays have the patients' axis last. Returns values, gradient and status.
    """
    return _gradient_of_block(
        model, parameters, events, pattern, tolerances, objective, data,
        method=method, rule=rule, subject=subject, again=True,
    )[:3]  # fmt: skip


def _gradient_of_block(
    model: Model,
    parameters: Any,
    events: Schedule,
    pattern: Shape,
    tolerances: TolerancesAsNumbers,
    objective: Objective,
    data: Any,
    *,
    method: str | None,
    rule: Rule | None,
    subject: Any,
    again: bool,
) -> tuple[Array, Any, Array, Array]:
    """The same and, of each patient, whether all steps of its chunk were on record, without which
    the gradient is wrong where they are not taken `again`."""
    refuse_rule(pattern, rule)
    name = loops.reversible(model, method)
    advance = loops.advance_of(model, name)

    def chunk(record: Array, own: tuple) -> tuple[Array, tuple[Array, Any, Array, Array]]:
        parameters, events, subject, data = own

        def given_by(parameters: Any) -> gradients.Given:
            return walking_of(parameters)[1]

        def walking_of(parameters: Any) -> tuple[gradients.Differentiable, gradients.Given]:
            rows, shape, prior = as_rows(
                model, parameters, events, pattern, tolerances, advance, "reverse", name
            )
            return loops.differentiable(name).of(
                model, parameters, rows, shape, name, rule, subject, prior,
                timed=rule is not None or prior is not None or model.triggers is not None,
                again=again,
            )  # fmt: skip

        walking, given = walking_of(parameters)
        walk, pull, record, on_record = walking.with_pullback(given, tolerances, record)
        value, pull_value = jax.vjp(lambda outputs: objective(outputs, data), walk.outputs)
        (of_outputs,) = pull_value(jnp.ones_like(value))
        nothing = jax.tree.map(jnp.zeros_like, walk)
        of_given = pull(nothing._replace(outputs=of_outputs))
        (gradient,) = pullback(given_by, parameters)(smooth(of_given))
        on_record = jnp.broadcast_to(on_record, walk.status.shape)
        return record, (value, gradient, walk.status, on_record)

    step = 2 + len(model.negligible())
    dtype = jax.tree.leaves(parameters)[0].dtype
    record = gradients.blank_record(step, (LANES,), dtype, again=again)
    return Chunks.of(model, parameters).scan(chunk, record, parameters, events, subject, data)
