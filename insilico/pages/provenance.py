"""A manifest as the rows of a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from insilico.pages.words import readable

LONGEST = 400
"""Characters that an entry shows."""


def told(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What a report shows of a manifest: all but its longest lists.

    How long the report took is known only once it has been written, so it is left out, too.
    """
    shown = {key: value for key, value in manifest.items() if key not in ("format", "files")}
    shown["seconds"] = {k: s for k, s in manifest["seconds"].items() if k != "report"}
    shown["config"] = {k: value for k, value in manifest["config"].items() if k != "values"}
    return shown


def flat(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Nested entries as one list of names and texts."""
    return list(_flat(manifest, ()))


def _flat(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield from _flat(entry, (*path, str(key)))
        return
    text = value
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        text = ", ".join(str(entry) for entry in value)
    elif value is None:
        text = "–"
    elif isinstance(value, float):
        text = f"{value:.6g}"
    elif isinstance(value, int) and path[-1].endswith("_bytes"):
        text = f"{value / 1e9:.2f} GB"
    shown = str(text)
    shown = shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}…"
    yield " / ".join(readable(part) for part in path), shown
