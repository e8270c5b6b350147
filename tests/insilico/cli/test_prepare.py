"""Before a command runs: the cache of programs keeps to its limit, leftovers are told."""

import os

from insilico.cli import _prepare


def test_what_was_used_longest_ago_goes_first(tmp_path):
    for age, name in enumerate(("new", "older", "oldest")):
        (tmp_path / f"{name}-cache").write_bytes(bytes(100))
        os.utime(tmp_path / f"{name}-cache", (10**9 - age, 10**9 - age))
    os.utime(tmp_path / "oldest-cache", (10**9 + 5, 10**9 - 2))  # read since
    (tmp_path / "folder").mkdir()
    folders = os.stat(tmp_path / "folder").st_size
    _prepare._limit(tmp_path, 300 + folders)
    assert len(os.listdir(tmp_path)) == 4
    _prepare._limit(tmp_path, 250 + folders)
    assert sorted(os.listdir(tmp_path)) == ["folder", "new-cache", "oldest-cache"]


def test_a_cache_that_is_not_there_has_nothing_to_remove(tmp_path):
    _prepare._limit(tmp_path / "none", 10)
    assert list(tmp_path.iterdir()) == []


def test_what_another_machine_s_run_left_is_told_before_a_run(tmp_path, capsys):
    path = tmp_path / ".run.partial-0123abcd"
    path.mkdir()
    (path / ".owner").write_text('{"host": "node7"}')
    _prepare.tell_abandoned(tmp_path / "run", "run")
    expected = f"note: {path}: a run on node7 writes there, or was killed; remove it if none does\n"
    assert capsys.readouterr().err == expected
