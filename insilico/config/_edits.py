"""Plain values changed at a path, each as a new value."""

from collections.abc import Callable
from typing import Any

from insilico.config.problems import Path


def removable(value: Any, path: Path) -> Path:
    """The path of the smallest part that can be left out to be rid of what is at `path`.

    An entry of a list cannot: those behind it would move. What is not there (a key that is missing)
    is got rid of with the section that lacks it.
    """
    inside = value
    for length, step in enumerate(path):
        if not isinstance(inside, dict) or step not in inside:
            return path[:length]
        inside = inside[step]
    return path


def renamed(value: Any, path: Path, key: str) -> Any:
    """The value with another key at the end of `path`."""
    *above, last = path

    def rename(section: Any) -> Any:
        return {key if each == last else each: item for each, item in section.items()}

    return _changed(value, tuple(above), rename)


def replaced(value: Any, path: Path, item: Any) -> Any:
    """The value with `item` at `path`."""
    return _changed(value, path, lambda _: item)


def without(value: Any, path: Path) -> Any:
    """The value without what is at `path`, if it is still there."""
    *above, last = path

    def remove(section: Any) -> Any:
        return {key: item for key, item in section.items() if key != last}

    return _changed(value, tuple(above), remove)


def _changed(value: Any, path: Path, change: Callable[[Any], Any]) -> Any:
    """The value with `change` applied at `path`; as it is where nothing is there any more."""
    if not path:
        return change(value)
    step, rest = path[0], path[1:]
    if isinstance(value, list):
        return [_changed(v, rest, change) if k == step else v for k, v in enumerate(value)]
    if not isinstance(value, dict) or step not in value:
        return value
    return {**value, step: _changed(value[step], rest, change)}
