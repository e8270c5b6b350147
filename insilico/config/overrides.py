"""`--set a.b.c=value`: values put over those of the file."""

from dataclasses import replace

from insilico.config.problems import (
    Path,
    Problem,
    Where,
    dotted,
    override_label,
    shown,
)
from insilico.config.tree import DEEPEST, Mapping, Node, Reading, Scalar, Sequence, child, read


def override(root: Mapping, text: str) -> Reading:
    """The tree with one override put over it.

    **Arguments:**

    - `root`: the config; it is left as it is.
    - `text`: `a.b.c=value`; the value is YAML. In a list, steps are indices of entries it has.
      Sections and keys that are missing on the way, or stand there empty, are made, as if the file
      had them: whether they may be there is for the spec to say.
    """
    field, equals, written = text.partition("=")
    field = field.strip()
    if not equals or not field or "" in field.split("."):
        label = override_label(text)
        message = "an override is written path=value"
        hint = "for example --set trial.replicates=1000"
        return Reading(root, (Problem(label, 0, 0, "", message, hint=hint),), frozenset())
    found = _path(root, field.split("."))
    if isinstance(found, Problem):
        return Reading(root, (found,), frozenset())
    reading = read(written.strip(), override_label(field), found)
    here = Where(0, 0, dotted(found))
    value = reading.root
    if value is None:
        value = Scalar(here, None)
    unread = reading.unread | {found} if reading.problems else reading.unread
    return Reading(_put(root, found, value, here), reading.problems, unread)


def _path(root: Mapping, steps: list[str]) -> Path | Problem:
    """The place that the steps lead to, or what stands in the way."""
    label = override_label(".".join(steps))
    if len(steps) > DEEPEST:
        return Problem(label, 0, 0, "", f"is nested more than {DEEPEST} levels deep")
    path: Path = ()
    node: Node | None = root
    for step in steps:
        reached = dotted(path) or "the config"
        if isinstance(node, Sequence):
            index = int(step) if step.isascii() and step.isdigit() and len(step) < 8 else None
            if index is None or index >= len(node.items):
                count = len(node.items)
                allowed = f"0 to {count - 1}" if count else "nothing, the list is empty"
                message = f"{reached} is a list of {count} and has no entry {shown(step)}"
                return Problem(label, 0, 0, "", message, allowed=allowed)
            path, node = (*path, index), node.items[index]
        elif isinstance(node, Mapping) or _missing(node):
            path, node = (*path, step), None if node is None else child(node, step)
        else:
            message = f"{reached} is a single value and has no key {shown(step)}"
            return Problem(label, 0, 0, "", message)
    return path


def _missing(node: Node | None) -> bool:
    """Whether an override that goes on below makes a section here."""
    return node is None or (isinstance(node, Scalar) and node.value is None)


def _put(node: Node | None, path: Path, value: Node, where: Where) -> Node:
    """The tree with the value at `path`; branches that aliases share are not touched elsewhere."""
    if not path:
        return value
    step, *rest = path
    if node is None or _missing(node):
        node = Mapping(where, {})
    if isinstance(node, Mapping) and isinstance(step, str):
        old = child(node, step)
        put = _put(old, tuple(rest), value, where)
        keys = node.keys | {step: where} if not rest or _missing(old) else node.keys
        return replace(node, items=node.items | {step: put}, keys=keys)
    if isinstance(node, Sequence) and isinstance(step, int):
        items = list(node.items)
        items[step] = _put(items[step], tuple(rest), value, where)
        return replace(node, items=items)
    raise TypeError(f"no place for {path!r}")
