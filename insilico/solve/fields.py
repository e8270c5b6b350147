"""A model's field made fast on lanes, whatever way its equations are written.

A step evaluates the field six times, so three things are worth doing to it. What depends on neither
time nor state is computed once, outside the loop of steps, and a division by it becomes a
multiplication by its reciprocal (a vector division takes as long as sixteen multiplications). Other
divisions become a reciprocal whose derivative divides no more. And `log` in float64, for which XLA
on a CPU calls the C library once a patient, is written out in arithmetic that it vectorises. All
change a result in its last bits only, and let a model stay as its paper has it: `central / volume`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import JaxprEqn, Literal, Var, jaxpr_as_fun

from insilico import devices as _devices  # noqa: F401  (float64 before anything is traced)

Components = tuple[Array, ...]
"""A state's components in flat order, each of shape (lanes,)."""

Field = Callable[[Array, Components], Components]
"""Rates of the components at a time: the model's derivative with all else settled."""

_CALLS = ("jit", "pjit", "closed_call")
"""Primitives that only call another program (`jnp.where` is one such call)."""


class Program(NamedTuple):
    """A function of lanes as its single operations, parted by what they depend on.

    - `arguments`, `results`: variables (results may be literals), leaves in flat order.
    - `known`: values of what depends on no argument.
    - `remaining`: the operations that do, in order.
    """

    arguments: list[Var]
    known: dict[Var, Any]
    remaining: list[JaxprEqn]
    results: list[Any]

    def reciprocals(self) -> dict[Var, Array]:
        """`1 / x` of every known divisor x."""
        divisors = (known_divisor(equation, self.known) for equation in self.remaining)
        return {each: 1.0 / self.known[each] for each in dict.fromkeys(divisors) if each}

    def dependencies(self, *, but_zeros: bool = False) -> list[set[int]]:
        """For each result, the indices of the arguments that it depends on; `but_zeros`: other than
        by a product with zero."""
        found = {argument: {index} for index, argument in enumerate(self.arguments)}

        def of(operand: Any) -> set[int]:
            return set() if isinstance(operand, Literal) else found.get(operand, set())

        for equation in self.remaining:
            vanishes = but_zeros and equation.primitive is lax.mul_p
            vanishes &= any(isinstance(each, Literal) and each.val == 0 for each in equation.invars)
            everything = set() if vanishes else set().union(*map(of, equation.invars))
            found.update(dict.fromkeys(equation.outvars, everything))
        return [of(result) for result in self.results]


def traced(function: Callable[..., Any], *examples: Any) -> Program:
    """`function` as a program; what depends on no argument is computed here and now.

    `examples` are arguments of the shapes and types that it will be called with.
    """
    program = jax.make_jaxpr(function)(*examples)
    while any(equation.primitive.name in _CALLS for equation in program.jaxpr.eqns):
        program = jax.make_jaxpr(_opened(program))(*jax.tree.leaves(examples))
    known: dict[Var, Any] = dict(zip(program.jaxpr.constvars, program.consts, strict=True))
    remaining: list[JaxprEqn] = []
    for equation in program.jaxpr.eqns:
        if all(isinstance(operand, Literal) or operand in known for operand in equation.invars):
            known.update(evaluated(equation, known))
        else:
            remaining.append(equation)
    return Program(program.jaxpr.invars, known, remaining, program.jaxpr.outvars)


def hoisted(field: Callable[..., Components], *examples: Any) -> Callable[..., Components]:
    """`field` for many evaluations; what depends on no argument is computed here and now.

    `examples` are arguments of the shapes and types that it will be called with. Its operations
    stay as they are, but for divisions by what is known.
    """
    return _evaluation(traced(field, *examples), fast=False)


def on_lanes(field: Callable[..., Components], *examples: Any) -> Callable[..., Components]:
    """As `hoisted`, with operations in the forms that are fast on lanes."""
    return _evaluation(traced(field, *examples), fast=True)


def _evaluation(program: Program, fast: bool) -> Callable[..., Components]:
    known, remaining = program.known, program.remaining
    reciprocals = program.reciprocals()

    def evaluate(*arguments: Any) -> Components:
        values = {
            **known,
            **dict(zip(program.arguments, jax.tree.leaves(arguments), strict=True)),
        }
        for equation in remaining:
            divisor = known_divisor(equation, reciprocals)
            if divisor is not None:
                dividend = read(values, equation.invars[0])
                values[equation.outvars[0]] = dividend * reciprocals[divisor]
            elif fast and _is_division(equation):
                dividend, divisor = (read(values, operand) for operand in equation.invars)
                values[equation.outvars[0]] = dividend * reciprocal(divisor)
            elif fast and _is_logarithm(equation):
                values[equation.outvars[0]] = logarithm(read(values, equation.invars[0]))
            else:
                values.update(evaluated(equation, values))
        return tuple(read(values, result) for result in program.results)

    return evaluate


def known_divisor(equation: JaxprEqn, known: Mapping[Var, Any]) -> Var | None:
    """The divisor of a floating-point division, if it is known."""
    if equation.primitive is not lax.div_p:
        return None
    divisor = equation.invars[1]
    if isinstance(divisor, Literal) or divisor not in known:
        return None
    return divisor if jnp.issubdtype(_dtype(divisor), jnp.floating) else None


def _is_division(equation: JaxprEqn) -> bool:
    return equation.primitive is lax.div_p and jnp.issubdtype(
        _dtype(equation.outvars[0]), jnp.floating
    )


def _is_logarithm(equation: JaxprEqn) -> bool:
    return equation.primitive is lax.log_p and _dtype(equation.outvars[0]) == jnp.float64


def _dtype(variable: Any) -> Any:
    return variable.aval.dtype


def read(values: Mapping[Var, Any], operand: Any) -> Any:
    """The value of an operand."""
    return operand.val if isinstance(operand, Literal) else values[operand]


def evaluated(equation: JaxprEqn, values: Mapping[Var, Any]) -> dict[Var, Any]:
    """What an operation gives for the values of its operands."""
    operands = [read(values, operand) for operand in equation.invars]
    parameters = equation.primitive.get_bind_params(equation.params)
    found = equation.primitive.bind(*operands, **parameters)
    outputs = found if equation.primitive.multiple_results else [found]
    return dict(zip(equation.outvars, outputs, strict=True))


def _opened(program: Any) -> Callable[..., Sequence[Any]]:
    """A function that computes `program`, with the outermost of its calls opened."""

    def function(*arguments: Any) -> Sequence[Any]:
        jaxpr = program.jaxpr
        values: dict[Var, Any] = dict(zip(jaxpr.constvars, program.consts, strict=True))
        values.update(zip(jaxpr.invars, arguments, strict=True))
        for equation in jaxpr.eqns:
            if equation.primitive.name in _CALLS:
                called = equation.params.get("jaxpr") or equation.params["call_jaxpr"]
                results = jaxpr_as_fun(called)(*(read(values, v) for v in equation.invars))
                values.update(zip(equation.outvars, results, strict=True))
            else:
                values.update(evaluated(equation, values))
        return [read(values, result) for result in jaxpr.outvars]

    return function


@jax.custom_jvp
def reciprocal(x: Any) -> Any:
    """`1 / x`, whose derivative takes no further division."""
    return 1.0 / x


@reciprocal.defjvp
def _reciprocal_jvp(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    value = reciprocal(primals[0])
    return value, -tangents[0] * (value * value)


_SQRT_HALF_BITS = 0x3FE6A09E667F3BCD
_MANTISSA_BITS = 52
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_LOG_SERIES = (
    6.666666666666735130e-01,
    3.999999999940941908e-01,
    2.857142874366239149e-01,
    2.222219843214978396e-01,
    1.818357216161805012e-01,
    1.531383769920937332e-01,
    1.479819860511658591e-01,
)


@jax.custom_jvp
def logarithm(x: Array) -> Array:
    """Natural logarithm of float64 within 1 unit in the last place; subnormal numbers count as 0.

    The method and constants of FreeBSD's `e_log.c` (fdlibm): x = 2^k·m with m around 1, and an odd
    series in (m - 1)/(m + 1) for log m.
    """
    bits = lax.bitcast_convert_type(x, jnp.int64)
    exponent = (bits - _SQRT_HALF_BITS) >> _MANTISSA_BITS
    mantissa = bits - (exponent << _MANTISSA_BITS)
    f = lax.bitcast_convert_type(mantissa, jnp.float64) - 1.0
    s = f / (2.0 + f)
    square = s * s
    series = jnp.zeros_like(x)
    for coefficient in reversed(_LOG_SERIES):
        series = square * (coefficient + series)
    half = 0.5 * f * f
    k = exponent.astype(jnp.float64)
    value = k * _LN2_HIGH - ((half - (s * (half + series) + k * _LN2_LOW)) - f)
    ordinary = (x >= jnp.finfo(jnp.float64).tiny) & (x < jnp.inf)
    edge = jnp.where(x > 1.0, x, jnp.where(x >= 0.0, -jnp.inf, jnp.nan))
    return jnp.where(ordinary, value, edge)


@logarithm.defjvp
def _logarithm_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (tangent,) = primals, tangents
    return logarithm(x), tangent / x
