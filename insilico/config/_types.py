"""The types of a spec's fields, and how a message names them."""

import enum
import types
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAliasType, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel, Discriminator
from pydantic.fields import FieldInfo

from insilico.config.expressions import Expression
from insilico.config.problems import either, shown
from insilico.config.units import Quantity

type Form = Literal["tagged", "union", "section", "mapping", "list", "single"]


@dataclass(frozen=True)
class Slot:
    """A place in a spec: the type of its value with everything that annotates it."""

    annotation: Any
    """The type, without `Annotated`, `None` and aliases."""
    metadata: tuple[Any, ...] = ()
    discriminator: str | None = None
    description: str | None = None

    @staticmethod
    def of(annotation: Any, metadata: Iterable[Any] = ()) -> "Slot":
        """The slot of a type as it is written in a spec."""
        discriminator = None
        gathered = list(metadata)
        while True:
            if isinstance(annotation, TypeAliasType):
                annotation = annotation.__value__
            elif get_origin(annotation) is Annotated:
                annotation, *more = get_args(annotation)
                gathered += more
            elif _is_union(annotation) and len(members := _without_none(annotation)) == 1:
                annotation = members[0]
            else:
                break
        flat: list[Any] = []
        for item in gathered:
            if isinstance(item, FieldInfo):
                discriminator = item.discriminator or discriminator
                flat += item.metadata
            elif isinstance(item, Discriminator):
                discriminator = item.discriminator
            else:
                flat.append(item)
        name = discriminator if isinstance(discriminator, str) else None
        return Slot(annotation, tuple(flat), name)

    @staticmethod
    def of_field(field: FieldInfo) -> "Slot":
        """The slot of a spec's field."""
        slot = Slot.of(field.annotation, field.metadata)
        given = field.discriminator
        discriminator = given if isinstance(given, str) else slot.discriminator
        return Slot(slot.annotation, slot.metadata, discriminator, field.description)

    @property
    def form(self) -> Form:
        """How an error's location goes on below this place."""
        if self.quantity is not None:
            return "single"
        if _is_union(self.annotation):
            return "tagged" if self.discriminator else "union"
        if _is_class(self.annotation, BaseModel):
            return "section"
        origin = get_origin(self.annotation) or self.annotation
        if _is_class(origin, Mapping):
            return "mapping"
        if _is_class(origin, Sequence | AbstractSet) and not _is_class(origin, str | bytes):
            return "list"
        return "single"

    @property
    def quantity(self) -> Quantity | None:
        return next((item for item in self.metadata if isinstance(item, Quantity)), None)

    @property
    def members(self) -> list["Slot"]:
        """The alternatives of a union."""
        return [Slot.of(member) for member in _without_none(self.annotation)]

    @property
    def words(self) -> tuple[Any, ...]:
        """The values of a literal or an enumeration; of anything else, none."""
        if get_origin(self.annotation) is Literal:
            return _literals(self.annotation)
        if _is_class(self.annotation, enum.Enum):
            return tuple(member.value for member in self.annotation)
        return ()

    @property
    def length(self) -> int | None:
        """The number of entries of a tuple, None for what may have any."""
        arguments = get_args(self.annotation)
        fixed = get_origin(self.annotation) is tuple and Ellipsis not in arguments
        return len(arguments) if fixed else None

    @property
    def key(self) -> "Slot":
        """The slot of a mapping's keys."""
        return Slot.of((get_args(self.annotation) or (str, Any))[0])

    def item(self, step: Any) -> "Slot":
        """The slot of an entry of a list or a mapping."""
        arguments = get_args(self.annotation)
        if self.form == "mapping":
            return Slot.of(arguments[1] if len(arguments) == 2 else Any)
        if self.length is not None:
            fits = isinstance(step, int) and step < self.length
            return Slot.of(arguments[step] if fits else Any)
        return Slot.of(arguments[0] if arguments else Any)


def member_tags(slot: Slot) -> dict[Any, Slot]:
    """The alternatives of a tagged union by their tags."""
    tags: dict[Any, Slot] = {}
    for member in slot.members:
        if _is_union(member.annotation):
            inner = member.discriminator or slot.discriminator
            tags |= member_tags(Slot(member.annotation, member.metadata, inner))
        elif _is_class(member.annotation, BaseModel) and slot.discriminator:
            field = member.annotation.model_fields.get(slot.discriminator)
            words = Slot.of_field(field).words if field is not None else ()
            tags |= dict.fromkeys(words, member)
    return tags


def describe(slot: Slot) -> str:
    """What may stand in a place, in words: `a whole number, 1 or more`."""
    wanted = slot.annotation
    if slot.quantity is not None:
        return slot.quantity.described()
    if slot.words:
        return either(map(shown, slot.words))
    if slot.form in ("tagged", "union"):
        if slot.form == "tagged":
            return "a section"
        return either(describe(member) for member in slot.members)
    if slot.form in ("section", "mapping"):
        return "a section"
    if slot.form == "list":
        return "a list"
    names = {bool: "yes or no", int: "a whole number", float: "a number", str: "text"}
    names |= {Expression: "an expression", type(None): "nothing"}
    limits = bounds(slot)
    name = names.get(wanted) or f"a valid {getattr(wanted, '__name__', 'value')}"
    return f"{name}, {limits}" if limits else name


def bounds(slot: Slot) -> str:
    """The bounds of a number in words, empty if it has none."""
    found: dict[str, Any] = {}
    for item in slot.metadata:
        for name in ("gt", "ge", "lt", "le"):
            if (
                isinstance(item, annotated_types.BaseMetadata)
                and getattr(item, name, None) is not None
            ):
                found[name] = getattr(item, name)
    texts = {
        name: str(bound) if isinstance(bound, int) else f"{bound:g}"
        for name, bound in found.items()
    }
    if found.keys() == {"ge", "le"}:
        return f"from {texts['ge']} to {texts['le']}"
    if found.keys() == {"ge"}:
        return f"{texts['ge']} or more"
    words = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}
    return " and ".join(f"{words[name]} {text}" for name, text in texts.items())


def accepts(slot: Slot, value: Any) -> bool:
    """Whether a value has the shape of what a place takes, right or wrong in its details."""
    if slot.form in ("tagged", "union"):
        return any(accepts(member, value) for member in slot.members)
    if isinstance(value, dict):
        return slot.form in ("section", "mapping")
    if isinstance(value, list):
        return slot.form == "list"
    if slot.form != "single" or value is None:
        return False
    if slot.words:
        return any(type(word) is type(value) for word in slot.words)
    if isinstance(value, bool):
        return slot.annotation is bool
    if isinstance(value, str):
        return slot.quantity is not None or slot.annotation in (str, Expression)
    return slot.quantity is not None or slot.annotation in (int, float, Expression)


def with_flags(slot: Slot, value: Any) -> Any:
    """The value with `yes` and `no` turned into booleans where the spec has a flag.

    YAML 1.2 reads both as text, but people write them for true and false.
    """
    if isinstance(value, str):
        accepted = {member.annotation for member in slot.members} if slot.form == "union" else set()
        flag = slot.annotation is bool or (bool in accepted and not accepted & {str, Expression})
        return value.lower() == "yes" if flag and value.lower() in ("yes", "no") else value
    if not isinstance(value, dict | list):
        return value
    match slot.form:
        case "tagged":
            tag = value.get(slot.discriminator) if isinstance(value, dict) else None
            member = member_tags(slot).get(tag) if isinstance(tag, str) else None
            return value if member is None else with_flags(member, value)
        case "union":
            member = next((each for each in slot.members if accepts(each, value)), None)
            return value if member is None else with_flags(member, value)
        case "section" if isinstance(value, dict):
            fields = keyed_fields(slot.annotation)
            return {
                key: with_flags(Slot.of_field(fields[key]), item) if key in fields else item
                for key, item in value.items()
            }
        case "mapping" if isinstance(value, dict):
            return {key: with_flags(slot.item(key), item) for key, item in value.items()}
        case "list" if isinstance(value, list):
            return [with_flags(slot.item(index), item) for index, item in enumerate(value)]
    return value


def keyed_fields(spec: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a spec by the keys that a config gives them under."""
    return {field.alias or name: field for name, field in spec.model_fields.items()}


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def _without_none(annotation: Any) -> tuple[Any, ...]:
    return tuple(member for member in get_args(annotation) if member is not type(None))


def _is_class(annotation: Any, base: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, base)


def _literals(annotation: Any) -> tuple[Any, ...]:
    """The values of a literal, those of literals inside it included."""
    found: list[Any] = []
    for value in get_args(annotation):
        inner = value.__value__ if isinstance(value, TypeAliasType) else value
        found += _literals(inner) if get_origin(inner) is Literal else [inner]
    return tuple(found)
