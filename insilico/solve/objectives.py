"""Objectives of patients' outputs, differentiated while the steps of their solves are at hand."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from insilico.model import Model
from insilico.solve import gradients, guards, loops
from insilico.solve.aligned import aligned
from insilico.solve.blocks import (
    LANES,
    Chunks,
    filled,
    over_devices,
    padded,
    solve_block,
)
from insilico.solve.closures import refuse_held, refuse_traced
from insilico.solve.cotangents import (
    floating,
    instantiated_leaf,
    is_floating,
    replaced,
    without_failed,
)
from insilico.solve.courses import Rule
from insilico.solve.events import Events, Pattern
from insilico.solve.folding import folding
from insilico.solve.jobs import prepare, put_together
from insilico.solve.recordings import blank_record
from insilico.solve.records import Layout, Records, RecordTable
from insilico.solve.replays import Static
from insilico.solve.rows import Schedule, Shape, as_rows, refuse_rule
from insilico.solve.tolerances import Tolerances, TolerancesAsNumbers

Objective = Callable[[Any, Any], Array]
"""One number a patient, (lanes,), of the model's outputs, (times, lanes), and of data whose arrays
have the lanes' axis last. It is elementwise over lanes: a log-likelihood, a sum of squares."""


class Gradients(NamedTuple):
    """Of each patient, (patients,): an objective's value, its gradient by the model's parameters,
    and the status of the solve. Where that failed the value is NaN and the gradient zero."""

    value: np.ndarray
    gradient: Any
    status: np.ndarray


def _one_each(value: Any, lanes: tuple[int, ...]) -> Array:
    """What an objective gave. Raises `ValueError` unless that is one number a patient."""
    if jnp.shape(value) != lanes:
        raise ValueError(
            f"an objective must give one number a patient, here an array {lanes}; found one of "
            f"shape {jnp.shape(value)}: sum over times, the first axis, and over nothing else"
        )
    return value


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

    - `objective`, `data`: see `Objective`. One program is compiled for each objective: define it
      once, since a function that is made anew at each call is another one.
    - All else as for `insilico.solve.solve`.

    Raises `ValueError` for an objective that is not one number a patient.
    """
    refuse_traced(objective=objective)
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
        found = _gradients_of_block(
            model, parameters, events, pattern, tolerances, objective, data,
            method=method, rule=rule, subject=subject, again=again,
        )  # fmt: skip
        return found.value, found.gradient[0], found.status, found.on_record

    return _Program(one_block)


class _OfBlock(NamedTuple):
    """Of each patient of a block, (patients,): an objective's value, its `gradient` by parameters,
    events and data (None for what was not asked for), the status of the solve, and whether all
    steps of its chunk were on record, without which the gradient is wrong where they are not taken
    `again`."""

    value: Array
    gradient: tuple[Any, Any, Any]
    status: Array
    on_record: Array


def _gradients_of_block(
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
    by_events: bool = False,
    by_data: Sequence[bool] | None = None,
    rows: int | None = None,
) -> _OfBlock:
    """Value and gradient by parameters, and if asked for `by_events` and by leaves of the data.

    `rows` as for `insilico.solve.recordings.blank_record`.
    """
    refuse_rule(pattern, rule)
    name = loops.reversible(model, method)
    advance = loops.advance_of(model, name)
    tabled = not isinstance(events, Events)
    timed = by_events or rule is not None or model.triggers is not None
    timed = timed or (tabled and model.dosing is not None)

    def chunk(record: Array, own: tuple) -> tuple[Array, _OfBlock]:
        parameters, events, subject, data = own

        def given_by(
            parameters: Any, events: Any
        ) -> tuple[gradients.Differentiable, gradients.Given]:
            rows, shape, prior = as_rows(
                model, parameters, events, pattern, tolerances, advance, "reverse", name
            )
            return loops.differentiable(name).of(
                model,
                parameters,
                rows,
                shape,
                name,
                rule,
                subject,
                prior,
                timed=timed,
                again=again,
            )

        moving = (parameters, events) if by_events else (parameters,)
        walkings: list[gradients.Differentiable] = []

        def moved(leaves: list[Array]) -> tuple[list[Array], gradients.Given]:
            walking, given = given_by(*replaced(moving, leaves), *(() if by_events else (events,)))
            walkings.append(walking)
            return floating(given), given

        # Rows are made, and steady states found, once for the walk and its derivative.
        _, pull_given, given = jax.vjp(moved, floating(moving), has_aux=True)
        walking = walkings[-1]
        walk, pull, record, on_record = walking.with_pullback(given, tolerances, record)
        leaves, structure = jax.tree.flatten(data)
        asked = by_data or [False] * len(leaves)

        def valued(outputs: Any, others: list[Array]) -> Array:
            new = iter(others)
            own = [next(new) if moves else leaf for leaf, moves in zip(leaves, asked, strict=True)]
            found = objective(outputs, jax.tree.unflatten(structure, own))
            return _one_each(found, walk.status.shape)

        asked_for = [leaf for leaf, moves in zip(leaves, asked, strict=True) if moves]
        value, pull_value = jax.vjp(valued, walk.outputs, asked_for)
        of_outputs, of_data = pull_value(jnp.ones_like(value))
        nothing = jax.tree.map(jnp.zeros_like, walk)
        of_given = floating(pull(nothing._replace(outputs=of_outputs)))
        of_parameters, *of_events = replaced(moving, pull_given(of_given)[0])
        of_events = floating(of_events) if by_events else None
        on_record = jnp.broadcast_to(on_record, walk.status.shape)
        gradient = without_failed(walk, (of_parameters, of_events, of_data))
        return record, _OfBlock(value, gradient, walk.status, on_record)

    step = 2 + len(model.negligible())
    leaf = jax.tree.leaves(parameters)[0]
    lanes = (min(LANES, leaf.shape[-1]),) if rows is not None else (LANES,)
    record = blank_record(step, lanes, leaf.dtype, rows, again=again)
    return Chunks.of(model, parameters, events).scan(
        chunk, record, parameters, events, subject, data
    )


def objective_traced(
    model: Model,
    parameters: Any,
    events: RecordTable,
    layout: Layout,
    objective: Objective,
    data: Any = None,
    *,
    tolerances: Tolerances | TolerancesAsNumbers | None = None,
    method: str | None = None,
) -> tuple[Array, Array]:
    """An objective of each patient's outputs, and the status of each solve, in a traced program.

    For `jax.grad` and `jax.vjp`, under `jit` and `vmap`, with respect to parameters, `data` and the
    event table. Where it is differentiated, gradients are taken along with the values, while a
    chunk's steps are at hand: a solve less than by an objective of what `solve_traced` gives.

    **Arguments:**

    - `objective`, `data`: see `Objective`. All else as for `insilico.solve.solve_traced`.

    Returns arrays (patients,). Where a solve failed the value is what the objective makes of NaN,
    and its derivatives are zero. Raises `DerivativeError` where it is differentiated otherwise, or
    by a number that the model or the objective holds instead of being given it.
    """
    numbers = tolerances or Tolerances()
    numbers = numbers.numbers() if isinstance(numbers, Tolerances) else numbers
    refuse_held("reverse", model=model, objective=objective)
    name = loops.reversible(model, method)
    given = guards.guarded("reverse", aligned(model, parameters, events, layout, data))
    leaves, structure = jax.tree.flatten((*given, numbers))
    first, second, third = (len(jax.tree.leaves(part)) for part in given)
    count = first + second + third
    axes = [-1] * count + [None] * (len(leaves) - count)
    leaves = [jnp.asarray(leaf) for leaf in leaves]

    def lanes_of(leaves: list[Array]) -> tuple[Any, Any, Any, Any, int]:
        patients = leaves[0].shape[-1]
        whole = [padded(leaf, filled(patients)) for leaf in leaves[:count]] + leaves[count:]
        return *jax.tree.unflatten(structure, whole), patients

    def plain(leaves: list[Array]) -> tuple[Array, Array]:
        parameters, events, data, tolerances, patients = lanes_of(leaves)
        walk = solve_block(model, parameters, events, layout, tolerances, method=name)
        value = _one_each(objective(walk.outputs, data), walk.status.shape)
        return value[:patients], walk.status[:patients]

    def with_gradient(
        moving: tuple[bool, ...], leaves: list[Array]
    ) -> tuple[Array, Array, list[Array]]:
        parameters, events, data, tolerances, patients = lanes_of(leaves)
        by_events, by_data = any(moving[first : first + second]), moving[first + second : count]
        found = _gradients_of_block(
            model, parameters, events, layout, tolerances, objective, data,
            method=name, rule=None, subject=None, again=True,
            by_events=by_events, by_data=by_data, rows=layout.rows,
        )  # fmt: skip
        of_parameters, of_events, of_data = found.gradient
        of_each = [*jax.tree.leaves(of_parameters)]
        if by_events:
            given = iter(of_events)
            of_each += [
                next(given) if is_floating(leaf) else None for leaf in jax.tree.leaves(events)
            ]
        else:
            of_each += [None] * second
        moved = [leaf for leaf, moves in zip(of_each, moving[: len(of_each)], strict=True) if moves]
        chosen = [leaf[..., :patients] for leaf in [*moved, *of_data]]
        return found.value[:patients], found.status[:patients], chosen

    def forth(leaves: list[Any]) -> tuple[Any, Any]:
        moving = tuple(leaf.perturbed and is_floating(leaf.value) for leaf in leaves)
        values = [leaf.value for leaf in leaves]
        results = (0, 0, [-1] * sum(moving[:count]))
        value, status, found = folding(functools.partial(with_gradient, moving), axes, results)(
            values
        )
        return (value, status), (found, Static(moving))

    def back(residuals: Any, cotangents: Any) -> Any:
        found, moving = residuals
        of_value = instantiated_leaf(cotangents[0])
        # What comes now is a derivative already: to differentiate it again would be a second one.
        each = iter(guards.guarded("reverse", found, level=1))
        return ([next(each) * of_value if moves else None for moves in moving.value],)

    run = jax.custom_vjp(folding(plain, axes, 0))
    run.defvjp(forth, back, symbolic_zeros=True)
    return guards.guarded("reverse", run(leaves))
