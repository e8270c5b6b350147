"""Commands run in this process, and a stand-in for the simulation."""

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from typer.testing import CliRunner

import trials
from insilico.cli import _prepare, app
from insilico.cli._summary import SHOWN
from insilico.runs import writing
from trials import running

PAGE, WRITE = running.page, writing.write_tree


class Answer:
    """What a command ended with."""

    def __init__(self, code: int, output: str, errors: str):
        self.code = code
        self.output = output
        self.errors = errors


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """Runs a command in an empty folder, without the compilation cache."""
    monkeypatch.chdir(tmp_path)
    # The cache would be set for the tests that follow in this process, too.
    monkeypatch.setattr(_prepare, "use_compilation_cache", lambda folder: None)

    def cli(*arguments: object) -> Answer:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        return Answer(result.exit_code, result.stdout, result.stderr)

    return cli


@pytest.fixture(scope="session")
def read_once() -> Callable[..., trials.Study]:
    """`trials.read` that remembers; for tests that are not about reading."""
    return functools.cache(trials.read)


@pytest.fixture
def simulated(
    coag_tree: xr.DataTree, read_once: Callable[..., trials.Study], monkeypatch: pytest.MonkeyPatch
) -> Callable[[trials.Study, Callable[[str, int, int], None]], xr.DataTree]:
    """Replaces the simulation by the results of one that was made before. For the report, which
    takes seconds, there is a page that holds the manifest, and of the results only what a run
    shows is written."""

    def simulate(study: trials.Study, progress: Callable[[str, int, int], None]) -> xr.DataTree:
        progress("patients", 0, 600)
        progress("patients", 600, 600)
        return coag_tree

    def shown(tree: xr.DataTree, study: trials.Study, manifest: Mapping[str, Any]) -> str:
        return f"<html>{json.dumps(manifest)}</html>"

    monkeypatch.setattr(running, "simulate", simulate)
    monkeypatch.setattr(trials, "read", read_once)
    monkeypatch.setattr(running, "page", shown)
    monkeypatch.setattr(writing, "write_tree", lambda tree, path: WRITE(_shown(tree), path))
    return simulate


def _shown(tree: xr.DataTree) -> xr.DataTree:
    return tree.filter(lambda node: node.path.split("/")[1] in {"", *SHOWN})


@pytest.fixture
def real_report(simulated: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the report made after all, and all results written."""
    monkeypatch.setattr(running, "page", PAGE)
    monkeypatch.setattr(writing, "write_tree", WRITE)


@pytest.fixture
def changes(small: Sequence[str]) -> list[str]:
    """The overrides of the small run, as options."""
    return [word for override in small for word in ("--set", override)]


@pytest.fixture
def edited(coag: Path, tmp_path: Path) -> Callable[..., Path]:
    """The COAG config with parts of its text exchanged, as `trial.yaml`."""

    def edited(*exchanges: tuple[str, str]) -> Path:
        text = coag.read_text(encoding="utf-8")
        for old, new in exchanges:
            assert text.count(old) >= 1, f"the config no longer says {old!r}"
            text = text.replace(old, new, 1)
        (tmp_path / "trial.yaml").write_text(text, encoding="utf-8")
        return Path("trial.yaml")

    return edited
