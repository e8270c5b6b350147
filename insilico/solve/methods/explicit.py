"""Explicit Runge–Kutta pairs on lanes.

The barriers are what makes a step fast on a CPU: without them XLA's fusion recomputes earlier
stages inside later ones, up to five times over.
"""

import dataclasses
import functools
from typing import NamedTuple

from jax import Array, lax

from insilico.solve.fields import Components, Field, on_lanes
from insilico.solve.methods.interface import Trial


class Tableau(NamedTuple):
    """Weights of the earlier rates at each stage, the stages' times, and the error's weights.

    The last stage is the step's end.
    """

    stages: tuple[tuple[float, ...], ...]
    nodes: tuple[float, ...]
    error: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class ExplicitPair:
    """A pair whose last stage is the step's end and the first stage of the next step.

    - `published`: the name of diffrax' solver, from which the coefficients come.
    """

    name: str
    published: str
    order: int
    reuses_rates: bool = True

    def prepare(self, field: Field, time: Array, state: Components) -> "_Stepper":
        return _Stepper(on_lanes(field, time, state), tableau(self.published))


@dataclasses.dataclass(frozen=True)
class _Stepper:
    rates: Field
    tableau: Tableau

    def step(self, time: Array, size: Array, state: Components, rates: Components) -> Trial:
        stages, end = self._stages(time, size, state, rates)
        last = lax.optimization_barrier(self.rates(time + self.tableau.nodes[-1] * size, end))
        stages.append(last)
        error = lax.optimization_barrier(
            tuple(size * weighted(self.tableau.error, stages, i) for i in range(len(state)))
        )
        return Trial(end, last, error)

    def flow(self, time: Array, size: Array, state: Components) -> Components:
        return self._stages(time, size, state, self.rates(time, state))[1]

    def _stages(
        self, time: Array, size: Array, state: Components, rates: Components
    ) -> tuple[list[Components], Components]:
        """All stages but the last, and the step's end, at which the last is taken."""
        stages = [rates]
        end = state
        for number, row in enumerate(self.tableau.stages):
            if number:
                node = self.tableau.nodes[number - 1]
                stages.append(lax.optimization_barrier(self.rates(time + node * size, end)))
            end = lax.optimization_barrier(
                tuple(
                    component + size * weighted(row, stages, index)
                    for index, component in enumerate(state)
                )
            )
        return stages, end


@functools.cache
def tableau(published: str) -> Tableau:
    """Coefficients of a diffrax solver of that name."""
    import diffrax  # not on top: reading a config should not wait for it

    found = getattr(diffrax, published).tableau
    assert found.fsal and found.ssal
    return Tableau(
        tuple(tuple(float(a) for a in row) for row in found.a_lower),
        tuple(float(c) for c in found.c),
        tuple(float(e) for e in found.b_error),
    )


def weighted(weights: tuple[float, ...], stages: list[Components], index: int) -> Array:
    """The sum of one component over stages; weights of zero cost nothing."""
    terms = [weight * stage[index] for weight, stage in zip(weights, stages, strict=True) if weight]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


TSIT5 = ExplicitPair("tsit5", "Tsit5", order=5)
"""Tsitouras' pair of orders 5 and 4 (Comput Math Appl 2011; 62:770-775): six evaluations a step."""

DOPRI8 = ExplicitPair("dopri8", "Dopri8", order=8)
"""Prince and Dormand's pair of orders 8 and 7 (J Comp Appl Math 1981; 7:67-75): thirteen."""
