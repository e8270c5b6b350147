"""Unfinished work is found again by the same run, and by no other."""

import pytest

from insilico.runs import RunFolderError, Unfinished

IDENTITY = {"config": {"seed": 1}, "versions": {"jax": "1.2"}}


def test_the_same_run_finds_it_again_and_another_does_not(tmp_path):
    first = Unfinished(tmp_path / "fit", "fit", IDENTITY)
    assert not first.begun
    (first.make() / "state").write_text("half way")
    again = Unfinished(tmp_path / "fit", "fit", IDENTITY)
    assert again.begun
    assert again.path == first.path
    other = Unfinished(tmp_path / "fit", "fit", {**IDENTITY, "config": {"seed": 2}})
    assert not other.begun
    assert other.others() == [first.path]
    assert first.others() == []


def test_it_lies_beside_the_run_s_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = Unfinished(None, "theophylline", IDENTITY).make().resolve()
    assert made.parent == tmp_path / "runs"
    assert made.name.startswith(".theophylline.")


def test_discarding_leaves_nothing(tmp_path):
    unfinished = Unfinished(tmp_path / "fit", "fit", IDENTITY)
    (unfinished.make() / "state").write_text("half way")
    unfinished.discard()
    assert not unfinished.begun
    assert list(tmp_path.iterdir()) == []
    unfinished.discard()


def test_where_it_cannot_be_made_it_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="unfinished work"):
        Unfinished(tmp_path / "file" / "fit", "fit", IDENTITY).make()
