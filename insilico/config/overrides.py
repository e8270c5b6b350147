"""`--set a.b.c=value`: values put over those of the file."""

from dataclasses import replace

from insilico.config.problems import (
    Path,
    Problem,
    Where,
    did_you_mean,
    dotted,
    listed,
    override_label,
    shown,
)
from insilico.config.tree import Mapping, Node, Reading, Scalar, Sequence, child, read


def override(root: Mapping, text: str) -> Reading:
    """The tree with one override put over it.

    Args:
        root: the config; it is left as it is.
        text: `a.b.c=value`; steps that are digits are list indices, the value is YAML. The place
            that holds the value must exist, the last key need not.
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
    path: Path = ()
    node: Node = root
    for number, step in enumerate(steps):
        last = number == len(steps) - 1
        reached = dotted(path) or "the config"
        if isinstance(node, Sequence):
            index = int(step) if step.isascii() and step.isdigit() and len(step) < 8 else None
            if index is None or index >= len(node.items):
                count = len(node.items)
                allowed = f"0 to {count - 1}" if count else "nothing, the list is empty"
                message = f"{reached} is a list of {count} and has no entry {shown(step)}"
                return Problem(label, 0, 0, "", message, allowed=allowed)
            path, node = (*path, index), node.items[index]
        elif isinstance(node, Mapping):
            following = node.items.get(step)
            if following is None and not last:
                message = f"{reached} has no key {shown(step)}"
                near = did_you_mean(step, node.items)
                inside = f"{{{steps[number + 1]}: …}}"
                whole = f"set the whole of it: --set '{dotted((*path, step))}={inside}'"
                allowed = listed(node.items)
                return Problem(label, 0, 0, "", message, allowed=allowed, hint=near or whole)
            path, node = (*path, step), following or node
        else:
            message = f"{reached} is a single value and has no key {shown(step)}"
            return Problem(label, 0, 0, "", message)
    return path


def _put(node: Node, path: Path, value: Node, where: Where) -> Node:
    """The tree with the value at `path`; branches that aliases share are not touched elsewhere."""
    if not path:
        return value
    step, *rest = path
    if isinstance(node, Mapping) and isinstance(step, str):
        old = child(node, step)
        put = value if old is None else _put(old, tuple(rest), value, where)
        keys = node.keys if rest else node.keys | {step: where}
        return replace(node, items=node.items | {step: put}, keys=keys)
    if isinstance(node, Sequence) and isinstance(step, int):
        items = list(node.items)
        items[step] = _put(items[step], tuple(rest), value, where)
        return replace(node, items=items)
    raise TypeError(f"no place for {path!r}")
