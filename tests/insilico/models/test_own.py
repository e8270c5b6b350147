"""Models of one's own, added by their files: named by configs, kept beside results."""

from pathlib import Path

import pytest

from cohorts import CohortError
from cohorts.fits import learned
from insilico import models
from insilico.config import load
from insilico.models import ModelFileError
from insilico.runs import RunFolder
from insilico.runs.writing import write_config

MINE = """
import dataclasses
from insilico.models import get

MODEL = dataclasses.replace(get("one_compartment"), name="mine", title="{title}")
"""
FIT = Path(__file__).parents[3] / "configs" / "fit_theophylline.yaml"


@pytest.fixture(autouse=True)
def none_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_added", {})


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(MINE.format(title="First"))
    return path


def test_what_is_added_is_found_by_the_name_of_its_file(mine):
    model = models.add(mine)
    assert "mine" in models.names() == sorted(models.names())
    assert models.get("mine") is model is models.add(mine)
    assert models.file_of("mine") == mine.resolve() and models.file_of("one_compartment") is None


def test_a_file_that_was_changed_replaces_what_it_held(mine):
    models.add(mine)
    mine.write_text(MINE.format(title="Second"))
    models.add(mine)
    assert models.get("mine").title == "Second"


@pytest.mark.parametrize(
    ("name", "source", "told"),
    [
        ("one_compartment.py", MINE, "a model of the library is called one_compartment"),
        ("other.py", MINE, 'is called "mine".*name="other"'),
        ("none.py", "MODEL = 3", "has no MODEL that is"),
        ("broken.py", "\n1 / 0", "cannot be imported on line 2: ZeroDivisionError"),
        ("mine.txt", MINE, "name has to end in .py"),
    ],
)
def test_what_cannot_be_a_model_is_told(tmp_path, name, source, told):
    (tmp_path / name).write_text(source)
    with pytest.raises(ModelFileError, match=told):
        models.add(tmp_path / name)
    with pytest.raises(ModelFileError, match="no such file"):
        models.add(tmp_path / "nothing.py")
    assert "mine" not in models.names()


def test_a_run_keeps_the_file_and_is_used_with_that_one_alone(mine, tmp_path):
    models.add(mine)
    document = load(FIT, ["model=mine"])
    with RunFolder.create(tmp_path / "run", "run") as new:
        write_config(new, document, ["model=mine"], {})
        new.finish({"kind": "fit", "failure": None, "config": {"values": document.data}})
    assert (new.target / "mine.py").read_bytes() == mine.read_bytes()
    mine.write_text(MINE.format(title="Second"))
    models.add(mine)
    with pytest.raises(CohortError, match="mine is of a file.*is not as in .*give `--model"):
        learned(new.target)
    models._added.clear()
    with pytest.raises(CohortError, match="has not been added; .*give `--model"):
        learned(new.target)


def test_commands_add_it_and_tell_how(mine, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from insilico.cli import app

    def told(*arguments: object) -> str:
        found = CliRunner().invoke(app, [str(each) for each in arguments])
        return found.stdout + found.stderr

    change = ("check", FIT, "--set", "model=mine")
    assert "is added by `--model NAME.py`" in told(*change)
    assert "12 subjects" in told(*change, "--model", mine)
    assert "cannot be read: no such file" in told(*change, "--model", tmp_path / "nothing.py")


def test_an_interrupted_fit_of_a_model_that_was_changed_is_another_one(mine):
    from cohorts import fits
    from cohorts.fits import unfinished

    models.add(mine)
    fit = fits.read(FIT, "model=mine")
    before = unfinished(fit).path
    mine.write_text(MINE.format(title="Second"))
    assert unfinished(fit).path != before
