"""Faults of a cohort's description, found together and placed by whoever knows the file."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from insilico.config import (
    ConfigError,
    Document,
    Expression,
    Name,
    Path,
    Problem,
    did_you_mean,
    dotted,
)
from insilico.config.problems import listed, shown


class Fault(NamedTuple):
    """One mistake: where it is below the part described, what was found, what is allowed."""

    path: tuple[str | int, ...]
    message: str
    found: str | None = None
    allowed: str | None = None
    hint: str | None = None
    misses: str | None = None
    """The name that is wanted and nowhere to be found, if it is that."""

    def __str__(self) -> str:
        place = f"{dotted(self.path)}: " if self.path else ""
        found = f"found {self.found}" if self.found else None
        allowed = f"allowed: {self.allowed}" if self.allowed else None
        return place + "; ".join(p for p in (self.message, found, allowed, self.hint) if p)


class CohortError(ValueError):
    """All faults of a cohort's description at once, in `faults`."""

    def __init__(self, faults: Sequence[Fault]):
        super().__init__("\n".join(map(str, faults)))
        self.faults = tuple(faults)


def unknown(path: tuple[str | int, ...], what: str, found: str, names: Iterable[str]) -> Fault:
    """The fault of a name that is none of `names`, with the nearest of them."""
    names = list(names)
    return Fault(
        path,
        f"unknown {what}",
        shown(found),
        listed(names, quoted=True) or "none",
        did_you_mean(found, names),
        found,
    )


def raise_any(faults: Sequence[Fault]) -> None:
    """Raise `CohortError` if there are any faults."""
    if faults:
        raise CohortError(faults)


class Faults:
    """Collects the faults of one description, and raises them together.

    **Arguments:**

    - `document`, `path`: the config that the description was read from and where it stands there;
      without one, faults are raised as `CohortError`.
    """

    def __init__(self, document: Document | None, path: Path):
        self._document = document
        self._path = path
        self._faults: list[Fault] = []
        self._problems: list[Problem] = []

    @contextlib.contextmanager
    def at(self, *path: str) -> Iterator[None]:
        """Faults raised inside stand below `path`; what comes after goes on."""
        try:
            yield
        except CohortError as error:
            self._faults += [f._replace(path=(*path, *f.path)) for f in error.faults]
        except ConfigError as error:
            self._problems += [p for p in error.problems if p not in self._problems]

    def add(self, problem: Problem) -> None:
        """A problem that has its place in the config already."""
        self._problems.append(problem)

    @property
    def some(self) -> bool:
        """Whether anything was wrong so far."""
        return bool(self._faults or self._problems)

    def criterion(self, index: int, expression: Expression, vocabulary: Mapping[str, Name]) -> None:
        """What is wrong with a criterion of eligibility."""
        path = ("eligibility", index)
        if self._document is not None:
            self._problems += self._document.check_expression(
                (*self._path, *path), expression, vocabulary, gives="condition"
            )
        else:
            for flaw in expression.check(vocabulary, gives="condition"):
                _, message, *details = flaw
                self._faults.append(Fault(path, message, *details))

    def raise_if_any(self) -> None:
        """Raise `ConfigError` (without a document `CohortError`) if anything was wrong."""
        if self._document is None and self._faults:
            raise CohortError(self._faults)
        if self._document is not None and (self._faults or self._problems):
            placed = [
                self._document.problem(
                    (*self._path, *fault.path),
                    fault.message,
                    found=fault.found,
                    allowed=fault.allowed,
                    hint=fault.hint,
                    misses=fault.misses,
                )
                for fault in self._faults
            ]
            raise ConfigError([*self._problems, *placed])
