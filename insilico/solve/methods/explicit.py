"""Explicit Runge–Kutta pairs on lanes.

The barriers are what makes a step fast on a CPU: without them XLA's fusion recomputes earlier
stages inside later ones, up to five times over.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import numpy as np
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
        return _Stepper(on_lanes(field, time, state), self.published, tableau(self.published))


@dataclasses.dataclass(frozen=True)
class _Stepper:
    rates: Field
    published: str
    tableau: Tableau

    def step(
        self,
        time: Array,
        size: Array,
        state: Components,
        rates: Components,
        between: tuple[int, ...] = (),
    ) -> Trial:
        stages, end = self._stages(time, size, state, rates)
        last = lax.optimization_barrier(self.rates(time + self.tableau.nodes[-1] * size, end))
        stages.append(last)
        error = lax.optimization_barrier(
            tuple(size * weighted(self.tableau.error, stages, i) for i in range(len(state)))
        )
        powers = interpolant(self.published) if between else ()
        curves = tuple(
            tuple(size * weighted(row, stages, index) for row in powers) for index in between
        )
        return Trial(end, last, error, lax.optimization_barrier(curves))

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


@functools.cache
def interpolant(published: str) -> tuple[tuple[float, ...], ...]:
    """The weights of all stages in each power of θ, read off diffrax' interpolation.

    It is a polynomial without a constant, of the lowest degree that gives all its values.
    """
    import diffrax

    solver = getattr(diffrax, published)

    def value(place: Array, stages: Array) -> Array:
        curve = solver.interpolation_cls(t0=0.0, t1=1.0, y0=0.0, y1=0.0, k=stages)
        return curve.evaluate(place)

    places = np.linspace(0.0, 1.0, 33)[1:]
    units = np.eye(len(solver.tableau.b_error))
    # Here and now, also where a program is traced for devices that this machine lacks.
    nowhere = jax.sharding.AbstractMesh((), ())
    with jax.ensure_compile_time_eval(), jax.sharding.use_abstract_mesh(nowhere):
        # One small program: one operation after the other takes a second.
        of_stages = jax.vmap(value, (None, 0))
        values = np.asarray(jax.jit(jax.vmap(of_stages, (0, None)))(places, units))
    for degree in range(1, 11):
        powers = places[:, None] ** np.arange(1, degree + 1)
        weights = np.linalg.lstsq(powers, values)[0]
        if np.max(np.abs(powers @ weights - values)) < 1e-12 * np.max(np.abs(weights)):
            weights[np.abs(weights) < 1e-11] = 0.0
            return tuple(tuple(row.tolist()) for row in weights)
    raise AssertionError(f"the interpolation of {solver.__name__} is no polynomial of the stages")


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
