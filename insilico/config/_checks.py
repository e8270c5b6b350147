"""What can be said about an expression before it is computed."""

import ast
from typing import Literal

import numpy as np

from insilico.config import _evaluation
from insilico.config._grammar import FUNCTIONS, Flaw, is_text, members, offset
from insilico.config.problems import did_you_mean, either, listed, shown
from insilico.config.vocabulary import ALWAYS, Vocabulary

type Gives = Literal["number", "condition"]
type Kind = Literal["number", "condition", "flag", "category", "unknown"]

_ORDER = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)


def constants(tree: ast.expr, text: str) -> list[Flaw]:
    """Flaws of the parts without names: divisions by zero, and results that are not finite."""
    flaws = []
    for node in ast.walk(tree):
        match node:
            case ast.BinOp(op=ast.Div(), right=divisor) if _is_constant(divisor):
                if _evaluation.evaluate(divisor, {}, {}) == 0:
                    flaws.append(Flaw(offset(divisor, text), "this divides by zero"))
    return flaws or _not_finite(tree, text)


def check(
    tree: ast.expr, text: str, vocabulary: Vocabulary, gives: Gives | None, at: str
) -> list[Flaw]:
    """Flaws that show once it is known what the names stand for; see `Expression.check`."""
    checker = _Checker(text, vocabulary, at)
    kind = checker.kind(tree)
    if kind == "category":
        checker.need(tree, kind, "number" if gives != "condition" else "condition")
    elif gives == "condition" and kind == "number":
        checker.need(tree, kind, "condition")
    elif gives == "number" and kind == "condition":
        message = "must give a number, but this is a condition"
        checker.flaw(tree, message, hint="write for example 5 if condition else 2")
    return sorted(checker.flaws, key=lambda flaw: flaw.offset)


class _Checker:
    """Infers what each part of an expression gives, and notes what does not fit."""

    def __init__(self, text: str, vocabulary: Vocabulary, at: str):
        self.text = text
        self.vocabulary = vocabulary
        self.at = at
        self.flaws: list[Flaw] = []

    def flaw(self, node: ast.expr, message: str, **details: str | None) -> None:
        self.flaws.append(Flaw(offset(node, self.text), message, **details))

    def kind(self, node: ast.expr) -> Kind:
        """What a node gives."""
        match node:
            case ast.Constant():
                return "number"
            case ast.Name():
                return self.name(node)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                self.need(operand, self.kind(operand), "condition")
                return "condition"
            case ast.UnaryOp(operand=operand):
                self.need(operand, self.kind(operand), "number")
            case ast.BinOp(left=left, right=right):
                self.need(left, self.kind(left), "number")
                self.need(right, self.kind(right), "number")
            case ast.BoolOp(values=operands):
                for operand in operands:
                    self.need(operand, self.kind(operand), "condition")
                return "condition"
            case ast.Compare():
                self.comparison(node)
                return "condition"
            case ast.IfExp(test=test, body=body, orelse=orelse):
                taken, other = self.kind(body), self.kind(orelse)
                self.need(test, self.kind(test), "condition")
                self.need(body, taken, "number")
                self.need(orelse, other, "number")
                return "condition" if taken == other == "condition" else "number"
            case ast.Call(args=arguments):
                for argument in arguments:
                    self.need(argument, self.kind(argument), "number")
        return "number"

    def need(self, node: ast.expr, kind: Kind, wanted: Gives) -> None:
        """Note a part that gives something else than its place needs."""
        if kind == "category":
            assert isinstance(node, ast.Name)
            example = f"{node.id} == {shown((*self.vocabulary[node.id].categories, '…')[0])}"
            message = f"{node.id} is a category, not a {wanted}"
            self.flaw(node, message, hint=f"write for example {example}")
        elif kind == "number" and wanted == "condition":
            what = f"{node.id} is a number" if isinstance(node, ast.Name) else "this is a number"
            self.flaw(node, f"{what}, not a condition", hint="compare it with something, as in > 0")

    def name(self, node: ast.Name) -> Kind:
        """What a name stands for; an unknown one is noted."""
        known = self.vocabulary.get(node.id)
        if known is None:
            if node.id in FUNCTIONS:
                self.flaw(node, f"{node.id} is a function", hint=f"write {node.id}(…)")
                return "unknown"
            usable = [name for name in self.vocabulary if self.available(name)]
            message = f"there is no value named {shown(node.id)}"
            hint = self.unquoted(node.id) or did_you_mean(node.id, usable)
            allowed = listed(usable) or "none"
            self.flaw(node, message, allowed=allowed, hint=hint, misses=node.id)
            return "unknown"
        if not self.available(node.id):
            message = f"{node.id} is available only at {shown(known.available)}"
            self.flaw(node, message)
        return known.kind

    def available(self, name: str) -> bool:
        return self.vocabulary[name].available in (ALWAYS, self.at)

    def unquoted(self, word: str) -> str | None:
        """The hint for a category's text that lacks its quotes, or for true and false."""
        if word.lower() in ("true", "false"):
            return f"write {int(word.lower() == 'true')}"
        for name, known in self.vocabulary.items():
            if word in known.categories:
                return f"put the category of {name} in quotes: {shown(word)}"
        return None

    def comparison(self, node: ast.Compare) -> None:
        sides = [node.left, *node.comparators]
        kinds: dict[int, Kind] = {}
        for number, side in enumerate(sides):
            after_in = number > 0 and isinstance(node.ops[number - 1], ast.In | ast.NotIn)
            if not after_in and not is_text(side):
                kinds[number] = self.kind(side)
        for number, operator in enumerate(node.ops):
            left, right = sides[number], sides[number + 1]
            if isinstance(operator, ast.In | ast.NotIn):
                for member in members(right):
                    self.pair(
                        left, kinds.get(number), member, "text" if is_text(member) else "number"
                    )
            else:
                a = "text" if is_text(left) else kinds.get(number)
                b = "text" if is_text(right) else kinds.get(number + 1)
                self.pair(left, a, right, b, isinstance(operator, _ORDER))

    def pair(
        self,
        left: ast.expr,
        left_kind: Kind | Literal["text"] | None,
        right: ast.expr,
        right_kind: Kind | Literal["text"] | None,
        order: bool = False,
    ) -> None:
        """Note what does not fit in the comparison of two sides."""
        if left_kind == "text":
            left, left_kind, right, right_kind = right, right_kind, left, left_kind
        if "unknown" in (left_kind, right_kind):
            return
        if left_kind == "category" and order:
            self.flaw(left, f"{_id(left)} is a category, which has no order", hint="use == or in")
        elif right_kind == "category" and order:
            self.flaw(right, f"{_id(right)} is a category, which has no order", hint="use == or in")
        elif right_kind == "text" and left_kind == "category":
            self.category(left, right)
        elif right_kind == "text":
            written = shown(getattr(right, "value", ""))
            what = (
                f"{_id(left)} is a {left_kind}"
                if isinstance(left, ast.Name)
                else "this is a number"
            )
            self.flaw(right, f"{what} and cannot be compared with the text {written}")
        elif left_kind == "category" and right_kind == "category":
            if self.vocabulary[_id(left)].categories != self.vocabulary[_id(right)].categories:
                self.flaw(left, f"{_id(left)} and {_id(right)} have different categories")
        elif "category" in (left_kind, right_kind):
            category, other = (left, right) if left_kind == "category" else (right, left)
            categories = self.vocabulary[_id(category)].categories
            message = f"{_id(category)} is a category and can only be compared with text"
            self.flaw(other, message, allowed=either(map(shown, categories or ("…",))))

    def category(self, name: ast.expr, text: ast.expr) -> None:
        """Note a text that is no category of the name it is compared with."""
        categories = self.vocabulary[_id(name)].categories
        word = str(getattr(text, "value", ""))
        if word not in categories:
            message = f"{shown(word)} is no category of {_id(name)}"
            allowed = listed(categories, quoted=True) or "none"
            self.flaw(text, message, allowed=allowed, hint=did_you_mean(word, categories))


def _id(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _is_constant(node: ast.expr) -> bool:
    """Whether a part can be computed without knowing any name."""
    texts = any(isinstance(inner, ast.expr) and is_text(inner) for inner in ast.walk(node))
    return not texts and not _evaluation.names(node)


def _not_finite(node: ast.expr, text: str) -> list[Flaw]:
    """A flaw for each largest part without names that gives no finite number."""
    if not isinstance(node, ast.Constant) and _is_constant(node):
        if np.isfinite(_evaluation.evaluate(node, {}, {})):
            return []
        return [Flaw(offset(node, text), "this is not a finite number")]
    flaws = []
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, ast.expr) and not isinstance(inner, ast.Tuple | ast.List | ast.Set):
            flaws += _not_finite(inner, text)
    return flaws
