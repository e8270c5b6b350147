"""What is wrong with a config, where it stands and how to mend it."""

import difflib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

type Path = tuple[str | int, ...]
"""The way from the top of a config to one of its values: `("arms", 0, "dose")`."""

LONGEST_SHOWN = 60
"""Characters of a value that a message repeats; what is longer is cut."""

MOST_LISTED = 24
"""Allowed values that a message lists; of more it says how many there are."""


class Where(NamedTuple):
    """A place in a config file, or the command-line override that put a value there."""

    line: int
    """From 1; 0 for an override, which has no line."""
    column: int
    """From 1, in characters; 0 for an override."""
    override: str | None = None
    """The dotted path of the `--set` override the value comes from, if it comes from one."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a config; `str()` of it is the message for the user, on one line."""

    file: str
    """Path of the file as the user gave it, or `--set a.b.c` for an override."""
    line: int
    column: int
    field: str
    """Dotted path of the value, empty for the whole config."""
    message: str
    """What is wrong, as one clause: `must be a number`."""
    found: str | None = None
    allowed: str | None = None
    hint: str | None = None
    misses: str | None = None
    """The name that is wanted and nowhere to be found, if it is that."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        field = "" if not self.field or place == override_label(self.field) else f" {self.field}:"
        parts = [self.message]
        if self.found:
            parts.append(f"found {self.found}")
        if self.allowed:
            parts.append(f"allowed: {self.allowed}")
        if self.hint:
            parts.append(self.hint)
        return f"{place}:{field} {'; '.join(parts)}"


class ConfigError(Exception):
    """A config cannot be used; `problems` holds every mistake found in it, in file order."""

    def __init__(self, problems: Iterable[Problem]):
        self.problems: tuple[Problem, ...] = tuple(sorted(problems, key=_file_order))
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class SpecError(ValueError):
    """A value of a spec is wrong: raised by validators, reported with the value's file and line.

    **Arguments:**

    - `message`: what is wrong, as one clause that follows the field's name (`must be …`).
    - `at`: path of the offending value, from the value being validated.
    - `found`: what stands there; default: the value as the file has it.
    - `allowed`: what may stand there.
    - `hint`: how to mend it.
    - `offset`: characters from the start of the (text) value to the mistake in it.
    """

    def __init__(
        self,
        message: str,
        *,
        at: Path = (),
        found: str | None = None,
        allowed: str | None = None,
        hint: str | None = None,
        offset: int | None = None,
    ):
        self.message = message
        self.at = at
        self.found = found
        self.allowed = allowed
        self.hint = hint
        self.offset = offset
        super().__init__("; ".join(part for part in (message, found, allowed, hint) if part))


def override_label(field: str) -> str:
    """How a message names the override of `field`: `--set trial.replicates`."""
    return f"--set {field}"


def dotted(path: Sequence[str | int]) -> str:
    """A path as the user reads and types it: `arms.0.dose`."""
    return ".".join(str(step) for step in path)


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The one of `choices` that `word` most likely means, or None if none is near."""
    plain = {_plain(choice): choice for choice in reversed(list(choices))}
    wanted = _plain(word[:LONGEST_SHOWN])
    if wanted in plain:
        return plain[wanted]
    if close := difflib.get_close_matches(wanted, plain, n=1, cutoff=0.6):
        return plain[close[0]]
    for holds in (str.startswith, str.__contains__):  # else the one that begins so, or has it
        alike = [choice for choice in plain if len(wanted) >= 3 and holds(choice, wanted)]
        if len(alike) == 1:
            return plain[alike[0]]
    return None


def did_you_mean(word: str, choices: Iterable[str]) -> str | None:
    """The hint that names the nearest valid word, or None if none is near."""
    found = nearest(word, choices)
    return None if found is None else f"did you mean {shown(found)}?"


def listed(choices: Iterable[Any], *, quoted: bool = False) -> str:
    """Allowed values in a row: `dose, every, kind`."""
    words = [shown(choice) if quoted else str(choice) for choice in choices]
    more = f", … ({len(words)} in all)" if len(words) > MOST_LISTED else ""
    return ", ".join(words[:MOST_LISTED]) + more


def either(choices: Iterable[str]) -> str:
    """Alternatives in words: `"a", "b" or "c"`."""
    words = list(dict.fromkeys(choices))
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1]


def shown(value: Any) -> str:
    """A value as a message repeats it: text in quotes, cut where it is long."""
    if isinstance(value, str):
        cut = value if len(value) <= LONGEST_SHOWN else value[: LONGEST_SHOWN - 1] + "…"
        return json.dumps(cut, ensure_ascii=not cut.isprintable())
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a section" if value else "an empty section"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}" if value else "an empty list"
    return str(value)


def _plain(word: str) -> str:
    return word.casefold().replace("-", "_").replace(" ", "_")


def _file_order(problem: Problem) -> tuple[bool, int, int]:
    return problem.line == 0, problem.line, problem.column
