"""A problem's functions as source text for tools of other languages.

A function is traced by JAX for scalars and its jaxpr written out, so that no problem has to be
typed a second time. What is used once is written where it is used, the rest becomes a named line:
about what a person would write.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from scripts.bench.problems import Problem

CALLS = ("jit", "pjit", "closed_call", "custom_jvp_call")
NOTHING = ("convert_element_type", "copy", "copy_p")
"""Operations that change no scalar."""
ARITHMETIC = {
    "add": "({} + {})",
    "sub": "({} - {})",
    "mul": "({} * {})",
    "div": "({} / {})",
    "neg": "(-{})",
}


class Text(NamedTuple):
    """A function's body."""

    lines: tuple[tuple[str, str], ...]
    """(name, expression), in an order in which they can be computed."""
    results: tuple[str, ...]
    """An expression a result."""


class Equations(NamedTuple):
    """The functions of a problem on states `y0…`, parameters `p0…`, inputs `u0…`, `amount`."""

    states: tuple[str, ...]
    parameters: tuple[str, ...]
    inputs: tuple[str, ...]
    initial: Text
    derivative: Text
    dosed: Text
    outputs: Text


@dataclass(frozen=True, eq=False)
class _Node:
    """An operation on others; with none of them, a name or a number."""

    form: str
    operands: tuple["_Node", ...] = ()


def equations(problem: Problem, *, tanh: str, maximum: str) -> Equations:
    """The functions of a problem, whose right-hand side must not depend on time.

    `tanh` and `maximum` are the language's forms, with `{0}` and `{1}` for operands. Raises
    `ValueError` where a function needs an operation that is not known here.
    """
    forms = {**ARITHMETIC, "tanh": tanh, "max": maximum}
    n_states = len(problem.initial(tuple(problem.parameters[0])))
    states = tuple(f"y{i}" for i in range(n_states))
    parameters = tuple(f"p{i}" for i in range(problem.parameters.shape[1]))
    inputs = tuple(f"u{i}" for i in range(problem.rows.inputs.shape[1]))
    n, m = len(states), len(states) + len(parameters)

    def initial(*x):
        return problem.initial(x)

    def derivative(*x):
        return problem.derivative(np.nan, x[:n], x[n:m], x[m:])

    def dosed(*x):
        return problem.dosed(x[:n], x[m], x[n:m])

    def outputs(*x):
        return problem.outputs(x[:n], x[n:m])

    return Equations(
        states,
        parameters,
        inputs,
        _text(initial, parameters, forms),
        _text(derivative, (*states, *parameters, *inputs), forms),
        _text(dosed, (*states, *parameters, "amount"), forms),
        _text(outputs, (*states, *parameters), forms),
    )


def _text(function: Callable, names: Sequence[str], forms: dict[str, str]) -> Text:
    traced = jax.make_jaxpr(function)(*(1.0 for _ in names))
    constants = [_Node(repr(float(value))) for value in traced.consts]
    results = _graph(traced.jaxpr, constants, [_Node(name) for name in names], forms)
    order = list(_with_operands(results, set()))
    uses = Counter(operand for node in order for operand in node.operands)
    uses.update(results)
    written: dict[_Node, str] = {}
    lines = []
    for node in order:
        expression = node.form.format(*(written[operand] for operand in node.operands))
        if node.operands and uses[node] > 1:
            lines.append((f"v{len(lines)}", expression))
            expression = lines[-1][0]
        written[node] = expression
    return Text(tuple(lines), tuple(written[node] for node in results))


def _graph(
    jaxpr: Any, constants: list[_Node], arguments: list[_Node], forms: dict[str, str]
) -> list[_Node]:
    """The jaxpr's results, the jaxprs it calls written out."""
    known = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*constants, *arguments), strict=True))

    def node(atom: Any) -> _Node:
        return _Node(repr(float(atom.val))) if hasattr(atom, "val") else known[atom]

    for equation in jaxpr.eqns:
        operation, operands = equation.primitive.name, [node(x) for x in equation.invars]
        if operation in CALLS:
            called = equation.params.get("jaxpr") or equation.params["call_jaxpr"]
            inner = [_Node(repr(float(value))) for value in called.consts]
            found = _graph(called.jaxpr, inner, operands, forms)
        elif operation in NOTHING:
            found = operands
        elif operation in forms:
            found = [_Node(forms[operation], tuple(operands))]
        else:
            raise ValueError(f"the equations hold {operation}; known are {', '.join(forms)}")
        known.update(zip(equation.outvars, found, strict=True))
    return [node(atom) for atom in jaxpr.outvars]


def _with_operands(nodes: Iterable[_Node], seen: set[_Node]) -> Iterable[_Node]:
    """Every node once, after its operands."""
    for node in nodes:
        if node not in seen:
            seen.add(node)
            yield from _with_operands(node.operands, seen)
            yield node
