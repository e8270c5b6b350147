"""A field's Jacobian and linear systems with it, written out entry by entry over lanes.

Which entries can differ from zero is read off the field's operations; everything else is left out
of the code, so that a chain of compartments costs what a chain should.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from insilico.solve.fields import Components, Field

Pattern = Sequence[Sequence[int]]
"""For each component, the components that its rate depends on, in order."""

Place = tuple[int, int]


def places(pattern: Pattern) -> list[Place]:
    """Row and column of each entry, column by column."""
    return [
        (row, column)
        for column in range(len(pattern))
        for row, columns in enumerate(pattern)
        if column in columns
    ]


def jacobian(field: Field, pattern: Pattern) -> Callable[[Array, Components], tuple[Array, ...]]:
    """The entries of the field's Jacobian in the order of `places`, by one `jvp` a column."""

    def entries(time: Array, state: Components) -> tuple[Array, ...]:
        found: list[Array] = []
        for column, component in enumerate(state):
            rows = [row for row, columns in enumerate(pattern) if column in columns]
            if not rows:
                continue

            def of_column(value: Array, column: int = column, rows: list[int] = rows) -> Components:
                rates = field(time, (*state[:column], value, *state[column + 1 :]))
                return tuple(rates[row] for row in rows)

            _, slopes = jax.jvp(of_column, (component,), (jnp.ones_like(component),))
            found.extend(slopes)
        return tuple(found)

    return entries


class Factors(NamedTuple):
    """Multipliers and upper triangle of W = diagonal − J, and the inverse pivots."""

    entries: tuple[Array, ...]
    pivots: tuple[Array, ...]


@dataclasses.dataclass(frozen=True)
class Elimination:
    """Gaussian elimination of W without exchange of rows, in an order fixed beforehand.

    W's diagonal is large where steps are small, so that no pivot vanishes at an acceptable step;
    where one does, the error is not finite and the step is taken again, smaller.
    """

    size: int
    given: tuple[Place, ...]
    order: tuple[int, ...]
    filled: tuple[Place, ...]
    """Every entry that elimination works on, those that it creates included."""

    @classmethod
    def of(cls, pattern: Pattern) -> Elimination:
        """The order of Markowitz: next comes what creates the fewest new entries."""
        size = len(pattern)
        rows = [set(columns) | {row} for row, columns in enumerate(pattern)]
        left, order = set(range(size)), []

        def cost(pivot: int) -> tuple[int, int]:
            below = sum(1 for row in left if row != pivot and pivot in rows[row])
            return below * (len(rows[pivot] & left) - 1), pivot

        while left:
            pivot = min(left, key=cost)
            order.append(pivot)
            left.discard(pivot)
            for row in left:
                if pivot in rows[row]:
                    rows[row] |= rows[pivot] & left
        filled = tuple((row, column) for row in range(size) for column in sorted(rows[row]))
        return cls(size, tuple(places(pattern)), tuple(order), filled)

    def factors(self, entries: tuple[Array, ...], diagonal: Array) -> Factors:
        """W's factors for `entries` of J."""
        matrix = {place: -entry for place, entry in zip(self.given, entries, strict=True)}
        for index in range(self.size):
            place = (index, index)
            matrix[place] = matrix[place] + diagonal if place in matrix else diagonal
        pivots: dict[int, Array] = {}
        for done, pivot in enumerate(self.order):
            pivots[pivot] = lax.optimization_barrier(1.0 / matrix[pivot, pivot])
            rest = self.order[done + 1 :]
            columns = [column for column in rest if (pivot, column) in matrix]
            for row in rest:
                if (row, pivot) not in matrix:
                    continue
                multiplier = matrix[row, pivot] * pivots[pivot]
                matrix[row, pivot] = multiplier
                for column in columns:
                    product = multiplier * matrix[pivot, column]
                    old = matrix.get((row, column))
                    matrix[row, column] = -product if old is None else old - product
        return lax.optimization_barrier(
            Factors(
                tuple(matrix[place] for place in self.filled if place[0] != place[1]),
                tuple(pivots[index] for index in range(self.size)),
            )
        )

    def prepare(
        self, entries: tuple[Array, ...], diagonal: Array
    ) -> Callable[[Components], Components]:
        """Solves W·x = right for any `right`.

        Its derivative is that of the equation, W·dx = dright − dW·x, so that the elimination is
        not differentiated: one more solve with the same factors.
        """
        # That solve is written out when it is transposed, so second derivatives are those of its
        # factors too, and there alone they are asked for.
        factors = self.factors(entries, diagonal)

        @jax.custom_jvp
        def solve(
            entries: tuple[Array, ...], diagonal: Array, factors: Factors, right: Components
        ) -> Components:
            del entries, diagonal
            return self.solve(factors, right)

        @solve.defjvp
        def _(primals: Any, tangents: Any) -> tuple[Components, Components]:
            entries, diagonal, factors, right = primals
            entries_dot, diagonal_dot, _, right_dot = tangents
            x = solve(entries, diagonal, factors, right)
            change = [r - diagonal_dot * value for r, value in zip(right_dot, x, strict=True)]
            for (row, column), entry_dot in zip(self.given, entries_dot, strict=True):
                change[row] = change[row] + entry_dot * x[column]
            return x, solve(entries, diagonal, factors, tuple(change))

        return lambda right: solve(entries, diagonal, factors, tuple(right))

    def solve(self, factors: Factors, right: Components) -> Components:
        """The solution of W·x = right."""
        off = [place for place in self.filled if place[0] != place[1]]
        matrix = dict(zip(off, factors.entries, strict=True))
        x = list(right)
        for done, pivot in enumerate(self.order):
            for row in self.order[done + 1 :]:
                if (row, pivot) in matrix:
                    x[row] = x[row] - matrix[row, pivot] * x[pivot]
        for done in reversed(range(self.size)):
            pivot = self.order[done]
            for column in self.order[done + 1 :]:
                if (pivot, column) in matrix:
                    x[pivot] = x[pivot] - matrix[pivot, column] * x[column]
            x[pivot] = x[pivot] * factors.pivots[pivot]
        return tuple(x)
