"""Methods for stochastic models in the sense of Itô, along given paths."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
from jax import Array, lax

from insilico.solve.fields import Components, Field, on_lanes, traced
from insilico.solve.noise import Coefficients, Structure

Step = Callable[[Array, Array, Components, tuple[Array, ...]], Components]


@dataclasses.dataclass(frozen=True)
class EulerMaruyama:
    """Rates and coefficients of a step's start throughout the step (G. Maruyama, 1955).

    Right for any noise. Strong order 1/2, and 1 where noise is additive.
    """

    name: str = "euler_maruyama"

    def prepare(
        self,
        structure: Structure,
        field: Field,
        diffusion: Coefficients,
        time: Array,
        state: Components,
    ) -> Step:
        rates, coefficients = on_lanes(field, time, state), on_lanes(diffusion, time, state)

        def step(
            time: Array, size: Array, state: Components, increments: tuple[Array, ...]
        ) -> Components:
            return _drifted(
                structure, size, state, rates(time, state), coefficients(time, state), increments
            )

        return step


@dataclasses.dataclass(frozen=True)
class Milstein:
    """Euler–Maruyama, and how the noise changes its own coefficients within a step.

    Strong order 1 (G. Milstein, 1974; P. Kloeden and E. Platen, Numerical Solution of Stochastic
    Differential Equations, 1992, 10.3), the derivatives by `jvp`. Right where noise is commutative
    (`insilico.solve.noise.Structure`): for other noise the order needs more of a path than its
    increments, and without it is no better than that of Euler–Maruyama.
    """

    name: str = "milstein"

    def prepare(
        self,
        structure: Structure,
        field: Field,
        diffusion: Coefficients,
        time: Array,
        state: Components,
    ) -> Step:
        if not structure.commutative:
            raise ValueError(
                f"method {self.name} is right for commutative noise only, and the noise of "
                f"{', '.join(structure.processes)} is not: one process changes the coefficient of "
                f"another; choose euler_maruyama"
            )
        entries = structure.entries
        depends = [
            {argument - 1 for argument in each}
            for each in traced(diffusion, time, state).dependencies()
        ]
        driven = [
            [component for process, component in entries if process == number]
            for number in range(len(structure.processes))
        ]
        changes = [
            (process, entry)
            for process, components in enumerate(driven)
            for entry, on in enumerate(depends)
            if on & set(components)
        ]

        def slopes(time: Array, state: Components) -> tuple[Array, ...]:
            """For each of `changes`, how the process drives the entry's coefficient."""
            coefficients = diffusion(time, state)
            found: list[Array] = []
            for process, components in enumerate(driven):
                wanted = [entry for by, entry in changes if by == process]
                if not wanted:
                    continue

                def of_driven(
                    values: list[Array],
                    components: list[int] = components,
                    wanted: list[int] = wanted,
                ) -> list[Array]:
                    there = list(state)
                    for component, value in zip(components, values, strict=True):
                        there[component] = value
                    after = diffusion(time, tuple(there))
                    return [after[entry] for entry in wanted]

                own = [
                    coefficient
                    for (by, _), coefficient in zip(entries, coefficients, strict=True)
                    if by == process
                ]
                found += jax.jvp(of_driven, ([state[k] for k in components],), (own,))[1]
            return tuple(found)

        rates, coefficients = on_lanes(field, time, state), on_lanes(diffusion, time, state)
        slopes_on_lanes = on_lanes(slopes, time, state)

        def step(
            time: Array, size: Array, state: Components, increments: tuple[Array, ...]
        ) -> Components:
            end = list(
                _drifted(
                    structure,
                    size,
                    state,
                    rates(time, state),
                    coefficients(time, state),
                    increments,
                )
            )
            here = lax.optimization_barrier(slopes_on_lanes(time, state))
            for (by, entry), slope in zip(changes, here, strict=True):
                process, component = entries[entry]
                square = increments[by] * increments[process]
                if by == process:
                    square = square - size
                end[component] = end[component] + 0.5 * slope * square
            return tuple(end)

        return step


def _drifted(
    structure: Structure,
    size: Array,
    state: Components,
    rates: Components,
    coefficients: tuple[Array, ...],
    increments: tuple[Array, ...],
) -> Components:
    end = [y + size * rate for y, rate in zip(state, rates, strict=True)]
    for (process, component), coefficient in zip(structure.entries, coefficients, strict=True):
        end[component] = end[component] + coefficient * increments[process]
    return tuple(end)


EULER_MARUYAMA = EulerMaruyama()
"""Any noise, strong order 1/2."""

MILSTEIN = Milstein()
"""Commutative noise, strong order 1."""
