"""A run folder is complete or not there at all."""

import errno
import hashlib
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import xarray as xr

from insilico.runs import RunFolder, RunFolderError, folder


def contents(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


def test_a_finished_run_can_be_opened_and_holds_what_was_written(finished, tree):
    run = RunFolder.open(finished().path)
    assert run.manifest["state"] == "finished"
    run.check()
    xr.testing.assert_identical(run.results(), tree)


def test_a_group_that_is_not_there_is_refused_with_those_that_are(finished):
    run = finished()
    assert set(run.results("estimates").children) == {"estimates"}
    with pytest.raises(RunFolderError, match="no group 'estimate'; groups: .*outcomes.*did you"):
        run.results("failures", "estimate")


def test_the_manifest_names_every_other_file_with_its_checksum(finished):
    run = finished()
    files = run.manifest["files"]
    on_disk = {p.relative_to(run.path).as_posix() for p in run.path.rglob("*") if p.is_file()}
    assert set(files) == on_disk - {"manifest.json"}
    report = (run.path / "report.html").read_bytes()
    expected = {"bytes": len(report), "sha256": hashlib.sha256(report).hexdigest()}
    assert files["report.html"] == expected


def test_nothing_is_in_place_before_the_run_is_finished(tmp_path):
    with RunFolder.create(tmp_path / "run") as new:
        (new.path / "report.html").write_text("x")
        assert not (tmp_path / "run").exists()
        assert new.path.parent == tmp_path
        new.finish({})
    assert contents(tmp_path) == ["run"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_run_that_is_given_up_leaves_nothing(tmp_path, error):
    with pytest.raises(error), RunFolder.create(tmp_path / "new" / "folders" / "run") as new:
        (new.path / "report.html").write_text("x")
        raise error
    assert contents(tmp_path) == []


def test_folders_that_others_use_by_now_stay(tmp_path):
    with RunFolder.create(tmp_path / "runs" / "a"):
        (tmp_path / "runs" / "b").mkdir()
    assert contents(tmp_path / "runs") == ["b"]


def test_an_existing_folder_is_refused(finished, tmp_path):
    finished()
    before = (tmp_path / "run" / "manifest.json").read_bytes()
    with pytest.raises(RunFolderError, match="the folder exists.*--force"):
        RunFolder.create(tmp_path / "run")
    assert (tmp_path / "run" / "manifest.json").read_bytes() == before
    assert contents(tmp_path) == ["run"]


def test_force_replaces_an_earlier_run_when_the_new_one_is_complete(finished, tmp_path):
    finished()
    (tmp_path / "run" / "old").write_text("x")
    with RunFolder.create(tmp_path / "run", force=True) as new:
        assert (tmp_path / "run" / "old").exists()
        new.finish({"state": "failed"})
    assert RunFolder.open(tmp_path / "run").manifest["state"] == "failed"
    assert contents(tmp_path) == ["run"]
    assert contents(tmp_path / "run") == ["manifest.json"]


def test_force_without_a_folder_replaces_the_run_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for force, states in ((False, ["first"]), (False, ["first", "second"])):
        with RunFolder.create(None, "coag", force=force) as new:
            new.finish({"state": states[-1]})
    with RunFolder.create(None, "coag", force=True) as new:
        new.finish({"state": "third"})
    assert contents(tmp_path / "runs") == ["coag", "coag-2"]
    assert RunFolder.open("runs/coag").manifest["state"] == "third"
    (tmp_path / "runs" / "thesis").mkdir()
    (tmp_path / "runs" / "thesis" / "chapter").write_text("x")
    with pytest.raises(RunFolderError, match="holds something else than a run"):
        RunFolder.create(None, "thesis", force=True)


def test_force_keeps_the_earlier_run_when_the_new_one_is_given_up(finished, tmp_path):
    finished()
    with pytest.raises(KeyboardInterrupt), RunFolder.create(tmp_path / "run", force=True):
        raise KeyboardInterrupt
    RunFolder.open(tmp_path / "run").check()


def test_force_does_not_replace_what_is_no_run(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("x")
    with pytest.raises(RunFolderError, match="something else than a run"):
        RunFolder.create(tmp_path / "thesis", force=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunFolderError, match="a file of that name exists"):
        RunFolder.create(tmp_path / "file", force=True)
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "x"


@pytest.mark.parametrize("out", ["", ".", Path()])
def test_the_folder_has_to_be_named(out):
    with pytest.raises(RunFolderError, match="--out must name a folder"):
        RunFolder.create(out)


def test_runs_without_a_stated_folder_are_numbered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for expected in ("coag", "coag-2", "coag-3"):
        with RunFolder.create(None, "coag") as new:
            assert new.finish({}).path == Path("runs") / expected


def test_a_run_is_not_lost_when_its_place_was_taken_meanwhile(tmp_path):
    with RunFolder.create(tmp_path / "run") as new:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "other").write_text("x")
        run = new.finish({"state": "finished"})
    assert run.path == tmp_path / "run-2"
    assert contents(tmp_path / "run") == ["other"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, monkeypatch, number):
    def full(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    with pytest.raises(RunFolderError, match="free some space"):  # noqa: SIM117
        with RunFolder.create(tmp_path / "run") as new:
            (new.path / "report.html").write_text("x")
            monkeypatch.setattr(folder.os, "fsync", full)
            new.finish({})
    assert contents(tmp_path) == []


def test_a_write_that_the_system_refuses_leaves_nothing(tmp_path):
    # The real thing, in a process of its own: no file may grow beyond a hundred kilobytes.
    script = f"""
        import resource, signal
        from insilico.runs import RunFolder, RunFolderError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            with RunFolder.create({str(tmp_path / "run")!r}) as new:
                with new.writing("report.html") as path:
                    path.write_bytes(bytes(200_000))
                new.finish({{}})
        except RunFolderError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    )
    assert "report.html cannot be written" in done.stdout
    assert contents(tmp_path) == []


def test_a_place_that_cannot_hold_a_folder_is_told(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunFolderError, match="cannot be created: not a directory"):
        RunFolder.create(tmp_path / "file" / "run")
    with pytest.raises(RunFolderError, match="cannot be created: file name too long"):
        RunFolder.create(tmp_path / "deep" / ("x" * 300))
    assert contents(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, 'there is no such folder; did you mean "runn"'),
        (lambda p: p.write_text("x"), "this is a file, not a run folder"),
        (lambda p: p.mkdir(), "not a run folder: it has no manifest.json"),
        (lambda p: manifest(p, "{"), "damaged: it is not JSON"),
        (lambda p: manifest(p, "[]"), "none of ours"),
        (lambda p: manifest(p, '{"format": 99, "files": {}}'), "written in format 99"),
    ],
)
def test_what_is_no_run_is_refused_with_its_reason(tmp_path, make, message):
    (tmp_path / "runn").mkdir()
    make(tmp_path / "run")
    with pytest.raises(RunFolderError, match=message):
        RunFolder.open(tmp_path / "run")


def manifest(path: Path, text: str) -> None:
    path.mkdir()
    (path / "manifest.json").write_text(text)


def test_the_manifest_itself_is_not_the_run(finished):
    with pytest.raises(RunFolderError, match="give the folder it lies in"):
        RunFolder.open(finished().path / "manifest.json")


def test_a_run_that_was_killed_is_refused(tmp_path):
    new = RunFolder.create(tmp_path / "run")
    (new.path / "manifest.json").write_text(json.dumps({"format": 1, "files": {}}))
    with pytest.raises(RunFolderError, match="never finished"):
        RunFolder.open(new.path)


def test_missing_and_changed_files_are_found(finished):
    run = finished()
    (run.path / "report.html").write_text("other")
    run.check(without={"report.html"})
    (run.path / "results.zarr" / "zarr.json").unlink()
    with pytest.raises(RunFolderError, match="missing: results.zarr/zarr.json; changed.*report"):
        run.check()


def test_a_file_can_be_written_anew(finished):
    run = finished().replace("report.html", "<html>second</html>")
    assert (run.path / "report.html").read_text() == "<html>second</html>"
    RunFolder.open(run.path).check()


def test_a_file_that_cannot_be_written_anew_stays(finished, monkeypatch):
    run = finished()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(folder.os, "fsync", full)
        with pytest.raises(RunFolderError, match=r"report.html cannot be written: no space left"):
            run.replace("report.html", "second")
    assert (run.path / "report.html").read_text() == "<html>first</html>"
    RunFolder.open(run.path).check()
