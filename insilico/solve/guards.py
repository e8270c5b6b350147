"""Derivatives that a solve was not asked for are refused, in words of ours.

JAX lets a function be differentiated forwards or backwards, and again. A solve is prepared for one
of these; without a guard, another would end in an error that speaks of loops and custom rules, or,
worse, in a number that is not the derivative.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

Derivative = Literal["reverse", "forward", "second"]
MODES: tuple[Derivative, ...] = get_args(Derivative)
"""What `derivative=` may be, besides None."""

_PREPARED = {
    None: "was asked for without derivatives: say derivative='reverse' (jax.grad, jax.vjp), "
    "'forward' (jax.jvp, jax.jacfwd) or 'second' (hessian_vector_product)",
    "reverse": "was asked for with derivative='reverse', which serves jax.grad and jax.vjp, once: "
    "say derivative='forward' for jax.jvp and jax.jacfwd, and 'second' for "
    "hessian_vector_product",
    "forward": "was asked for with derivative='forward', which serves jax.jvp and jax.jacfwd: say "
    "derivative='reverse' for jax.grad and jax.vjp, and 'second' for hessian_vector_product",
    "second": "was asked for with derivative='second', which serves hessian_vector_product "
    "(jax.jvp of jax.grad): say derivative='reverse' for jax.grad alone, and 'forward' for "
    "jax.jvp alone",
}


class DerivativeError(TypeError):
    """A solve was differentiated in a way that it was not prepared for."""


def check_mode(derivative: str | None) -> None:
    """Raise `ValueError` unless it is None or one of `MODES`."""
    if derivative is not None and derivative not in MODES:
        raise ValueError(
            f"derivative must be one of {', '.join(MODES)}, or None; found {derivative!r}"
        )


def guarded(derivative: Derivative | None, tree: Any, level: int = 0) -> Any:
    """The same numbers, whose derivatives exist only as `derivative` says.

    `level`: how many derivatives have been taken of them before.
    """

    def leaf(value: Any) -> Any:
        if not jax.numpy.issubdtype(jax.numpy.result_type(value), jax.numpy.floating):
            return value
        return _guard.bind(jax.numpy.asarray(value), mode=derivative, level=level)

    return jax.tree.map(leaf, tree)


def _allowed(way: str, mode: str | None, level: int) -> bool:
    """Whether a derivative of the derivatives counted by `level` may be taken in this way."""
    if way == "forward":
        return mode == "forward" or (mode == "second" and level > 0)
    return level == 0 and mode in ("reverse", "second")


def _check(way: str, mode: str | None, level: int) -> None:
    if not _allowed(way, mode, level):
        again = "" if level == 0 else " of a derivative"
        raise DerivativeError(f"a {way} derivative{again} of a solve that {_PREPARED[mode]}")


# The value: each differentiation of it is one level further. Its tangents: whether they are carried
# forwards or transposed says which way the differentiation at that level goes.
_guard = Primitive("solve_guard")
_tangent = Primitive("solve_guard_tangent")


def _jvp(primals: Any, tangents: Any, *, mode: str | None, level: int) -> Any:
    (value,), (tangent,) = primals, tangents
    out = _guard.bind(value, mode=mode, level=level + 1)
    if isinstance(tangent, ad.Zero):
        return out, tangent
    if not any(_allowed(way, mode, level) for way in ("forward", "reverse")):
        # Which way it would go shows later, where JAX may have failed in words of its own.
        again = "a" if level == 0 else "another"
        raise DerivativeError(f"{again} derivative of a solve that {_PREPARED[mode]}")
    return out, _tangent.bind(tangent, mode=mode, level=level)


def _evaluated(value: Any, *, mode: str | None, level: int) -> Any:
    _check("forward", mode, level)
    return value


def _transposed(cotangent: Any, value: Any, *, mode: str | None, level: int) -> Any:
    del value
    _check("reverse", mode, level)
    if isinstance(cotangent, ad.Zero):
        return [cotangent]
    # A gradient is a value one level further, whose own derivatives are looked at first.
    return [_guard.bind(cotangent, mode=mode, level=level + 1)]


def _tangent_jvp(primals: Any, tangents: Any, *, mode: str | None, level: int) -> Any:
    # What is differentiated here has been carried forwards: transposed, it would be gone.
    _check("forward", mode, level)
    (value,), (tangent,) = primals, tangents
    out = _tangent.bind(value, mode=mode, level=level)
    if isinstance(tangent, ad.Zero):
        return out, tangent
    return out, _tangent.bind(tangent, mode=mode, level=level)


def _batched(primitive: Primitive) -> Any:
    def rule(values: Any, axes: Any, **parameters: Any) -> Any:
        return primitive.bind(*values, **parameters), axes[0]

    return rule


for _primitive in (_guard, _tangent):
    _primitive.def_abstract_eval(lambda value, **_: value)
    batching.primitive_batchers[_primitive] = _batched(_primitive)

_guard.def_impl(lambda value, **_: value)
mlir.register_lowering(_guard, lambda context, value, **_: [value])
ad.primitive_jvps[_guard] = _jvp

_tangent.def_impl(_evaluated)
mlir.register_lowering(
    _tangent, lambda context, value, *, mode, level: [_evaluated(value, mode=mode, level=level)]
)
ad.deflinear2(_tangent, _transposed)
ad.primitive_jvps[_tangent] = _tangent_jvp
