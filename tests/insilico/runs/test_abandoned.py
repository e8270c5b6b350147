"""What killed runs were writing is removed and told; what living ones write is left alone."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from insilico.runs import RunFolder
from insilico.runs.abandoned import OWNER, clear_abandoned

pytestmark = pytest.mark.skipif(os.name != "posix", reason="locks of files are POSIX's")

SCRIPT = """
    import sys, time
    from insilico.runs import RunFolder
    with RunFolder.create({out}) as new:
        with new.writing("report.html") as path:
            path.write_text("half")
        print("writing", flush=True)
        time.sleep(60)
"""


def hidden(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if ".partial-" in path.name)


@pytest.fixture
def writing(tmp_path: Path) -> Iterator[subprocess.Popen]:
    """Another process that is writing a run to `run`."""
    script = textwrap.dedent(SCRIPT.format(out=repr(str(tmp_path / "run"))))
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "writing\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def owned(folder: Path, **changed: object) -> Path:
    """A hidden folder of nobody alive, its owner's file with changes."""
    with RunFolder.create(folder / "other") as new:
        told = json.loads((new.path / OWNER).read_text())
        path = folder / ".run.partial-0123abcd"
        path.mkdir()
        (path / OWNER).write_text(json.dumps(told | changed))
    return path


def test_a_living_run_is_left_alone_and_a_killed_one_removed_and_told(tmp_path, writing):
    (there,) = hidden(tmp_path)
    assert RunFolder.abandoned(tmp_path / "run") == []
    assert hidden(tmp_path) == [there]
    writing.send_signal(signal.SIGKILL)
    writing.wait()
    (told,) = RunFolder.abandoned(tmp_path / "run")
    assert told.startswith(f"{there}: removed; the run that wrote it, process {writing.pid}, begun")
    assert hidden(tmp_path) == []


def test_the_next_run_removes_it_without_being_asked(tmp_path, writing):
    writing.send_signal(signal.SIGKILL)
    writing.wait()
    (before,) = hidden(tmp_path)
    with RunFolder.create(tmp_path / "run") as new:
        assert hidden(tmp_path) == [new.path]
        assert not before.exists()
        folder = new.finish({"state": "finished"})
    assert not (folder.path / OWNER).exists()
    assert OWNER not in folder.manifest["files"]
    folder.check()


def test_runs_of_this_very_process_are_living(tmp_path):
    with RunFolder.create(tmp_path / "run") as first, RunFolder.create(tmp_path / "run") as second:
        assert clear_abandoned(tmp_path / "run") == []
        assert first.path.is_dir() and second.path.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_another_host_s_is_told_and_never_removed(tmp_path):
    path = owned(tmp_path, host="node7")
    (told,) = clear_abandoned(tmp_path / "run")
    assert told == f"{path}: a run on node7 writes there, or was killed; remove it if none does"
    assert path.is_dir()


def test_a_host_of_the_same_name_is_another_one(tmp_path):
    path = owned(tmp_path, machine="another", boot="another")
    (told,) = clear_abandoned(tmp_path / "run")
    assert "writes there, or was killed" in told and path.is_dir()


@pytest.mark.parametrize("text", ["", "no JSON", "[]", None, '{"host": 1}'])
def test_what_nobody_knows_of_is_told_and_left(tmp_path, text):
    path = tmp_path / ".run.partial-0123abcd"
    path.mkdir()
    if text is not None:
        (path / OWNER).write_text(text)
    long_ago = time.time() - 3600
    os.utime(path, (long_ago, long_ago))
    (told,) = clear_abandoned(tmp_path / "run")
    assert told.startswith(f"{path}: ") and path.is_dir()


def test_without_locks_nothing_is_removed(tmp_path):
    path = owned(tmp_path, locked=False)
    (told,) = clear_abandoned(tmp_path / "run")
    assert "nobody knows by whom" in told and path.is_dir()


def test_a_folder_that_was_made_just_now_may_have_no_owner_yet(tmp_path):
    (tmp_path / ".run.partial-0123abcd").mkdir()
    assert clear_abandoned(tmp_path / "run") == []


def test_other_names_and_links_are_none_of_its_business(tmp_path):
    target = owned(tmp_path)
    for name in (".running.partial-0123abcd", ".run.partial-xyz", ".run.replaced-0123abcd"):
        target.rename(tmp_path / name)
        assert clear_abandoned(tmp_path / "run", numbered=True) == []
        target = tmp_path / name
    (tmp_path / ".run.partial-0123abce").symlink_to(target, target_is_directory=True)
    assert clear_abandoned(tmp_path / "run") == []
    assert target.is_dir()


def test_numbered_runs_belong_to_their_name(tmp_path):
    path = owned(tmp_path).rename(tmp_path / ".run-2.partial-0123abcd")
    assert clear_abandoned(tmp_path / "run") == []
    (told,) = clear_abandoned(tmp_path / "run", numbered=True)
    assert told.startswith(f"{path}: removed") and not path.exists()
