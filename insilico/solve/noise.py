"""What the noise of a model is like: which process acts where, and which methods that allows."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.core import Literal

from insilico.model import Model
from insilico.solve.fields import Components, Program, traced
from insilico.vocabulary import Vector

Coefficients = Callable[[Array, Components], tuple[Array, ...]]
"""The coefficients of noise at a time and state, in the order of a structure's `entries`."""


class Structure(NamedTuple):
    """How a model's noise acts.

    - `processes`: the names of the independent Wiener processes.
    - `entries`: the pairs (process, component of the state) whose coefficient is no plain zero.
    - `additive`: no coefficient depends on the state.
    - `commutative`: with L_i = Σ_k b_ki·∂/∂x_k, L_i b_kj = L_j b_ki for all processes i and j and
      components k. Then a path's increments are all of it that a method of strong order 1 needs.
      So it is with one process, with additive noise, and with diagonal noise: each process acting
      on a state of its own by a coefficient of that state alone.
    """

    processes: tuple[str, ...]
    entries: tuple[tuple[int, int], ...]
    additive: bool
    commutative: bool


@functools.lru_cache(maxsize=64)
def structure_of(model: Model) -> Structure:
    """The structure of a model's noise, read off the operations of its diffusion.

    Where they do not settle whether noise is commutative, its definition is put to the test at
    random points between 0.1 and 0.9: an identity of formulas holds at all of them, anything else
    at none. Coefficients that are other formulas elsewhere (a `where`) are not seen there.

    Raises `ValueError` for a model without noise, and one whose noise acts on nothing.
    """
    if model.diffusion is None:
        raise ValueError(f"model {model.name} has no noise: it states no diffusion")
    with jax.ensure_compile_time_eval():
        numbers = _points(model, 1)
        states = len(model.components())
        program = traced(functools.partial(_coefficients, model), *numbers)
        acting = [index for index, result in enumerate(program.results) if _acts(program, result)]
        entries = tuple(divmod(index, states) for index in acting)
        if not entries:
            raise ValueError(f"the diffusion of model {model.name} is zero throughout")
        on_state = [
            {argument - 1 for argument in program.dependencies()[index] if 0 < argument <= states}
            for index in acting
        ]
        driven = [
            {component for process, component in entries if process == each}
            for each in range(len(model.Noise._fields))
        ]
        apart = all(
            not depends & components
            for (process, _), depends in zip(entries, on_state, strict=True)
            for other, components in enumerate(driven)
            if other != process
        )
        return Structure(
            processes=tuple(model.Noise._fields),
            entries=entries,
            additive=not any(on_state),
            commutative=apart or _commute(model, driven),
        )


def chosen(structure: Structure, noise: Any) -> list[Any]:
    """The coefficients of `noise`, a model's `Noise` of `State`s, in the order of the entries."""
    flat = [jax.tree.leaves(coefficients) for coefficients in noise]
    return [flat[process][component] for process, component in structure.entries]


def _points(model: Model, count: int) -> tuple[Array, list[Array], list[Array], list[Array]]:
    """Time, state, parameters and inputs at random points, each leaf of shape (count,).

    Between 0.1 and 0.9, where shares are shares and amounts are amounts.
    """
    generator = np.random.default_rng(1)

    def column() -> Array:
        return jnp.asarray(generator.uniform(0.1, 0.9, count))

    def columns(group: str) -> list[Array]:
        return [
            column()
            for quantity in model.quantities(group).values()
            for _ in range(quantity.size or 1)
        ]

    return column(), columns("State"), columns("Parameters"), columns("Inputs")


def _named(model: Model, group: str, leaves: Sequence[Any]) -> Any:
    remaining = iter(leaves)
    sizes = [quantity.size for quantity in model.quantities(group).values()]
    fields = [
        next(remaining) if size is None else Vector(*(next(remaining) for _ in range(size)))
        for size in sizes
    ]
    return getattr(model, group)(*fields)


def _coefficients(
    model: Model, time: Any, state: list[Any], parameters: list[Any], inputs: list[Any]
) -> list[Any]:
    """All coefficients, process by process, component by component."""
    assert model.diffusion is not None
    noise = model.diffusion(
        time,
        _named(model, "State", state),
        _named(model, "Parameters", parameters),
        _named(model, "Inputs", inputs),
    )
    return [leaf for coefficients in noise for leaf in jax.tree.leaves(coefficients)]


def _acts(program: Program, result: Any) -> bool:
    """Whether a result can differ from zero."""
    if isinstance(result, Literal):
        return bool(np.any(np.asarray(result.val) != 0.0))
    return result not in program.known or bool(np.any(np.asarray(program.known[result]) != 0.0))


def _commute(model: Model, driven: Sequence[set[int]]) -> bool:
    """Whether L_i b_kj = L_j b_ki at random points."""
    count = 16
    time, state, parameters, inputs = _points(model, count)

    def rows(state: list[Array]) -> Array:
        flat = _coefficients(model, time, state, parameters, inputs)
        full = [jnp.broadcast_to(jnp.asarray(leaf, float), (count,)) for leaf in flat]
        return jnp.stack(full).reshape(len(driven), len(state), count)

    here = rows(state)
    along = jnp.stack([jax.jvp(rows, (state,), (list(here[i]),))[1] for i in range(len(driven))])
    first, second = np.asarray(along), np.asarray(jnp.swapaxes(along, 0, 1))
    usable = np.isfinite(first).all(axis=(0, 1, 2))
    near = np.isclose(first[..., usable], second[..., usable], rtol=1e-9, atol=1e-12)
    return bool(usable.any() and near.all())
