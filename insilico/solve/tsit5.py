"""One adaptive step of Tsitouras' 5(4) pair on lanes.

The barriers are what makes it fast on a CPU: without them XLA's fusion recomputes earlier stages
inside later ones, up to five times over.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from insilico import devices as _devices  # noqa: F401  (float64 before anything is traced)

Components = tuple[Array, ...]
"""A state's components in flat order, each of shape (lanes,)."""

Field = Callable[[Array, Components], Components]

ORDER = 5


class Tableau(NamedTuple):
    """Weights of the earlier rates at each stage, the stages' times, and the error's weights."""

    stages: tuple[tuple[float, ...], ...]
    nodes: tuple[float, ...]
    error: tuple[float, ...]


@functools.cache
def tableau() -> Tableau:
    """The pair's coefficients, from diffrax."""
    import diffrax  # not on top: reading a config should not wait for it

    published = diffrax.Tsit5.tableau
    return Tableau(
        tuple(tuple(float(a) for a in row) for row in published.a_lower),
        tuple(float(c) for c in published.c),
        tuple(float(e) for e in published.b_error),
    )


class Step(NamedTuple):
    """A trial step: the state at its end, the rates there, and the estimate of its error."""

    state: Components
    rates: Components
    error: Components


def step(field: Field, time: Array, size: Array, state: Components, rates: Components) -> Step:
    """From `state` with its `rates` at `time` to `time + size`, lane by lane.

    The pair reuses its last stage as the next step's first, so an accepted step costs six
    evaluations of `field`.
    """
    pair = tableau()
    stages = [rates]
    end = state
    for row, node in zip(pair.stages, pair.nodes, strict=True):
        end = lax.optimization_barrier(
            tuple(
                component + size * _combine(row, stages, index)
                for index, component in enumerate(state)
            )
        )
        stages.append(lax.optimization_barrier(field(time + node * size, end)))
    error = lax.optimization_barrier(
        tuple(size * _combine(pair.error, stages, index) for index in range(len(state)))
    )
    return Step(end, stages[-1], error)


def _combine(weights: tuple[float, ...], stages: list[Components], index: int) -> Array:
    terms = [weight * stage[index] for weight, stage in zip(weights, stages, strict=True) if weight]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


SAFETY = 0.95
"""Below 1, a rejected step always shrinks. 0.97 saves an oral dosing model 1 % of its steps more,
but costs a van der Pol oscillator 8 % and warfarin 2 %: rejections."""

SMALLEST_FACTOR = 0.15
LARGEST_FACTOR = 8.0

LARGEST_SQUARE = 1e12
"""Squared error norms are cut off here; a trial step that is not finite counts as this."""


def squared_error(state: Components, trial: Step, relative: Array, absolute: Components) -> Array:
    """Square of each lane's error norm, finite always: up to 1 the step is accurate enough.

    The norm is the root mean square over components, each in units of its own tolerance.
    """
    squares = jnp.zeros_like(trial.error[0])
    for before, after, error, floor in zip(state, trial.state, trial.error, absolute, strict=True):
        before, after = jnp.abs(before), jnp.abs(after)
        # One instruction where `maximum`, which has to keep a NaN of `before`, is three.
        larger = jnp.where(before > after, before, after)
        ratio = error * _reciprocal(floor + relative * larger)
        squares = squares + ratio * ratio
    squares = squares * (1.0 / len(state))
    return jnp.where(squares < LARGEST_SQUARE, squares, LARGEST_SQUARE)


def factor(squares: Array) -> Array:
    """Each lane's factor from this step's size to the next one's."""
    guess = SAFETY * _power(lax.max(squares, jnp.full_like(squares, 1e-12)), -0.5 / ORDER)
    return lax.clamp(
        jnp.full_like(guess, SMALLEST_FACTOR), guess, jnp.full_like(guess, LARGEST_FACTOR)
    )


def _power(base: Array, exponent: float) -> Array:
    """`base ** exponent` within 7 %, from the bits of the floating-point number.

    The exponent field of a positive float is its logarithm, linear in between; step sizes need no
    more, and the exact logarithm and exponential would cost as much as the whole step.
    """
    if base.dtype == jnp.float64:
        integer, mantissa, bias = jnp.int64, 52, 1023
    else:
        integer, mantissa, bias = jnp.int32, 23, 127
    bits = lax.bitcast_convert_type(base, integer).astype(base.dtype)
    logarithm = bits * 2.0**-mantissa - bias
    bits = (exponent * logarithm + bias) * 2.0**mantissa
    return lax.bitcast_convert_type(bits.astype(integer), base.dtype)


def _reciprocal(base: Array) -> Array:
    """`1 / base` within 0.13 %: a guess from the bits of a positive number and one Newton step.

    It is for error norms, which need no more; a vector division takes as long as sixteen
    multiplications. The constants, found numerically, share the error out to both sides. An
    infinite base gives no finite number, as NaN does not: neither is ever accepted.
    """
    integer, magic = {
        jnp.dtype(jnp.float64): (jnp.int64, 0x7FDE668116E199EC),
        jnp.dtype(jnp.float32): (jnp.int32, 0x7EF33408),
    }[base.dtype]
    bits = lax.bitcast_convert_type(base, integer)
    guess = lax.bitcast_convert_type(integer(magic) - bits, base.dtype)
    return guess * (2.00128 - base * guess)


def first_size(
    state: Components, rates: Components, relative: Array, absolute: Components
) -> Array:
    """A first step size for each lane from the sizes of its state and its rates.

    A tenth of the time in which the fastest component would change by its own size, both measured
    in tolerances (Hairer, Nørsett and Wanner I, II.4, with the maximum norm).
    """
    size = jnp.zeros_like(state[0])
    speed = jnp.zeros_like(state[0])
    for component, rate, floor in zip(state, rates, absolute, strict=True):
        precision = _reciprocal(floor + relative * jnp.abs(component))
        size = jnp.maximum(size, jnp.abs(component) * precision)
        speed = jnp.maximum(speed, jnp.abs(rate) * precision)
    tiny = np.finfo(size.dtype).tiny
    return 0.1 * jnp.maximum(size, 1.0) / jnp.maximum(speed, tiny * 1e10)
