"""What a config marks as assumed: comments that begin with the word ASSUMED, with their fields."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from insilico.config import ConfigError, Path, dotted, load
from insilico.config.tree import Mapping, Node, Sequence
from insilico.pages.blocks import Block, Bullets, Cell, Column, Row, Section, Table, absent
from insilico.pages.numbers import plain
from insilico.pages.words import inline
from trials.report.view import View

MARK = "ASSUMED"

WASHED_OUT = (
    "Each period begins from the model's initial state: nothing of the period before is left, "
    "neither drug nor effect."
)


class Assumption(NamedTuple):
    """One marked place of a config."""

    line: int
    field: str
    """Dotted path of what the comment stands at."""
    written: str
    """The line as it stands in the file, without the comment."""
    note: str
    """What the comment says after the mark; empty for the mark alone."""
    path: Path = ()


def assumed(file: str | os.PathLike[str]) -> list[Assumption]:
    """The places that a config file marks as assumed, in file order.

    A comment behind a value is about that line's field; a comment on lines of its own is about the
    next field. Empty where the file cannot be read.
    """
    try:
        with open(file, encoding="utf-8-sig") as stream:
            lines = stream.read().splitlines()
        root = load(file).root
    except (OSError, UnicodeDecodeError, ConfigError):
        return []
    starts = _starts(root)
    comments = [_comment(text) for text in lines]
    found = []
    for index, at in enumerate(comments):
        text = "" if at is None else lines[index][at + 1 :].strip()
        if not text.startswith(MARK):
            continue
        own_line = not lines[index][:at].strip()
        target = index
        if own_line:
            target, text = _paragraph(lines, comments, index, text)
        path = _nearest(starts, target + 1, below=own_line)
        if path is None:
            continue
        line = min(target, len(lines) - 1)
        written = lines[line][: comments[line]].strip()
        found.append(Assumption(index + 1, dotted(path), written, _note(text), path))
    return found


def _comment(line: str) -> int | None:
    """Where a line's comment begins: at a `#` outside of quotes, first or after a blank."""
    quote = ""
    for index, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'" and (index == 0 or line[index - 1] in " [{,:'"):
            # A doubled quote within single quotes ends one and begins the next.
            quote = character
        elif character == "#" and (index == 0 or line[index - 1].isspace()):
            return index
    return None


def _paragraph(
    lines: list[str], comments: list[int | None], index: int, text: str
) -> tuple[int, str]:
    """A comment that goes on over lines of its own, and the line after it."""
    parts = [text]
    following = index + 1
    while following < len(lines):
        at = comments[following]
        if at is None or lines[following][:at].strip():
            break
        more = lines[following][at + 1 :].strip()
        if more.startswith(MARK):
            break
        parts.append(more)
        following += 1
    return following, " ".join(parts)


def _note(text: str) -> str:
    rest = text.removeprefix(MARK).strip()
    return rest[1:].strip() if rest[:1] in (":", ",", ".", ";") else rest


def _starts(root: Mapping) -> list[tuple[int, int, Path]]:
    """Line, column and path of every key and list entry."""

    def walk(node: Node, path: Path) -> Iterator[tuple[int, int, Path]]:
        if isinstance(node, Mapping):
            for key, child in node.items.items():
                where = node.keys.get(key, child.where)
                yield where.line, where.column, (*path, key)
                yield from walk(child, (*path, key))
        elif isinstance(node, Sequence):
            for index, child in enumerate(node.items):
                yield child.where.line, child.where.column, (*path, index)
                yield from walk(child, (*path, index))

    return sorted(walk(root, ()))


def _nearest(starts: list[tuple[int, int, Path]], line: int, *, below: bool) -> Path | None:
    """The first field on a line; failing that the next one below, or the last one above."""
    on_line = [path for at, _, path in starts if at == line]
    if on_line:
        return on_line[0]
    if below:
        return next((path for at, _, path in starts if at > line), None)
    return next((path for at, _, path in reversed(starts) if at < line), None)


def section(view: View) -> Section:
    """Every marked assumption, and those that the config states in words."""
    document = view.study.document
    blocks: list[Block] = []
    entries = assumed(document.file)
    if entries:
        blocks.append(_table(view, entries))
    else:
        blocks.append(absent("No line of the config is marked ASSUMED, or it could not be read."))
    if view.config.trial.crossover is not None:
        rests_on = (WASHED_OUT, _between_periods(view))
        blocks.append(Bullets(rests_on, lead="The crossover rests on this too:"))
    elif view.study.protocol.cohort.population.between_occasion:
        blocks.append(Bullets([_occasions(view)], lead="It rests on this too:"))
    if view.config.assumptions:
        blocks.append(Bullets(view.config.assumptions, lead="The config states further:"))
    return Section("assumptions", "Assumptions", blocks)


def _between_periods(view: View) -> str:
    """What changes in a subject from one period to the next."""
    varying = view.study.protocol.cohort.population.between_occasion
    rest = "of a subject are the same in all periods, but for stated effects of periods."
    if not varying:
        return f"Parameters {rest}"
    names = ", ".join(inline(view.words(name)) for name in varying)
    return (
        "Each period is an occasion of its subject, whatever the arm. What varies between "
        f"occasions, as the population has it: {names}. Other parameters {rest}"
    )


def _occasions(view: View) -> str:
    """When what varies between occasions changes in a parallel trial."""
    varying = view.study.protocol.cohort.population.between_occasion
    names = ", ".join(inline(view.words(name)) for name in varying)
    starts = [f"{plain(time)} d" for time in view.config.trial.occasions or () if time > 0]
    if not starts:
        return f"A subject has one occasion, so that this is the same all along: {names}."
    return (
        f"An occasion of each subject begins with the trial, others {', '.join(starts)} after the "
        f"first dose. What varies between them, as the population has it: {names}."
    )


def _table(view: View, entries: list[Assumption]) -> Table:
    document = view.study.document
    rows = []
    for entry in entries:
        override = document.where(entry.path).override
        note = entry.note or "–"
        if override is not None:
            note = f"{note} (overridden on the command line: {override})"
        cells: list[Cell] = [entry.field, entry.written, note, str(entry.line)]
        rows.append(Row(cells))
    return Table(
        f"Values that {os.path.basename(document.file)} marks as ASSUMED",
        (
            Column("Field", code=True),
            Column("As written", code=True),
            Column("Reason"),
            Column("Line", number=True),
        ),
        rows,
        "the config file",
        "ASSUMED: what the trial's own report leaves open, or what could not be read from it.",
    )
