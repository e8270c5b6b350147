"""Solves inside a traced program, where they can be differentiated."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from insilico.hashing import Keyed
from insilico.model import Model
from insilico.solve import guards
from insilico.solve.aligned import aligned
from insilico.solve.batch import Solution
from insilico.solve.blocks import filled, padded, solve_block
from insilico.solve.closures import refuse_held
from insilico.solve.courses import Rule
from insilico.solve.folding import differentiable
from insilico.solve.guards import Derivative
from insilico.solve.rows import Schedule, Shape
from insilico.solve.status import Status
from insilico.solve.tolerances import Tolerances, TolerancesAsNumbers


def solve_traced(
    model: Model,
    parameters: Any,
    events: Schedule,
    pattern: Shape,
    *,
    derivative: Derivative | None,
    tolerances: Tolerances | TolerancesAsNumbers | None = None,
    method: str | None = None,
    rule: Rule | None = None,
    subject: Any = None,
) -> Solution:
    """`insilico.solve.solve` as part of a traced program: under `jit`, `vmap` and derivatives.

    **Arguments:** as for `solve`, but numbers may be traced, and in place of an event table stand
    the two parts that `Records.laid_out` gives. Numbers of 32 bits become numbers of 64.

    - `derivative`: what it is prepared for. None: no derivative. `"reverse"`: `jax.grad`,
      `jax.vjp`, with a cost that does not grow with the number of parameters. `"forward"`:
      `jax.jvp`, `jax.jacfwd`, any number of times, but thrice with steady states. `"second"`:
      `hessian_vector_product`. They are exact for the steps taken, with respect to parameters,
      amounts and times of events, and `subject`; step sizes count as constants.

    Calls alike compile once: the same model, pattern, method and rule, and arrays of the same
    shapes. What else their functions read, such as a global number, is read then, as `jax.jit` does
    it. `jax.jit` around what is called often, derivatives included, saves what JAX does between
    programs, 20 ms of a gradient.

    Runs on one device. Under `vmap` the patients of the whole batch share chunks of lanes, but for
    `"forward"` and `"second"`. Patients that fail have derivatives of zero and say so in `status`.
    Raises `ValueError` for another `derivative`, for arrays of different numbers of patients and
    for parameters and events that are not the model's and the pattern's, `DerivativeError` where it
    is differentiated otherwise.
    """
    guards.check_mode(derivative)
    numbers = tolerances or Tolerances()
    numbers = numbers.numbers() if isinstance(numbers, Tolerances) else numbers

    given = aligned(model, parameters, events, pattern, subject)
    parameters, events, subject = given
    leaves, structure = jax.tree.flatten((*guards.guarded(derivative, given), numbers))
    axes = [-1] * len(jax.tree.leaves(parameters))
    axes += [-1 if jnp.ndim(leaf) == 2 else None for leaf in jax.tree.leaves(events)]
    axes += [-1] * len(jax.tree.leaves(subject)) + [None] * len(jax.tree.leaves(numbers))
    asked = _Asked(model, pattern, method, derivative, Keyed(rule), structure, tuple(axes))
    solution = _program(asked)([jnp.asarray(leaf) for leaf in leaves])
    return solution if derivative in CARRIED else guards.guarded(derivative, solution)


CARRIED = ("forward", "second")
"""Ways whose tangents JAX carries through the loops itself."""


class _Asked(NamedTuple):
    """What a solve's program is made for, but for shapes: arguments of `solve_traced`, the
    structure of its numbers and the patients' axis of each of them, as in `folding`."""

    model: Model
    pattern: Shape
    method: str | None
    derivative: Derivative | None
    rule: Keyed
    structure: Any
    axes: tuple[int | None, ...]


@functools.lru_cache(maxsize=64)
def _program(asked: _Asked) -> Callable[[list[Array]], Solution]:
    """The solve as a function of its numbers: one for all calls alike, so that it is traced and,
    outside of other programs, compiled for the first of them alone. In others it leaves no seam."""
    model, pattern, method, derivative, rule, structure, axes = asked
    refuse_held(derivative, model=model, rule=rule.value)

    def solution(given: list[Array]) -> Solution:
        parameters, events, subject, tolerances = jax.tree.unflatten(structure, given)
        (patients,) = jnp.shape(jax.tree.leaves(parameters)[0])

        def lanes(leaf: Array) -> Array:
            return padded(leaf, filled(patients))

        walked = solve_block(
            model,
            jax.tree.map(lanes, parameters),
            jax.tree.map(lambda leaf: lanes(leaf) if leaf.ndim == 2 else leaf, events),
            pattern,
            tolerances,
            method=method,
            derivative=derivative,
            rule=rule.value,
            subject=jax.tree.map(lanes, subject),
        )
        return Solution(
            **jax.tree.map(lambda leaf: jnp.moveaxis(leaf[..., :patients], -1, 0), walked)._asdict()
        )

    if derivative in CARRIED:
        return jax.jit(solution, inline=True)
    again = functools.partial(guards.guarded, derivative, level=1)
    call = differentiable(solution, axes, again, lambda found: found.status != Status.OK)
    return jax.jit(call, inline=True)


def hessian_vector_product(function: Callable[[Any], Array], at: Any, along: Any) -> Any:
    """The derivative of `function`'s gradient at `at` in the direction `along`.

    `function` gives one number and solves with `derivative="second"`; `at` and `along` are trees
    alike, and so is the result. Its cost does not grow with their number of entries.
    """
    return jax.jvp(jax.grad(function), (at,), (along,))[1]
