"""Functions of lanes as the plain operations that a kernel's compiler knows.

XLA takes any program; Triton takes elementwise arithmetic on one block of lanes. A function that is
to run in a kernel, whoever wrote it, is therefore traced to its single operations and these are
carried out anew: calls are opened, barriers, which only tell XLA what to keep, fall away, what
nobody needs is left out, and what Triton lacks or means otherwise is put in other words. The
numbers are those of the function itself, but that a product may be `fused` with the sum it goes
into, rounded once instead of twice: XLA does so for a CPU, and not for a GPU.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.core import Tracer
from jax.experimental.pallas import triton
from jax.extend.core import JaxprEqn, Literal, Var

from insilico.solve.fields import evaluated, read


class Unsuitable(Exception):
    """A program holds something that has no place in a kernel; the message says what."""


@dataclasses.dataclass(frozen=True)
class Table:
    """Numbers by row for each lane, (rows, lanes), that stay in memory.

    `at(row, inside, otherwise)` loads each lane's entry of its own row, and gives `otherwise` where
    the lane is not `inside` the table.
    """

    rows: int
    dtype: Any
    at: Callable[[Array, Array, Any], Array]


@dataclasses.dataclass(frozen=True)
class Operations:
    """A function of lanes as its operations.

    - `constants`: what the function closes over, arrays or traced values.
    - `fused`: whether products are fused with sums, by an instruction of NVIDIA's processors.
    """

    program: Any
    constants: tuple[Any, ...]
    structure: Any
    results: Any
    lanes: int
    fused: bool = False

    @classmethod
    def of(
        cls, function: Callable[..., Any], lanes: int, *examples: Any, fused: bool = False
    ) -> Operations:
        """`function` for arguments of the shapes and types of `examples`; tables stay tables."""

        def alike(leaf: Any) -> Any:
            shape = (leaf.rows, lanes) if isinstance(leaf, Table) else leaf.shape
            return jax.ShapeDtypeStruct(shape, leaf.dtype)

        examples = jax.tree.map(alike, examples)
        program, results = jax.make_jaxpr(function, return_shape=True)(*examples)
        return cls(
            program.jaxpr,
            tuple(program.consts),
            jax.tree.structure(examples),
            results,
            lanes,
            fused,
        )

    def __call__(self, *arguments: Any, constants: Sequence[Any] | None = None) -> Any:
        """The function's result; `constants` take the place of its own."""
        leaves, structure = jax.tree.flatten(arguments)
        assert structure == self.structure, f"{structure} in place of {self.structure}"
        own = [_settled(value) for value in self.constants] if constants is None else constants
        results = _Block(self.lanes, self.fused).results(self.program, own, leaves)
        return jax.tree.unflatten(jax.tree.structure(self.results), results)


def plain(function: Callable[..., Any], lanes: int, *, fused: bool = False) -> Callable[..., Any]:
    """`function` of arrays (lanes,), in plain operations only; `fused` as of `Operations`.

    Raises `Unsuitable`, once called, where it has none.
    """
    return lambda *arguments: Operations.of(function, lanes, *arguments, fused=fused)(*arguments)


def _settled(value: Any) -> Any:
    """A number that is known goes into the kernel's code; what is traced stays as it is."""
    if isinstance(value, Tracer):
        return value
    if np.ndim(value):
        raise Unsuitable(f"a constant array of shape {np.shape(value)} in an equation or rule")
    return np.asarray(value)[()]


class _Block(NamedTuple):
    """What carries operations out on a block of lanes."""

    lanes: int
    fused: bool

    def results(
        self, program: Any, constants: Sequence[Any], arguments: Sequence[Any]
    ) -> list[Any]:
        """The results of a program.

        A value is a scalar, (lanes,) or a table, whatever axes of length 1 the program gives it.
        """
        values: dict[Var, Any] = dict(zip(program.constvars, constants, strict=True))
        values.update(zip(program.invars, arguments, strict=True))
        equations = _needed(program)
        summed = _summed_once(program, equations, self.lanes) if self.fused else frozenset[Var]()
        for equation in equations:
            name = equation.primitive.name
            operands = [read(values, each) for each in equation.invars]
            if name in _TRANSPARENT:
                found: Sequence[Any] = operands
            elif name in _CALLS:
                inner = equation.params.get("jaxpr") or equation.params["call_jaxpr"]
                found = self.opened(inner, operands)
            elif name == "cond":
                found = self.chosen(equation, operands)
            elif any(isinstance(operand, Table) for operand in operands):
                found = [self.looked_up(equation, operands)]
            elif name in _SHAPES:
                found = [self.shaped(operands[0], equation)]
            elif name in _OTHERWISE:
                found = [_OTHERWISE[name](*operands)]
            elif name == "round" and equation.params["rounding_method"] is _TO_EVEN:
                found = [_nearest(operands[0])]
            elif summed.intersection(equation.outvars):
                found = [_Product(*operands)]
            elif any(isinstance(operand, _Product) for operand in operands):
                found = [self.fused_sum(name, *operands)]
            elif name in _ELEMENTWISE:
                found = list(evaluated(equation, values).values())
            else:
                raise Unsuitable(f"the operation {name}, which the kernel's compiler lacks")
            values.update(zip(equation.outvars, found, strict=True))
        return [read(values, result) for result in program.outvars]

    def fused_sum(self, name: str, first: Any, second: Any) -> Any:
        """A sum or difference of which one term at least is a product, rounded once."""
        minus = name == "sub"
        if isinstance(first, _Product):
            other = second.rounded() if isinstance(second, _Product) else second
            return first.plus(-other if minus else other, self.lanes)
        return (second.negative() if minus else second).plus(first, self.lanes)

    def opened(self, called: Any, operands: Sequence[Any]) -> list[Any]:
        constants = [_settled(value) for value in getattr(called, "consts", ())]
        return self.results(getattr(called, "jaxpr", called), constants, operands)

    def chosen(self, equation: JaxprEqn, operands: Sequence[Any]) -> Sequence[Any]:
        """One of several branches, the same for all lanes of a program."""
        which, *rest = operands
        branches = equation.params["branches"]
        if not isinstance(which, Tracer):
            return self.opened(branches[int(np.clip(int(which), 0, len(branches) - 1))], rest)

        def branch(called: Any) -> Callable[[], tuple[Any, ...]]:
            types = [(result.aval.shape, result.aval.dtype) for result in called.outvars]

            def run() -> tuple[Any, ...]:
                found = self.opened(called, rest)
                return tuple(
                    jnp.broadcast_to(value, () if not shape else (self.lanes,)).astype(dtype)
                    for value, (shape, dtype) in zip(found, types, strict=True)
                )

            return run

        return lax.switch(which, [branch(getattr(each, "jaxpr", each)) for each in branches])

    def looked_up(self, equation: JaxprEqn, operands: Sequence[Any]) -> Any:
        """Each lane's entry of its own row, as `jnp.take_along_axis` along the rows asks for it."""
        name, parameters = equation.primitive.name, equation.params
        table, *others = operands
        if isinstance(table, Table) and name == "gather" and _by_own_row(parameters):
            (row,) = others
            last, mode = table.rows - 1, parameters["mode"]
            inside = (row >= 0) & (row <= last)
            row = jnp.clip(row, 0, last)
            if mode == lax.GatherScatterMode.CLIP:
                return table.at(row, jnp.ones_like(inside), 0)
            fill = parameters["fill_value"]
            return table.at(row, inside, 0 if fill is None else fill)
        if isinstance(table, Table) and name == "slice":
            first, end = parameters["start_indices"][0], parameters["limit_indices"][0]
            if end == first + 1 and parameters["strides"] in (None, (1, 1)):
                return table.at(
                    jnp.full((self.lanes,), first, jnp.int32), jnp.full((self.lanes,), True), 0
                )
        raise Unsuitable(
            f"the operation {name} on a whole table by rows; "
            "a rule may take each lane's own row (jnp.take_along_axis along axis 0), or a fixed one"
        )

    def shaped(self, operand: Any, equation: JaxprEqn) -> Any:
        """A change of shape is one only where a scalar becomes lanes."""
        shape: tuple[int, ...] = equation.outvars[0].aval.shape  # pyright: ignore
        wanted = tuple(length for length in shape if length != 1)
        if wanted not in ((), (self.lanes,)):
            raise Unsuitable(
                f"an array of shape {shape} among {self.lanes} lanes ({equation.primitive.name})"
            )
        return jnp.broadcast_to(operand, wanted) if np.shape(operand) != wanted else operand


class _Product(NamedTuple):
    """Two factors whose product goes into one sum and nowhere else."""

    first: Any
    second: Any

    def rounded(self) -> Any:
        return self.first * self.second

    def negative(self) -> _Product:
        return _Product(-self.first, self.second)

    def plus(self, addend: Any, lanes: int) -> Array:
        """The product and another number, rounded once, (lanes,)."""
        dtype = jnp.result_type(*self)
        kind, register = _FUSED[dtype.name]
        numbers = [jnp.broadcast_to(jnp.asarray(each, dtype), (lanes,)) for each in (*self, addend)]
        [found] = triton.elementwise_inline_asm(
            f"fma.rn.{kind} $0, $1, $2, $3;",
            args=numbers,
            constraints=f"={register},{register},{register},{register}",
            pack=1,
            result_shape_dtypes=[jax.ShapeDtypeStruct((lanes,), dtype)],
        )
        return found


def _summed_once(program: Any, equations: Sequence[JaxprEqn], lanes: int) -> frozenset[Var]:
    """Products of lanes that go into one sum or difference, and nowhere else."""
    places = [*(each.invars for each in equations), program.outvars]
    uses = collections.Counter(itertools.chain.from_iterable(map(_variables, places)))
    terms = {
        term
        for equation in equations
        if equation.primitive.name in _SUMS
        for term in _variables(equation.invars)
    }

    def fits(result: Any) -> bool:
        wide = lanes in result.aval.shape and result.aval.dtype.name in _FUSED
        return wide and result in terms and uses[result] == 1

    products = (each.outvars[0] for each in equations if each.primitive.name == "mul")
    return frozenset(filter(fits, products))


def _variables(operands: Sequence[Any]) -> list[Var]:
    return [operand for operand in operands if not isinstance(operand, Literal)]


def _needed(program: Any) -> list[JaxprEqn]:
    """The operations that the results depend on, in order."""
    needed = {result for result in program.outvars if not isinstance(result, Literal)}
    kept = []
    for equation in reversed(program.eqns):
        if needed.intersection(equation.outvars):
            kept.append(equation)
            needed.update(each for each in equation.invars if not isinstance(each, Literal))
    return kept[::-1]


def _by_own_row(parameters: dict[str, Any]) -> bool:
    numbers = parameters["dimension_numbers"]
    return (
        tuple(numbers.offset_dims) == ()
        and tuple(numbers.collapsed_slice_dims) == (0,)
        and tuple(numbers.start_index_map) == (0,)
        and tuple(numbers.operand_batching_dims) == (1,)
        and tuple(parameters["slice_sizes"]) == (1, 1)
    )


def _larger(first: Any, second: Any) -> Any:
    """XLA's maximum: Triton's has no NaN but where both operands are."""
    return jnp.where((first > second) | (first != first), first, second)


def _smaller(first: Any, second: Any) -> Any:
    return jnp.where((first < second) | (first != first), first, second)


def _nearest(value: Any) -> Any:
    """The nearest whole number; halves go to the even one."""
    below = jnp.floor(value)
    rest = value - below
    odd = below - 2.0 * jnp.floor(0.5 * below)
    return jnp.where(rest > 0.5, below + 1.0, jnp.where(rest == 0.5, below + odd, below))


_CALLS = frozenset(
    ("jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "checkpoint")
)
_TO_EVEN = lax.RoundingMethod.TO_NEAREST_EVEN
_TRANSPARENT = frozenset(
    ("optimization_barrier", "stop_gradient", "copy", "reshard", "sharding_constraint", "pvary")
)
"""What tells XLA something, be it where numbers are, and leaves them as they are."""
_SUMS = frozenset(("add", "add_any", "sub"))
_FUSED = {"float32": ("f32", "f"), "float64": ("f64", "d")}
"""Types that a product is fused in, as NVIDIA's and LLVM's assemblers name them."""
_SHAPES = frozenset(("broadcast_in_dim", "reshape", "squeeze", "expand_dims"))
_OTHERWISE: dict[str, Callable[..., Any]] = {
    "max": _larger,
    "min": _smaller,
    "clamp": lambda low, value, high: _smaller(_larger(value, low), high),
    "is_finite": lambda value: jnp.abs(value) < jnp.inf,
}
_ELEMENTWISE = frozenset(
    "abs acos acosh add add_any and asin asinh atan atan2 atanh bitcast_convert_type cbrt ceil "
    "convert_element_type cos cosh div eq exp exp2 expm1 floor ge gt integer_pow le log log1p log2 "
    "logistic lt mul ne neg nextafter not or pow rem rsqrt select_n shift_left "
    "shift_right_arithmetic shift_right_logical sign sin sinh sqrt square sub tan tanh xor".split()
)
"""What Triton has a word of the same meaning for."""
