"""pydantic's errors as problems of the file, in a trial designer's words.

pydantic says where an error is by a path that mixes keys of the file with labels of its own (union
members, discriminator tags). The types of the spec are followed alongside that path, so that each
label is told from a key and only the union member that was meant is talked about.
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, ValidationError

from insilico.config._grammar import ExpressionError
from insilico.config._types import Slot, accepts, bounds, describe, keyed_fields, member_tags
from insilico.config.problems import (
    Path,
    Problem,
    SpecError,
    did_you_mean,
    either,
    listed,
    nearest,
    shown,
)

if TYPE_CHECKING:
    from insilico.config.document import Document

type _Located = tuple[tuple[str | int, ...], dict[str, Any]]

_MOST_IN_A_SENTENCE = 5


class Translated(NamedTuple):
    """What a validation error stands for."""

    problems: list[Problem]
    paths: set[Path]
    """Of what is wrong."""
    meant: dict[Path, str]
    """The key that each misspelt one probably is."""
    guesses: dict[Path, Any]
    """What wrong values may have meant: numbers in the unit that they lack, whole numbers."""


def translated(
    document: "Document", spec: type[BaseModel], error: ValidationError, path: Path
) -> Translated:
    """The problems that a validation error of the values at `path` stands for."""
    translation = _Translation(document)
    errors = [
        (found["loc"], dict(found))
        for found in error.errors(include_url=False)
        # A field that is left out, and whose default looks at one that is wrong, is not to blame.
        if found["type"] != "default_factory_not_called"
    ]
    translation.of(Slot.of(spec), errors, path)
    return Translated(
        translation.problems, translation.paths, translation.meant, translation.guesses
    )


class _Translation:
    def __init__(self, document: "Document"):
        self.document = document
        self.problems: list[Problem] = []
        self.paths: set[Path] = set()
        self.meant: dict[Path, str] = {}
        self.guesses: dict[Path, Any] = {}

    def add(self, path: Path, message: str, **details: Any) -> None:
        """Note a problem, unless the value could not even be read, which has been said already."""
        self.paths.add(path)
        # A key stands beside an unread value, not in it.
        until = len(path) if details.get("key") else len(path) + 1
        if not any(path[:length] in self.document.unread for length in range(until)):
            self.problems.append(self.document.problem(path, message, **details))

    def of(self, slot: Slot, errors: list[_Located], path: Path) -> None:
        """Note the errors of one value, whose locations begin below it."""
        here = [error for location, error in errors if not location]
        below = [(location, error) for location, error in errors if location]
        match slot.form:
            case "tagged":
                self.tagged(slot, here, below, path)
            case "union":
                self.union(slot, here, below, path)
            case "section":
                self.value(slot, here, path)
                self.section(slot.annotation, below, path)
            case "mapping":
                self.value(slot, here, path)
                self.mapping(slot, below, path)
            case "list":
                self.entries(slot, here, below, path)
            case _:
                self.value(slot, [error for _, error in errors], path)

    def tagged(self, slot: Slot, here: list[dict], below: list[_Located], path: Path) -> None:
        """Alternatives told apart by a key: talk about the one that the file names."""
        tags = member_tags(slot)
        key = slot.discriminator or "kind"
        for error in here:
            value = self.document.value((*path, key))
            if error["type"] == "union_tag_invalid":
                word = value if isinstance(value, str) else ""
                message, allowed = _one_of(tags)
                hint = did_you_mean(word, [str(tag) for tag in tags])
                self.add((*path, key), message, allowed=allowed, hint=hint)
            elif error["type"] == "union_tag_not_found":
                self.missing(path, key, either(map(shown, tags)))
            else:
                self.value(slot, [error], path)
        for tag, inner in _grouped(below):
            member = next((member for known, member in tags.items() if str(known) == tag), None)
            self.of(member or Slot.of(Any), inner, path)

    def union(self, slot: Slot, here: list[dict], below: list[_Located], path: Path) -> None:
        """Alternatives without a key: talk about the one that the value looks like."""
        self.value(slot, here, path)
        if not below:
            return
        groups = [inner for _, inner in _grouped(below)]
        value = self.document.value(path)
        members = slot.members
        if len(groups) == len(members):  # each member failed, in order
            fitting = [
                (member, group)
                for member, group in zip(members, groups, strict=True)
                if accepts(member, value)
            ]
            words = [word for member, _ in fitting for word in member.words]
            meant = did_you_mean(value, words) if isinstance(value, str) else None
            if meant is None and any(not member.words for member, _ in fitting):
                choices = [pair for pair in fitting if not pair[0].words]
                member, group = min(choices, key=lambda pair: len(pair[1]))
                self.of(member, group, path)
                return
            if meant is not None:
                self.add(path, f"must be {describe(slot)}", hint=meant)
                return
        self.add(path, f"must be {describe(slot)}", found=self.found(path))

    def section(self, spec: type[BaseModel], below: list[_Located], path: Path) -> None:
        """The keys of a spec."""
        fields = keyed_fields(spec)
        given = self.document.value(path)
        absent = [key for key in fields if not isinstance(given, dict) or key not in given]
        meant: set[str | None] = set()
        missing: list[str] = []
        for key, inner in _grouped(below):
            kinds = {error["type"] for location, error in inner if not location}
            if "extra_forbidden" in kinds:
                near = nearest(str(key), absent)
                meant.add(near)
                if near is not None:
                    self.meant[(*path, key)] = near
                hint = did_you_mean(str(key), absent) or did_you_mean(str(key), fields)
                allowed = listed(fields) or "none"
                self.add(
                    (*path, key), "unknown key", found="", allowed=allowed, hint=hint, key=True
                )
            elif "missing" in kinds:
                missing.append(str(key))
            else:
                slot = Slot.of_field(fields[str(key)]) if key in fields else Slot.of(Any)
                self.of(slot, inner, (*path, key))
        for key in missing:
            if key not in meant:  # else it is there, misspelt
                slot = Slot.of_field(fields[key]) if key in fields else Slot.of(Any)
                self.missing(path, key, slot.description or describe(slot))

    def missing(self, path: Path, key: str, what: str) -> None:
        hint = f"add {key}: … ({what.rstrip('.')})"
        self.add(path, f"the required key {shown(key)} is missing", found="", hint=hint)

    def entries(self, slot: Slot, here: list[dict], below: list[_Located], path: Path) -> None:
        """The entries of a list."""
        kinds = {error["type"] for error in here}
        kinds |= {error["type"] for location, error in below if len(location) == 1}
        if slot.length is not None and kinds & {"missing", "too_long"}:
            noun = "entry" if slot.length == 1 else "entries"
            self.add(path, f"must have {slot.length} {noun}", found=self.found(path))
            return
        self.value(slot, here, path)
        for index, inner in _grouped(below):
            self.of(slot.item(index), inner, (*path, index))

    def mapping(self, slot: Slot, below: list[_Located], path: Path) -> None:
        """Keys that the file chooses, and their values."""
        for key, inner in _grouped(below):
            of_key = [(loc[1:], error) for loc, error in inner if loc[:1] == ("[key]",)]
            of_value = [(loc, error) for loc, error in inner if loc[:1] != ("[key]",)]
            if of_value:
                self.of(slot.item(key), of_value, (*path, key))
            for _, error in of_key:
                message, details = self.wording(slot.key, error, (*path, key), str(key))
                details |= {"found": shown(key)}
                self.add((*path, key), f"the key {message}", key=True, **details)

    def value(self, slot: Slot, errors: Iterable[dict], path: Path) -> None:
        """Errors of the value itself."""
        for error in errors:
            cause = error.get("ctx", {}).get("error")
            self.guess(slot, path)
            if isinstance(cause, ExpressionError):
                self.paths.add(path)
                for flaw in cause.flaws:
                    if not any(
                        path[:length] in self.document.unread for length in range(len(path))
                    ):
                        self.problems.append(self.document.flaw(path, flaw))
                continue
            at = (*path, *cause.at) if isinstance(cause, SpecError) else path
            message, details = self.wording(slot, error, path, self.document.value(path))
            self.add(at, message, **details)

    def guess(self, slot: Slot, path: Path) -> None:
        """Note what may stand in for a wrong value while the rest is looked at."""
        given = self.document.value(path)
        if slot.quantity is not None:
            if (guess := slot.quantity.guess(given)) is not None:
                self.guesses[path] = guess
        elif slot.annotation is int and isinstance(given, float):
            self.guesses[path] = int(given)

    def wording(
        self, slot: Slot, error: dict[str, Any], path: Path, value: Any
    ) -> tuple[str, dict[str, Any]]:
        """Message and details of an error of a value."""
        context = error.get("ctx", {})
        kind: str = error["type"]
        cause = context.get("error")
        if isinstance(cause, SpecError):
            return cause.message, {
                "found": cause.found if cause.found or cause.at else self.found(path),
                "allowed": cause.allowed,
                "hint": cause.hint,
                "offset": cause.offset,
            }
        if cause is not None:  # a validator's own ValueError or assertion
            return str(cause).strip().splitlines()[0] if str(cause).strip() else "is not valid", {}
        if kind in ("literal_error", "enum"):
            message, allowed = _one_of(slot.words)
            word = value if isinstance(value, str) else ""
            hint = did_you_mean(word, map(str, slot.words))
            return message, {"allowed": allowed, "hint": hint, "found": self.found(path)}
        if "min_length" in context or "max_length" in context:
            return _length(context, value)
        if kind == "string_pattern_mismatch":
            return f"must match the pattern {context.get('pattern')}", {}
        if kind == "multiple_of":
            return f"must be a multiple of {context.get('multiple_of')}", {}
        if slot.quantity is not None and bounds(slot):
            return f"must be {bounds(slot)} {slot.quantity.unit}", {}
        if kind.endswith(("_type", "_parsing", "_from_float", "_number")) or bounds(slot):
            return f"must be {describe(slot)}", {
                "found": self.found(path),
                "hint": _hint(slot, value, self.document.written(path)),
            }
        message = re.sub(r"^(Input|Value|String|Data) should", "must", error["msg"])
        return message[:1].lower() + message[1:], {}

    def found(self, path: Path) -> str | None:
        """A list or a section in words; None leaves single values to be shown as written."""
        value = self.document.value(path)
        return shown(value) if isinstance(value, dict | list) else None


def _grouped(errors: list[_Located]) -> list[tuple[Any, list[_Located]]]:
    """Errors by the first step of their locations, which is taken off."""
    groups: dict[str | int, list[_Located]] = {}
    for location, error in errors:
        groups.setdefault(location[0], []).append((location[1:], error))
    return list(groups.items())


def _one_of(words: Iterable[Any]) -> tuple[str, str | None]:
    """Message and allowed values for one of a few words, or of many."""
    choices = list(words)
    if len(choices) <= _MOST_IN_A_SENTENCE:
        return f"must be {either(map(shown, choices))}", None
    return "is none of the allowed values", listed(choices, quoted=True)


def _length(context: dict[str, Any], value: Any) -> tuple[str, dict[str, Any]]:
    things = "character" if isinstance(value, str) else "entry"
    few, count = ("min_length" in context), context.get("min_length", context.get("max_length"))
    plural = things if count == 1 else {"character": "characters", "entry": "entries"}[things]
    if few and count == 1:
        return "must not be empty", {"found": shown(value)}
    return f"must have at {'least' if few else 'most'} {count} {plural}", {"found": shown(value)}


def _as_share(slot: Slot, value: Any) -> str | None:
    """The hint for a percentage where a number up to 1 is wanted."""
    tops = [getattr(item, name, None) for item in slot.metadata for name in ("le", "lt")]
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(%?)\s*", str(value))
    if match is None or not any(top is not None and top <= 1 for top in tops):
        return None
    percent = float(match[1])
    if percent > 100 or (percent <= 1 and not match[2]) or isinstance(value, bool):
        return None
    return f"write {percent / 100:.10g} for {percent:g} %"


def _hint(slot: Slot, value: Any, written: str) -> str | None:
    """How to mend a value of the wrong type."""
    wanted = slot.annotation
    if wanted is float and (share := _as_share(slot, value)) is not None:
        return share
    if slot.form == "section" and not isinstance(value, dict):
        return f"its keys: {listed(keyed_fields(slot.annotation))}"
    if wanted in (int, float) and isinstance(value, str):
        bare = value.replace(",", "").replace("_", "").strip()
        if re.fullmatch(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?", bare):
            return f"write {bare}, without quotes" if bare == value else f"write {bare}"
        if re.fullmatch(r"[-+]?\d+(\.\d+)?\s*[A-Za-z%].*", value):
            return "write the number without a unit"
    if wanted is int and isinstance(value, float) and value == int(value) and abs(value) < 1e15:
        return f"write {int(value)}"
    if wanted is str and isinstance(value, int | float) and written:
        return f"put it in quotes: {shown(written)}"
    if slot.form == "list" and not isinstance(value, dict | list | None):
        return f"write it as a list: [{written or '…'}]"
    return None
