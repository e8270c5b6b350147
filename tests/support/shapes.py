"""Shapes that annotations promise, checked wherever tests call what makes them."""

from collections.abc import Callable
from typing import Any

from beartype import beartype

ARRAYS = ("Float[", "Int[", "Bool[", "UInt32[", "Shaped[", "Num[", "Key[")


def arrays_checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, whose arguments and result have to be the arrays that they are said to be.

    For jaxtyping's import hook. All other annotations are left to pyright.
    """
    if isinstance(function, type):
        return function
    hints = getattr(function, "__annotations__", {})
    arrays = {name: hint for name, hint in hints.items() if any(a in str(hint) for a in ARRAYS)}
    if not arrays:
        return function
    function.__annotations__ = arrays
    return beartype(function)
