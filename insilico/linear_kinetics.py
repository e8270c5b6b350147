"""Exact linear kinetics: a depot that empties into a central compartment with peripheral ones.

The mammillary systems of Gibaldi and Perrier, Pharmacokinetics, 2nd ed., Marcel Dekker 1982, with
constant infusions into any of their compartments:

    depot' = −KA·depot + infusion
    central' = KA·depot − (K10 + Σ K1j)·central + Σ Kj1·peripheral_j + infusion
    peripheral_j' = K1j·central − Kj1·peripheral_j + infusion

**Modes.** Amounts divided by the square roots of their volumes make the exchange matrix symmetric:
Bᵀ·B with one row of B for each way that drug flows (out of central; between central and each
peripheral). One-sided Jacobi rotations of B's columns give rates and orthogonal modes together. One
rotation is the quadratic formula; three compartments need four sweeps. The cubic's trigonometric
formula was not taken: its error is relative to the fastest rate, it loses half the digits at nearly
equal rates, and the modes that follow from it are 0/0 where two peripherals have the same rate
constant or exchange stops. The slowest rate comes from the product of all rates, which is known: it
is then as exact as the clearance, however slow.

Against 50-digit arithmetic, with rate constants from 1e-4 to 1e3 per hour, durations to 1e4 hours
and volume ratios from 1e-6 to 1e6, amounts were off by at most 6e-15 of the largest amount (those
of `scipy.linalg.expm` by 6e-11), in float32 by 6e-6, and derivatives by 3e-11. Errors grow with the
square root of a volume ratio beyond that.

**Time.** A chain of first-order stages is a divided difference of the exponential function at their
rates (`divided_difference`). All are positive and are computed without cancellation, so that equal
and nearly equal rates, rates of zero and durations of zero are like any others.

**Derivatives** are not those of the modes, which do not exist at equal rates, but of the amounts:
the change of the rates, as one more inflow along the way, is again a sum of divided differences.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from insilico import devices as _devices  # noqa: F401  (float64 before anything is traced)
from insilico.divided_differences import Differences, divided_difference
from insilico.vocabulary import Value

Amounts = tuple[Array, ...]
"""Depot, central and peripheral amounts (or rates of infusion), each of shape (lanes,)."""


class Mammillary(NamedTuple):
    """Rates of a depot, a central compartment and any number of peripheral ones, all from 0 on.

    Each number is a scalar or has shape (lanes,).

    - `absorption`: KA, 1/h.
    - `elimination`: K10 = clearance / central volume, 1/h.
    - `distribution`: for each peripheral compartment K1j = exchange / central volume, 1/h.
    - `volume_ratio`: for each, central / peripheral volume, above 0: Kj1 is K1j times this. A ratio
      and not Kj1, so that an exchange of zero leaves the volumes known.
    """

    absorption: Value
    elimination: Value
    distribution: tuple[Value, ...] = ()
    volume_ratio: tuple[Value, ...] = ()


def propagate(
    duration: Value, amounts: Sequence[Value], system: Mammillary, infusion: Sequence[Value]
) -> Amounts:
    """Amounts after `duration` hours (at least 0), from `amounts` in mg.

    `amounts` and `infusion`, the constant rates of inflow in mg/h, are ordered depot, central,
    peripherals. All numbers are scalars or of shape (lanes,), and so are the results. Exact to
    rounding, in float64 or float32, and differentiable with respect to everything, with all first
    derivatives exact. Higher ones are too, save where two modes have the very same rate, which
    takes two flows out of elimination and exchanges that are exactly zero.

    Raises `ValueError` if the numbers of compartments disagree.
    """
    counts = {
        "amounts": len(amounts) - 2,
        "infusion": len(infusion) - 2,
        "distribution": len(system.distribution),
        "volume_ratio": len(system.volume_ratio),
    }
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{count} in {name}" for name, count in counts.items())
        raise ValueError(f"numbers of peripheral compartments must agree; found {found}")
    # Without any inflow half of the divided differences are of no use, and not taken.
    inflow = () if _nowhere(infusion) else tuple(infusion)
    everything = (duration, tuple(amounts), system, inflow)
    leaves, structure = jax.tree.flatten(everything)
    dtype = jnp.result_type(*leaves, jnp.result_type(float) if _all_integers(leaves) else leaves[0])
    shape = jnp.broadcast_shapes(*map(jnp.shape, leaves))
    same = [jnp.broadcast_to(jnp.asarray(leaf, dtype), shape) for leaf in leaves]
    return _propagate(*jax.tree.unflatten(structure, same))


def _nowhere(infusion: Sequence[Any]) -> bool:
    """Whether nothing is infused anywhere, known beforehand: plain zeros."""
    return all(isinstance(rate, int | float) and rate == 0 for rate in infusion)


def _all_integers(leaves: Sequence[Any]) -> bool:
    return all(not jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in leaves)


class _Modes(NamedTuple):
    """Decay rates, and each mode's unit vector over central and peripherals.

    Vectors are in amounts times the square root of `volume_ratio` (1 for central).
    """

    rates: tuple[Array, ...]
    vectors: tuple[tuple[Array, ...], ...]


@jax.custom_jvp
def _propagate(duration: Array, amounts: Amounts, system: Mammillary, infusion: Amounts) -> Amounts:
    modes = _modes(system)
    points = [-rate * duration for rate in (0.0, system.absorption, *modes.rates)]
    chains = _Chains(
        lambda *stages: divided_difference(*(points[each] for each in stages)),
        duration,
        amounts,
        infusion,
    )
    return _amounts(chains, modes, system)


_STEADY, _EMPTYING, _FIRST = 0, 1, 2
"""Stages by number: what never decays, the depot, the first of the modes."""


class _Chains(NamedTuple):
    """What is left at the end of chains of stages.

    - `passed`: the divided difference of the stages of these numbers, which ascend.
    - `infusion`: `()` where nothing is infused.
    """

    passed: Callable[..., Array]
    duration: Array
    amounts: Amounts
    infusion: Amounts

    def end_of(self, dose: Array, rate: Array | None, *stages: int) -> Array:
        """What a dose and an infusion into the first of a chain of stages leave in the last."""
        stages = tuple(sorted(stages))
        of_dose = dose * self.passed(*stages)
        if rate is None:
            return of_dose
        return of_dose + rate * self.duration * self.passed(_STEADY, *stages)

    def of_depot(self, *stages: int) -> Array:
        rate = self.infusion[0] if self.infusion else None
        return self.end_of(self.amounts[0], rate, _EMPTYING, *stages)

    def in_modes(
        self, modes: _Modes, scales: Sequence[Array]
    ) -> tuple[list[Array], list[Array | None]]:
        """What each mode has of the amounts at the start, and of infusions, if there are any."""
        starts = _in_modes(modes, scales, self.amounts[1:])
        if not self.infusion:
            return starts, [None] * len(starts)
        return starts, list[Array | None](_in_modes(modes, scales, self.infusion[1:]))


def _amounts(chains: _Chains, modes: _Modes, system: Mammillary) -> Amounts:
    scales = _scales(system)
    starts, inflows = chains.in_modes(modes, scales)
    sizes = [
        chains.end_of(start, inflow, stage)
        + chains.duration * vector[0] * system.absorption * chains.of_depot(stage)
        for stage, (vector, start, inflow) in enumerate(
            zip(modes.vectors, starts, inflows, strict=True), start=_FIRST
        )
    ]
    return chains.of_depot(), *_from_modes(modes, scales, sizes)


def _needed(modes: int, infused: bool, moving: bool) -> list[tuple[int, ...]]:
    """The chains of stages of which amounts are made, and if rates are `moving`, what amounts
    change with them."""
    stages = range(_EMPTYING, _FIRST + modes)
    ways = [(_EMPTYING,), *(way for mode in stages[1:] for way in ((mode,), (_EMPTYING, mode)))]
    if moving:
        ways.append((_EMPTYING, _EMPTYING))
        for mode in stages[1:]:
            ways.append((_EMPTYING, _EMPTYING, mode))
            for other in stages[mode - 1 :]:
                ways += [(mode, other), (_EMPTYING, mode, other)]
    return [*ways, *((_STEADY, *way) for way in ways if infused)]


@functools.partial(_propagate.defjvp, symbolic_zeros=True)
def _propagate_jvp(primals: Any, tangents: Any) -> tuple[Amounts, Amounts]:
    """By variation of constants: what the changes add to each inflow, carried to the end.

    Where rates stand still, as in the derivative by the amounts alone, a third of it is left.
    """
    duration, amounts, system, infusion = primals
    duration_dot, amounts_dot, system_dot, infusion_dot = tangents
    longer = not _still(duration_dot)
    moving = not all(map(_still, jax.tree.leaves(system_dot, is_leaf=_still)))
    amounts_dot, system_dot, infusion_dot = _instantiated((amounts_dot, system_dot, infusion_dot))
    absorption = system.absorption
    modes, scales = _modes(system), _scales(system)
    points = [-rate * duration for rate in (0.0, absorption, *modes.rates)]
    passed = Differences.of(_needed(len(modes.rates), bool(infusion), moving), 1, points)
    chains = _Chains(passed, duration, amounts, infusion)
    starts, inflows = chains.in_modes(modes, scales)
    if longer:
        # A longer duration is an earlier start: with what comes and goes then. That of each mode,
        # since the difference of the flows at the end has the rounding errors of the fastest.
        emptied = -absorption * amounts[0]
        entering = infusion[0] + emptied if infusion else emptied
        amounts_dot = (amounts_dot[0] + duration_dot * entering, *amounts_dot[1:])
    changes = chains._replace(amounts=amounts_dot, infusion=infusion_dot)
    starts_dot, inflows_dot = changes.in_modes(modes, scales)
    if longer:
        for mode, (rate, vector, start, inflow) in enumerate(
            zip(modes.rates, modes.vectors, starts, inflows, strict=True)
        ):
            flow = -rate * start + vector[0] * absorption * amounts[0]
            flow = flow if inflow is None else inflow + flow
            starts_dot[mode] = starts_dot[mode] + duration_dot * flow

    def of_depot_dot(*stages: int) -> Array:
        found = changes.of_depot(*stages)
        if not moving:
            return found
        return found - system_dot.absorption * duration * chains.of_depot(_EMPTYING, *stages)

    losses = [_losses(system, system_dot, scales, vector) for vector in modes.vectors]
    lossy = list(zip(modes.vectors, losses, strict=True)) if moving else []
    sizes_dot: list[Array] = []
    for i, vector in enumerate(modes.vectors, start=_FIRST):
        absorbed_dot = absorption * of_depot_dot(i)
        if moving:
            absorbed_dot = system_dot.absorption * chains.of_depot(i) + absorbed_dot
        size_dot = changes.end_of(starts_dot[i - _FIRST], inflows_dot[i - _FIRST], i)
        size_dot += duration * vector[0] * absorbed_dot
        for k, (other, lost) in enumerate(lossy, start=_FIRST):
            size = chains.end_of(starts[k - _FIRST], inflows[k - _FIRST], k, i)
            size += duration * other[0] * absorption * chains.of_depot(k, i)
            # Differences of concentrations are formed on both sides: what is nearly the same
            # everywhere, as in a slow mode, then cancels before it is multiplied by the duration.
            size_dot -= duration * size * _dot(_differences(vector, scales), lost)
        sizes_dot.append(size_dot)
    after_dot = (of_depot_dot(), *_from_modes(modes, scales, sizes_dot))
    return _amounts(chains, modes, system), after_dot


def _still(tangent: Any) -> bool:
    """Whether it is a zero that is known beforehand."""
    return isinstance(tangent, jax.custom_derivatives.SymbolicZero)


def _instantiated(tangents: Any) -> Any:
    return jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype) if _still(leaf) else leaf,
        tangents,
        is_leaf=_still,
    )


def _scales(system: Mammillary) -> tuple[Array, ...]:
    return tuple(jnp.sqrt(ratio) for ratio in system.volume_ratio)


def _in_modes(modes: _Modes, scales: Sequence[Array], amounts: Sequence[Array]) -> list[Array]:
    central, *peripherals = amounts
    scaled = [central, *(s * amount for s, amount in zip(scales, peripherals, strict=True))]
    return [_dot(vector, scaled) for vector in modes.vectors]


def _from_modes(modes: _Modes, scales: Sequence[Array], sizes: Sequence[Array]) -> Amounts:
    central, *peripherals = (_dot(row, sizes) for row in zip(*modes.vectors, strict=True))
    return central, *(amount / s for s, amount in zip(scales, peripherals, strict=True))


def _differences(vector: Sequence[Array], scales: Sequence[Array]) -> list[Array]:
    """Of the concentrations in a mode, along each way that drug flows."""
    central, *peripherals = vector
    return [central, *(central - s * z for s, z in zip(scales, peripherals, strict=True))]


def _losses(
    system: Mammillary, system_dot: Mammillary, scales: Sequence[Array], vector: Sequence[Array]
) -> list[Array]:
    """How the flows of a mode change when the system does."""
    out, *between = _differences(vector, scales)
    return [
        system_dot.elimination * out,
        *(
            flow_dot * difference - flow * ratio_dot * z / s
            for flow, flow_dot, ratio_dot, difference, s, z in zip(
                system.distribution,
                system_dot.distribution,
                system_dot.volume_ratio,
                between,
                scales,
                vector[1:],
                strict=True,
            )
        ),
    ]


def _dot(left: Sequence[Array], right: Sequence[Array]) -> Array:
    first, *others = (x * y for x, y in zip(left, right, strict=True))
    return sum(others, start=first)


_SWEEPS = {1: 0, 2: 1, 3: 4}
"""By the number of compartments; for more than three, `_MANY_SWEEPS`."""

_MANY_SWEEPS = 8


@jax.custom_jvp
def _modes(system: Mammillary) -> _Modes:
    """One-sided Jacobi rotations (Hestenes, J SIAM 1958; 6:51-90), all lanes alike.

    Relative errors of the rates are those of Demmel and Veselić, SIAM J Matrix Anal Appl 1992;
    13:1204-1245: they grow with (K10 + Σ K1j)/K10 under a square root, and not with the ratio of
    the rates.
    """
    zero, one = jnp.zeros_like(system.elimination), jnp.ones_like(system.elimination)
    size = 1 + len(system.distribution)
    flows = [jnp.sqrt(system.elimination), *(jnp.sqrt(flow) for flow in system.distribution)]
    columns = [flows]
    for index, scale in enumerate(_scales(system), start=1):
        columns.append([-scale * flows[index] if row == index else zero for row in range(size)])
    vectors = [[one if row == index else zero for row in range(size)] for index in range(size)]
    for _ in range(_SWEEPS.get(size, _MANY_SWEEPS)):
        for p in range(size):
            for q in range(p + 1, size):
                c, s = _rotation(columns[p], columns[q])
                for pair in (columns, vectors):
                    pair[p], pair[q] = (
                        [c * x - s * y for x, y in zip(pair[p], pair[q], strict=True)],
                        [s * x + c * y for x, y in zip(pair[p], pair[q], strict=True)],
                    )
    rates = [_dot(column, column) for column in columns]
    backward = [k * r for k, r in zip(system.distribution, system.volume_ratio, strict=True)]
    product = functools.reduce(jnp.multiply, backward, system.elimination)
    slowest = functools.reduce(jnp.minimum, rates)
    exact: list[Array] = []
    for index, rate in enumerate(rates):
        others = functools.reduce(jnp.multiply, rates[:index] + rates[index + 1 :], one)
        quotient = product / jnp.where(others > 0.0, others, 1.0)
        exact.append(jnp.where(rate == slowest, quotient, rate))
    return _Modes(tuple(exact), tuple(map(tuple, vectors)))


def _rotation(left: Sequence[Array], right: Sequence[Array]) -> tuple[Array, Array]:
    """Cosine and sine of the smaller angle that makes two columns orthogonal."""
    apart = _dot(right, right) - _dot(left, left)
    common = 2.0 * _dot(left, right)
    denominator = jnp.abs(apart) + jnp.sqrt(apart * apart + common * common)
    signed = jnp.where(apart < 0.0, -common, common)
    tangent = signed / jnp.where(denominator > 0.0, denominator, 1.0)
    cosine = 1.0 / jnp.sqrt(1.0 + tangent * tangent)
    return cosine, cosine * tangent


@_modes.defjvp
def _modes_jvp(primals: Any, tangents: Any) -> tuple[_Modes, _Modes]:
    """First-order perturbation; only second derivatives of the amounts come here."""
    (system,), (system_dot,) = primals, tangents
    modes, scales = _modes(system), _scales(system)
    scales_dot = [
        ratio_dot / (2.0 * s) for ratio_dot, s in zip(system_dot.volume_ratio, scales, strict=True)
    ]
    flows = (system.elimination, *system.distribution)
    flows_dot = (system_dot.elimination, *system_dot.distribution)
    along = [_differences(vector, scales) for vector in modes.vectors]
    zero = jnp.zeros_like(system.elimination)
    along_dot = [
        [zero, *(-s_dot * z for s_dot, z in zip(scales_dot, vector[1:], strict=True))]
        for vector in modes.vectors
    ]

    def change(i: int, k: int) -> Array:
        terms = zip(flows, flows_dot, along[i], along[k], along_dot[i], along_dot[k], strict=True)
        return sum(
            (f_dot * x * y + f * (x_dot * y + x * y_dot) for f, f_dot, x, y, x_dot, y_dot in terms),
            zero,
        )

    count = range(len(modes.rates))
    vectors_dot: list[tuple[Array, ...]] = []
    for i in count:
        vector_dot = [zero for _ in count]
        for k in count:
            if k != i:
                gap = modes.rates[i] - modes.rates[k]
                turn = change(i, k) / jnp.where(gap == 0.0, jnp.inf, gap)
                vector_dot = [
                    v + turn * z for v, z in zip(vector_dot, modes.vectors[k], strict=True)
                ]
        vectors_dot.append(tuple(vector_dot))
    return modes, _Modes(tuple(change(i, i) for i in count), tuple(vectors_dot))
