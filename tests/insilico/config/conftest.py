"""Configs written to files, and what the program says about them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from insilico.config import ConfigError, Document, Problem, Spec, load


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Document]:
    """Loads a text as the config `x.yaml`."""
    monkeypatch.chdir(tmp_path)

    def read(text: str | bytes, overrides: Sequence[str] = ()) -> Document:
        content = text.encode() if isinstance(text, str) else text
        Path("x.yaml").write_bytes(content)
        return load("x.yaml", overrides)

    return read


@pytest.fixture
def problems(read: Callable[..., Document]) -> Callable[..., list[Problem]]:
    """What is wrong with a text, as a spec if one is given."""

    def problems(
        text: str | bytes, spec: type[Spec] | None = None, overrides: Sequence[str] = ()
    ) -> list[Problem]:
        try:
            document = read(text, overrides)
            if spec is not None:
                document.parse(spec)
        except ConfigError as error:
            return list(error.problems)
        return list(document.problems)

    return problems


@pytest.fixture
def messages(problems: Callable[..., list[Problem]]) -> Callable[..., list[str]]:
    """The messages a user reads about a text."""
    return lambda *arguments, **options: [
        str(problem) for problem in problems(*arguments, **options)
    ]
