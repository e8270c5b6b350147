"""YAML as a tree of values that know where they stand, read within strict limits.

The text is taken event by event, and nothing of it is ever constructed, so a config cannot run
code; aliases are counted as what they expand to before anything is expanded.
"""

import functools
import math
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from insilico.config import _syntax
from insilico.config.problems import Path, Problem, Where, dotted, override_label, shown

MOST_VALUES = 20_000
"""Values a config may hold, aliases counted as often as they are used."""

DEEPEST = 32
"""Levels a config may nest."""

KEPT = 64
"""Texts whose trees are kept, since a study reads its config again for each change to it."""

type Value = str | int | float | bool | None
type Node = Scalar | Mapping | Sequence


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value."""

    where: Where
    value: Value
    written: str = ""
    """The characters of the source that stand for the value, quotes and all."""
    text_where: Where | None = None
    """Where `written` begins, which for an alias is not where the alias stands."""
    size: int = 1
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Mapping:
    """A section: keys and their values, in file order."""

    where: Where
    items: dict[str, Node]
    keys: dict[str, Where] = field(default_factory=dict)
    size: int = 1
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    where: Where
    items: list[Node]
    size: int = 1
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of reading a text: its tree, its mistakes, and the paths that could not be read."""

    root: Node | None
    problems: tuple[Problem, ...]
    unread: frozenset[Path]


@functools.lru_cache(maxsize=KEPT)
def read(text: str, file: str, override: Path | None = None) -> Reading:
    """Read one YAML document. Trees are shared between those who read the same: never change one.

    **Arguments:**

    - `text`: the document.
    - `file`: what messages call it.
    - `override`: path the value will be put at, if the text is the value of an override.
    """
    # The line ends of all systems count the same, so that lines are those an editor shows.
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    builder = _Builder(text, file, override)
    if override is None and (tabs := _syntax.tab_problems(text, file)):
        return Reading(None, tuple(tabs), frozenset())
    try:
        root = builder.document()
    except _syntax.YAML_ERRORS as error:
        builder.problems.append(_syntax.translate(error, text, builder.problem_at))
        root = None
    except _Refused:
        root = None
    return Reading(root, tuple(builder.problems), frozenset(builder.unread))


def plain(node: Node) -> Any:
    """The tree as plain dicts, lists and scalars; nothing is shared between branches."""
    match node:
        case Scalar():
            return node.value
        case Mapping():
            return {key: plain(item) for key, item in node.items.items()}
        case Sequence():
            return [plain(item) for item in node.items]


def child(node: Node, step: str | int) -> Node | None:
    """The value under a key or at an index, or None."""
    if isinstance(node, Mapping) and isinstance(step, str):
        return node.items.get(step)
    if isinstance(node, Sequence) and isinstance(step, int) and 0 <= step < len(node.items):
        return node.items[step]
    return None


class _Refused(Exception):
    """The text cannot be read further; the problem has been noted."""


class _Builder:
    """Builds the tree of one document and notes what is wrong with it on the way."""

    def __init__(self, text: str, file: str, override: Path | None):
        self.text = text
        self.file = file
        self.override = override
        self.line_starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self.problems: list[Problem] = []
        self.unread: set[Path] = set()
        self.anchors: dict[str, Node | None] = {}
        self.values = 0
        self.events: Iterator[Any] = iter(())

    def document(self) -> Node | None:
        """The document's tree; None if it is empty."""
        self.events = _syntax.events(self.text)
        next(self.events)  # stream start
        start = next(self.events)
        if _syntax.is_stream_end(start):
            return None
        if start.version or start.tags:
            self.note((), Where(1, 1), "YAML directives (%) are not allowed", hint="remove it")
        root = self.node(next(self.events), self.override or (), 0)
        next(self.events)  # document end
        if not _syntax.is_stream_end(further := next(self.events)):
            self.refuse(
                (),
                self.where(further),
                "a config is one YAML document",
                hint='remove the "---" or "..." line',
            )
        return root

    def node(self, event: Any, path: Path, level: int) -> Node:
        """The value that begins with `event`."""
        where = self.where(event)
        if _syntax.is_alias(event):
            return self.alias(event, path, level, where)
        if level > DEEPEST:
            self.refuse(path, where, f"is nested more than {DEEPEST} levels deep")
        self.count(1, path, where)
        # An anchor inside its own value must not find an older one of the same name.
        if event.anchor is not None:
            if event.anchor in self.anchors:
                self.note(path, where, f"the anchor &{event.anchor} is defined twice")
            self.anchors[event.anchor] = None
        if event.tag is not None:
            written = self.text[event.start_mark.index :].split(maxsplit=1)
            self.spoil(path, where, "YAML tags are not allowed", found=written[0], hint="remove it")
        if _syntax.is_scalar(event):
            built: Node = self.scalar(event, path, where)
        elif _syntax.is_mapping(event):
            built = self.mapping(path, level, where)
        else:
            built = self.sequence(path, level, where)
        if event.anchor is not None:
            self.anchors[event.anchor] = built
        return built

    def alias(self, event: Any, path: Path, level: int, where: Where) -> Node:
        name = event.anchor
        target = self.anchors.get(name)
        if target is None:
            message = (
                f"the alias *{name} stands inside its own value"
                if name in self.anchors
                else f"the alias *{name} is not defined"
            )
            written = shown(f"*{name}")
            self.spoil(path, where, message, hint=f"if it is meant as text, write it as {written}")
            return Scalar(where, None)
        if level + target.depth > DEEPEST:
            self.refuse(path, where, f"is nested more than {DEEPEST} levels deep")
        self.count(target.size, path, where)
        return replace(target, where=where)

    def scalar(self, event: Any, path: Path, where: Where) -> Scalar:
        start, end = event.start_mark.index, event.end_mark.index
        if prefix := _PROPERTIES.match(self.text, start, end):
            start, where = prefix.end(), self.at(prefix.end())
        if event.style:
            value: Value = _joined(event.value)
        else:
            value, message = resolve(event.value)
            if message:
                self.spoil(path, where, message, found=event.value)
        if isinstance(value, str) and _HALF.search(value):
            self.spoil(path, where, "holds half a character (a lone surrogate)", found=shown(value))
            value = None
        return Scalar(where, value, self.text[start:end], where)

    def sequence(self, path: Path, level: int, where: Where) -> Sequence:
        items: list[Node] = []
        while not _syntax.is_end(event := next(self.events)):
            items.append(self.node(event, (*path, len(items)), level + 1))
        return Sequence(where, items, *_extent(items))

    def mapping(self, path: Path, level: int, where: Where) -> Mapping:
        items: dict[str, Node] = {}
        keys: dict[str, Where] = {}
        while not _syntax.is_end(event := next(self.events)):
            key, key_where = self.key(event, path, level), self.where(event)
            inside = (*path, key) if key is not None else path
            item = self.node(next(self.events), inside, level + 1)
            if key is None:
                continue
            if key in items:
                first = f" (first on line {keys[key].line})" if keys[key].line else ""
                message = f"the key {shown(key)} is given twice{first}"
                self.note(inside, key_where, message, hint="remove one of the two")
                continue
            items[key], keys[key] = item, key_where
        return Mapping(where, items, keys, *_extent(list(items.values())))

    def key(self, event: Any, path: Path, level: int) -> str | None:
        """The text of a key, or None (and a problem) if it is not text."""
        where = self.where(event)
        if _syntax.is_alias(event):
            hint = f"if it is meant as text, write it as {shown(f'*{event.anchor}')}"
            self.note(path, where, "a key cannot be an alias", found=f"*{event.anchor}", hint=hint)
            return None
        if not _syntax.is_scalar(event):
            self.node(event, path, level + 1)
            self.note(path, where, "a key must be text, not a list or a section")
            return None
        self.count(1, path, where)
        value = _joined(event.value) if event.style else resolve(event.value)[0]
        if event.anchor is not None or event.tag is not None:
            self.note(path, where, "a key must not have an anchor or a tag")
            return None
        if event.value == "<<" and not event.style:
            self.note(path, where, "merge keys (<<) are not allowed", hint="repeat the keys here")
            return None
        if not isinstance(value, str) or not value:
            quoted = f"put it in quotes: {shown(event.value)}" if event.value else None
            found = event.value or "nothing"
            self.note(path, where, "a key must be text", found=found, hint=quoted)
            return None
        if _HALF.search(value):
            self.note(path, where, "a key holds half a character (a lone surrogate)")
            return None
        return value

    def count(self, values: int, path: Path, where: Where) -> None:
        self.values += values
        if self.values > MOST_VALUES:
            message = f"the config holds more than {MOST_VALUES:,} values, aliases expanded"
            self.refuse(path, where, message)

    def where(self, event: Any) -> Where:
        return self.at(event.start_mark.index)

    def at(self, index: int) -> Where:
        """The place of a character of the text."""
        if self.override is not None:
            return Where(0, 0, dotted(self.override))
        line = bisect_right(self.line_starts, index)
        return Where(line, index - self.line_starts[line - 1] + 1)

    def problem_at(self, index: int, message: str, hint: str | None) -> Problem:
        """A problem of the text itself, for which no path is known."""
        return self.problem(self.override or (), self.at(index), message, hint=hint)

    def problem(self, path: Path, where: Where, message: str, **details: str | None) -> Problem:
        file = self.file if where.override is None else override_label(where.override)
        return Problem(file, where.line, where.column, dotted(path), message, **details)

    def note(self, path: Path, where: Where, message: str, **details: str | None) -> None:
        """Note a problem and go on."""
        self.problems.append(self.problem(path, where, message, **details))

    def spoil(self, path: Path, where: Where, message: str, **details: str | None) -> None:
        """Note a problem that leaves the value at `path` unknown, and go on."""
        self.note(path, where, message, **details)
        self.unread.add(path)

    def refuse(self, path: Path, where: Where, message: str, **details: str | None) -> None:
        """Note a problem and give up."""
        self.note(path, where, message, **details)
        raise _Refused


_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)+")
"""Anchor and tag before a value."""

_HALF = re.compile("[\ud800-\udfff]")
"""Half of a character that UTF-16 needs two for."""

_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: dict[str, Value] = {"": None, "~": None}
for _word, _value in (("null", None), ("true", True), ("false", False)):
    _WORDS |= dict.fromkeys((_word, _word.capitalize(), _word.upper()), _value)


def resolve(text: str) -> tuple[Value, str | None]:
    """The value of an unquoted scalar by YAML 1.2's core schema, and what is wrong with it.

    `yes`, `12:30` and `2024-01-31` are text here, and 1e-6 is a number.
    """
    if text in _WORDS:
        return _WORDS[text], None
    if _INTEGER.fullmatch(text):
        # Counting digits first: Python refuses to convert thousands of them.
        digits = text.lstrip("+-0")
        number = int(text, 0 if text[:2] in ("0x", "0o") else 10) if len(digits) < 25 else 2**63
        return (number, None) if abs(number) < 2**63 else (None, "is too large a whole number")
    if _FLOAT.fullmatch(text):
        value = float(text)
        return (value, None) if math.isfinite(value) else (None, "is too large a number")
    if _NOT_FINITE.fullmatch(text):
        return None, "must be a finite number"
    return text, None


def _joined(text: str) -> str:
    """The text with halves of characters that were escaped one by one (`\\ud83d\\ude00`) joined."""
    if not _HALF.search(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def _extent(items: list[Node]) -> tuple[int, int]:
    """Size and depth of a collection of `items`."""
    size = 1 + sum(item.size for item in items)
    return size, 1 + max((item.depth for item in items), default=0)
