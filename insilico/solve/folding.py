"""Batches of batches as lanes of one: what `jax.vmap` makes of a solve inside a traced program.

Where every chain of a sampler, or every start of an optimiser, solves the same patients, plain
`vmap` would give each chunks of lanes of its own, most of them padding, in loops over two axes.
Here the new axis is folded into the patients', so that all of them share chunks.

The patients' axis of each array is 0 or -1, or None where patients share it. A batch in which a
shared array differs cannot be folded, and is left to `vmap`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from insilico.solve.cotangents import floating, instantiated_leaf, is_floating
from insilico.solve.replays import Static

Axis = int | None


def folding(
    function: Callable[..., Any], arguments: Sequence[Axis], results: Any
) -> Callable[..., Any]:
    """A function of patients for which `vmap` is more patients.

    - `arguments`: the patients' axis of each array in its arguments, in the order of their leaves.
    - `results`: that of each array in its result, or one for all of them.
    """
    run = jax.custom_batching.custom_vmap(function)

    @run.def_vmap
    def batched(size: int, mapped: Any, *given: Any) -> tuple[Any, Any]:
        leaves, structure = jax.tree.flatten(given)
        flags = jax.tree.leaves(mapped)
        shared_differs = any(f and a is None for f, a in zip(flags, arguments, strict=True))
        if shared_differs or None in jax.tree.leaves(results, is_leaf=lambda axis: axis is None):
            axes = jax.tree.unflatten(structure, [0 if flag else None for flag in flags])
            found = jax.vmap(function, in_axes=axes, axis_size=size)(*given)
        else:
            folded = [
                leaf if axis is None else _fold(leaf if flag else _repeat(leaf, size), axis)
                for leaf, flag, axis in zip(leaves, flags, arguments, strict=True)
            ]
            found = jax.tree.map(
                lambda axis, part: jax.tree.map(lambda leaf: _unfold(leaf, axis, size), part),
                results,
                run(*jax.tree.unflatten(structure, folded)),
            )
        return found, jax.tree.map(lambda _: True, found)

    return run


def differentiable(
    function: Callable[[list[Array]], Any],
    arguments: Sequence[Axis],
    again: Callable[[list[Array]], list[Array]],
    failed: Callable[[Any], Array],
) -> Callable[[list[Array]], Any]:
    """`folding` of a function of a list of arrays, for `jax.grad` and `jax.vjp` as well.

    `again` marks what a gradient depends on: derivatives of it would be second ones. `failed` says
    of the results which patients' derivatives are zero, (patients,).

    The results have the patients' axis first. What is differentiated is solved a second time, so
    that nothing but the arguments is remembered until then.
    """
    run = folding(function, arguments, 0)

    def forth(leaves: list[Any]) -> tuple[Any, Any]:
        moving = tuple(leaf.perturbed and is_floating(leaf.value) for leaf in leaves)
        values = [leaf.value for leaf in leaves]
        return run(values), (values, Static(moving))

    def back(residuals: Any, cotangents: Any) -> Any:
        values, moving = residuals
        chosen = [axis for axis, moves in zip(arguments, moving.value, strict=True) if moves]
        of_results = [instantiated_leaf(leaf) for leaf in floating(cotangents)]

        def pull(values: list[Array], of_results: list[Array]) -> list[Array]:
            def results(moved: list[Array]) -> tuple[list[Array], Array]:
                new = iter(moved)
                pairs = zip(values, moving.value, strict=True)
                found = function([next(new) if moves else value for value, moves in pairs])
                return floating(found), failed(found)

            at = [value for value, moves in zip(values, moving.value, strict=True) if moves]
            _, pulled, none = jax.vjp(results, at, has_aux=True)
            # What made a patient fail, such as NaN, spoils even a derivative of zero.
            return [
                leaf if axis is None else jnp.where(none, 0.0, leaf)
                for axis, leaf in zip(chosen, pulled(of_results)[0], strict=True)
            ]

        folded = folding(pull, [*arguments, *(0 for _ in of_results)], chosen)
        found = iter(folded(again(values), again(of_results)))
        return ([next(found) if moves else None for moves in moving.value],)

    call = jax.custom_vjp(lambda leaves: run(leaves))
    call.defvjp(forth, back, symbolic_zeros=True)
    return call


def _repeat(leaf: Array, size: int) -> Array:
    return jnp.broadcast_to(leaf, (size, *leaf.shape))


def _fold(leaf: Array, axis: int) -> Array:
    """From (size, …) to more patients."""
    if axis == 0:
        return jax.lax.collapse(leaf, 0, 2)
    return jax.lax.collapse(jnp.moveaxis(leaf, 0, -2), leaf.ndim - 2)


def _unfold(leaf: Array, axis: int, size: int) -> Array:
    """Back again."""
    patients = leaf.shape[axis] // size
    if axis == 0:
        return leaf.reshape(size, patients, *leaf.shape[1:])
    return jnp.moveaxis(leaf.reshape(*leaf.shape[:-1], size, patients), -2, 0)
