"""Step sizes from errors: the norm of an error, the factor to the next size, the first size."""

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from insilico.solve.fields import Components
from insilico.solve.methods.interface import Trial

SAFETY = 0.95
"""Below 1, a rejected step always shrinks. 0.97 saves an oral dosing model 1 % of its steps more,
but costs a van der Pol oscillator 8 % and warfarin 2 %: rejections."""

SMALLEST_FACTOR = 0.15
LARGEST_FACTOR = 8.0

LARGEST_SQUARE = 1e12
"""Squared error norms are cut off here; a trial step that is not finite counts as this."""


def squared_error(state: Components, trial: Trial, relative: Array, absolute: Components) -> Array:
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


def factor(squares: Array, order: int) -> Array:
    """Each lane's factor from this step's size to the next one's, for a method of that order."""
    guess = SAFETY * _power(lax.max(squares, jnp.full_like(squares, 1e-30)), -0.5 / order)
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
