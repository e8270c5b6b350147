"""Where a character of a text value stands in the file.

A value and what is written for it differ in quotes, escapes, folded line ends and indentation, but
never in the order of its visible characters. So the n-th visible character of one is the n-th of
the other, whatever the style.
"""

import re
from collections.abc import Iterator

from insilico.config.problems import Where

_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|\r?\n|.)", re.DOTALL)
_BLANK_ESCAPES = frozenset("tnvfr \t\r\nN_LP")


def place(written: str, start: Where, value: str, offset: int) -> tuple[int, int]:
    """Line and column of a character of a text value.

    **Arguments:**

    - `written`: the characters of the file that stand for the value, with quotes or `|`, `>`.
    - `start`: where they begin.
    - `value`: the text value.
    - `offset`: the character's index in `value`.

    Returns its line and column; those of `start` for a value that has no place in the file.
    """
    if start.override is not None or not written:
        return start.line, start.column
    index = _index(written, sum(not character.isspace() for character in value[:offset]))
    before = written[:index]
    if "\n" not in before:
        return start.line, start.column + index
    return start.line + before.count("\n"), index - before.rfind("\n")


def _index(written: str, visible: int) -> int:
    """Index in `written` of its value's character number `visible`, blanks not counted."""
    style = written[0]
    end = len(written)
    index = 0
    if style in "|>":
        index = written.find("\n") + 1 or end
    elif style in "\"'":
        index, end = 1, len(written) - 1
    for at, blank in _characters(written, index, end, style):
        if blank:
            continue
        if visible == 0:
            return at
        visible -= 1
    return len(written[:end].rstrip()) if style in "|>" else end


def _characters(written: str, index: int, end: int, style: str) -> Iterator[tuple[int, bool]]:
    """Where each character of the value begins, and whether it is blank."""
    while index < end:
        length, blank = 1, written[index].isspace()
        if style == "'" and written.startswith("''", index):
            length = 2
        elif style == '"' and (escape := _ESCAPE.match(written, index)):
            length, blank = len(escape[0]), escape[1][0] in _BLANK_ESCAPES
        yield index, blank
        index += length
