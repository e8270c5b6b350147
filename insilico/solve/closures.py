"""Numbers that are traced and that a function holds, in place of being given them.

A solve's derivatives and batches are of what it is given. A model, a rule or an objective that was
made inside of `jax.grad` or `jax.vmap` around a number of theirs would end in an error that speaks
of custom rules; it is refused in words of ours. Under `jax.jit` alone such a number is a constant.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.core import Tracer
from jax.interpreters.partial_eval import DynamicJaxprTracer

from insilico.model import Model
from insilico.solve.guards import Derivative, DerivativeError


def refuse_held(derivative: Derivative | None, **held_by: Any) -> None:
    """Raise `DerivativeError` where one of these, by what they are, holds a number that is
    differentiated or batched. Forwards it may: there JAX carries it through the loops itself."""
    if derivative != "forward":
        _refuse(held_by, lambda number: not isinstance(number, DynamicJaxprTracer))


def refuse_traced(**held_by: Any) -> None:
    """Raise `DerivativeError` where one of these holds any number that is traced: for solves that
    run outside of traced programs."""
    _refuse(held_by, lambda number: True)


def _refuse(held_by: dict[str, Any], refused: Callable[[Tracer], bool]) -> None:
    for what, holder in held_by.items():
        for path, number in _held(holder, what, set()):
            if refused(number):
                raise DerivativeError(
                    f"{path} is a number that is being traced (by jax.grad, jax.vmap or alike), "
                    f"which the {what} holds; what a solve depends on has to be given to it: make "
                    f"it a field of the model's Parameters, of the rule's subject or of the "
                    f"objective's data, or under jax.jvp alone say derivative='forward'"
                )


def _held(value: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Tracer]]:
    """Traced numbers in a value and in what the functions in it close over, each with the way to
    it."""
    if isinstance(value, Tracer):
        yield path, value
        return
    if id(value) in seen:
        return
    seen.add(id(value))
    for name, part in _parts(value):
        yield from _held(part, f"{path}.{name}", seen)


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Model):
        for field in dataclasses.fields(value):
            part = getattr(value, field.name)
            if callable(part) and not isinstance(part, type):
                yield field.name, part
    elif isinstance(value, functools.partial):
        yield "func", value.func
        yield from ((str(number), part) for number, part in enumerate(value.args))
        yield from value.keywords.items()
    elif closure := getattr(value, "__closure__", None):
        for name, cell in zip(value.__code__.co_freevars, closure, strict=True):
            try:
                yield name, cell.cell_contents
            except ValueError:  # a name that has no value yet
                continue
    elif (owner := getattr(value, "__self__", None)) is not None:
        yield "self", owner
    elif isinstance(value, dict | list | tuple):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        yield from ((str(name), part) for name, part in pairs)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
    elif (
        not isinstance(value, type | jax.Array)
        and hasattr(value, "__dict__")
        and not callable(value)
    ):
        yield from vars(value).items()
