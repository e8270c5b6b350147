"""Whether a model's equations make sense dimensionally.

Each number in the equations is followed from the declared units of parameters, states and inputs
through every operation to the results: what is added, compared or chosen between must be of one
dimension, what an exponential or logarithm takes must be without, the rate of a state must be its
dimension over time, and a coefficient of noise its dimension over the square root of time. Scales
(mg or g) are not told apart, since a literal number may convert between them. A literal zero is of
any dimension; other literals are pure numbers.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp

from insilico import devices as _devices  # noqa: F401  (vectors are nodes of JAX's trees)
from insilico.config import dimensions
from insilico.model import Dosing, Model
from insilico.vocabulary import Vector

Dimension = tuple[tuple[str, Fraction], ...]
"""Powers of base dimensions, sorted and without zeros; `()` for a pure number."""

ANY = None
"""What a zero has."""


class DimensionError(TypeError):
    """A model's equations contradict its units; the message lists every place."""


def check_dimensions(model: Model) -> None:
    """Raise `DimensionError` unless the equations of `model` agree with its declared units."""
    found = inconsistencies(model)
    if found:
        listed = "\n".join(f"- {problem}" for problem in found)
        raise DimensionError(f"the equations of model {model.name} contradict its units:\n{listed}")


def inconsistencies(model: Model) -> list[str]:
    """What is wrong with the dimensions of a model's equations, one line a place."""
    time = _of_unit(model.time_unit)
    state, parameters, inputs, outputs = (
        _declared(model, group) for group in ("State", "Parameters", "Inputs", "Outputs")
    )
    rates = jax.tree.map(lambda leaf: _Known(_times(leaf.dimension, time, -1)), state)
    moment = _Known(time)
    calls: list[tuple[str, Callable[..., Any], tuple[Any, ...], Any]] = [
        ("initial", model.initial, (parameters,), state),
        ("derivative", model.derivative, (moment, state, parameters, inputs), rates),
        ("outputs", model.outputs, (moment, state, parameters), outputs),
    ]
    if model.fastest_rate is not None:
        rate = _Known(_times((), time, -1))
        calls.append(("fastest_rate", model.fastest_rate, (parameters,), rate))
    if model.diffusion is not None:
        root = jax.tree.map(
            lambda leaf: _Known(_times(leaf.dimension, time, Fraction(-1, 2))), state
        )
        coefficients = model.Noise(*(root for _ in model.Noise._fields))
        arguments = (moment, state, parameters, inputs)
        calls.append(("diffusion", model.diffusion, arguments, coefficients))
    problems = []
    if model.triggers is not None:
        # What is compared with zero may be of any dimension, as long as it is of one.
        _, wrong = _followed(model.triggers, (moment, state, parameters))
        problems += [f"triggers: {problem}" for problem in wrong]
    if model.react is not None:
        given = jax.eval_shape(model.react, *_numbers((moment, state, parameters)))
        after = dict.fromkeys(given, state)
        calls.append(("react", model.react, (moment, state, parameters), after))
    for balance in model.balances:
        found, wrong = _followed(balance.total, (state, parameters))
        problems += [f"balance of {balance.name}: {problem}" for problem in wrong]
        if len(found) != 1:
            problems.append(f"balance of {balance.name}: gives {len(found)} numbers instead of one")
        elif found[0] is not ANY and found[0] is not _UNKNOWN:
            flow = _Known(_times(found[0], time, -1))
            for name, function in (*balance.inflows.items(), *balance.outflows.items()):
                label = f"balance of {balance.name}, {name}"
                calls.append((label, function, (state, parameters, inputs), flow))
    if model.dosing is not None:
        inflows = dict(zip(model.components(), jax.tree.leaves(rates), strict=True))
        given = jax.eval_shape(model.dosing, *_numbers((parameters, inputs)))
        problems += [f"dosing: there is no compartment {n!r}" for n in given if n not in inflows]
        if all(name in inflows for name in given):
            expected = {name: _dosing(own, time, inflows[name]) for name, own in given.items()}
            calls.append(("dosing", model.dosing, (parameters, inputs), expected))
    for label, function, arguments, expected in calls:
        problems += [f"{label}: {problem}" for problem in _check(function, arguments, expected)]
    return problems


class _Known:
    """A leaf that carries its dimension."""

    def __init__(self, dimension: Dimension):
        self.dimension = dimension


def _of_unit(unit: str) -> Dimension:
    return _sorted({name: Fraction(power) for name, power in dimensions(unit).items()})


def _sorted(powers: Mapping[str, Fraction]) -> Dimension:
    return tuple(sorted((name, power) for name, power in powers.items() if power))


def _declared(model: Model, group: str) -> Any:
    def leaf(unit: str, size: int | None) -> Any:
        known = _Known(_of_unit(unit))
        return known if size is None else Vector(*[known] * size)

    fields = model.quantities(group).values()
    return getattr(model, group)(*(leaf(field.unit, field.size) for field in fields))


def _dosing(own: Dosing, time: Dimension, inflow: _Known) -> Dosing:
    """The dimensions of what a model states of one compartment's doses."""
    duration = None if own.duration is None else _Known(time)
    return Dosing(_Known(()), _Known(time), duration, None if own.rate is None else inflow)


def _numbers(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return jax.tree.map(lambda _: jax.ShapeDtypeStruct((), jnp.zeros(()).dtype), arguments)


def _followed(
    function: Callable[..., Any], arguments: tuple[Any, ...]
) -> tuple[list[Any], list[str]]:
    """The dimensions of a function's results, and what is wrong on the way to them."""
    closed = jax.make_jaxpr(function)(*_numbers(arguments))
    code = getattr(function, "__code__", None)
    follower = _Follower(code.co_filename if code else "")
    given = [leaf.dimension for leaf in jax.tree.leaves(arguments)]
    return follower.follow(closed, given), follower.problems


def _check(function: Callable[..., Any], arguments: tuple[Any, ...], expected: Any) -> list[str]:
    shape = jax.eval_shape(function, *_numbers(arguments))
    found, problems = _followed(function, arguments)
    labels = [
        jax.tree_util.keystr(path).lstrip(".") for path, _ in jax.tree.leaves_with_path(shape)
    ]
    wanted = [leaf.dimension for leaf in jax.tree.leaves(expected)]
    if len(found) != len(wanted):
        return [*problems, f"gives {len(found)} numbers, {len(wanted)} are declared"]
    for label, is_, should in zip(labels, found, wanted, strict=True):
        if is_ is not ANY and is_ is not _UNKNOWN and is_ != should:
            problems.append(f"{label or 'the result'} is {_words(is_)}, declared {_words(should)}")
    return problems


def _words(dimension: Any) -> str:
    parts = [name.strip("[]") + ("" if p == 1 else f"^{p}") for name, p in dimension]
    return "·".join(parts) or "a pure number"


def _times(left: Dimension, right: Dimension, power: int | Fraction = 1) -> Dimension:
    powers = dict(left)
    for name, own in right:
        powers[name] = powers.get(name, Fraction(0)) + own * power
    return _sorted(powers)


_UNKNOWN: Any = object()
"""The dimension of a result whose operation was wrong already: one problem is reported once."""

_SAME = frozenset("add sub add_any max min clamp rem nextafter concatenate".split())
_KEEPING = frozenset(
    "neg abs stop_gradient copy copy_p convert_element_type reduce_precision broadcast_in_dim "
    "reshape squeeze slice transpose rev reduce_sum reduce_max reduce_min cumsum real".split()
)
_PURE = frozenset(
    "exp exp2 log log1p expm1 sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh logistic "
    "erf erfc erf_inv lgamma digamma floor ceil round not and or xor".split()
)
_COMPARING = frozenset("eq ne lt le gt ge atan2".split())
_POWERS = {"sqrt": Fraction(1, 2), "rsqrt": Fraction(-1, 2), "cbrt": Fraction(1, 3), "square": 2}
_ANY_TO_PURE = frozenset("sign is_finite iota".split())


class _Follower:
    """Carries dimensions through a traced function, collecting what does not agree."""

    def __init__(self, file: str):
        self.file = file
        self.problems: list[str] = []

    def follow(self, closed: Any, given: Sequence[Any], place: str = "") -> list[Any]:
        jaxpr = getattr(closed, "jaxpr", closed)
        known: dict[Any, Any] = dict(zip(jaxpr.invars, given, strict=True))
        for variable, value in zip(jaxpr.constvars, getattr(closed, "consts", ()), strict=False):
            known[variable] = _of_number(value)
        for equation in jaxpr.eqns:
            operands = [self._read(known, operand) for operand in equation.invars]
            results = self._apply(equation, operands, self._place(equation) or place)
            known.update(zip(equation.outvars, results, strict=True))
        return [self._read(known, result) for result in jaxpr.outvars]

    @staticmethod
    def _read(known: Mapping[Any, Any], operand: Any) -> Any:
        return _of_number(operand.val) if hasattr(operand, "val") else known[operand]

    def _place(self, equation: Any) -> str:
        """The line of the model's file that an operation comes from."""
        trace = equation.source_info.traceback
        if trace is None or not self.file:
            return ""
        frames = traceback.extract_tb(trace.as_python_traceback())
        lines = [frame.lineno for frame in frames if frame.filename == self.file]
        return f"line {lines[-1]}: " if lines else ""

    def _problem(self, place: str, message: str) -> Any:
        problem = place + message
        if problem not in self.problems:
            self.problems.append(problem)
        return _UNKNOWN

    def _apply(self, equation: Any, operands: list[Any], place: str) -> list[Any]:
        name, params = equation.primitive.name, equation.params
        for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
            if key in params and name not in ("scan", "while", "cond"):
                return self.follow(params[key], operands, place)
        if name == "optimization_barrier":
            return operands
        result = self._one(name, params, equation, operands, place)
        return [result] * len(equation.outvars)

    def _one(self, name: str, params: Any, equation: Any, operands: list[Any], place: str) -> Any:
        if any(operand is _UNKNOWN for operand in operands):
            return _UNKNOWN
        if name in _SAME:
            return self._same(name, operands, place)
        if name == "select_n":
            return self._same("choice", operands[1:], place)
        if name in _COMPARING:
            compared = self._same("comparison", operands, place)
            return _UNKNOWN if compared is _UNKNOWN else ()
        if name in _KEEPING:
            return operands[0]
        if name in _ANY_TO_PURE:
            return ()
        if name in ("mul", "div"):
            if ANY in operands:
                return ANY
            return _times(operands[0], operands[1], 1 if name == "mul" else -1)
        if name in _PURE:
            wrong = [operand for operand in operands if operand not in (ANY, ())]
            return self._problem(place, f"{name} of {_words(wrong[0])}") if wrong else ()
        if name in _POWERS or name == "integer_pow":
            power = Fraction(params["y"]) if name == "integer_pow" else Fraction(_POWERS[name])
            return ANY if operands[0] is ANY else _times((), operands[0], power)
        if name == "pow":
            return self._pow(equation, operands, place)
        return self._problem(place, f"the check does not know the operation {name}")

    def _same(self, name: str, operands: list[Any], place: str) -> Any:
        stated = [operand for operand in operands if operand is not ANY]
        if not stated:
            return ANY
        for other in stated[1:]:
            if other != stated[0]:
                return self._problem(place, f"{name} of {_words(stated[0])} and {_words(other)}")
        return stated[0]

    def _pow(self, equation: Any, operands: list[Any], place: str) -> Any:
        base, exponent = operands
        if exponent not in (ANY, ()):
            return self._problem(place, f"a power whose exponent is {_words(exponent)}")
        literal = getattr(equation.invars[1], "val", None)
        if base in (ANY, ()):
            return base if literal is not None else ()
        if literal is None:
            return self._problem(place, f"a power of {_words(base)} with a variable exponent")
        return _times((), base, Fraction(float(literal)).limit_denominator(1000))


def _of_number(value: Any) -> Any:
    """The dimension of a constant: any for zeros and what is not finite, else a pure number."""
    array = jnp.asarray(value, float)
    return ANY if bool(jnp.all((array == 0) | ~jnp.isfinite(array))) else ()
