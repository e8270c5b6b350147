"""Rosenbrock methods on lanes: one Jacobian and one factorisation a step, no iteration.

For stiff models. A step solves linear systems with W = 1/(γh) − J; J's pattern and its values come
from the field (`insilico.solve.methods.jacobians`), the systems are solved by an elimination that
is written out for that pattern.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from insilico.solve.fields import Components, Field, on_lanes, traced
from insilico.solve.methods.explicit import weighted
from insilico.solve.methods.interface import Trial
from insilico.solve.methods.jacobians import Elimination, jacobian


class Coefficients(NamedTuple):
    """A method in the form whose stages U need no product with the Jacobian.

    Stage i solves W·U_i = f(t + c_i·h, y + Σ a_ij·U_j) + Σ (C_ij / h)·U_j + d_i·h·∂f/∂t. Beyond
    the rows of `a`, the state at a stage is that of the stage before plus its U; the last two of
    these are the embedded solution and the step's end.

    The interpolant is (1 − θ)·y + θ·(end + (1 − θ)·(K_1 + θ·K_2 + …)); `between` are the weights of
    the stages in the K.
    """

    gamma: float
    a: tuple[tuple[float, ...], ...]
    c: tuple[tuple[float, ...], ...]
    nodes: tuple[float, ...]
    time: tuple[float, ...]
    between: tuple[tuple[float, ...], ...]


@dataclasses.dataclass(frozen=True)
class Rosenbrock:
    """A stiffly accurate Rosenbrock method with an embedded solution of one order less."""

    name: str
    order: int
    coefficients: Coefficients
    reuses_rates: bool = False

    def prepare(self, field: Field, time: Array, state: Components) -> _Stepper:
        depends = traced(field, time, state).dependencies()
        pattern = [sorted(index - 1 for index in each if index) for each in depends]

        def slope_in_time(time: Array, state: Components) -> Components:
            _, slope = jax.jvp(lambda t: tuple(field(t, state)), (time,), (jnp.ones_like(time),))
            return slope

        return _Stepper(
            on_lanes(field, time, state),
            on_lanes(jacobian(field, pattern), time, state),
            on_lanes(slope_in_time, time, state) if any(0 in each for each in depends) else None,
            Elimination.of(pattern),
            self.coefficients,
        )


@dataclasses.dataclass(frozen=True)
class _Stepper:
    rates: Field
    jacobian: Field
    slope_in_time: Field | None
    elimination: Elimination
    coefficients: Coefficients

    def step(
        self,
        time: Array,
        size: Array,
        state: Components,
        rates: Components,
        between: tuple[int, ...] = (),
    ) -> Trial:
        del rates
        end, stages = self._end(time, size, state)
        curves = tuple(self._curve(state[i], end[i], stages, i) for i in between)
        return Trial(end, (), stages[-1], lax.optimization_barrier(curves))

    def _curve(self, start: Array, end: Array, stages: list[Components], index: int) -> Components:
        """Coefficients of the interpolant's powers."""
        first, *others = [weighted(row, stages, index) for row in self.coefficients.between]
        # θ·(change + K_1) + Σ θ^(p+1)·(K_(p+1) − K_p), with K beyond the last one zero.
        higher = [later - earlier for earlier, later in itertools.pairwise([first, *others])]
        return (end - start + first, *higher, -(others[-1] if others else first))

    def flow(self, time: Array, size: Array, state: Components) -> Components:
        return self._end(time, size, state)[0]

    def _end(
        self, time: Array, size: Array, state: Components
    ) -> tuple[Components, list[Components]]:
        """The step's end, and its stages, of which the last is the estimate of its error."""
        method, elimination = self.coefficients, self.elimination
        inverse = 1.0 / size
        entries = lax.optimization_barrier(self.jacobian(time, state))
        diagonal = inverse * (1.0 / method.gamma)
        solve = elimination.prepare(entries, diagonal)
        drift = None
        if self.slope_in_time is not None:
            drift = lax.optimization_barrier(
                tuple(size * slope for slope in self.slope_in_time(time, state))
            )
        stages: list[Components] = []
        there = state
        for index, (weights, node, share) in enumerate(
            zip(method.c, method.nodes, method.time, strict=True)
        ):
            if 0 < index < len(method.a):
                row = method.a[index]
                there = tuple(y + weighted(row, stages, i) for i, y in enumerate(state))
            elif index:
                there = tuple(y + u for y, u in zip(there, stages[-1], strict=True))
            there = lax.optimization_barrier(there)
            right = self.rates(time + node * size, there)
            if index:
                right = tuple(
                    rate + inverse * weighted(weights, stages, i) for i, rate in enumerate(right)
                )
            if drift is not None and share:
                right = tuple(r + share * d for r, d in zip(right, drift, strict=True))
            right = lax.optimization_barrier(right)
            stages.append(lax.optimization_barrier(solve(right)))
        end = tuple(y + u for y, u in zip(there, stages[-1], strict=True))
        return lax.optimization_barrier(end), stages


RODAS4 = Rosenbrock(
    "rodas4",
    order=4,
    coefficients=Coefficients(
        gamma=0.25,
        a=(
            (),
            (1.544,),
            (0.9466785280815826, 0.2557011698983284),
            (3.314825187068521, 2.896124015972201, 0.9986419139977817),
            (1.221224509226641, 6.019134481288629, 12.53708332932087, -0.6878860361058950),
        ),
        c=(
            (),
            (-5.6688,),
            (-2.430093356833875, -0.2063599157091915),
            (-0.1073529058151375, -9.594562251023355, -20.47028614809616),
            (7.496443313967647, -10.24680431464352, -33.99990352819905, 11.70890893206160),
            (
                8.083246795921522,
                -7.981132988064893,
                -31.52159432874371,
                16.31930543123136,
                -6.058818238834054,
            ),
        ),
        nodes=(0.0, 0.386, 0.21, 0.63, 1.0, 1.0),
        time=(0.25, -0.1043, 0.1035, -0.03620000000000023, 0.0, 0.0),
        between=(
            (
                10.12623508344586,
                -7.487995877610167,
                -34.80091861555747,
                -7.992771707568823,
                1.025137723295662,
                0.0,
            ),
            (
                -0.6762803392801253,
                6.087714651680015,
                16.43084320892478,
                24.76722511418386,
                -6.594389125716872,
                0.0,
            ),
        ),
    ),
)
"""Order 4 with 3: RODAS of Hairer and Wanner, Solving Ordinary Differential Equations II, IV.7."""

RODAS5P = Rosenbrock(
    "rodas5p",
    order=5,
    coefficients=Coefficients(
        gamma=0.21193756319429014,
        a=(
            (),
            (3.0,),
            (2.849394379747939, 0.45842242204463923),
            (-6.954028509809101, 2.489845061869568, -10.358996098473584),
            (2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641),
            (
                -7.502846399306121,
                2.561846144803919,
                -11.627539656261098,
                -0.18268767659942256,
                0.030198172008377946,
            ),
        ),
        c=(
            (),
            (-14.155112264123755,),
            (-17.97296035885952, -2.859693295451294),
            (147.12150275711716, -1.41221402718213, 71.68940251302358),
            (165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306),
            (
                24.854864614690072,
                -3.0009227002832186,
                47.4931110020768,
                5.5814197821558125,
                -0.6610691825249471,
            ),
            (
                30.91273214028599,
                -3.1208243349937974,
                77.79954646070892,
                34.28646028294783,
                -19.097331116725623,
                -28.087943162872662,
            ),
            (
                37.80277123390563,
                -3.2571969029072276,
                112.26918849496327,
                66.9347231244047,
                -40.06618937091002,
                -54.66780262877968,
                -9.48861652309627,
            ),
        ),
        nodes=(0.0, 0.6358126895828704, 0.4095798393397535, 0.9769306725060716,
               0.4288403609558664, 1.0, 1.0, 1.0),
        time=(0.21193756319429014, -0.42387512638858027, -0.3384627126235924, 1.8046452872882734,
              2.325825639765069, 0.0, 0.0, 0.0),
        between=(
            (25.948786856663858, -2.5579724845846235, 10.433815404888879, -2.3679251022685204,
             0.524948541321073, 1.1241088310450404, 0.4272876194431874, -0.17202221070155493),
            (-9.91568850695171, -0.9689944594115154, 3.0438037242978453, -24.495224566215796,
             20.176138334709044, 15.98066361424651, -6.789040303419874, -6.710236069923372),
            (11.419903575922262, 2.8879645146136994, 72.92137995996029, 80.12511834622643,
             -52.072871366152654, -59.78993625266729, -0.15582684282751913, 4.883087185713722),
        ),
    ),
)  # fmt: skip
"""Order 5 with 4: G. Steinebach, Rosenbrock–Wanner method Rodas5P, BIT 2023; 63:27."""
