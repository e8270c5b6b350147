"""Expressions computed on arrays."""

import ast
import itertools
from collections.abc import Iterator, Mapping
from functools import reduce
from typing import Any

import numpy as np

from insilico.config._grammar import is_text, members
from insilico.config.problems import shown
from insilico.config.vocabulary import Vocabulary

_LARGEST_INTEGER_POWER = 64
"""Whole powers up to this are computed by multiplication, which is exact for negative bases."""


def names(node: ast.AST) -> list[str]:
    """The names in a tree, each once, in reading order; functions are not names."""
    found: dict[str, None] = {}
    _collect(node, found)
    return list(found)


def denominators(node: ast.expr) -> Iterator[ast.expr]:
    """Divisors and bases of negative powers that depend on names, guarded by their branches."""
    match node:
        case ast.BinOp(op=ast.Div()) if names(node.right):
            yield node.right
        case ast.BinOp(op=ast.Pow()) if names(node.left) and _may_be_negative(node.right):
            yield node.left
        case ast.IfExp():
            yield from denominators(node.test)
            one = ast.Constant(1)
            for inner in denominators(node.body):
                yield ast.IfExp(node.test, inner, one)
            for inner in denominators(node.orelse):
                yield ast.IfExp(node.test, one, inner)
            return
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, ast.expr):
            yield from denominators(inner)


def compared(node: ast.AST, name: str) -> Iterator[str]:
    """The texts that a name is compared with, anywhere in a tree."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Compare):
            sides = [inner.left, *inner.comparators]
            for left, right in itertools.pairwise(sides):
                for one, other in ((left, right), (right, left)):
                    if isinstance(one, ast.Name) and one.id == name:
                        yield from _texts(other)


def evaluate(tree: ast.expr, values: Mapping[str, Any], vocabulary: Vocabulary) -> Any:
    """The value of a tree; see `Expression.evaluate`."""
    used = {}
    for name in names(tree):
        if name not in values:
            raise KeyError(f"the expression uses {name}, which has no value")
        used[name] = values[name]
    if all(isinstance(value, np.ndarray | np.generic | int | float) for value in used.values()):
        with np.errstate(all="ignore"):
            evaluation = _Evaluation(np, vocabulary)
            result = evaluation.of(tree, {name: _double(used[name]) for name in used})
            return result if isinstance(result, np.ndarray | np.generic) else np.float64(result)
    # JAX takes a second to import, which a run that computes nothing should not wait for.
    import jax.numpy as jnp

    return jnp.asarray(
        _Evaluation(jnp, vocabulary).of(tree, {name: jnp.asarray(used[name]) for name in used})
    )


class _Evaluation:
    """Computes trees with the functions of one array library."""

    def __init__(self, library: Any, vocabulary: Vocabulary):
        self.library = library
        self.vocabulary = vocabulary

    def of(self, node: ast.expr, values: Mapping[str, Any]) -> Any:
        """The value of a node: a float or boolean array, or a name's values as they are."""
        xp = self.library
        match node:
            case ast.Constant(value=int() | float() as number):
                return np.float64(number) if xp is np else float(number)
            case ast.Name(id=name):
                return values[name]
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return xp.logical_not(self.condition(operand, values))
            case ast.UnaryOp(op=operator, operand=operand):
                value = self.number(operand, values)
                return -value if isinstance(operator, ast.USub) else value
            case ast.BinOp(op=ast.Pow(), left=left, right=right):
                return self.power(self.number(left, values), right, values)
            case ast.BinOp(op=operator, left=left, right=right):
                a, b = self.number(left, values), self.number(right, values)
                match operator:
                    case ast.Add():
                        return a + b
                    case ast.Sub():
                        return a - b
                    case ast.Mult():
                        return a * b
                    case _:
                        return a / b
            case ast.BoolOp(op=operator, values=operands):
                combine = xp.logical_and if isinstance(operator, ast.And) else xp.logical_or
                return reduce(combine, [self.condition(operand, values) for operand in operands])
            case ast.Compare():
                return self.comparison(node, values)
            case ast.IfExp():
                return self.choice(node, values)
            case ast.Call(func=ast.Name(id=function), args=arguments):
                return self.call(function, [self.number(each, values) for each in arguments])
        raise TypeError(f"{type(node).__name__} is no part of an expression")

    def number(self, node: ast.expr, values: Mapping[str, Any]) -> Any:
        """A node's value as floats; conditions count as 0 and 1."""
        return self.floats(self.of(node, values))

    def floats(self, value: Any) -> Any:
        if isinstance(value, float):
            return value
        if _is_boolean(value):
            # Weak-typed ones, so that single-precision values stay single.
            return self.library.where(value, 1.0, 0.0)
        return value if "float" in value.dtype.name else value * 1.0

    def condition(self, node: ast.expr, values: Mapping[str, Any]) -> Any:
        """A node's value as booleans; numbers are true where they are not 0."""
        value = self.of(node, values)
        return value if _is_boolean(value) else value != 0

    def power(self, base: Any, exponent: ast.expr, values: Mapping[str, Any]) -> Any:
        whole = _constant(exponent)
        if whole is not None and whole == int(whole) and abs(whole) <= _LARGEST_INTEGER_POWER:
            return base ** int(whole)
        return self.library.power(base, self.number(exponent, values))

    def choice(self, node: ast.IfExp, values: Mapping[str, Any]) -> Any:
        xp = self.library
        test = self.condition(node.test, values)
        if xp is not np:
            taken = self.branch(test, node.body, values)
            other = self.branch(xp.logical_not(test), node.orelse, values)
        else:
            taken, other = values, values
        body, orelse = self.of(node.body, taken), self.of(node.orelse, other)
        if not (_is_boolean(body) and _is_boolean(orelse)):
            body, orelse = self.floats(body), self.floats(orelse)
        return xp.where(test, body, orelse)

    def branch(self, taken: Any, node: ast.expr, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """The values as a branch sees them: without gradient where the branch is not taken.

        A branch's gradient may be undefined where it is not taken (`log(x) if x > 0 else 0`), and
        undefined times the zero weight of that branch is still undefined.
        """
        from jax.lax import stop_gradient

        inside = {
            name: self.library.where(taken, values[name], stop_gradient(values[name]))
            for name in names(node)
        }
        return {**values, **inside}

    def comparison(self, node: ast.Compare, values: Mapping[str, Any]) -> Any:
        results = []
        left = node.left
        for operator, right in zip(node.ops, node.comparators, strict=True):
            match operator:
                case ast.In():
                    result = self.any_of(left, members(right), values)
                case ast.NotIn():
                    result = self.library.logical_not(self.any_of(left, members(right), values))
                case _:
                    result = self.pair(operator, left, right, values)
            results.append(result)
            left = right
        return reduce(self.library.logical_and, results)

    def any_of(self, left: ast.expr, choices: list[ast.expr], values: Mapping[str, Any]) -> Any:
        equal = [self.pair(ast.Eq(), left, choice, values) for choice in choices]
        return reduce(self.library.logical_or, equal)

    def pair(
        self, operator: ast.cmpop, left: ast.expr, right: ast.expr, values: Mapping[str, Any]
    ) -> Any:
        a, b = self.side(left, right, values), self.side(right, left, values)
        xp = self.library
        match operator:
            case ast.Eq():
                return xp.equal(a, b)
            case ast.NotEq():
                return xp.not_equal(a, b)
            case ast.Lt():
                return xp.less(a, b)
            case ast.LtE():
                return xp.less_equal(a, b)
            case ast.Gt():
                return xp.greater(a, b)
            case _:
                return xp.greater_equal(a, b)

    def side(self, node: ast.expr, other: ast.expr, values: Mapping[str, Any]) -> Any:
        """One side of a comparison; a text is the code it has in the category it is compared to."""
        if not is_text(node):
            return self.number(node, values)
        assert isinstance(node, ast.Constant)
        name = other.id if isinstance(other, ast.Name) else "?"
        categories = self.vocabulary[name].categories if name in self.vocabulary else ()
        if node.value not in categories:
            raise ValueError(
                f"{shown(node.value)} is no category of {name} in the vocabulary given"
            )
        return float(categories.index(str(node.value)))

    def call(self, function: str, arguments: list[Any]) -> Any:
        xp = self.library
        match function:
            case "min":
                return reduce(xp.minimum, arguments)
            case "max":
                return reduce(xp.maximum, arguments)
            case "clip":
                value, low, high = arguments
                return xp.minimum(xp.maximum(value, low), high)
            case _:
                return getattr(xp, function)(*arguments)


def _texts(node: ast.expr) -> Iterator[str]:
    """The texts of a constant, or of several in brackets."""
    for each in members(node):
        if isinstance(each, ast.Constant) and is_text(each):
            yield str(each.value)


def _collect(node: ast.AST, found: dict[str, None]) -> None:
    if isinstance(node, ast.Name):
        found[node.id] = None
    elif isinstance(node, ast.IfExp):  # whose fields are not in reading order
        for inner in (node.body, node.test, node.orelse):
            _collect(inner, found)
    else:
        inner_nodes = node.args if isinstance(node, ast.Call) else ast.iter_child_nodes(node)
        for inner in inner_nodes:
            _collect(inner, found)


def _double(value: Any) -> np.ndarray:
    """Values as a NumPy array, floats in double precision."""
    array = np.asarray(value)
    return array.astype(np.float64) if "float" in array.dtype.name else array


def _constant(node: ast.expr) -> float | None:
    """The value of a plain number with or without a sign, None for anything else."""
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -float(number)
    return None


def _may_be_negative(node: ast.expr) -> bool:
    """Whether a power is, or depends on names and so may be, negative."""
    return bool(names(node)) or bool(evaluate(node, {}, {}) < 0)


def _is_boolean(value: Any) -> bool:
    return getattr(value, "dtype", None) == np.bool_
