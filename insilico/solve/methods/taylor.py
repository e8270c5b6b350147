"""Taylor series of high order on lanes: the field differentiated in time, operation by operation.

The coefficients of a solution follow from one another: those of each operation of the field up to
order k give the state's coefficient k + 1 (A. Jorba and M. Zou, Experimental Mathematics 2005;
14:99-117). A step so costs little more than as many evaluations of the field as its order, is as
exact as its order and has one division where the field has one. Steps end where the polynomial's
own slope no longer agrees with the field: this residual sees, as a coefficient cannot, that the
field has changed its course (a maximum, a condition) within the step.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import JaxprEqn, Literal, Var

from insilico.model import Model
from insilico.solve.fields import (
    Components,
    Field,
    Program,
    evaluated,
    known_divisor,
    logarithm,
    on_lanes,
    traced,
)
from insilico.solve.methods.interface import Trial
from insilico.vocabulary import Vector

Series = list[Any]
"""Coefficients of one quantity in powers of time over step size; those past the end are zero."""


@dataclasses.dataclass(frozen=True)
class Taylor:
    """Series up to power `degree`."""

    name: str
    degree: int
    reuses_rates: bool = False

    @property
    def order(self) -> int:
        return self.degree + 1

    def prepare(self, field: Field, time: Array, state: Components) -> _Stepper:
        program = traced(field, time, state)
        if unknown := _without_rule(program):
            raise ValueError(f"method {self.name} has no rule for {', '.join(unknown)}")
        return _Stepper(on_lanes(field, time, state), program, program.reciprocals(), self.degree)


@functools.lru_cache(maxsize=64)
def without_rule(model: Model) -> tuple[str, ...]:
    """Operations of a model's equations that have no series here, by name.

    Those on parameters alone need none, nor do those on parameters that vary between occasions;
    those on other inputs do, since an input may slope.
    """
    found: list[str] = []

    def look(time: Array, parameters: Any, inputs: Any) -> None:
        flat, structure = jax.tree.flatten(model.initial(parameters))

        def field(time: Array, state: Components, sloping: Any) -> list[Any]:
            named = jax.tree.unflatten(structure, state)
            own = model.Inputs(*sloping, *inputs[len(sloping) :])
            return jax.tree.leaves(model.derivative(time, named, parameters, own))

        state = tuple(time * 0.0 + component for component in flat)
        sloping = inputs[: len(inputs) - len(model.varying)]
        found.extend(_without_rule(traced(field, time, state, sloping)))

    lane = jax.ShapeDtypeStruct((1,), jnp.float64)
    sizes = [quantity.size for quantity in model.quantities("Parameters").values()]
    parameters = (lane if size is None else Vector(*[lane] * size) for size in sizes)
    inputs = model.Inputs(*(lane for _ in model.Inputs._fields))
    jax.eval_shape(look, lane, model.Parameters(*parameters), inputs)
    return tuple(found)


def _without_rule(program: Program) -> list[str]:
    unknown = [e for e in program.remaining if e.primitive.name not in _RULES.keys() | _BY_VALUE]
    return sorted({_named(equation) for equation in unknown})


def _named(equation: JaxprEqn) -> str:
    """An operation's name; of a function with a derivative of its own, the function's."""
    called = equation.params.get("call_jaxpr")
    return called.jaxpr.debug_info.func_name if called else equation.primitive.name


@dataclasses.dataclass(frozen=True)
class _Stepper:
    rates: Field
    program: Program
    reciprocals: dict[Var, Array]
    degree: int

    def step(
        self,
        time: Array,
        size: Array,
        state: Components,
        rates: Components,
        between: tuple[int, ...] = (),
    ) -> Trial:
        del rates
        solution, end = self._series(time, size, state)
        slope = [
            _sum([power * series[power] for power in range(self.degree, 0, -1)])
            for series in solution
        ]
        after = self.rates(time + size, end)
        # For a smooth field the error of the end is the residual over one more than the degree;
        # for one with kinks it can be half of the residual.
        share = 0.5 if self.has_kinks else 1.0 / (self.degree + 1)
        error = lax.optimization_barrier(
            tuple(share * (size * rate - change) for rate, change in zip(after, slope, strict=True))
        )
        return Trial(end, (), error, tuple(tuple(solution[index][1:]) for index in between))

    def flow(self, time: Array, size: Array, state: Components) -> Components:
        return self._series(time, size, state)[1]

    def _series(
        self, time: Array, size: Array, state: Components
    ) -> tuple[list[Series], Components]:
        """The solution's series over the step, and its end."""
        solution: list[Series] = [[component] for component in state]
        clock: Series = [time, size]
        propagate = _propagation(self.program, self.reciprocals, [clock, *solution])
        for power in range(self.degree):
            slopes = propagate(power)
            share = size * (1.0 / (power + 1))
            new = lax.optimization_barrier(tuple(share * slope for slope in slopes))
            for series, coefficient in zip(solution, new, strict=True):
                series.append(coefficient)
        end = lax.optimization_barrier(tuple(_sum(series[::-1]) for series in solution))
        return solution, end

    @property
    def has_kinks(self) -> bool:
        return any(equation.primitive.name in _CHOICES for equation in self.program.remaining)


def _sum(terms: list[Any]) -> Any:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _propagation(
    program: Program, reciprocals: dict[Var, Array], arguments: list[Series]
) -> Callable[[int], list[Any]]:
    """A function from a power to the results' coefficients of it, called for 0, 1, 2, … in turn.

    `arguments` are the arguments' series, which grow as the caller adds to them.
    """
    series: dict[Var, Series] = dict(zip(program.arguments, arguments, strict=True))
    series.update({name: [value] for name, value in program.known.items()})
    kept = _kept(program)
    notes: dict[Var, dict] = {}

    def of(operand: Any) -> Series:
        return [operand.val] if isinstance(operand, Literal) else series[operand]

    def at(operand: Any, power: int) -> Any:
        found = of(operand)
        return found[power] if power < len(found) else 0.0

    def coefficient(equation: JaxprEqn, power: int) -> Any:
        operands = [of(operand) for operand in equation.invars]
        divisor = known_divisor(equation, reciprocals)
        if divisor is not None:
            above = operands[0]
            return above[power] * reciprocals[divisor] if power < len(above) else None
        (result,) = equation.outvars
        own, note = series.setdefault(result, []), notes.setdefault(result, {})
        return _RULES[equation.primitive.name](equation, power, operands, own, note)

    def propagate(power: int) -> list[Any]:
        for equation in program.remaining:
            (result,) = equation.outvars
            if equation.primitive.name in _BY_VALUE:
                if power == 0:
                    names = [v for v in equation.invars if not isinstance(v, Literal)]
                    series[result] = [evaluated(equation, {v: of(v)[0] for v in names})[result]]
                continue
            found = coefficient(equation, power)
            own = series.setdefault(result, [])
            if found is not None:
                # A coefficient that was zero for all lanes may be followed by one that is not.
                own.extend([0.0] * (power - len(own)))
                own.append(lax.optimization_barrier(found) if result in kept else found)
        return [at(result, power) + jnp.zeros_like(arguments[1][0]) for result in program.results]

    return propagate


def _kept(program: Program) -> set[Any]:
    """What enters a product of series, and so is read again at every later power."""
    found = set()
    for equation in program.remaining:
        if equation.primitive.name not in _LINEAR:
            operands = [v for v in equation.invars if not isinstance(v, Literal)]
            unknown = [v for v in operands if v not in program.known]
            if len(unknown) > 1 or equation.primitive.name != "mul":
                found.update([*unknown, *equation.outvars])
    return found


Rule = Callable[[JaxprEqn, int, list[Series], Series, dict], Any]
"""`rule(equation, k, operands, own, notes)`: coefficient k of an operation's result.

`operands` are known up to k and `own`, the result, up to k - 1; `notes` last from power to power.
None stands for a coefficient that is zero because all are from there on.
"""


def _terms(first: Series, second: Series, power: int, lowest: int = 0) -> list[Any]:
    """first[j]·second[power - j] for j from `lowest` to `power`, as far as both go."""
    last = min(power, len(first) - 1)
    start = max(lowest, power - len(second) + 1)
    return [first[j] * second[power - j] for j in range(start, last + 1)]


def _linear(
    equation: JaxprEqn, power: int, operands: list[Series], own: Series, notes: dict
) -> Any:
    parts = [operand[power] if power < len(operand) else None for operand in operands]
    if all(part is None for part in parts):
        return None
    if len(parts) == 2 and None in parts:
        (left, right), negative = parts, equation.primitive.name == "sub"
        return left if right is None else -right if negative else right
    return equation.primitive.bind(*parts, **equation.params)


def _product(
    equation: JaxprEqn, power: int, operands: list[Series], own: Series, notes: dict
) -> Any:
    first, second = operands
    if first is second and power:
        return _square_term(first, power)
    terms = _terms(first, second, power)
    return _sum(terms) if terms else None


def _square_term(series: Series, power: int) -> Any:
    """Coefficient of a series' square: each pair once, doubled."""
    last = len(series) - 1
    pairs = [series[j] * series[power - j] for j in range(max(0, power - last), (power + 1) // 2)]
    middle = (
        [series[power // 2] * series[power // 2]] if power % 2 == 0 and power // 2 <= last else []
    )
    if not pairs:
        return middle[0] if middle else None
    return _sum([2.0 * _sum(pairs), *middle])


def _quotient(
    equation: JaxprEqn, power: int, operands: list[Series], own: Series, notes: dict
) -> Any:
    above, below = operands
    if power == 0:
        notes["inverse"] = 1.0 / below[0]
        return above[0] * notes["inverse"]
    terms = _terms(below, own, power, lowest=1)
    found = above[power] if power < len(above) else 0.0
    if not terms:
        return None if power >= len(above) else found * notes["inverse"]
    return (found - _sum(terms)) * notes["inverse"]


def _derivative_terms(inner: Series, outer: Series, power: int) -> Any:
    """Σ j·inner[j]·outer[power - j] / power over j from 1: what a chain rule integrates to."""
    last = min(power, len(inner) - 1)
    terms = [
        (j / power) * inner[j] * outer[power - j]
        for j in range(max(1, power - len(outer) + 1), last + 1)
    ]
    return _sum(terms) if terms else None


def _exponential(
    equation: JaxprEqn, power: int, operands: list[Series], own: Series, notes: dict
) -> Any:
    return jnp.exp(operands[0][0]) if power == 0 else _derivative_terms(operands[0], own, power)


def _logarithm(
    equation: JaxprEqn, power: int, operands: list[Series], own: Series, notes: dict
) -> Any:
    (inner,) = operands
    if power == 0:
        notes["inverse"] = 1.0 / inner[0]
        fast = jnp.result_type(inner[0]) == jnp.float64
        return logarithm(inner[0]) if fast else jnp.log(inner[0])
    terms = [
        (j / power) * own[j] * inner[power - j]
        for j in range(max(1, power - len(inner) + 1), power)
    ]
    found = inner[power] if power < len(inner) else 0.0
    return (found - _sum(terms) if terms else found) * notes["inverse"]


def _tangent(
    equation: JaxprEqn, power: int, operands: list[Series], own: Series, notes: dict
) -> Any:
    (inner,) = operands
    slope = notes.setdefault("slope", [])
    if power == 0:
        value = jnp.tanh(inner[0])
        slope.append(1.0 - value * value)
        return value
    found = _derivative_terms(inner, slope, power)
    found = 0.0 * own[0] if found is None else found
    squared = _square_term([*own, found], power)
    slope.append(0.0 * own[0] if squared is None else -squared)
    return found


def _root(equation: JaxprEqn, power: int, operands: list[Series], own: Series, notes: dict) -> Any:
    (inner,) = operands
    if power == 0:
        value = jnp.sqrt(inner[0])
        notes["inverse"] = 0.5 / value
        return value
    inside = _square_term([*own, 0.0 * own[0]], power)
    found = inner[power] if power < len(inner) else 0.0
    return (found - inside) * notes["inverse"]


def _whole_power(
    equation: JaxprEqn, power: int, operands: list[Series], own: Series, notes: dict
) -> Any:
    """By repeated squaring, each product a series of its own."""
    (base,) = operands
    exponent = equation.params["y"]
    steps: list[tuple[Series, Series, Series]] = notes.setdefault("steps", [])
    if power == 0:
        chain, square, left = None, base, abs(exponent)
        while left:
            if left % 2:
                if chain is None:
                    chain = square
                else:
                    product: Series = []
                    steps.append((product, chain, square))
                    chain = product
            left //= 2
            if left:
                product = []
                steps.append((product, square, square))
                square = product
        notes["end"] = chain
    for product, first, second in steps:
        found = _product(equation, power, [first, second], product, {})
        product.append(0.0 * base[0] if found is None else found)
    end: Series | None = notes["end"]
    if end is None:
        return jnp.ones_like(base[0]) if power == 0 else None
    if exponent < 0:
        return _quotient(equation, power, [[1.0], end], own, notes)
    return end[power] if power < len(end) else None


def _sine_or_cosine(
    equation: JaxprEqn, power: int, operands: list[Series], own: Series, notes: dict
) -> Any:
    (inner,) = operands
    sine, cosine = notes.setdefault("sine", []), notes.setdefault("cosine", [])
    if power == 0:
        sine.append(jnp.sin(inner[0]))
        cosine.append(jnp.cos(inner[0]))
    else:
        nothing = 0.0 * sine[0]
        rise, fall = (_derivative_terms(inner, other, power) for other in (cosine, sine))
        sine.append(nothing if rise is None else rise)
        cosine.append(nothing if fall is None else -fall)
    return (sine if equation.primitive.name == "sin" else cosine)[power]


def _choice(
    equation: JaxprEqn, power: int, operands: list[Series], own: Series, notes: dict
) -> Any:
    """One of the operands, whichever the values say now."""
    name = equation.primitive.name
    if name == "select_n":
        (condition, *cases) = operands
        which = condition[0]
    elif name == "abs":
        (only,) = operands
        which, cases = only[0] < 0, [only, [-each for each in only]]
    else:
        first, second = operands
        which = second[0] > first[0] if name == "max" else second[0] < first[0]
        # A NaN of either is the result's.
        which = jnp.where(jnp.isnan(second[0]), True, which)
        cases = [first, second]
    if power >= max(len(case) for case in cases):
        return None
    like = jnp.zeros_like(cases[0][0] + cases[-1][0])
    values = [like + (case[power] if power < len(case) else 0.0) for case in cases]
    return lax.select_n(jnp.broadcast_to(which, like.shape), *values)


_LINEAR = ("add", "sub", "neg", "add_any", "convert_element_type", "copy", "broadcast_in_dim",
           "stop_gradient", "reshape", "squeeze", "max", "min", "select_n", "abs")  # fmt: skip
_CHOICES = ("max", "min", "select_n", "abs")
_BY_VALUE = frozenset(
    ("lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not", "floor", "ceil", "round", "sign",
     "is_finite", "stop_gradient")
)  # fmt: skip
"""Conditions, and steps between constants: their own value is all there is."""

_RULES: dict[str, Rule] = {
    **dict.fromkeys(("add", "sub", "neg", "add_any", "convert_element_type", "copy",
                     "broadcast_in_dim", "reshape", "squeeze"), _linear),
    **dict.fromkeys(_CHOICES, _choice),
    "mul": _product,
    "div": _quotient,
    "exp": _exponential,
    "log": _logarithm,
    "tanh": _tangent,
    "sqrt": _root,
    "integer_pow": _whole_power,
    "square": lambda equation, power, operands, own, notes: _product(
        equation, power, [operands[0], operands[0]], own, notes
    ),
    "sin": _sine_or_cosine,
    "cos": _sine_or_cosine,
}  # fmt: skip

TAYLOR = Taylor("taylor", degree=10)
