"""Where the numbers come from: what was run, with which versions, on what, and how long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from insilico.pages.blocks import Block, Section, Text, absent, facts
from insilico.pages.provenance import flat
from trials.report.view import View


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
    rows = flat(manifest or {})
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
