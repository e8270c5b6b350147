"""Where the numbers come from: what was run, with which versions, on what, and how long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trials.report.blocks import Block, Section, Text, absent, facts
from trials.report.view import View, readable

LONGEST = 400


def section(view: View, manifest: Mapping[str, Any] | None) -> Section:
    """The manifest as a table, after what the study itself knows."""
    document = view.study.document
    # A report rendered again reads the run's own copy of the config, changes and all; the manifest
    # knows where that came from.
    told = (manifest or {}).get("config", {})
    overrides = told.get("overrides", view.study.overrides)
    own = [
        ("Config", str(told.get("file", document.file))),
        ("Config digest (SHA-256)", document.digest()),
        ("Seed", str(view.config.seed)),
        ("Overrides", ", ".join(overrides) or "none"),
        ("Kept", view.config.keep),
    ]
    blocks: list[Block] = [facts("The study", own, "the config")]
    rows = list(_flat(manifest or {}))
    if rows:
        blocks.append(facts("The run", rows, "manifest"))
    else:
        blocks.append(absent("The run came with no manifest: versions and timings are not known."))
    blocks.append(
        Text(
            "The same config, seed and versions on the same kind of device give the same numbers "
            "to the last bit.",
            tone="note",
        )
    )
    return Section("provenance", "Provenance", blocks)


def _flat(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Nested entries as one list of names and texts."""
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
