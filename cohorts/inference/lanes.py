"""Solves of subjects on lanes, in which whatever is batched over them becomes more lanes.

A sampler runs its chains by `jax.vmap`. Left to itself that makes of every chunk of lanes a tile
(chains, lanes), each chain with its own padding, and every loop wait for the slowest of all. Here
chains, like the components of a mixture, are laid beside each other instead: 4 chains of 12
subjects are 48 lanes of one chunk.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from insilico.model import Model
from insilico.solve import Tolerances, solve_traced
from insilico.solve.records import Layout, RecordTable

Solver = Callable[[Any, RecordTable], tuple[tuple[Any, ...], Any]]
"""From the model's `Parameters`, each (subjects,), and an event table to the outputs asked for,
each (records, subjects), and the status of each solve, (subjects,)."""


def on_lanes(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, whose arrays have the lanes' axis last, with `jax.vmap` giving it more lanes."""
    folding = jax.custom_batching.custom_vmap(function)

    @folding.def_vmap
    def rule(size: int, batched: Any, *arguments: Any) -> tuple[Any, Any]:
        def fold(leaf: Array, has_axis: bool) -> Array:
            leaf = leaf if has_axis else jnp.broadcast_to(leaf, (size, *leaf.shape))
            leaf = jnp.moveaxis(leaf, 0, -2)
            return leaf.reshape(*leaf.shape[:-2], -1)

        def unfold(leaf: Array) -> Array:
            return jnp.moveaxis(leaf.reshape(*leaf.shape[:-1], size, -1), -2, 0)

        found = folding(*jax.tree.map(fold, arguments, tuple(batched)))
        return jax.tree.map(unfold, found), jax.tree.map(lambda _: True, found)

    return folding


def solver(
    model: Model,
    layout: Layout,
    outputs: tuple[str, ...],
    *,
    derivative: str | None,
    method: str | None,
    tolerances: Tolerances | None,
) -> Solver:
    """The solve of subjects by their event tables, differentiable as `solve_traced` says.

    `outputs` are those asked for. Batches become lanes where there is no derivative, or one in
    reverse; forward ones are carried along by JAX as they are.
    """
    solved = functools.partial(
        solve_traced, model, pattern=layout, derivative=derivative, method=method,
        tolerances=tolerances,
    )  # fmt: skip

    def plain(parameters: Any, table: RecordTable) -> tuple[tuple[Any, ...], Any]:
        solution = solved(parameters=parameters, events=table)
        return tuple(getattr(solution.outputs, name).T for name in outputs), solution.status

    if derivative not in (None, "reverse"):
        return plain
    batched = on_lanes(plain)
    if derivative is None:
        return batched

    def pulled(parameters: Any, table: RecordTable, cotangents: tuple[Array, ...]) -> Any:
        _, back, _ = jax.vjp(lambda own: plain(own, table), parameters, has_aux=True)
        return back(cotangents)[0]

    # JAX cannot transpose a function with a batching rule of its own; it need not, if both the
    # solve and its pullback are such functions.
    batched_pullback = on_lanes(pulled)

    @jax.custom_vjp
    def solve(parameters: Any, table: RecordTable) -> tuple[tuple[Array, ...], Array]:
        return batched(parameters, table)

    def forward(parameters: Any, table: RecordTable) -> tuple[Any, Any]:
        return batched(parameters, table), (parameters, table)

    def backward(kept: tuple[Any, RecordTable], cotangents: tuple[Any, Any]) -> tuple[Any, None]:
        return batched_pullback(*kept, cotangents[0]), None

    solve.defvjp(forward, backward)
    return solve
