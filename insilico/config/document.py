"""A config file that has been read: its values, where they stand, and its specs."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from collections.abc import Sequence as SequenceABC
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from insilico.config import _edits, _positions, _translation, _types
from insilico.config._files import text_of
from insilico.config.expressions import Expression, Flaw, Gives
from insilico.config.overrides import override
from insilico.config.problems import (
    ConfigError,
    Path,
    Problem,
    Where,
    did_you_mean,
    dotted,
    override_label,
    shown,
)
from insilico.config.tree import Mapping, Node, Scalar, child, plain, read
from insilico.config.vocabulary import Vocabulary


def load(path: str | os.PathLike[str], overrides: SequenceABC[str] = ()) -> "Document":
    """Read a config file.

    **Arguments:**

    - `path`: a YAML file in UTF-8, of at most 1 MiB.
    - `overrides`: `a.b.c=value` strings, put over the file's values in turn.

    Returns the document. Mistakes that leave the rest of it readable (a key given twice, an
    infinite number, an override that leads nowhere) wait in its `problems`, so that
    `Document.parse` reports them together with its own.

    Raises `ConfigError`: the file cannot be read, or not as YAML.
    """
    file = os.fspath(path)
    reading = read(text_of(file), file)
    if reading.root is None and not reading.problems:
        raise ConfigError([Problem(file, 1, 1, "", "the file is empty")])
    if reading.root is None:
        raise ConfigError(reading.problems)
    if not isinstance(reading.root, Mapping):
        where = reading.root.where
        found = shown(plain(reading.root))
        message = 'a config is made of "key: value" lines'
        hint = 'put a space after each ":"' if found.startswith('"') and ":" in found else None
        problem = Problem(file, where.line, where.column, "", message, found=found, hint=hint)
        raise ConfigError([*reading.problems, problem])
    root, problems, unread = reading.root, list(reading.problems), set(reading.unread)
    for text in overrides:
        changed = override(root, text)
        assert isinstance(changed.root, Mapping)  # an override goes below the top
        root = changed.root
        problems += changed.problems
        unread |= changed.unread
    return Document(file, root, tuple(problems), frozenset(unread))


class Salvaged[S: BaseModel](NamedTuple):
    """What could be read of a config with mistakes in it."""

    parsed: S | None
    """The spec without what was wrong; None where it cannot do without that."""
    problems: tuple[Problem, ...]
    left_out: frozenset[Path]

    def follows(self, problem: Problem) -> bool:
        """Whether a problem of the rest may come only of what was left out.

        It misses its name, or is of the very section that lacks it.
        """
        return any(
            str(path[-1]) == problem.misses or dotted(path[:-1]) == problem.field != ""
            for path in self.left_out
        )

    def besides(self, problems: Iterable[Problem], document: "Document") -> list[Problem]:
        """Those problems of the rest that are mistakes of their own, and can be told beside what
        was left out."""
        unread = {dotted(path) for path in document.unread}
        return [each for each in problems if not self.follows(each) and each.field not in unread]


@dataclass(frozen=True)
class Document:
    """The values of a config file, each with the place it stands at."""

    file: str
    root: Mapping
    problems: tuple[Problem, ...] = ()
    """Mistakes of the text; every use of the values but looking at them reports these first."""
    unread: frozenset[Path] = frozenset()
    """Paths of values that could not be read and stand as None in `data`."""
    left_out: frozenset[Path] = frozenset()
    """Paths of values that checks of the rest do without, wrong as they are (see `salvage`)."""

    @cached_property
    def data(self) -> dict[str, Any]:
        """The config as plain dicts, lists and scalars."""
        return plain(self.root)

    def where(self, path: Path) -> Where:
        """Where a value stands: a single value itself, a section or a list at its key.

        A path that the file does not have is where its nearest parent is.
        """
        return self._find(path)[1]

    def key_where(self, path: Path) -> Where:
        """Where the key of a value stands (an entry of a list: where the entry begins)."""
        parent, where = self._find(path[:-1])
        if isinstance(parent, Mapping) and path and path[-1] in parent.keys:
            return parent.keys[str(path[-1])]
        return self.where(path) if path else where

    def has(self, path: Path) -> bool:
        """Whether the file (or an override) gives a value at this path."""
        return self._node(path) is not None

    def value(self, path: Path) -> Any:
        """The plain value at a path, None if there is none."""
        node = self._node(path)
        return None if node is None else plain(node)

    def written(self, path: Path) -> str:
        """A single value as the file has it, quotes and all; empty for anything else."""
        node = self._node(path)
        return node.written if isinstance(node, Scalar) else ""

    def parse[S: BaseModel](self, spec: type[S], context: Any = None, *, path: Path = ()) -> S:
        """The config, or the part of it at `path`, as a spec.

        **Arguments:**

        - `spec`: the class to validate against.
        - `context`: handed to validators as pydantic's `info.context`.
        - `path`: the part to parse; one that is missing is taken as an empty section.

        Raises `ConfigError` with every problem of the file and of the values, in file order.
        """
        salvaged = self.salvage(spec, context, path=path)
        if salvaged.parsed is None or salvaged.problems:
            raise ConfigError(salvaged.problems)
        return salvaged.parsed

    def salvage[S: BaseModel](
        self, spec: type[S], context: Any = None, *, path: Path = ()
    ) -> Salvaged[S]:
        """As `parse`, but what is wrong is left out as far as the rest can do without.

        What was left out is checked by nobody, but the mistakes of the rest can be told as well. A
        misspelt key counts as the one it probably is.
        """
        value = self.value(path) if self.has(path) else {}
        problems, left_out = list(self.problems), set[Path]()
        found: _translation.Translated | None = None
        while True:
            # As JSON, so that in strict mode a list still becomes a tuple and text an enum.
            content = json.dumps(_types.with_flags(_types.Slot.of(spec), value))
            try:
                parsed = spec.model_validate_json(content, context=context)
                return Salvaged(parsed, tuple(problems), frozenset(left_out | self.unread))
            except ValidationError as error:
                again, found = found, _translation.translated(self, spec, error, path)
            guesses = {} if again else found.guesses
            if not again:
                problems += found.problems
            for each, guess in guesses.items():
                value = _edits.replaced(value, each[len(path) :], guess)
            for each, key in found.meant.items():
                value = _edits.renamed(value, each[len(path) :], key)
            rest = found.paths - set(guesses) - set(found.meant)
            wrong = {_edits.removable(value, each[len(path) :]) for each in rest}
            if () in wrong or not (wrong or guesses or found.meant):
                return Salvaged(None, tuple(problems), frozenset(left_out))
            for each in wrong:
                value = _edits.without(value, each)
            left_out |= {(*path, *each) for each in wrong}

    def checked[S: BaseModel, T](self, spec: type[S], check: Callable[["Document", S], T]) -> T:
        """What `check` makes of the config as a spec, given this document.

        Where something is wrong with the spec, what was right is checked all the same, and the
        mistakes of both are told together.

        Raises `ConfigError` with every problem of the file and of the values, and those of `check`.
        """
        salvaged = self.salvage(spec)
        if salvaged.parsed is not None and not salvaged.problems:
            return check(self, salvaged.parsed)
        problems = dict.fromkeys(salvaged.problems)
        if salvaged.parsed is not None:
            try:
                check(replace(self, left_out=salvaged.left_out), salvaged.parsed)
            except ConfigError as error:
                problems |= dict.fromkeys(salvaged.besides(error.problems, self))
        raise ConfigError(problems)

    def problem(
        self,
        path: Path,
        message: str,
        *,
        found: str | None = None,
        allowed: str | None = None,
        hint: str | None = None,
        key: bool = False,
        offset: int | None = None,
        misses: str | None = None,
    ) -> Problem:
        """A problem with the value at `path`, for checks that come after parsing.

        **Arguments:**

        - `path`: the value; one the file does not have is reported at its nearest parent.
        - `message`: what is wrong, as one clause that follows the field's name.
        - `found`: what was found; default: the value as written, if it is a single one; "" for
          nothing.
        - `allowed`: what is allowed there.
        - `hint`: how to mend it.
        - `key`: point at the value's key rather than at the value.
        - `offset`: point at this character of a text value.
        - `misses`: the name that is wanted and nowhere to be found, if it is that.
        """
        where = self.key_where(path) if key else self.where(path)
        node = self._node(path)
        if offset is not None and isinstance(node, Scalar) and node.text_where is not None:
            line, column = _positions.place(node.written, node.text_where, str(node.value), offset)
            where = Where(line, column, where.override)
        if found is None and isinstance(node, Scalar) and path not in self.unread:
            found = _as_written(node)
        file = self.file if where.override is None else override_label(where.override)
        return Problem(
            file,
            where.line,
            where.column,
            dotted(path),
            message,
            found or None,
            allowed,
            hint,
            misses,
        )

    def unknown(
        self,
        path: Path,
        name: str,
        choices: SequenceABC[str],
        what: str,
        section: Path | None = None,
    ) -> Problem:
        """The problem of a name that is none of `choices`, with the nearest of them.

        **Arguments:**

        - `path`: where the name is given.
        - `name`: the name.
        - `choices`: the names there are. One that was left out from among them is offered too.
        - `what`: what they name, in the singular: `population`, `arm`.
        - `section`: where the config adds to them, if not all of them are from one section.
        """
        wrong = {
            each[-1]
            for each in self.left_out
            if each[:-1] == section or self._stands_among(each, choices)
        }
        choices = [*choices, *sorted(str(each) for each in wrong if each not in choices)]
        return self.problem(
            path,
            f"there is no {what} {shown(name)}",
            found="",
            allowed=", ".join(choices) or "none",
            hint=did_you_mean(name, choices),
            misses=name,
        )

    def _stands_among(self, path: Path, names: SequenceABC[str]) -> bool:
        """Whether the value at `path` is of one section with all those names."""
        section = self._node(path[:-1])
        return isinstance(section, Mapping) and section.items.keys() >= set(names)

    def check_expression(
        self,
        path: Path,
        expression: Expression,
        vocabulary: Vocabulary,
        *,
        gives: Gives | None = None,
        at: str = "always",
    ) -> list[Problem]:
        """What is wrong with an expression that stands at `path`, at the exact place in the file.

        **Arguments:**

        - `path`: where the expression stands.
        - `expression`: as parsed from there.
        - `vocabulary`: the names it may use.
        - `gives`: `"number"` or `"condition"`, what it has to give; default: either.
        - `at`: when it is evaluated; names available then or always may be used.
        """
        flaws = expression.check(vocabulary, gives=gives, at=at)
        return [self.flaw(path, flaw) for flaw in flaws]

    def flaw(self, path: Path, flaw: Flaw) -> Problem:
        """The problem that a flaw of the expression at `path` is."""
        return self.problem(
            path,
            flaw.message,
            found=flaw.found or "",
            allowed=flaw.allowed,
            hint=flaw.hint,
            offset=flaw.offset,
            misses=flaw.misses,
        )

    def resolved_json(self) -> str:
        """The values as canonical JSON: keys sorted, nothing of layout or comments left.

        Raises `ConfigError`: the text has mistakes, so its values are not all known.
        """
        if self.problems:
            raise ConfigError(self.problems)
        return json.dumps(self.data, sort_keys=True, separators=(",", ":"), allow_nan=False)

    def digest(self) -> str:
        """SHA-256 of `resolved_json`, in hexadecimal; the same for the same values."""
        return hashlib.sha256(self.resolved_json().encode()).hexdigest()

    def _node(self, path: Path) -> Node | None:
        node: Node | None = self.root
        for step in path:
            node = None if node is None else child(node, step)
        return node

    def _find(self, path: Path) -> tuple[Node, Where]:
        """The value at `path` or its nearest parent, and where a message about it should point."""
        node: Node = self.root
        where = node.where
        for step in path:
            following = child(node, step)
            if following is None:
                break
            key = (
                node.keys.get(step) if isinstance(node, Mapping) and isinstance(step, str) else None
            )
            empty = isinstance(following, Scalar) and not following.written
            single = isinstance(following, Scalar) and not empty
            node, where = following, following.where if single or key is None else key
        return node, where


def _as_written(node: Scalar) -> str:
    if isinstance(node.value, str) or not node.written:
        return shown(node.value)
    return node.written if len(node.written) < 40 else shown(node.value)
