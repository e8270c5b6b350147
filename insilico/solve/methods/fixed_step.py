"""Methods of a stated step: the classical one of order 4, and those of excitable cells.

A gating variable's rate is linear in itself, g' = a(V)·(1 − g) − b(V)·g, and fast: where V is held,
its solution over a step is an exponential, which is stable at any step (S. Rush and H. Larsen, IEEE
Trans Biomed Eng 1978; 25:389-392). What is needed of g for that is its rate and the derivative of
its rate in itself, −(a + b), and both come from the field as it is written.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import Array, lax

from insilico.model import Model
from insilico.solve.fields import Components, Field, on_lanes, traced

Step = Callable[[Array, Array, Components], Components]


@dataclasses.dataclass(frozen=True)
class RungeKutta4:
    """The classical method of order 4: four evaluations a step."""

    name: str = "rk4"

    def prepare(self, model: Model, field: Field, time: Array, state: Components) -> Step:
        del model
        rates = on_lanes(field, time, state)

        def step(time: Array, size: Array, state: Components) -> Components:
            half = 0.5 * size
            # Without the barriers XLA's fusions would recompute earlier stages in later ones.
            first = lax.optimization_barrier(rates(time, state))
            second = lax.optimization_barrier(rates(time + half, _moved(state, half, first)))
            third = lax.optimization_barrier(rates(time + half, _moved(state, half, second)))
            last = rates(time + size, _moved(state, size, third))
            return tuple(
                y + size * (1.0 / 6.0) * (a + 2.0 * (b + c) + d)
                for y, a, b, c, d in zip(state, first, second, third, last, strict=True)
            )

        return step


@dataclasses.dataclass(frozen=True)
class RushLarsen:
    """Gates by their exponential, everything else explicitly.

    - `order`: 1 is Rush and Larsen's, with the forward Euler step for the rest. 2 takes half a step
      of it and then a whole one by the rates and derivatives found there, the generalised method
      of J. Sundnes, R. Artebrant, O. Skavhaug and A. Tveito (IEEE Trans Biomed Eng 2009;
      56:2546-2548). The one of M. Perego and A. Veneziani (Electron Trans Numer Anal 2009;
      35:234-256), also of order 2, needs the rates of the step before, which an event invalidates.

    A state whose rate is not linear in itself may be named as a gate, too: the exponential is then
    that of its rate's tangent, and the orders are the same.
    """

    name: str
    order: int

    def prepare(self, model: Model, field: Field, time: Array, state: Components) -> Step:
        gates = model.gate_components()
        if not gates:
            raise ValueError(
                f"model {model.name} names no gates, which method {self.name} would take "
                f"exponentially: state them as Model.gates, or choose another method"
            )
        rates = on_lanes(field, time, state)
        slopes = on_lanes(_own_slopes(field, gates, time, state), time, state)

        def moved(size: Array, state: Components, rates: Components, slopes: Components) -> list:
            end = [y + size * rate for y, rate in zip(state, rates, strict=True)]
            for gate, slope in zip(gates, slopes, strict=True):
                end[gate] = state[gate] + size * _growth(size * slope) * rates[gate]
            return end

        def once(time: Array, size: Array, state: Components) -> Components:
            return tuple(moved(size, state, rates(time, state), slopes(time, state)))

        def twice(time: Array, size: Array, state: Components) -> Components:
            half = 0.5 * size
            middle = lax.optimization_barrier(once(time, half, state))
            there = list(rates(time + half, middle))
            own = slopes(time + half, middle)
            # The exponential runs from the step's start: a gate's rate is the one that it has with
            # the other states in the middle, and itself still where it was.
            for gate, slope in zip(gates, own, strict=True):
                there[gate] = there[gate] + slope * (state[gate] - middle[gate])
            return tuple(moved(size, state, tuple(there), own))

        return once if self.order == 1 else twice


def _moved(state: Components, size: Array, rates: Components) -> Components:
    return lax.optimization_barrier(
        tuple(y + size * rate for y, rate in zip(state, rates, strict=True))
    )


def _growth(exponent: Array) -> Array:
    """(exp(z) − 1) / z, and 1 for z = 0."""
    still = exponent == 0.0
    return jnp.where(still, 1.0, jnp.expm1(exponent) / jnp.where(still, 1.0, exponent))


def _own_slopes(
    field: Field, gates: Sequence[int], time: Array, state: Components
) -> Callable[[Array, Components], Components]:
    """A function to the derivative of each gate's rate in the gate itself.

    Gates that do not depend on one another share one derivative of the field.
    """
    depends = [{index - 1 for index in each} for each in traced(field, time, state).dependencies()]
    groups: list[list[int]] = []
    for gate in gates:
        for group in groups:
            if all(gate not in depends[other] and other not in depends[gate] for other in group):
                group.append(gate)
                break
        else:
            groups.append([gate])

    def slopes(time: Array, state: Components) -> Components:
        found: dict[int, Array] = {}
        for group in groups:

            def of_group(values: list[Array], group: list[int] = group) -> list[Array]:
                there = list(state)
                for gate, value in zip(group, values, strict=True):
                    there[gate] = value
                rates = field(time, tuple(there))
                return [rates[gate] for gate in group]

            values = [state[gate] for gate in group]
            ones = [jnp.ones_like(value) for value in values]
            found.update(zip(group, jax.jvp(of_group, (values,), (ones,))[1], strict=True))
        return tuple(found[gate] for gate in gates)

    return slopes


RK4 = RungeKutta4()
"""Kutta's method of 1901, order 4."""

RUSH_LARSEN = RushLarsen("rush_larsen", order=1)
"""Order 1: one evaluation of the field and of its slopes a step."""

RUSH_LARSEN2 = RushLarsen("rush_larsen2", order=2)
"""Order 2: two evaluations a step."""
