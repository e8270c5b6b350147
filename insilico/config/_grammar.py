"""The expression language: Python's syntax, cut down to arithmetic by a whitelist.

Python's parser is used for the syntax tree only; nothing is ever compiled or evaluated by Python.
"""

import ast
import math
import re
import warnings
from typing import NamedTuple

from insilico.config.problems import SpecError, did_you_mean, listed, shown

LONGEST = 2_000
"""Characters an expression may have."""

DEEPEST = 100
"""Levels an expression may nest; each term of a sum is one."""


class Flaw(NamedTuple):
    """A mistake in an expression."""

    offset: int
    """Index of the character in the expression's text where the mistake begins."""
    message: str
    found: str | None = None
    allowed: str | None = None
    hint: str | None = None
    misses: str | None = None
    """The name that is wanted and that the vocabulary lacks, if it is that."""

    def __str__(self) -> str:
        parts = [self.message, self.found and f"found {self.found}"]
        parts += [self.allowed and f"allowed: {self.allowed}", self.hint]
        return f"column {self.offset + 1}: " + "; ".join(part for part in parts if part)


class ExpressionError(SpecError):
    """A text is no expression; `flaws` holds everything that is wrong with it."""

    def __init__(self, flaws: list[Flaw]):
        super().__init__("\n".join(str(flaw) for flaw in flaws))
        self.flaws = tuple(sorted(flaws, key=lambda flaw: flaw.offset))


class Function(NamedTuple):
    """How many arguments a function takes."""

    fewest: int
    most: int | None


FUNCTIONS = {
    "exp": Function(1, 1),
    "log": Function(1, 1),
    "log2": Function(1, 1),
    "log10": Function(1, 1),
    "sqrt": Function(1, 1),
    "abs": Function(1, 1),
    "round": Function(1, 1),
    "floor": Function(1, 1),
    "ceil": Function(1, 1),
    "min": Function(2, None),
    "max": Function(2, None),
    "clip": Function(3, 3),
}

_ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow)
_EQUALITY = (ast.Eq, ast.NotEq)
_ORDER = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
_MEMBERSHIP = (ast.In, ast.NotIn)

_OPERATOR_HINTS: dict[type[ast.AST], tuple[str, str]] = {
    ast.BitXor: ("^", "write ** for a power"),
    ast.BitAnd: ("&", "write and"),
    ast.BitOr: ("|", "write or"),
    ast.Invert: ("~", "write not"),
    ast.FloorDiv: ("//", "write floor(a / b)"),
    ast.Mod: ("%", "write a - b * floor(a / b)"),
    ast.MatMult: ("@", "write * for a product"),
    ast.LShift: ("<<", "write < to compare"),
    ast.RShift: (">>", "write > to compare"),
    ast.Is: ("is", "write =="),
    ast.IsNot: ("is not", "write !="),
}

_CONSTRUCTS: dict[type[ast.AST], str] = {
    ast.Attribute: "a dot after a name",
    ast.Subscript: "an index [ ]",
    ast.Lambda: "a lambda",
    ast.NamedExpr: "an assignment (:=)",
    ast.JoinedStr: "a formatted text",
    ast.Dict: "a { } section",
    ast.ListComp: "a loop",
    ast.SetComp: "a loop",
    ast.DictComp: "a loop",
    ast.GeneratorExp: "a loop",
    ast.Starred: "a * before a value",
    ast.Await: "await",
    ast.Yield: "yield",
    ast.YieldFrom: "yield",
    ast.Slice: "a slice",
}

_FUNCTION_HINTS = {
    "ln": "the natural logarithm is log",
    "pow": "write a ** b",
    "power": "write a ** b",
    "ceiling": "write ceil",
    "if": "write a if condition else b",
    "ifelse": "write a if condition else b",
    "where": "write a if condition else b",
    "float": "numbers need no conversion",
    "int": "write floor",
}

# What is wrong in the text itself -> message, hint. Tried in turn where Python finds no syntax.
_SYNTAX_HINTS = [
    (re.compile("[“”„‘’«»]"), "a typographic quotation mark", 'use plain quotes: "'),
    (re.compile("[≤≥≠×÷·−–√²³]"), "a typographic sign", "use <=, >=, !=, *, /, -, sqrt, **2"),
    (re.compile(r"&&|\|\|"), "&& and || are not operators here", "write and, or"),
    (re.compile(r"!(?!=)"), "! is not an operator here", "write not"),
    (re.compile(r"(?<![=<>!])=(?![=<>])"), "a single = does not compare", "write =="),
    (re.compile(r"=[<>]"), "this comparison is written the wrong way round", "write <= or >="),
    (re.compile(r"<>"), "<> is not an operator here", "write !="),
    (
        re.compile(
            r"(?<![\w.])\d[\d.]*(?:\s+(?!(?:and|or|not|in|if|else)\b)[A-Za-z]\w*|[A-Za-z]{2,}\b)"
        ),
        "a number is followed by a word",
        "numbers in an expression have no unit; a product is written with *",
    ),
    (re.compile(r"(?<![\w.])\d[\d.]*\s*\("), "a * is missing", "a product is written with *"),
    (re.compile(r"\d,\d{3}(?!\d)"), "a comma in a number", "write 1000, not 1,000"),
]


def parse(text: str) -> ast.expr:
    """The syntax tree of an expression, with only what the language allows.

    Raises `ExpressionError`: the text is no expression; with all its flaws, except that a syntax
    error hides the others.
    """
    if not text.strip():
        raise ExpressionError([Flaw(0, "the expression is empty")])
    if len(text) > LONGEST:
        message = f"the expression is longer than {LONGEST:,} characters"
        raise ExpressionError([Flaw(0, message, f"{len(text):,}")])
    tree = _python_tree(text)
    if _too_deep(tree):
        message = f"the expression nests more than {DEEPEST} levels deep"
        raise ExpressionError([Flaw(0, message, hint="split it up")])
    flaws: list[Flaw] = []
    _inspect(tree, text, flaws)
    if flaws:
        raise ExpressionError(flaws)
    return tree


def unchecked(text: str) -> ast.expr:
    """The tree of a text that was made from checked parts, whatever its length."""
    return ast.parse(_line(text), mode="eval").body


def offset(node: ast.expr, text: str) -> int:
    """Index in `text` of the node's first character."""
    # Python counts bytes of the line it was given.
    before = _line(text).encode()[: node.col_offset]
    return _indent(text) + len(before.decode())


def _end(node: ast.expr, text: str) -> int:
    """Index in `text` after the node's last character."""
    before = _line(text).encode()[: node.end_col_offset]
    return _indent(text) + len(before.decode())


def is_text(node: ast.expr) -> bool:
    """Whether the node is a quoted text."""
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def members(node: ast.expr) -> list[ast.expr]:
    """The entries of the right side of `in`; a single text in parentheses is a list of one."""
    return node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]


def _line(text: str) -> str:
    """The text on one line, as Python wants it; line ends of a YAML text mean nothing."""
    return re.sub(r"\s", " ", text).strip()


def _indent(text: str) -> int:
    """Blanks that `_line` takes from the beginning."""
    return len(text) - len(text.lstrip())


def _python_tree(text: str) -> ast.expr:
    outside = re.sub(r"\"[^\"]*\"|'[^']*'", lambda match: "_" * len(match[0]), text)
    for sign, reason in (("#", "a comment"), ("\\", "a backslash"), (";", "a semicolon")):
        if sign in outside or (sign == "\\" and sign in text):
            at = (text if sign == "\\" else outside).index(sign)
            raise ExpressionError([Flaw(at, f"{reason} is not allowed in an expression")])
    for quotes in ('"""', "'''"):
        if quotes in text:
            at = text.index(quotes)
            raise ExpressionError([Flaw(at, "triple quotes are not allowed in an expression")])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(_line(text), mode="eval").body
    except SyntaxError as error:
        raise ExpressionError([_syntax_flaw(error, text, outside)]) from None
    except (ValueError, MemoryError, RecursionError, OverflowError):
        raise ExpressionError([Flaw(0, "the expression cannot be read")]) from None


def _syntax_flaw(error: SyntaxError, text: str, outside: str) -> Flaw:
    for pattern, message, hint in _SYNTAX_HINTS:
        if match := pattern.search(outside):
            return Flaw(match.start(), message, shown(match[0].strip()), hint=hint)
    # Python gives 0 where it wants more than there is.
    at = (error.offset or 0) - 1 + _indent(text) if error.offset else len(text.rstrip())
    reason = error.msg or ""
    if "nested parentheses" in reason or "too complex" in reason:
        return Flaw(0, f"the expression nests more than {DEEPEST} levels deep", hint="split it up")
    if "was never closed" in reason:
        return Flaw(at, "a parenthesis is opened here and never closed")
    if "unmatched" in reason or "does not match" in reason:
        return Flaw(at, "a parenthesis is closed here that is not open")
    if "unterminated string" in reason:
        return Flaw(at, "a quotation mark is opened here and never closed")
    if "expected 'else'" in reason:
        return Flaw(at, "this if has no else", hint="write a if condition else b")
    if at >= len(text.rstrip()):
        return Flaw(at, "the expression ends too early")
    return Flaw(at, "the expression cannot be read from here on", shown(text[at:].strip()))


def _too_deep(tree: ast.expr) -> bool:
    """Whether the tree nests too deeply; by a stack of its own, which no depth can overflow."""
    pending: list[tuple[ast.AST, int]] = [(tree, 1)]
    while pending:
        node, level = pending.pop()
        if level > DEEPEST:
            return True
        pending += [(inner, level + 1) for inner in ast.iter_child_nodes(node)]
    return False


def _inspect(node: ast.expr, text: str, flaws: list[Flaw], text_allowed: bool = False) -> None:
    """Note everything in the tree that the language does not have."""

    def flaw(message: str, at: ast.expr = node, **details: str | None) -> None:
        flaws.append(Flaw(offset(at, text), message, **details))

    def inspect(*inner: ast.expr, text_allowed: bool = False) -> None:
        for each in inner:
            _inspect(each, text, flaws, text_allowed)

    def refuse_operator(operator: ast.AST, after: ast.expr | None = None) -> None:
        sign, hint = _OPERATOR_HINTS[type(operator)]
        start = offset(node, text) if after is None else text.find(sign, _end(after, text))
        flaws.append(Flaw(start, f"{sign} is not an operator of expressions", hint=hint))

    match node:
        case ast.Constant(value=bool() as truth):
            flaw(f"{truth} is not a value of expressions", hint=f"write {int(truth)}")
        case ast.Constant(value=int() | float() as number):
            if (isinstance(number, int) and abs(number) > 2**1023) or not math.isfinite(number):
                flaw("the number is too large")
        case ast.Constant(value=str() as word):
            if not text_allowed:
                message = f"the text {shown(word)} can only be compared with a category"
                flaw(message, hint=f"write for example name == {shown(word)}")
        case ast.Constant():
            written = ast.get_source_segment(_line(text), node) or "this"
            flaw(f"{written} is not a value of expressions")
        case ast.Name():
            pass
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Not()):
            inspect(node.operand)
        case ast.UnaryOp():
            refuse_operator(node.op)
            inspect(node.operand)
        case ast.BinOp():
            if not isinstance(node.op, _ARITHMETIC):
                refuse_operator(node.op, node.left)
            inspect(node.left, node.right)
        case ast.BoolOp():
            inspect(*node.values)
        case ast.IfExp():
            inspect(node.body, node.test, node.orelse)
        case ast.Compare():
            _inspect_comparison(node, text, flaws)
        case ast.Call(func=ast.Name(id=name)) if name in FUNCTIONS and not node.keywords:
            _inspect_count(node, name, flaw)
            inspect(*node.args)
        case ast.Call(func=ast.Name(id=name)) if name in FUNCTIONS:
            flaw(f"the arguments of {name} have no names", hint=f"write {name}(a, b)")
        case ast.Call(func=ast.Name(id=name)):
            hint = _FUNCTION_HINTS.get(name) or did_you_mean(name, FUNCTIONS)
            message = f"there is no function {shown(name)}"
            flaw(message, allowed=listed(FUNCTIONS), hint=hint)
            inspect(*node.args, text_allowed=True)
        case ast.Call(func=ast.Constant() | ast.BinOp()):
            flaw("a * is missing before the parenthesis", hint="a product is written with *")
        case ast.Call():
            flaw("only the functions of expressions can be called", allowed=listed(FUNCTIONS))
        case ast.Tuple() | ast.List() | ast.Set():
            hint = None if text[offset(node, text)] in "([{" else "write 1000, not 1,000"
            flaw("a list of values can only stand after in", hint=hint)
        case _:
            what = _CONSTRUCTS.get(type(node), "this construct")
            flaw(f"{what} is not allowed in an expression")


def _inspect_count(node: ast.Call, name: str, flaw) -> None:
    fewest, most = FUNCTIONS[name]
    given = len(node.args)
    if given < fewest or (most is not None and given > most):
        count = f"{fewest}" if fewest == most else f"{fewest} or more"
        values = "value" if count == "1" else "values"
        hint = "for another base, write log(x) / log(base)" if name == "log" and given > 1 else None
        flaw(f"{name} takes {count} {values}", found=str(given), hint=hint)


def _inspect_comparison(node: ast.Compare, text: str, flaws: list[Flaw]) -> None:
    left = node.left
    for number, (operator, right) in enumerate(zip(node.ops, node.comparators, strict=True)):
        equality = isinstance(operator, _EQUALITY)
        if isinstance(operator, _MEMBERSHIP) and len(node.ops) > 1:
            message = "in cannot be part of a chain of comparisons"
            flaws.append(Flaw(offset(node, text), message, hint="join the comparisons with and"))
            return
        if isinstance(operator, _MEMBERSHIP):
            _inspect(left, text, flaws)
            if not members(right):
                flaws.append(Flaw(offset(right, text), "the list after in is empty"))
            for member in members(right):
                if is_text(member) or _is_number(member):
                    _inspect(member, text, flaws, text_allowed=True)
                else:
                    hint = 'write for example indication in ("dvt", "pe")'
                    message = "only texts and numbers can stand in the list after in"
                    flaws.append(Flaw(offset(member, text), message, hint=hint))
        elif not equality and not isinstance(operator, _ORDER):
            sign, hint = _OPERATOR_HINTS[type(operator)]
            message = f"{sign} is not an operator of expressions"
            flaws.append(Flaw(text.find(sign[:2], _end(left, text)), message, hint=hint))
        else:
            if equality and is_text(left) and is_text(right):
                message = "two texts are compared with each other"
                hint = "text is compared with the name of a category"
                flaws.append(Flaw(offset(left, text), message, hint=hint))
            if number == 0:
                _inspect(left, text, flaws, text_allowed=equality)
            _inspect(right, text, flaws, text_allowed=equality)
        left = right


def _is_number(node: ast.expr) -> bool:
    match node:
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            node = operand
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)
