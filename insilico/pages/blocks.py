"""What a report is made of: sections of text, tables and figures, which the templates lay out.

Everything here is plain text; the templates escape it, so a label from a config may hold anything.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from insilico.pages.numbers import Measured

Cell = str | Measured


@dataclasses.dataclass(frozen=True)
class Text:
    """A paragraph. `tone`: `plain`, `note` (small, for how to read something) or `absent`."""

    text: str
    tone: str = "plain"
    kind: str = "text"


@dataclasses.dataclass(frozen=True)
class Bullets:
    """A list of short statements under a lead."""

    items: Sequence[str]
    lead: str = ""
    kind: str = "bullets"


@dataclasses.dataclass(frozen=True)
class Column:
    """A table's column; numbers are set right-aligned, everything else left.

    Neighbours of one `group` stand under a heading of that name.
    """

    label: str
    unit: str = ""
    number: bool = False
    code: bool = False
    group: str = ""


@dataclasses.dataclass(frozen=True)
class Row:
    """A table's row, whose first cell is its heading.

    `indent` sets it under the row above, `span` makes the heading run over the whole width.
    """

    cells: Sequence[Cell]
    indent: bool = False
    span: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
    """A table with its caption and the group of the results it comes from."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    source: str = ""
    note: str = ""
    number: int = 0
    kind: str = "table"

    @property
    def grouped(self) -> list[tuple[str, int]]:
        """Column groups from left to right with their widths; empty where there are none."""
        if not any(column.group for column in self.columns):
            return []
        runs = itertools.groupby(self.columns, key=lambda column: column.group)
        return [(group, len(list(columns))) for group, columns in runs]


PANELS = 720
"""Width at which titles of panels do not run into each other (pixels), however many stand side by
side: they are wrapped by the share that each has of it."""


@dataclasses.dataclass(frozen=True)
class Figure:
    """A plotly figure as plain data.

    `alt` says in words what is seen; `table` holds its numbers for those who cannot see it.
    """

    key: str
    caption: str
    alt: str
    note: str
    source: str
    spec: Mapping[str, Any]
    height: int
    table: Table | None = None
    number: int = 0
    kind: str = "figure"

    @property
    def least_width(self) -> int:
        """Below which it is scrolled (pixels): panels side by side have titles."""
        axes = [axis for key, axis in self.spec["layout"].items() if key.startswith("xaxis")]
        across = {tuple(axis["domain"]) for axis in axes if "domain" in axis}
        return PANELS if len(across) > 1 else 0


@dataclasses.dataclass(frozen=True)
class Details:
    """Blocks that are folded away until asked for."""

    summary: str
    blocks: Sequence[Block]
    kind: str = "details"


Block = Text | Bullets | Table | Figure | Details


class Tile(NamedTuple):
    """One number that is seen first, above all sections."""

    label: str
    number: Measured
    unit: str
    note: str


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the report with a heading of its own."""

    key: str
    title: str
    blocks: Sequence[Block]


def absent(text: str) -> Text:
    """The sentence that stands where something is not shown."""
    return Text(text, tone="absent")


def facts(caption: str, rows: Sequence[tuple[str, str]], source: str = "", note: str = "") -> Table:
    """A table of names and what they are."""
    return Table(
        caption,
        (Column("Item"), Column("Value")),
        [Row((name, value)) for name, value in rows],
        source,
        note,
    )


def numbered(sections: Sequence[Section]) -> list[Section]:
    """The sections with figures and tables counted through in the order of reading."""
    counts = {"figure": 0, "table": 0}

    def number(block: Block) -> Block:
        if isinstance(block, Details):
            return dataclasses.replace(block, blocks=[number(each) for each in block.blocks])
        if isinstance(block, (Figure, Table)):
            counts[block.kind] += 1
            return dataclasses.replace(block, number=counts[block.kind])
        return block

    return [
        dataclasses.replace(section, blocks=[number(block) for block in section.blocks])
        for section in sections
    ]


def figures_of(blocks: Sequence[Block]) -> list[Figure]:
    """All figures, those that are folded away too."""
    found: list[Figure] = []
    for block in blocks:
        if isinstance(block, Figure):
            found.append(block)
        elif isinstance(block, Details):
            found += figures_of(block.blocks)
    return found
