"""The door to ruamel.yaml: its parser's events, and its errors in our words."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml import events as _events
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from insilico.config.problems import Problem, shown

# The parser leaks these on some malformed input (a stray byte-order mark, an odd %-directive).
YAML_ERRORS = (YAMLError, ValueError, IndexError, AssertionError, AttributeError, TypeError)


def events(text: str) -> Iterator[Any]:
    """The parser's events, one at a time, so that limits can stop it early."""
    return iter(YAML(typ="safe", pure=True).parse(text))


def is_stream_end(event: Any) -> bool:
    return isinstance(event, _events.StreamEndEvent)


def is_alias(event: Any) -> bool:
    return isinstance(event, _events.AliasEvent)


def is_scalar(event: Any) -> bool:
    return isinstance(event, _events.ScalarEvent)


def is_mapping(event: Any) -> bool:
    return isinstance(event, _events.MappingStartEvent)


def is_end(event: Any) -> bool:
    """Whether a list or a section ends here."""
    return isinstance(event, _events.CollectionEndEvent)


def tab_problems(text: str, file: str) -> list[Problem]:
    """A problem for every line indented by a tab, which YAML forbids and editors hide."""
    problems = []
    for number, line in enumerate(text.split("\n"), start=1):
        indent = line[: len(line) - len(line.lstrip())]
        rest = line.strip()
        if "\t" in indent and rest and not rest.startswith("#"):
            column = indent.index("\t") + 1
            message = "a tab indents this line"
            problems.append(Problem(file, number, column, "", message, hint="indent with spaces"))
    return problems


def translate(
    error: Exception, text: str, problem_at: Callable[[int, str, str | None], Problem]
) -> Problem:
    """The problem that a parser's error stands for; `problem_at` takes an index in the text."""
    if isinstance(error, ReaderError):
        character = shown(text[error.position : error.position + 1])
        message = f"the character {character} is not allowed in YAML"
        return problem_at(error.position, message, "remove it")
    if not isinstance(error, MarkedYAMLError):
        return problem_at(0, "cannot be read as YAML", None)
    mark = error.problem_mark or error.context_mark
    index = 0 if mark is None else mark.index
    complaint = f"{error.context or ''} {error.problem or ''}"
    line_before = text[text.rfind("\n", 0, index) + 1 : index]
    if "expected <block end>" in complaint and line_before.strip():
        return problem_at(index, "nothing can follow the value here", "put all of it in quotes")
    for pattern, message, hint, at_start in _WORDINGS:
        if match := re.search(pattern, complaint):
            start = error.context_mark.index if at_start and error.context_mark else index
            return problem_at(start, match.expand(message), hint and match.expand(hint))
    return problem_at(index, f"cannot be read as YAML: {error.problem or 'unknown reason'}", None)


# What the parser says -> what we say, how to mend it, and whether to point at where the construct
# began rather than at where the parser gave up.
_WORDINGS: list[tuple[str, str, str | None, bool]] = [
    (
        r"mapping values are not allowed",
        'a ":" cannot stand here',
        'check the indentation of this line and the one above, and put text with ": " in quotes',
        False,
    ),
    (
        r"scanning a quoted scalar.*unexpected (end of stream|document)",
        "a quotation mark is opened here and never closed",
        None,
        True,
    ),
    (
        r"flow sequence.*(expected|did not find|found)",
        "the [list] that begins here is not closed properly",
        "separate its entries by commas and close it with ]",
        True,
    ),
    (
        r"flow mapping.*(expected|did not find|found)",
        "the {section} that begins here is not closed properly",
        'write it as {key: value, key: value}, with a space after each ":"',
        True,
    ),
    (
        r"could not find expected ':'",
        'this line is neither "key: value" nor part of the value above',
        'write "key: value", with a space after the colon',
        True,
    ),
    (
        r"parsing a block collection.*expected <block end>",
        "this line does not fit the list it stands in",
        'give every entry of a list the same indentation and begin it with "- "',
        False,
    ),
    (
        r"parsing a block mapping.*expected <block end>",
        "this line does not fit the section it stands in",
        "give all keys of a section the same indentation",
        False,
    ),
    (
        r"sequence entries are not allowed",
        'a list entry "- " cannot stand here',
        "begin the list on a line of its own",
        False,
    ),
    (
        r"found character .+ that cannot start any token|expected the node content",
        "a value cannot begin with this character",
        "put the value in quotes",
        False,
    ),
    (
        r"scanning an (alias|anchor)",
        "a value that begins with * or & is read as an alias or an anchor",
        "put the value in quotes",
        True,
    ),
    (r"scanning a tag|parsing a node.*tag", "YAML tags (!) are not allowed", "use quotes", True),
    (
        r"unknown escape character|escape sequence",
        'a backslash in "double quotes" begins an escape sequence that does not exist',
        "use 'single quotes' or double the backslash",
        False,
    ),
    (r"directive|incompatible YAML", "YAML directives (%) are not allowed", "remove it", False),
    (
        r"expected '?<document start>",
        "the file goes on after its end",
        "give all top-level keys the same indentation",
        False,
    ),
    (
        r"scanning a block scalar",
        "the text block (| or >) that begins here is malformed",
        "put its text on the following lines, indented by the same number of spaces",
        True,
    ),
]
