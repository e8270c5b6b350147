"""A run's config as a file of its own: the user's text with the overrides written into it."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from insilico.config import ConfigError, Document, Path, load


def resolved_text(document: Document, overrides: Sequence[str] = ()) -> str:
    """A config text whose values are those of `document`.

    Without overrides it is the file as it stands; with them, the file with the changed values and
    its comments. Where that does not give the same values (the file has changed since it was
    read, or an override reached into a part that aliases share), it is the values alone.

    **Arguments:**

    - `document`: as loaded with the overrides.
    - `overrides`: the `a.b.c=value` strings.
    """
    try:
        with open(document.file, encoding="utf-8-sig") as stream:
            text = stream.read()
        text = _with_values(text, document, overrides) if overrides else text
        if _digest(text) == document.digest():
            return text
    except (OSError, UnicodeError, YAMLError, ConfigError, KeyError, IndexError, TypeError):
        pass  # whatever is odd about the text, the values are at hand
    return as_yaml(document.data)


def _with_values(text: str, document: Document, overrides: Sequence[str]) -> str:
    tree = _yaml().load(text)
    for override in overrides:
        _put(tree, override.partition("=")[0].strip().split("."), document)
    return as_yaml(tree)


def _put(node: Any, steps: list[str], document: Document, path: Path = ()) -> None:
    """Put the document's value where the steps lead, or the first section that is missing there."""
    key = _key(node, steps[0])
    path = (*path, key)
    inside = node[key] if isinstance(key, int) or key in node else None
    if len(steps) > 1 and isinstance(inside, dict | list):
        _put(inside, steps[1:], document, path)
    else:
        node[key] = document.value(path)


def _key(node: Any, step: str) -> int | str:
    return int(step) if isinstance(node, list) else step


def _digest(text: str) -> str:
    """The digest that a file of this text would have."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "config.yaml")
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(text)
        return load(path).digest()


def as_yaml(values: Any) -> str:
    """Plain values, or what was read from YAML with its comments, as a text."""
    stream = io.StringIO()
    _yaml().dump(values, stream)
    return stream.getvalue()


def _yaml() -> YAML:
    yaml = YAML(typ="rt")
    yaml.version = None
    yaml.preserve_quotes = True
    yaml.width = 4096  # folding a line would change text within it
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml
