"""Formulas in a config: safe to read, checked against a vocabulary, computed elementwise."""

import ast
import keyword
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

from insilico.config import _checks, _evaluation, _grammar
from insilico.config._checks import Gives
from insilico.config._grammar import FUNCTIONS, ExpressionError, Flaw
from insilico.config.problems import SpecError
from insilico.config.vocabulary import ALWAYS, Vocabulary

__all__ = ["Expression", "ExpressionError", "Flaw", "Gives", "is_name"]


def is_name(word: str) -> bool:
    """Whether an expression can use a word as the name of a value."""
    return word.isidentifier() and not keyword.iskeyword(word) and word not in FUNCTIONS


@dataclass(frozen=True)
class Expression:
    """An arithmetic or logical formula of named values.

    Arithmetic `+ - * / **`, comparisons (`18 <= age < 65`), `and`, `or`, `not`, `a if c else b`,
    a category against texts (`sex == "female"`, `indication in ("dvt", "pe")`), numbers, names and
    the functions `exp log log2 log10 sqrt abs min max round floor ceil clip`. Conditions count as
    0 and 1 in arithmetic. `round` rounds halves to even.

    As the type of a spec's field it takes text or a bare number.

    **Arguments:**

    - `text`: the formula.

    Raises `ExpressionError`: the text is no expression, or one that divides by a constant zero;
    with everything that is wrong with it.
    """

    text: str
    _tree: ast.expr = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        tree = _grammar.parse(self.text)
        object.__setattr__(self, "_tree", tree)
        if flaws := _checks.constants(tree, self.text):
            raise ExpressionError(flaws)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names it uses, in the order of their first use."""
        return tuple(_evaluation.names(self._tree))

    @cached_property
    def denominators(self) -> tuple["Expression", ...]:
        """Everything it divides by that depends on names, so that a caller can look for zeros.

        That is each divisor and each base of a power that is, or may be, negative. One that stands
        in a branch of `a if c else b` is 1 where the branch is not taken.
        """
        found = dict.fromkeys(ast.unparse(node) for node in _evaluation.denominators(self._tree))
        return tuple(Expression._of(text) for text in found)

    def categories(self, name: str) -> frozenset[str]:
        """The categories that it compares a name with."""
        return frozenset(_evaluation.compared(self._tree, name))

    def check(
        self,
        vocabulary: Vocabulary,
        *,
        gives: Gives | None = None,
        at: str = ALWAYS,
    ) -> list[Flaw]:
        """Everything that is wrong with it, given what its names stand for.

        **Arguments:**

        - `vocabulary`: the names there are.
        - `gives`: what it has to give, `"number"` or `"condition"`; default: either.
        - `at`: when it is evaluated; names available then or always may be used.
        """
        return _checks.check(self._tree, self.text, vocabulary, gives, at)

    def evaluate(self, values: Mapping[str, Any], vocabulary: Vocabulary | None = None) -> Any:
        """Its value, elementwise.

        **Arguments:**

        - `values`: an array or number for each of `names`, in the vocabulary's units; categories as
          integer codes, flags as 0 and 1. Shapes broadcast.
        - `vocabulary`: needed only by an expression that compares a category with text.

        Returns a NumPy array if all values are NumPy's or Python's (computed in float64), a JAX
        array if any is JAX's (traced or not, in the precision of the values; gradients are finite
        even where the branch not taken is not). Boolean if the expression is a condition, else
        float. A constant expression gives a scalar. Infinite and undefined results are returned as
        such.

        Raises `KeyError`: a name has no value.
        Raises `ValueError`: a text is compared, and the vocabulary is missing or has no such
        category.
        """
        return _evaluation.evaluate(self._tree, values, vocabulary or {})

    def __str__(self) -> str:
        return self.text

    def __reduce__(self):
        return Expression._of, (self.text,)

    @classmethod
    def _of(cls, text: str) -> "Expression":
        """An expression made of checked parts, which may be longer than one of a user's."""
        expression = object.__new__(cls)
        object.__setattr__(expression, "text", text)
        object.__setattr__(expression, "_tree", _grammar.unchecked(text))
        return expression

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._validate, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {
            "type": ["string", "number"],
            "description": "A formula of names, numbers, + - * / **, comparisons, and, or, not, "
            f"a if c else b, and the functions {', '.join(FUNCTIONS)}.",
            "examples": ["0.5 * weight", 'age >= 18 and sex == "female"'],
        }

    @classmethod
    def _validate(cls, value: Any) -> "Expression":
        if isinstance(value, Expression):
            return value
        if isinstance(value, str):
            return cls(value)
        if type(value) in (int, float) and math.isfinite(value):
            return cls(repr(value))
        raise SpecError("must be an expression", hint='write for example "0.5 * weight"')
