"""The words that a model's equations are written in.

Each works alike on a Python float, on a traced scalar, on lanes (one array entry a patient) and
inside one GPU kernel, because each is elementwise over patients. A quantity with several
components (a chain of transit compartments, age groups) is a `Vector`: its components are kept
apart instead of being stacked in an array, so that the compiler sees plain scalar arithmetic and
the patients' axis stays the only array axis there is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from insilico.arrays import library_of

Value = Any
"""A number for one patient: a float, a traced scalar, an array of lanes, or a `Vector` of them."""


class Vector:
    """A fixed number of components with elementwise arithmetic.

    `Vector(a, b, c)` combines with another vector of equal length component by component, and with
    anything else by using it for every component. Raises `ValueError` when lengths differ.
    """

    __slots__ = ("components",)

    # A NumPy number on the left would take a vector for a sequence and return an array.
    __array_ufunc__ = None

    def __init__(self, *components: Value):
        self.components = components

    def __len__(self) -> int:
        return len(self.components)

    def __iter__(self) -> Iterator[Value]:
        return iter(self.components)

    def __getitem__(self, index: int) -> Value:
        return self.components[index]

    def __repr__(self) -> str:
        return f"Vector({', '.join(map(repr, self.components))})"

    def __add__(self, other: Value) -> Vector:
        return _combine(lambda a, b: a + b, self, other)

    def __radd__(self, other: Value) -> Vector:
        return _combine(lambda a, b: a + b, other, self)

    def __sub__(self, other: Value) -> Vector:
        return _combine(lambda a, b: a - b, self, other)

    def __rsub__(self, other: Value) -> Vector:
        return _combine(lambda a, b: a - b, other, self)

    def __mul__(self, other: Value) -> Vector:
        return _combine(lambda a, b: a * b, self, other)

    def __rmul__(self, other: Value) -> Vector:
        return _combine(lambda a, b: a * b, other, self)

    def __truediv__(self, other: Value) -> Vector:
        return _combine(lambda a, b: a / b, self, other)

    def __rtruediv__(self, other: Value) -> Vector:
        return _combine(lambda a, b: a / b, other, self)

    def __neg__(self) -> Vector:
        return Vector(*(-component for component in self.components))


def register_vectors(tree_util: Any) -> None:
    """Make vectors nodes of JAX's trees; `tree_util` is JAX's module. Once a process is enough."""
    global _registered
    if not _registered:
        tree_util.register_pytree_node(
            Vector, lambda vector: (vector.components, None), lambda _, parts: Vector(*parts)
        )
    _registered = True


_registered = False
if "jax" in sys.modules:
    register_vectors(sys.modules["jax"].tree_util)


def _combine(function: Callable[..., Value], *arguments: Value) -> Vector:
    lengths = {len(argument) for argument in arguments if isinstance(argument, Vector)}
    if len(lengths) > 1:
        raise ValueError(f"vectors of lengths {sorted(lengths)} cannot be combined")
    (length,) = lengths
    columns = [
        argument.components if isinstance(argument, Vector) else (argument,) * length
        for argument in arguments
    ]
    return Vector(*(function(*entries) for entries in zip(*columns, strict=True)))


def _elementwise(function: Callable[..., Value]) -> Callable[..., Value]:
    def apply(*arguments: Value) -> Value:
        if any(isinstance(argument, Vector) for argument in arguments):
            return _combine(function, *arguments)
        return function(*arguments)

    apply.__name__ = function.__name__
    apply.__doc__ = function.__doc__
    return apply


def _function(name: str) -> Callable[..., Value]:
    def apply(*arguments: Value) -> Value:
        library = library_of(*arguments)
        if library is not np:
            return getattr(library, name)(*arguments)
        with np.errstate(all="ignore"):
            result = getattr(np, name)(*arguments)
        # A plain number stays one: it then takes the precision of what it is combined with.
        plain = all(isinstance(argument, int | float) for argument in arguments)
        return result.item() if plain else result

    apply.__name__ = name
    apply.__doc__ = f"Elementwise `{name}`."
    return _elementwise(apply)


exp = _function("exp")
log = _function("log")
sqrt = _function("sqrt")
tanh = _function("tanh")
sin = _function("sin")
cos = _function("cos")
absolute = _function("abs")
minimum = _function("minimum")
maximum = _function("maximum")
where = _function("where")
nearest = _function("rint")
nearest.__doc__ = "The nearest whole number; halves go to the even one."


def _power(base: Value, exponent: Value) -> Value:
    positive = base > 0
    return where(positive, exp(exponent * log(where(positive, base, 1.0))), 0.0)


_power.__name__ = "power"
power = _elementwise(_power)
power.__doc__ = """`base ** exponent` for a base that cannot be negative and an exponent above 0.

A base at or below zero (an amount that rounding pushed just under it) counts as zero, and both the
value and its derivatives are finite there, which those of a plain `**` are not.
"""


def choose(code: Value, *values: Value) -> Value:
    """The value that a category's code stands for: the first for 0, the second for 1, …"""
    chosen = values[-1]
    for number, value in reversed(list(enumerate(values[:-1]))):
        chosen = where(code == number, value, chosen)
    return chosen


def total(vector: Vector) -> Value:
    """Sum of a vector's components."""
    result = vector[0]
    for component in vector.components[1:]:
        result = result + component
    return result


def shift(vector: Vector, first: Value) -> Vector:
    """Each component replaced by the one before it, the first by `first`: the inflow of a chain."""
    return Vector(first, *vector.components[:-1])


def matvec(matrix: np.ndarray, vector: Vector) -> Vector:
    """A constant matrix times a vector; zero entries cost nothing."""
    rows = np.asarray(matrix, dtype=float)
    if rows.ndim != 2 or rows.shape[1] != len(vector):
        raise ValueError(f"a matrix of shape {rows.shape} does not fit {len(vector)} components")
    zero = 0.0 * vector[0]
    products = [[float(row[j]) * vector[j] for j in np.flatnonzero(row).tolist()] for row in rows]
    return Vector(*(total(Vector(*terms)) if terms else zero for terms in products))
